"""Redshift's rows on their way out: unloaded to S3, read from there, both ways to the warehouse."""

from __future__ import annotations

import datetime as dt
import io
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fix_copies import WORK, copy, drain
from tests.redshift.fix_standin import CLUSTER, ROLE, Warehouse
from tests.services import pyarrow
from tradewind.amazon.redshift.marking import renderer
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
from tradewind.amazon.redshift.unloading import literal, unload_statement, with_values
from tradewind.amazon.s3.files import S3File
from tradewind.hooks.errors import InvalidArgument, NotFound, TransientError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest
from tradewind.operators.projection import Field
from tradewind.postgres.tables import PostgresTable

pytestmark = pytest.mark.anywhere


@pytest.fixture(params=["wire", "data api"])
def place(request: pytest.FixtureRequest, warehouse: Warehouse) -> dict[str, Any]:
    """Return the arguments that say where the warehouse is, in each of the two ways."""
    way: dict[str, Any] = {"conn_id": warehouse.conn_id} if request.param == "wire" else dict(CLUSTER)
    return {**way, "staging": f"s3://{warehouse.bucket}/staging/", "iam_role": ROLE}


@pytest.fixture(autouse=True)
def table(warehouse: Warehouse) -> None:
    warehouse.query(
        "CREATE TABLE t (id int, name varchar(100), amount numeric(20,6), at timestamptz, ok boolean, "
        "more redshift.super)"
    )
    warehouse.query(
        "INSERT INTO t VALUES (1, 'a,\"b\nc', 0.100000, '2026-01-01 10:00+02', true, '{\"k\": [1]}'), "
        "(2, '', NULL, NULL, false, NULL), (3, NULL, -1, '2026-01-01', NULL, '\"x\"')"
    )


def test_a_table_becomes_a_file_of_csv(place: dict[str, Any], warehouse: Warehouse) -> None:
    target = S3File(f"s3://{warehouse.bucket}/out.csv")
    result = copy(RedshiftTable("t", columns=["id", "name", "amount", "at", "ok"], **place), target)
    assert (result.rows, result.counted) == (3, True)
    text = warehouse.s3.read_key(f"s3://{warehouse.bucket}/out.csv")
    assert sorted(text.replace("\nc", "|c").splitlines()) == [
        '1,"a,""b|c",0.100000,2026-01-01 08:00:00+00,t',
        '2,"",,,f',
        "3,,-1.000000,2026-01-01 00:00:00+00,",
        "id,name,amount,at,ok",
    ]
    assert warehouse.keys("staging/") == []


def test_types_travel(place: dict[str, Any], warehouse: Warehouse) -> None:
    pa = pyarrow()
    source = RedshiftQuery("SELECT * FROM t WHERE id = %(id)s;", {"id": 1}, **place)
    copy(source, S3File(f"s3://{warehouse.bucket}/out.parquet"))
    data = warehouse.s3.read(warehouse.bucket, "out.parquet").read()
    [row] = pa.parquet.read_table(io.BytesIO(data)).to_pylist()
    assert row["amount"] == Decimal("0.100000")
    assert row["at"] == dt.datetime(2026, 1, 1, 8, tzinfo=dt.UTC)
    assert (row["id"], row["ok"], json.loads(row["more"])) == (1, True, {"k": [1]})


def test_a_table_is_copied_to_another_database_with_its_types(
    place: dict[str, Any], warehouse: Warehouse, database: Any
) -> None:
    result = copy(RedshiftTable("t", **place), PostgresTable("made", conn_id=database.conn_id), create=True)
    assert result.rows == 3
    assert warehouse.query("SELECT id, name FROM made EXCEPT SELECT id, name FROM t") == []
    kinds = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
    types = [kind for (kind,) in warehouse.query(f"{kinds} WHERE attrelid = 'made'::regclass AND attnum > 0")]
    assert types == ["integer", "text", "numeric(20,6)", "timestamp with time zone", "boolean", "jsonb"]


def test_a_table_is_copied_within_the_warehouse(place: dict[str, Any], warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE u (LIKE t)")
    assert copy(RedshiftTable("t", **place), RedshiftTable("u", **place)).rows == 3
    assert warehouse.query("TABLE u EXCEPT TABLE t") == []
    assert warehouse.keys("staging/") == []


def test_fields_are_chosen_and_cast_in_the_warehouse(place: dict[str, Any], warehouse: Warehouse) -> None:
    source = RedshiftTable(
        "t", columns={"id": Field("number", type="text"), "name": "name"}, constants={"day": "2026\\01"}, **place
    )
    assert sorted(drain(source).replace(b"\nc", b"|c").splitlines()) == [
        b'1,"a,""b|c",2026\\01',
        b'2,"",2026\\01',
        b"3,,2026\\01",
        b"number,name,day",
    ]


def test_the_plan_unloads_nothing(place: dict[str, Any], warehouse: Warehouse) -> None:
    with RedshiftTable("t", **place).open(WORK) as reading:
        plan = S3File(f"s3://{warehouse.bucket}/out.csv").plan(reading, CopyRequest(work=WORK))
    [columns] = plan.columns.values()
    assert list(columns) == ["id", "name", "amount", "at", "ok", "more"]
    assert warehouse.server.statements(r"^\s*unload") == []


def test_what_a_killed_try_left_is_deleted(place: dict[str, Any], warehouse: Warehouse) -> None:
    from tradewind.amazon.redshift.staging import Staging

    source = RedshiftTable("t", **place)
    what = 'out of SELECT "id", "name", "amount", "at", "ok", "more" FROM "public"."t"'
    for number in (-1, 1):
        of_try = replace(WORK, try_number=WORK.try_number + number)
        kept = Staging(place["staging"], of_try, what, "aws_default", None).put("rows-0000_part_00", "x")
    other = warehouse.put("staging/mine", "x")
    drain(source)
    # A newer try may be at work.
    assert {f"s3://{warehouse.bucket}/{key}" for key in warehouse.keys("staging/")} == {other, kept}


def test_what_an_older_unload_writes_after_its_worker_is_gone_is_deleted(
    place: dict[str, Any], warehouse: Warehouse
) -> None:
    late = []

    def run_on(sql: str, number: int) -> None:
        if sql.startswith("UNLOAD"):
            late.append(
                warehouse.put(f"{sql.partition(f's3://{warehouse.bucket}/')[2].split('/1-')[0]}/0-a/rows-1", "x")
            )

    warehouse.server.fault = run_on
    drain(RedshiftTable("t", **place))
    assert len(late) == 1
    assert warehouse.keys("staging/") == []


def test_an_unload_that_breaks_leaves_no_object(place: dict[str, Any], warehouse: Warehouse) -> None:
    warehouse.server.fault = lambda sql, number: "after" if sql.startswith("UNLOAD") else None
    with pytest.raises(TransientError):
        drain(RedshiftTable("t", **place))
    assert len(warehouse.server.statements("^UNLOAD")) == 1
    assert warehouse.keys("staging/") == []


def test_what_is_not_there_is_told(place: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match="there is no table public"):
        drain(RedshiftTable("none", **place))
    with pytest.raises(NotFound):
        drain(RedshiftQuery("SELECT * FROM none", **place))


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        (CsvDialect(), 'a,"x,""y",,""\n,"@n@",é,\n'),
        (CsvDialect(null="NULL"), 'a,"x,""y",NULL,\nNULL,"@n@",é,NULL\n'),
        (CsvDialect(delimiter=";", quote="'"), "a;x,\"y;;''\n;@n@;é;\n"),
    ],
)
def test_rows_are_written_in_the_dialect_that_is_asked_for(asked: CsvDialect, made: str) -> None:
    written = 'a,"x,""y",@n@,\n@n@,"@n@",é,@n@\n'
    assert renderer(CsvDialect(null="@n@"), asked)(written.encode()).decode() == made


@pytest.mark.parametrize(
    ("sql", "parameters", "made"),
    [
        ("a = '%s'", None, "a = '%s'"),
        ("a = %s AND b LIKE 'x%%'", ["it's"], "a = 'it''s' AND b LIKE 'x%'"),
        ("%(a)s, %(b)s, %(a)s", {"a": 1, "b": None}, "1, NULL, 1"),
        ("%s, %s, %s", [True, dt.date(2026, 1, 2), Decimal("1E+3")], "TRUE, '2026-01-02', 1000"),
        ("%s", ["a\\b"], "('a' || CHR(92) || 'b')"),
        ("1-%s", [-1], "1-(-1)"),
    ],
)
def test_values_are_written_into_a_query(sql: str, parameters: Any, made: str) -> None:
    assert with_values(sql, parameters) == made


@pytest.mark.parametrize(
    ("sql", "parameters"), [("%s %s", [1]), ("%s", [1, 2]), ("%(a)s", {"b": 1}), ("%s", [b"x"]), ("%s", [float("nan")])]
)
def test_values_that_cannot_be_written_are_refused(sql: str, parameters: Any) -> None:
    with pytest.raises(InvalidArgument, match="parameters: "):
        with_values(sql, parameters)


def test_a_query_that_cannot_be_quoted_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"the query holds \$\$"):
        unload_statement("SELECT $$a$$", "s3://b/k", "default", "")
    assert literal("x") == "'x'"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sql": " ; "}, "sql must be a query"),
        ({"sql": "SELECT 1", "staging": ""}, "staging is missing"),
        ({"sql": "SELECT 1", "staging": "s3://b/x"}, "whose name ends with /"),
        ({"sql": "SELECT 1", "parameters": "x"}, "must be a list or a dict"),
        ({"sql": "SELECT 1", "conn_id": "a", "workgroup_name": "b", "database": "d"}, "not both"),
    ],
)
def test_a_query_that_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        RedshiftQuery(**{"staging": "s3://b/s/", **given}).check()
