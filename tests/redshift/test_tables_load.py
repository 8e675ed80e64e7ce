"""Loads into Redshift's tables: by COPY from S3, by staged objects from anywhere else; both ways to the warehouse."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.redshift.fix_standin import CLUSTER, ROLE, Warehouse
from tests.services import pyarrow
from tradewind.amazon.redshift.marking import marker
from tradewind.amazon.redshift.tables import RedshiftTable
from tradewind.amazon.s3.files import S3File
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, SourceChanged
from tradewind.operators.copy import CopyOperator
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.expectations import Freshness, NotNull, RowCount, Unique
from tradewind.operators.projection import FILE_NAME, Field

pytestmark = pytest.mark.anywhere

MakeTable = Callable[..., RedshiftTable]


@pytest.fixture(params=["wire", "data api"])
def make(request: pytest.FixtureRequest, warehouse: Warehouse) -> MakeTable:
    """Return a function that declares a table, in each of the two ways to reach it."""

    def table(name: str = "t", **given: Any) -> RedshiftTable:
        place: dict[str, Any] = {"conn_id": warehouse.conn_id} if request.param == "wire" else dict(CLUSTER)
        return RedshiftTable(
            name, **{**place, "staging": f"s3://{warehouse.bucket}/staging/", "iam_role": ROLE, **given}
        )

    return table


@pytest.fixture
def wired(warehouse: Warehouse) -> MakeTable:
    """Return a function that declares a table over the wire."""

    def table(name: str = "t", **given: Any) -> RedshiftTable:
        staging = f"s3://{warehouse.bucket}/staging/"
        return RedshiftTable(name, **{"conn_id": warehouse.conn_id, "staging": staging, "iam_role": ROLE, **given})

    return table


@pytest.fixture(autouse=True)
def people(warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE t (id int, name varchar(10), born date)")


def rows(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.query("SELECT id, name, born::text FROM t ORDER BY id")


def test_objects_are_loaded_by_the_warehouse_itself(make: MakeTable, warehouse: Warehouse) -> None:
    url = warehouse.put("in/a.csv", "name,ID\nann,1\n,2\n")
    warehouse.put("in/a.csv.old", "name,id\nold,9\n")
    result = copy(S3File(url), make())
    assert rows(warehouse) == [(1, "ann", None), (2, None, None)]
    assert (result.rows, result.inserted, result.files, result.plan) == (2, 2, [url], "COPY into public.t")
    [statement] = warehouse.server.statements(r"^\s*copy\b")
    assert f"IAM_ROLE '{ROLE}' MANIFEST FORMAT AS CSV" in statement
    assert warehouse.keys("staging/") == []


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress), ("a.csv", bytes)],
)
def test_what_copy_decompresses_is_loaded_as_it_is(
    wired: MakeTable, warehouse: Warehouse, name: str, pack: Callable[[bytes], bytes]
) -> None:
    warehouse.s3.put(warehouse.bucket, f"in/{name}", pack(b"id;name\r\n1;'a;b'\r\n2;NULL\r\n"))
    source = S3File(f"s3://{warehouse.bucket}/in/{name}", delimiter=";", quote="'", null="NULL")
    assert copy(source, wired()).rows == 2
    assert rows(warehouse) == [(1, "a;b", None), (2, None, None)]
    assert warehouse.keys("staging/") == []


def test_files_of_other_columns_are_loaded_in_one_transaction(make: MakeTable, warehouse: Warehouse) -> None:
    warehouse.put("in/1.csv", "id,name\n1,a\n")
    warehouse.put("in/2.csv", "born,id\n2026-01-02,2\n")
    warehouse.put("in/3.csv", "id,name\n3,c\n")
    warehouse.put("in/4.csv", "")
    result = copy(S3File(f"s3://{warehouse.bucket}/in/*.csv"), make())
    assert (result.rows, len(result.files)) == (3, 4)
    assert rows(warehouse) == [(1, "a", None), (2, None, "2026-01-02"), (3, "c", None)]
    assert len(warehouse.server.statements(r"^\s*copy\b")) == 2


def test_parquet_of_the_very_columns_is_loaded_as_it_is(wired: MakeTable, warehouse: Warehouse) -> None:
    import datetime as dt

    pa = pyarrow()
    fields = [("id", pa.int32()), ("name", pa.string()), ("born", pa.date32())]
    for key, chosen in (("in/a.parquet", fields), ("in/b.parquet", fields[::-1])):
        table = pa.table({"id": [1], "name": ["a"], "born": [dt.date(2026, 1, 1)]}).cast(pa.schema(fields))
        out = io.BytesIO()
        pa.parquet.write_table(table.select([name for name, _ in chosen]), out)
        url = warehouse.put(key, out.getvalue())
        assert copy(S3File(url), wired(), mode="replace").rows == 1
        assert rows(warehouse) == [(1, "a", "2026-01-01")]
    direct, staged = warehouse.server.statements(r"^\s*copy\b")
    assert "FORMAT AS PARQUET" in direct
    assert "FORMAT AS CSV" in staged


SOURCES: dict[str, Any] = {
    "rows of another service": lambda bucket: MemoryFiles(b'id,name\n1,""\n2,\n'),
    "json lines": lambda bucket: S3File(f"s3://{bucket}/in/a.jsonl"),
    "another escape": lambda bucket: MemoryFiles(
        b'id,name\n1,""\n2,\n3,"a\\"b,\\\\"\n', dialect=CsvDialect(escape="\\")
    ),
    "latin 1": lambda bucket: S3File(f"s3://{bucket}/in/latin.csv", encoding="latin-1"),
    "a projection": lambda bucket: S3File(
        f"s3://{bucket}/in/a.csv", columns={"id": Field("id", type="integer"), "name": "name"}
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_all_else_is_staged_and_keeps_null_and_the_empty_text_apart(
    make: MakeTable, warehouse: Warehouse, kind: str
) -> None:
    warehouse.put("in/a.jsonl", '{"id": 1, "name": ""}\n{"id": 2, "name": null}\n')
    warehouse.s3.put(warehouse.bucket, "in/latin.csv", 'id,name\n1,""\n2,\n'.encode("latin-1"))
    warehouse.put("in/a.csv", 'name,id\n"",1\n,2\n')
    result = copy(SOURCES[kind](warehouse.bucket), make())
    assert rows(warehouse)[:2] == [(1, "", None), (2, None, None)]
    assert rows(warehouse)[2:] == ([(3, 'a"b,\\', None)] if kind == "another escape" else [])
    assert result.rows == len(rows(warehouse))
    assert warehouse.keys("staging/") == []


@pytest.mark.parametrize(
    ("null", "before", "after"),
    [
        ("", b'a,,""\r\n,"x,,\n,",\r\n', b'a,@,""\r\n@,"x,,\n,",@\r\n'),
        ("", b"1\n\n2\n", b"1\n@\n2\n"),
        ("", b"1,", b"1,@"),
        ("NULL", b'NULL,"NULL",NULLS,,NULL\n', b'@,"NULL",NULLS,,@\n'),
        ("", b'"",a""\n', b'"",a""\n'),
    ],
)
def test_bare_nulls_are_marked(null: str, before: bytes, after: bytes) -> None:
    assert marker(CsvDialect(null=null), "@")(before) == after


def test_a_constant_names_the_file(wired: MakeTable, warehouse: Warehouse) -> None:
    warehouse.query("ALTER TABLE t ADD COLUMN file varchar(200)")
    url = warehouse.put("in/a.csv", "id\n1\n")
    copy(S3File(url, constants={"file": FILE_NAME}), wired())
    assert warehouse.query("SELECT file FROM t") == [(url,)]


def test_a_retry_loads_nothing_and_other_input_does(make: MakeTable, warehouse: Warehouse) -> None:
    source = MemoryFiles(b"id\n1\n")
    assert copy(source, make()).loaded_before is None
    again = copy(source, make())
    assert (again.rows, again.loaded_before is None) == (1, False)
    assert copy(source, make(), reload=True).rows == 1
    copy(MemoryFiles(b"id\n2\n"), make())
    assert [row[0] for row in rows(warehouse)] == [1, 1, 2]
    ledger = warehouse.query('SELECT "try", "mode", "rows", "target" FROM tradewind_ledger_t')
    assert ledger == [(1, "append", 1, "public.t")] * 3
    assert warehouse.keys("staging/") == []


def test_a_replace_and_a_merge(make: MakeTable, warehouse: Warehouse) -> None:
    copy(MemoryFiles(b"id,name,born\n1,a,\n2,b,2026-01-01\n3,c,\n"), make())
    result = copy(MemoryFiles(b"id,name\n2,b\n3,d\n4,e\n"), make(), mode="merge", key=("id",))
    assert (result.inserted, result.updated, result.unchanged) == (1, 1, 1)
    assert rows(warehouse) == [(1, "a", None), (2, "b", "2026-01-01"), (3, "d", None), (4, "e", None)]
    result = copy(MemoryFiles(b"id,name\n7,z\n"), make(), mode="replace")
    assert rows(warehouse) == [(7, "z", None)]
    assert not warehouse.server.statements("truncate")


@pytest.mark.parametrize(
    ("there", "data", "message"),
    [
        (
            "",
            b"id,name\n1,a\n1,b\n",
            r"key \(id\) is not unique in the input: 1 keys stand more than once: \(1\) 2 times",
        ),
        ("", b"id,name\n,a\n", "key: column 'id' is NULL in 1 records"),
        (
            "INSERT INTO t VALUES (1, 'x'), (1, 'y')",
            b"id,name\n1,a\n",
            "is not unique in table public.t, which does not",
        ),
    ],
)
def test_a_key_that_is_none_is_refused(
    wired: MakeTable, warehouse: Warehouse, there: str, data: bytes, message: str
) -> None:
    if there:
        warehouse.query(there)
    before = rows(warehouse)
    with pytest.raises(DataError, match=message):
        copy(MemoryFiles(data), wired(), mode="merge", key=("id",))
    assert rows(warehouse) == before


def test_a_bad_record_is_told_by_file_line_and_column(make: MakeTable, warehouse: Warehouse) -> None:
    url = warehouse.put("in/a.csv", 'id,name,born\n1,"a\nb",\n2,b,secret-date\n')
    with pytest.raises(DataError) as caught:
        copy(S3File(url), make())
    assert (caught.value.source, caught.value.line, caught.value.column) == (url, 4, "born")
    assert str(caught.value) == f"{url}, line 4, column born: Invalid value for the column's type"
    assert rows(warehouse) == []
    assert "secret" not in str(caught.value)


def test_a_bad_record_of_staged_rows_is_told_by_its_own_place(wired: MakeTable, warehouse: Warehouse) -> None:
    data = '{"id": 1, "name": "a\\nb"}\n{"id": 2, "name": "a name too long"}\n'
    url = warehouse.put("in/a.jsonl", data)
    with pytest.raises(DataError) as caught:
        copy(S3File(url), wired())
    assert (caught.value.source, caught.value.line, caught.value.column) == (url, 2, "name")
    assert "String length exceeds DDL length" in str(caught.value)
    with pytest.raises(DataError) as caught:
        copy(MemoryFiles(b'id,name\n1,"a\nb"\n', b"id,name\n2,b\nx,c\n"), wired())
    assert (caught.value.source, caught.value.line, caught.value.column) == ("memory/2.csv", 3, "id")
    assert warehouse.keys("staging/") == []


def test_a_changed_object_is_not_loaded(make: MakeTable, warehouse: Warehouse) -> None:
    url = warehouse.put("in/a.csv", "id\n1\n")
    warehouse.server.before_load = lambda asked: warehouse.put("in/a.csv", "id\n1\n2\n")
    with pytest.raises(SourceChanged, match="changed while it was loaded"):
        copy(S3File(url), make())
    assert rows(warehouse) == []


def test_a_table_is_made_from_the_input(make: MakeTable, warehouse: Warehouse) -> None:
    data = b"id,amount,name,at\n1,0.5,a,2026-01-01 10:00:00\n"
    assert copy(MemoryFiles(data), make("made"), create=True).rows == 1
    found = warehouse.query(
        "SELECT column_name, data_type, character_maximum_length, numeric_precision FROM information_schema.columns "
        "WHERE table_name = 'made' ORDER BY ordinal_position"
    )
    assert [row[:2] for row in found] == [
        ("id", "bigint"),
        ("amount", "numeric"),
        ("name", "character varying"),
        ("at", "timestamp without time zone"),
    ]
    assert found[2][2] == 65535
    assert found[1][3] == 38
    with pytest.raises(NotFound, match=r"there is no table public\.mad: did you mean 'made'"):
        copy(MemoryFiles(data), make("mad"))


def test_expectations_look_at_the_table_before_the_commit(wired: MakeTable, warehouse: Warehouse) -> None:
    copy(MemoryFiles(b"id,born\n1,2026-01-01\n"), wired(), expect=(RowCount(min=1), Unique("id"), NotNull("id")))
    with pytest.raises(DataError, match="2 of 2 expectations"):
        copy(MemoryFiles(b"id\n1\n"), wired(), expect=(Unique("id"), Freshness("born", within=timedelta(hours=1))))
    with pytest.raises(DataError, match="the rows that are loaded"):
        copy(MemoryFiles(b"id\n\n"), wired(), expect=(NotNull("id", of="load"),))
    assert len(rows(warehouse)) == 1


def test_the_plan_says_what_would_run_and_changes_nothing(make: MakeTable, warehouse: Warehouse) -> None:
    url = warehouse.put("in/a.csv", "id,name\n1,a\n")
    target = make()
    plan = plan_of(S3File(url), target)
    assert any(text.startswith('COPY "public"."t" ("id", "name") FROM') for text in plan.statements)
    assert plan.lacking == []
    assert warehouse.keys("staging/") == []
    assert warehouse.query("SELECT count(*) FROM information_schema.tables WHERE table_name LIKE 'tradewind%'") == [
        (0,)
    ]


def plan_of(source: Any, target: Any, **asked: Any) -> Any:
    from tradewind.operators.ends import CopyRequest

    with source.open(WORK) as reading:
        return target.plan(reading, CopyRequest(work=WORK, **asked))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"conn_id": "x", "cluster_identifier": "y", "database": "d"}, "not both"),
        ({"cluster_identifier": "y"}, "database is missing"),
        ({"db_user": "u"}, "db_user is for the Data API"),
        ({"iam_role": "loads"}, 'iam_role must be "default" or the ARN'),
        ({"staging": None}, "staging is missing"),
        ({"staging": "s3://b/x"}, "whose name ends with /"),
        ({"ledger": "a.b.c"}, "is not the name of a table"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    target = RedshiftTable("t", **{"staging": "s3://b/x/", **given})
    with pytest.raises(InvalidArgument, match=message):
        CopyOperator(task_id="load", source=S3File("s3://b/k.csv"), target=target)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_errors": 100_000, "rejects": S3File("s3://b/r.csv")}, "max_errors must be at most 99,999"),
        ({"mode": "append", "duplicates": "last"}, "means nothing to mode 'append'"),
    ],
)
def test_what_copy_cannot_do_is_refused(given: dict[str, Any], message: str) -> None:
    target = RedshiftTable("t", staging="s3://b/x/")
    with pytest.raises(InvalidArgument, match=message):
        CopyOperator(task_id="load", source=S3File("s3://b/k.csv"), target=target, **given)
