"""Expectations: checked in the load's transaction, so that nothing is committed where one fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.copy.fix_people import HEADER, load, rows
from tests.fix_copies import WORK, MemoryFiles, MemorySink, copy
from tests.fix_postgres import Database
from tests.fix_tables import Tables
from tests.stage import LAKE, Stage
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, TradewindError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.expectations import Check, ForeignKey, Freshness, NotNull, RowCount, Unique, Values
from tradewind.operators.expecting import Expectation
from tradewind.operators.formats.csv.counting import RecordCounter

GOOD = HEADER + b"1,A,{now},{today},1\n2,b,{now},{today},2\n"
BODY = HEADER + (
    b"1,A,2020-01-01 00:00:00,2020-01-01,1\n2,A,,,2\n3,B,2020-01-01 00:00:00,,9\n4,B,,,9\n5,C,,,8\n6,,,,\n7,,,,\n"
)
BAD: dict[str, tuple[Expectation, list[str]]] = {
    "too few": (RowCount(min=8), ["RowCount(min=8): 7 rows are loaded"]),
    "too many": (RowCount(max=6), ["RowCount(max=6): 7 rows are loaded"]),
    "too few in the table": (RowCount(min=9, of="table"), ["8 rows are in the table"]),
    "keys twice": (Unique("CODE"), ["Unique('CODE'): 2 of them stand more than once: ", "(A) 2 times", "(B) 2 times"]),
    "pairs twice": (Unique("code", "Team"), ["1 of them stand more than once: (B, 9) 2 times"]),
    "nulls": (NotNull("id", "code"), ["NotNull('id', 'code'): code is NULL in 2 rows, as where (id) is (6), (7)"]),
    "nulls in two": (NotNull("day", "team"), ["day is NULL in 6 rows", "(2), (3), (4)", "team is NULL in 2 rows"]),
    "no such team": (
        ForeignKey("team", references="teams(id)"),
        ["3 rows reference nothing: ", "(9) in 2 rows", "(8) in 1 rows"],
    ),
    "no such pair": (ForeignKey(["team", "code"], references="teams(id, part)"), ["6 rows reference nothing"]),
    "old": (Freshness("at", within=timedelta(days=1)), ["the newest value is", "days"]),
    "other values": (
        Values("code", in_=["A", "b"]),
        ["3 rows hold something else: ", "(B) in 2 rows", "(C) in 1 rows"],
    ),
    "other numbers": (Values("team", in_=[1, 2]), ["3 rows hold something else", "(9) in 2 rows"]),
    "a query": (
        Check("SELECT id, code FROM t WHERE code = 'A';", name="no A"),
        ["Check('no A'): 2 rows should not be there", "(1, A)"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_nothing_is_committed_where_one_fails(name: str, people: Tables) -> None:
    expectation, says = BAD[name]
    people.query("INSERT INTO t (id, code, at, day, team) VALUES (0, 'Z', '2019-01-01', '2019-01-01', 1)")
    if name in ("other values", "other numbers"):
        people.query("UPDATE t SET code = 'A'")
    with pytest.raises(DataError, match=r"1 of 2 expectations on .*t fail, nothing is committed") as caught:
        load(people, BODY, NotNull("id"), expectation)
    assert [text for text in says if text not in str(caught.value)] == [], str(caught.value)
    assert rows(people) == 1
    assert people.query("SELECT count(*) FROM tradewind_ledger") == [(0,)]


def test_all_that_fail_are_named_in_one_error(people: Tables) -> None:
    expect = [expectation for expectation, _ in BAD.values()]
    with pytest.raises(DataError, match=f"{len(BAD)} of {len(BAD) + 1} expectations") as caught:
        load(people, BODY, *expect, RowCount(min=7, max=7))
    assert [repr(expectation) for expectation in expect if repr(expectation) not in str(caught.value)] == []


def test_what_holds_is_committed(people: Tables) -> None:
    now = people.pick(postgres="now() AT TIME ZONE 'UTC'", mysql="UTC_TIMESTAMP()")
    [(moment, day)] = people.query(f"SELECT {now}, CAST({now} AS date)")
    body = GOOD.replace(b"{now}", str(moment)[:19].encode() + b"Z").replace(b"{today}", str(day).encode())
    result = load(
        people,
        body + b"3,,,,\n",
        RowCount(min=3, max=3),
        RowCount(min=1, of="table"),
        Unique("id"),
        Unique("code", "team"),
        NotNull("ID"),
        ForeignKey("team", references="teams(ID)"),
        Freshness("at", within=timedelta(minutes=5)),
        Freshness("day", within=timedelta(hours=25)),
        Values("code", in_=["A", "b"]),
        Check("SELECT id FROM t WHERE id > 3"),
    )
    assert (result.rows, rows(people)) == (3, 3)


@pytest.mark.parametrize("mode", ["append", "replace", "merge"])
def test_an_empty_load_meets_them_too(mode: str, people: Tables) -> None:
    asked: dict[str, Any] = {"mode": mode, "key": ("id",) if mode == "merge" else ()}
    columns = [Unique("code"), NotNull("team"), ForeignKey("team", references="teams(id)"), Values("code", in_=["A"])]
    assert load(people, HEADER, *columns, RowCount(max=0), RowCount(max=0, of="table"), **asked).rows == 0
    with pytest.raises(DataError, match="no row has a value there") as caught:
        load(people, b"", RowCount(min=1), Freshness("at", within=timedelta(days=1)), **asked)
    assert "0 rows are loaded" in str(caught.value)


def test_a_failed_replace_and_a_failed_merge_leave_the_rows(people: Tables) -> None:
    people.query("INSERT INTO t (id, code) VALUES (1, 'old'), (2, 'old')")
    for asked in ({"mode": "replace"}, {"mode": "merge", "key": ("id",)}):
        with pytest.raises(DataError, match=r"code is NULL in 1 rows, as where \(id\) is \(2\)"):
            load(people, b"id,code\n1,new\n2,\n", NotNull("code"), **asked)
        assert people.query("SELECT code FROM t ORDER BY id") == [("old",), ("old",)]
    assert load(people, b"id,code\n1,new\n3,x\n", NotNull("code"), mode="merge", key=("id",)).updated == 1


def test_bad_records_that_were_set_aside_are_not_kept_where_one_fails(people: Tables) -> None:
    sink = MemorySink()
    asked: dict[str, Any] = {"max_errors": 5, "open_rejects": lambda: sink}
    with pytest.raises(DataError, match="1 rows are loaded"):
        load(people, b"id,code\n1,A\nx,B\n", RowCount(min=2), **asked)
    assert (sink.state, rows(people)) == ("aborted", 0)
    assert load(people, b"id,code\n1,A\nx,B\n", RowCount(min=1), **asked).rejected == 1


def test_the_next_try_of_one_that_failed_loads(people: Tables) -> None:
    with pytest.raises(DataError, match="expectations"):
        load(people, b"id\n1\n", RowCount(min=1), RowCount(min=2, of="table"))
    people.query("INSERT INTO t (id) VALUES (7)")
    assert load(people, b"id\n1\n", RowCount(min=2, of="table")).loaded_before is None
    # What is loaded already met its expectations then.
    assert load(people, b"id\n1\n", RowCount(min=5)).loaded_before is not None


def test_hostile_names_are_quoted(people: Tables) -> None:
    body = b'id,Odd % name\n1,"a\'b"\n2,%s\n'
    load(people, body, NotNull("odd % NAME"), Unique("Odd % name"), Values("Odd % name", in_=["a'b", "%s"]))
    with pytest.raises(DataError, match=r"1 rows hold something else: \(%s\) in 1 rows"):
        load(people, body, Values("Odd % name", in_=["a'b"]), mode="replace")


UNKNOWN: dict[str, tuple[Expectation, type[TradewindError], str]] = {
    "a column": (
        Unique("cod"),
        InvalidArgument,
        r"Unique\('cod'\): table .*t has no column 'cod': did you mean 'code'",
    ),
    "no time": (Freshness("code", within=timedelta(1)), InvalidArgument, "column 'code' of .*t is .*var.*: its age"),
    "a table": (ForeignKey("team", references="nowhere(id)"), NotFound, "nowhere"),
    "a column there": (ForeignKey("team", references="teams(nothing)"), NotFound, "nothing"),
    "no query": (Check("DELETE FROM t"), InvalidArgument, "syntax error"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_there_is_told_before_anything_is_loaded(name: str, people: Tables) -> None:
    expectation, error, says = UNKNOWN[name]
    # The record is bad too: it would be told first, were it read first.
    with pytest.raises(error, match=says):
        load(people, b"id\nx\n", expectation)
    assert rows(people) == 0


def test_a_query_of_your_own_cannot_end_the_transaction(people: Tables) -> None:
    with pytest.raises(InvalidArgument):
        load(people, b"id\n1\n", Check("SELECT 1) AS q; COMMIT; SELECT * FROM (SELECT 1 WHERE 1 = 0"))
    assert rows(people) == 0


def test_times_with_a_zone_are_as_old_as_they_are(database: Database) -> None:
    from tradewind.postgres.tables import PostgresTable

    database.query(
        f"ALTER DATABASE {database.name} SET timezone = 'Asia/Tokyo';"
        "CREATE TABLE t (zoned timestamptz, plain timestamp(3));"
        "INSERT INTO t VALUES ('infinity', 'infinity'), (now(), timezone('UTC', now()));"
        "UPDATE t SET zoned = zoned - interval '30 min', plain = plain - interval '30 min'"
    )
    target = PostgresTable("t", conn_id=database.conn_id)
    for number, column in enumerate(("zoned", "plain")):
        young, old = (Freshness(column, within=timedelta(minutes=minutes)) for minutes in (35, 25))
        with pytest.raises(DataError, match=r"the newest value is 0:30:0"):
            copy(MemoryFiles(b"zoned\n"), target, replace(WORK, map_index=number), expect=(old,))
        assert copy(MemoryFiles(b"zoned\n"), target, replace(WORK, map_index=number), expect=(young,)).rows == 0


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no bound": (lambda: RowCount(), "bounds nothing"),
    "below nothing": (lambda: RowCount(min=-1), "min must be a whole number"),
    "upside down": (lambda: RowCount(min=2, max=1), "min is more than max"),
    "of something": (lambda: RowCount(min=2, of="file"), "of must be 'load' or 'table'"),  # type: ignore[arg-type]
    "no column": (lambda: Unique(), "names no column"),
    "no text": (lambda: NotNull(["a"]), "a column must be a text"),  # type: ignore[arg-type]
    "a column twice": (lambda: Unique("a", "a"), "names a column twice"),
    "no columns there": (lambda: ForeignKey("a", references="teams"), "a table and its columns"),
    "two for one": (lambda: ForeignKey("a", references="teams(b, c)"), "1 columns cannot reference 2"),
    "no table": (lambda: ForeignKey("a", references="a.b.c(d)"), "not the name of a table"),
    "no duration": (lambda: Freshness("a", within=5), "within must be a timedelta"),  # type: ignore[arg-type]
    "no values": (lambda: Values("a", in_=[]), "in_ must be a list of values"),
    "NULL as a value": (lambda: Values("a", in_=["a", None]), "no None"),
    "no query": (lambda: Check(" ; "), "needs a query"),
    "none at all": (lambda: "RowCount(min=1)", "expect must hold expectations"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(name: str) -> None:
    from tradewind.operators.copy import CopyOperator
    from tradewind.postgres.tables import PostgresTable

    make, says = REFUSED[name]
    with pytest.raises(InvalidArgument, match=says.replace("(", r"\(")):
        CopyOperator(task_id="t", source=PostgresTable("a"), target=PostgresTable("t"), expect=[make()])


def test_a_table_is_not_expected_of_a_file() -> None:
    from tradewind.amazon.s3.files import S3File
    from tradewind.operators.copy import CopyOperator
    from tradewind.postgres.tables import PostgresTable

    def operator(expectation: Expectation) -> CopyOperator:
        target = S3File("s3://bucket/key.csv")
        return CopyOperator(task_id="t", source=PostgresTable("a"), target=target, expect=expectation)

    assert operator(RowCount(min=1)).expect
    for expectation in (NotNull("a"), RowCount(min=1, of="table"), Check("SELECT 1")):
        with pytest.raises(InvalidArgument, match="looks at a table"):
            operator(expectation)


def test_they_are_rendered_for_each_task_alone(people: Tables, context: Callable[..., Any]) -> None:
    from tradewind.operators.copy import CopyOperator

    shared = [RowCount(min="{{ params.least }}"), NotNull("{{ params.column }}"), Values("code", in_=["{{ ds }}"])]
    people.query("INSERT INTO t (id, code) VALUES (1, '2026-01-02')")
    for least, says in ((3, "RowCount.min='3'.: 2 rows are loaded"), (2, None)):
        operator = CopyOperator(
            task_id="load",
            source=people.table(),
            target=people.table("u"),
            create=True,
            expect=shared,
            params={"least": least, "column": "ID"},
        )
        people.query("DELETE FROM t WHERE id = 2")
        people.query("INSERT INTO t (id) VALUES (2)")
        run = context(operator, render=True)
        if says:
            with pytest.raises(DataError, match=says):
                operator.execute(run)
        else:
            assert operator.execute(run)["rows"] == 2
    assert repr(shared[0]) == "RowCount(min='{{ params.least }}')"


FILES: dict[str, tuple[bytes, dict[str, Any], int]] = {
    "quotes": (b'id,name\n1,"a\n""\nb"\n2,\n3,"x"', {}, 3),
    "escapes": (b'id,name\n1,"a\\"\n\\\\"\n2,\n', {"escape": "\\"}, 2),
    "bare CRs": (b"id\r1\r2\r", {}, 2),
    "CRLFs and no header": (b'1\r\n"\n"\r\n3\r\n', {"columns": ["id"]}, 3),
    "UTF-16": ("id\n1\nä\u0a0a\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, 2),
    "a header alone": (b"id\n", {}, 0),
    "nothing": (b"", {}, 0),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_appears_only_with_the_rows_that_are_expected(
    name: str, stage: Stage, connection: Callable[..., str], context: Callable[..., Any]
) -> None:
    from tradewind.amazon.s3.files import S3File
    from tradewind.operators.copy import CopyOperator

    body, how, count = FILES[name]
    connection(LAKE, stage.connections()[f"AIRFLOW_CONN_{LAKE.upper()}"])
    client, folder = stage.client(), f"s3://{stage.bucket}/{name.replace(' ', '-')}"
    client.put_object(Bucket=stage.bucket, Key=f"{folder.rpartition('/')[2]}/in.csv", Body=body)

    def run(expect: Expectation) -> Any:
        source, target = (S3File(f"{folder}/{key}.csv", conn_id=LAKE, **how) for key in ("in", "out"))
        operator = CopyOperator(task_id="t", source=source, target=target, expect=expect)
        return operator.execute(context(operator))

    with pytest.raises(DataError, match=f"{count} rows are loaded"):
        run(RowCount(min=count + 1))
    assert client.list_objects_v2(Bucket=stage.bucket, Prefix=f"{folder.rpartition('/')[2]}/out")["KeyCount"] == 0
    assert "Uploads" not in client.list_multipart_uploads(Bucket=stage.bucket)
    result = run(RowCount(min=count, max=count))
    assert (result["rows"], result["counted"]) == (count, True)
    key = f"{folder.rpartition('/')[2]}/out.csv"
    assert client.get_object(Bucket=stage.bucket, Key=key)["Body"].read() == body


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_records_are_counted_wherever_the_bytes_are_cut(size: int) -> None:
    for body, how, count in FILES.values():
        given = {name: value for name, value in how.items() if name != "columns"}
        counter = RecordCounter(CsvDialect(header="columns" not in how, **given))
        for start in range(0, len(body), size):
            counter.add(body[start : start + size])
        assert counter.rows == count
