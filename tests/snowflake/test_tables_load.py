"""Loading tables in Snowflake: files in a temporary stage, and one short transaction."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.operators.copy import CopyOperator
from tradewind.operators.expectations import NotNull, RowCount, Unique
from tradewind.operators.local_files import LocalFile
from tradewind.snowflake import staging
from tradewind.snowflake.tables import SnowflakeTable

pytestmark = pytest.mark.anywhere

Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load(snowflake_database: SnowflakeDatabase, tmp_path: Path, context: Callable[..., Any]) -> Load:
    """Return what copies a text of CSV into a table."""

    def run(
        text: str | bytes,
        table: str = "t",
        *,
        number: int = 1,
        run_id: str = "run",
        file: dict[str, Any] | None = None,
        target: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        path, data = tmp_path / "in.csv", text.encode() if isinstance(text, str) else text
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
        source = LocalFile(str(path), **(file or {}))
        operator = CopyOperator(
            task_id="load", source=source, target=SnowflakeTable(table, **(target or {})), **arguments
        )
        result: dict[str, Any] = operator.execute(context(operator, run_id=run_id, try_number=number, max_tries=3))
        return result

    return run


@pytest.fixture
def people(snowflake_database: SnowflakeDatabase) -> Callable[[], list[tuple[Any, ...]]]:
    """Make a table; return what reads it."""
    snowflake_database.query("CREATE TABLE t (id INTEGER, name VARCHAR, amount NUMBER(10,2), ratio FLOAT, born DATE)")
    return lambda: snowflake_database.query("SELECT * FROM t ORDER BY id")


def statements(database: SnowflakeDatabase, begin: str) -> list[str]:
    return [
        each["sql"]
        for each in database.server.journal()
        if each["sql"].startswith(begin) and database.name in each["sql"]
    ]


def test_null_and_the_empty_text_stay_apart(load: Load, people: Callable[[], Any]) -> None:
    result = load('id,name,amount\n1,a,0.10\n2,"",\n3,,"5"\n4,"\\N",\n5,"a ""b"", c\nd",\n')

    assert [row[:3] for row in people()] == [
        (1, "a", Decimal("0.10")),
        (2, "", None),
        (3, None, 5),
        (4, "\\N", None),
        (5, 'a "b", c\nd', None),
    ]
    assert (result["rows"], result["inserted"], result["bytes"] > 0) == (5, 5, True)


def test_a_retry_after_success_loads_nothing(load: Load, people: Callable[[], Any]) -> None:
    text = "id,name\n1,a\n2,b\n"
    load(text)
    again = load(text, number=2)
    other = load(text, run_id="another")

    assert again["loaded_before"] is not None
    assert again["rows"] == 2
    assert other["loaded_before"] is None
    assert [row[0] for row in people()] == [1, 1, 2, 2]


def test_reload_loads_again_and_its_own_retry_does_not(load: Load, people: Callable[[], Any]) -> None:
    text = "id,name\n1,a\n"
    load(text)
    load(text, number=2, reload=True)
    again = load(text, number=3, reload=True)

    assert again["loaded_before"] is not None
    assert [row[0] for row in people()] == [1, 1]


def test_the_temporary_stage_is_made_before_the_transaction(
    load: Load, people: Callable[[], Any], snowflake_database: SnowflakeDatabase
) -> None:
    load("id,name\n1,a\n", mode="replace")

    journal = [each["sql"].split()[0] for each in snowflake_database.server.journal() if each["user"] == "ETL"]
    mine = journal[len(journal) - journal[::-1].index("ALTER") - 1 :]
    writes = [word for word in mine if word in ("CREATE", "PUT", "DELETE", "COPY", "COMMIT")]
    # The driver asks for each PUT once or more.
    assert [word for word, _ in groupby(writes)] == ["COMMIT", "CREATE", "PUT", "COMMIT", "DELETE", "COPY", "COMMIT"]


def test_pieces_are_put_as_files_and_a_line_is_told_as_the_file_has_it(
    load: Load,
    people: Callable[[], Any],
    snowflake_database: SnowflakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staging, "PIECE", 2_000)
    monkeypatch.setattr("tradewind.snowflake.loading.BLOCK", 500)
    lines = [f'{number},"name\n{number}",,,2013-02-03' for number in range(1, 401)]
    load("\n".join(["id,name,amount,ratio,born", *lines]) + "\n")

    assert [row[0] for row in people()] == list(range(1, 401))
    [copy] = statements(snowflake_database, "COPY INTO")
    assert copy.count(".csv.gz") > 3

    lines[299] = '300,"name\n300",,,2013-02-30'
    with pytest.raises(
        DataError, match=r"in\.csv, line 600, column BORN: Date '2013-02-30' is not recognized"
    ) as caught:
        load("\n".join(["id,name,amount,ratio,born", *lines]) + "\n", run_id="bad")
    assert (caught.value.line, caught.value.column) == (600, "BORN")
    assert len(people()) == 400


@pytest.mark.parametrize(
    ("record", "column", "said"),
    [
        ("1.5,a,", "ID", "'1.5' has more digits after the point than NUMBER"),
        ("x,a,", "ID", "'x' is no NUMBER"),
        ("1,a,1.005", "AMOUNT", "'1.005' has more digits"),
        ("1,a", None, "the record has 2 fields, 3 are expected"),
        ("1,a,2,3", None, "the record has 4 fields, 3 are expected"),
        ("1,a,123456789.10", "AMOUNT", "out of range"),
    ],
)
def test_nothing_is_rounded_or_cut(
    load: Load, people: Callable[[], Any], record: str, column: str | None, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        load(f"id,name,amount\n7,b,2.50\n{record}\n")

    assert (caught.value.line, caught.value.column) == (3, column)
    assert people() == []


def test_zeros_after_the_point_are_no_digits_that_are_lost(load: Load, people: Callable[[], Any]) -> None:
    load('id,name,amount\n1.000,a,2.500000\n" 2 ",b,1e2\n')
    assert [(row[0], str(row[2])) for row in people()] == [(1, "2.50"), (2, "100.00")]


def test_numbers_that_are_infinite_or_none(load: Load, people: Callable[[], Any]) -> None:
    load("id,ratio\n1,Infinity\n2,-Infinity\n3,NaN\n4,1e300\n")
    found = [row[3] for row in people()]
    assert found[:2] == [float("inf"), float("-inf")]
    assert found[2] != found[2]
    assert found[3] == 1e300


@pytest.mark.parametrize(
    "dialect",
    [
        {"delimiter": ";"},
        {"delimiter": "\t"},
        {"delimiter": "|", "quote": "'"},
        {"null": "\\N"},
        {"escape": "\\"},
        {"encoding": "utf-16-le"},
    ],
)
def test_any_dialect_means_the_same(load: Load, people: Callable[[], Any], dialect: dict[str, str]) -> None:
    delimiter, quote = dialect.get("delimiter", ","), dialect.get("quote", '"')
    escape = dialect.get("escape", quote)
    text = f"a{quote}b{delimiter}\nc é".replace(quote, escape + quote)
    rows = [["1", f"{quote}{text}{quote}"], ["2", dialect.get("null", "")], ["3", quote * 2]]
    lines = [delimiter.join(row) for row in [["id", "name"], *rows]]
    load(("\n".join(lines) + "\n").encode(dialect.get("encoding", "utf-8")), file=dialect)

    assert [row[1] for row in people()] == [f"a{quote}b{delimiter}\nc é", None, ""]


def test_bytes_json_and_lists(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    snowflake_database.query("CREATE TABLE t (id INTEGER, raw BINARY, doc VARIANT, items ARRAY)")
    load('id,raw,doc,items\n1,\\xdeadbeef,"{""a"": [1, 2.50]}","[1,""x""]"\n2,,,\n')

    [first, second] = snowflake_database.query("SELECT * FROM t ORDER BY id")
    assert bytes(first[1]) == b"\xde\xad\xbe\xef"
    assert json.loads(first[2]) == {"a": [1, 2.5]}
    assert json.loads(first[3]) == [1, "x"]
    assert second[1:] == (None, None, None)
    with pytest.raises(DataError, match="line 2: the record has 3 fields, 4 are expected"):
        load("id,raw,doc,items\n3,,\n")
    with pytest.raises(DataError, match="Error parsing JSON") as caught:
        load('id,raw,doc,items\n4,,"{",\n')
    assert (caught.value.line, caught.value.column) == (2, "DOC")


def test_merge(load: Load, people: Callable[[], Any]) -> None:
    load("id,name\n1,a\n2,b\n3,c\n")
    result = load("id,name\n2,B\n3,c\n4,d\n", mode="merge", key="id")

    assert [row[:2] for row in people()] == [(1, "a"), (2, "B"), (3, "c"), (4, "d")]
    assert [result[name] for name in ("rows", "inserted", "updated", "unchanged")] == [3, 1, 1, 1]


@pytest.mark.parametrize(("which", "name"), [("last", "y"), ("first", "x")])
def test_of_records_of_one_key_the_last_or_the_first_counts(
    load: Load, people: Callable[[], Any], which: str, name: str
) -> None:
    result = load("id,name\n1,x\n2,b\n1,y\n", mode="merge", key="id", duplicates=which)

    assert [row[:2] for row in people()] == [(1, name), (2, "b")]
    assert (result["rows"], result["duplicates"]) == (2, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,name\n1,x\n1,y\n", "is not unique in the input: 1 keys stand more than once"),
        ("id,name\n,x\n", "column 'ID' is NULL in 1 records"),
        ("id,name\n5,x\n", "is not unique in table"),
    ],
)
def test_a_key_that_names_no_row_is_refused(load: Load, people: Callable[[], Any], text: str, said: str) -> None:
    load("id,name\n5,a\n5,b\n")
    with pytest.raises(DataError, match=said):
        load(text, mode="merge", key="id")
    assert [row[:2] for row in people()] == [(5, "a"), (5, "b")]


def test_replace_is_one_moment_to_others(load: Load, people: Callable[[], Any]) -> None:
    load("id,name\n1,a\n2,b\n")
    result = load("id,name\n3,c\n", mode="replace")
    assert [row[:2] for row in people()] == [(3, "c")]
    assert result["inserted"] == 1
    with pytest.raises(DataError):
        load("id,name,born\n4,d,nonsense\n", mode="replace")
    assert [row[:2] for row in people()] == [(3, "c")]


def test_create_makes_the_table_from_the_input(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    text = 'id,name,"Odd Name",amount,moment,raw\n1,a,x,0.5,2013-02-03 04:05:06.789,t\n'
    load(text, "made", create=True, mode="merge", key="id")

    described = snowflake_database.query("DESCRIBE TABLE made")
    assert [(row[0], row[1].partition("(")[0]) for row in described] == [
        ("ID", "NUMBER"), ("NAME", "VARCHAR"), ("Odd Name", "VARCHAR"), ("AMOUNT", "NUMBER"),
        ("MOMENT", "TIMESTAMP_NTZ"), ("RAW", "BOOLEAN"),
    ]  # fmt: skip
    [row] = snowflake_database.query("SELECT * FROM made")
    assert row[4] == dt.datetime(2013, 2, 3, 4, 5, 6, 789000)
    assert row[5] is True
    with pytest.raises(DataError):
        load("id,id2\n1,\n2,2,2\n", "never_made", create=True)
    assert snowflake_database.query("SHOW TABLES LIKE 'NEVER_MADE'") == []


def test_what_is_expected_is_looked_at_before_the_commit(load: Load, people: Callable[[], Any]) -> None:
    load("id,name\n1,a\n2,b\n", expect=[RowCount(min=2), Unique("id"), NotNull("name", of="load")])
    with pytest.raises(DataError, match="Unique"):
        load("id,name\n2,c\n", expect=Unique("id"))
    with pytest.raises(DataError, match="NotNull"):
        load("id,name\n3,\n", expect=NotNull("name", of="load"))
    assert [row[:2] for row in people()] == [(1, "a"), (2, "b")]


def test_a_dry_run_tells_all_and_changes_nothing(load: Load, people: Callable[[], Any]) -> None:
    plan = load("id,name\n1,a\n", dry_run=True)

    assert plan["plan"].startswith("PUT and COPY into T")
    assert plan["loaded_before"] is None
    assert [text.split()[0] for text in plan["statements"]] == ["CREATE", "PUT", "COPY"]
    assert any(right.startswith("CREATE STAGE on schema") for right in plan["rights"])
    assert people() == []


def test_what_is_not_there_is_named(load: Load, people: Callable[[], Any]) -> None:
    with pytest.raises(NotFound, match=r"there is no table .*PEOPLE"):
        load("id\n1\n", "people")
    with pytest.raises(NotFound, match=r"did you mean 'T'"):
        load("id\n1\n", "tt")
    with pytest.raises(DataError, match="has no column 'idd': did you mean 'ID'"):
        load("idd\n1\n")


@pytest.mark.parametrize("table", ["", "a.b.c.d", "1a", 'a"b', "a b"])
def test_what_is_no_name_is_refused_when_the_dag_is_parsed(table: str) -> None:
    with pytest.raises(InvalidArgument, match="name of a table"):
        CopyOperator(task_id="load", source=LocalFile("/tmp/in.csv"), target=SnowflakeTable(table))


def test_bad_records_are_not_set_aside() -> None:
    with pytest.raises(InvalidArgument, match="max_errors= means nothing to SnowflakeTable"):
        CopyOperator(
            task_id="load",
            source=LocalFile("/tmp/in.csv"),
            target=SnowflakeTable("t"),
            max_errors=3,
            rejects=LocalFile("/tmp/rejects.csv"),
        )


def test_quoted_names_and_other_schemas(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    snowflake_database.query("CREATE SCHEMA other")
    snowflake_database.query('CREATE TABLE other."Flights 2013" (id INTEGER, "dep time" VARCHAR, "A""b" VARCHAR)')
    load('id,dep time,"A""b"\n1,x,y\n', 'other."Flights 2013"', target={"ledger": "loads"})

    assert snowflake_database.query('SELECT * FROM other."Flights 2013"') == [(1, "x", "y")]
    assert snowflake_database.query("SELECT COUNT(*) FROM s.loads WHERE loaded_at IS NOT NULL") == [(1,)]
