"""Redshift's rows without a bucket: through a cursor over the wire, page by page from the Data API."""

from __future__ import annotations

import logging
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.fix_copies import WORK, copy, drain
from tests.redshift.fix_standin import CLUSTER, ROLE, Warehouse
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
from tradewind.amazon.s3.files import S3File
from tradewind.hooks.errors import InvalidArgument, NotFound, TradewindError
from tradewind.operators.copy import CopyOperator
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.projection import Field
from tradewind.postgres.tables import PostgresTable

pytestmark = pytest.mark.anywhere


@pytest.fixture(params=["wire", "data api"])
def place(request: pytest.FixtureRequest, warehouse: Warehouse) -> dict[str, Any]:
    """Return the arguments that say where the warehouse is, in each of the two ways."""
    return {"conn_id": warehouse.conn_id} if request.param == "wire" else dict(CLUSTER)


@pytest.fixture
def table(warehouse: Warehouse) -> None:
    warehouse.query(
        "CREATE TABLE t (id int, name varchar(100), amount numeric(20,6), at timestamptz, ok boolean, half float8, "
        "small smallint, long bigint, day date, hour time, local timestamp, more redshift.super)"
    )
    rows = [
        """1, E'a,"b\\nc\\r', 0.100000, '2026-01-01 10:00+02', true, 0.1::float8 + 0.2, 1, 9007199254740993, """
        """'2026-02-01', '10:00:00.5', '2026-01-01 00:00:00.000001', '{"k": [1]}'""",
        "2, '', NULL, NULL, false, 'NaN', NULL, -1, NULL, NULL, NULL, NULL",
        """3, NULL, -1, '2026-01-01', NULL, 1e300, 2, NULL, '0001-01-01', '00:00', '2026-01-01', '"x"'""",
    ]
    warehouse.query(f"INSERT INTO t VALUES ({'), ('.join(rows)})")


@pytest.mark.parametrize("asked", [CsvDialect(), CsvDialect(delimiter=";", quote="'", null="NULL", header=False)])
@pytest.mark.usefixtures("table")
def test_the_bytes_are_those_of_an_unload(place: dict[str, Any], warehouse: Warehouse, asked: CsvDialect) -> None:
    query = (
        "SELECT id, name, amount, at, ok, half, small, long, day, local, more FROM t WHERE half <> 'NaN' ORDER BY id"
    )
    unloaded = drain(RedshiftQuery(query, staging=f"s3://{warehouse.bucket}/s/", iam_role=ROLE, **place), asked)
    fetched = drain(RedshiftQuery(query, **place), asked)
    if "conn_id" not in place:  # as this service's stand-in writes moments
        fetched = fetched.replace(b"+00:00", b"+00")
    assert fetched == unloaded
    assert fetched.count(b"\n") > 2
    assert len(warehouse.server.statements("^UNLOAD")) == 1


@pytest.mark.usefixtures("table")
def test_a_table_is_copied_to_another_database_with_its_types(
    place: dict[str, Any], warehouse: Warehouse, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        result = copy(RedshiftTable("t", **place), PostgresTable("made", conn_id=database.conn_id), create=True)
    assert (result.rows, result.counted) == (3, True)
    left = "SELECT id, name, amount, at, ok, half, small, long, day, local, more::text FROM"
    assert warehouse.query(f"{left} made EXCEPT {left} t") == []
    kinds = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
    types = [kind for (kind,) in warehouse.query(f"{kinds} WHERE attrelid = 'made'::regclass AND attnum > 0")]
    assert types[:6] == ["integer", "text", "numeric(20,6)", "timestamp with time zone", "boolean", "double precision"]
    assert "for no staging= is given" in caplog.text
    assert warehouse.keys() == []


@pytest.mark.usefixtures("table")
def test_fields_are_chosen_and_cast_in_the_warehouse(place: dict[str, Any]) -> None:
    source = RedshiftTable("t", columns={"id": Field("number", type="text"), "ok": "ok"}, constants={"n": 1}, **place)
    assert sorted(drain(source).splitlines()) == [b"1,t,1", b"2,f,1", b"3,,1", b"number,ok,n"]


def test_many_rows_come_in_order_and_in_pieces(place: dict[str, Any], warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE t AS SELECT n FROM generate_series(1, 2500) AS n")
    source = RedshiftQuery("SELECT n FROM t ORDER BY n", **place)
    assert drain(source).split() == [b"n", *(str(n).encode() for n in range(1, 2501))]
    asked = warehouse.server.statements("^FETCH")
    if "conn_id" in place:
        assert asked == ["FETCH FORWARD 1000 FROM tradewind_rows"] * 4
    else:
        assert asked == []


def test_what_does_not_fit_into_memory_does_not_have_to(warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE t AS SELECT n, repeat('x', 900) AS text FROM generate_series(1, 60000) AS n")
    source = RedshiftQuery("SELECT * FROM t", conn_id=warehouse.conn_id)
    with source.open(WORK) as reading:
        [part] = reading.parts()
        tracemalloc.start()
        try:
            with closing(part.open()) as stream:
                read = 0
                while data := stream.read(1 << 18):
                    read += len(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert read > 54_000_000
    assert peak < 20_000_000


@pytest.fixture
def slow(warehouse: Warehouse) -> str:
    """Return a query that takes long."""
    return "SELECT n, pg_sleep(0.01)::text AS waited FROM generate_series(1, 100000) AS n"


def _running(warehouse: Warehouse) -> int:
    look = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ 'pg_sleep|^FETCH' "
        "AND pid <> pg_backend_pid()"
    )
    return int(warehouse.query(look)[0][0])


def _wait_for(warehouse: Warehouse, number: int) -> None:
    for _ in range(600):
        if _running(warehouse) == number:
            return
        time.sleep(0.05)
    raise AssertionError


def test_a_cancel_ends_the_query(place: dict[str, Any], warehouse: Warehouse, slow: str) -> None:
    source = RedshiftQuery(slow, **place)
    failed: list[BaseException] = []

    def read() -> None:
        try:
            drain(source)
        except (TradewindError, ValueError) as error:
            failed.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    _wait_for(warehouse, 1)
    source.cancel()
    thread.join(30)
    assert not thread.is_alive()
    assert len(failed) == 1
    _wait_for(warehouse, 0)


def test_who_reads_no_further_leaves_nothing_running(warehouse: Warehouse, slow: str) -> None:
    with RedshiftQuery(slow, conn_id=warehouse.conn_id).open(WORK) as reading:
        [part] = reading.parts()
        part.open()
        _wait_for(warehouse, 1)
    _wait_for(warehouse, 0)


def test_a_query_that_fails_half_way_is_an_error(place: dict[str, Any], warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE t AS SELECT n FROM generate_series(1, 2500) AS n")
    source = RedshiftQuery("SELECT 1 / (2400 - n) AS x FROM t ORDER BY n", **place)
    target = S3File(f"s3://{warehouse.bucket}/out.csv")
    with pytest.raises(TradewindError, match="division by zero"):
        copy(source, target)
    assert warehouse.keys() == []


def test_a_connection_that_breaks_between_two_pieces_is_an_error(warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE t AS SELECT n FROM generate_series(1, 2500) AS n")
    fetches: Iterator[int] = iter(range(10))
    warehouse.server.fault = lambda sql, number: "before" if sql.startswith("FETCH") and next(fetches) == 2 else None
    with pytest.raises(TradewindError):
        drain(RedshiftQuery("SELECT n FROM t", conn_id=warehouse.conn_id))


def test_what_is_not_there_is_told(place: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match="there is no table public"):
        drain(RedshiftTable("none", **place))
    with pytest.raises(NotFound):
        drain(RedshiftQuery("SELECT * FROM none", **place))


def test_a_load_needs_a_folder_all_the_same() -> None:
    source = RedshiftQuery("SELECT 1 AS x", conn_id="w")
    CopyOperator(task_id="out", source=source, target=S3File("s3://b/k.csv"))
    with pytest.raises(InvalidArgument, match="staging is missing"):
        CopyOperator(task_id="load", source=source, target=RedshiftTable("t", conn_id="w"))
