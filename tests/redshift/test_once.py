"""A load happens once: with twins, with a connection that breaks at any statement, with a process killed there."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.redshift.fix_standin import CLUSTER, ROLE, Warehouse
from tradewind.amazon.redshift.staging import Staging
from tradewind.amazon.redshift.tables import RedshiftTable
from tradewind.amazon.s3.files import S3File
from tradewind.hooks.errors import TransientError

pytestmark = pytest.mark.anywhere

RETRY = replace(WORK, try_number=2)


@pytest.fixture(params=["wire", "data api"])
def target(request: pytest.FixtureRequest, warehouse: Warehouse) -> RedshiftTable:
    """Return a table that is there, in each of the two ways to reach it."""
    warehouse.query("CREATE TABLE t (id int, name varchar(10))")
    way: dict[str, Any] = {"conn_id": warehouse.conn_id} if request.param == "wire" else dict(CLUSTER)
    return RedshiftTable("t", staging=f"s3://{warehouse.bucket}/staging/", iam_role=ROLE, **way)


def _at(number: int, when: Any, sql: str, at: int) -> Any:
    return when if at == number else None


def ids(warehouse: Warehouse) -> list[int]:
    return [row[0] for row in warehouse.query("SELECT id FROM t ORDER BY id")]


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_of_twins_one_loads(target: RedshiftTable, warehouse: Warehouse, mode: Any) -> None:
    source = MemoryFiles(b"id,name\n1,a\n2,b\n")
    held, go = threading.Event(), threading.Event()
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    def hold(asked: Any) -> None:
        held.set()
        assert go.wait(60)

    warehouse.server.before_load = hold
    results: list[Any] = []

    def load(work: Any) -> None:
        own = RedshiftTable(**{name: getattr(target, name) for name in NAMES if getattr(target, name)})
        results.append(copy(source, own, work, mode=mode, key=("id",) if mode == "merge" else ()))

    twins = [threading.Thread(target=load, args=[work]) for work in (WORK, RETRY)]
    twins[0].start()
    assert held.wait(60)
    twins[1].start()
    deadline = time.monotonic() + 60
    while not warehouse.query(waiting):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    go.set()
    for twin in twins:
        twin.join(120)
    assert sorted(result.loaded_before is None for result in results) == [False, True]
    assert [result.rows for result in results] == [2, 2]
    assert ids(warehouse) == [1, 2]
    assert warehouse.keys("staging/") == []


NAMES = ("table", "conn_id", "cluster_identifier", "database", "db_user", "staging", "iam_role")


def test_loads_of_other_tables_do_not_wait(target: RedshiftTable, warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE u (LIKE t)")
    held, go = threading.Event(), threading.Event()

    def hold(asked: Any) -> None:
        if '"t"' in asked.table:
            held.set()
            assert go.wait(60)

    warehouse.server.before_load = hold
    first = threading.Thread(target=copy, args=[MemoryFiles(b"id\n1\n"), target])
    first.start()
    assert held.wait(60)
    place = {name: getattr(target, name) for name in NAMES if getattr(target, name)}
    assert copy(MemoryFiles(b"id\n1\n"), RedshiftTable(**{**place, "table": "u"})).rows == 1
    assert ids(warehouse) == []
    go.set()
    first.join(60)
    assert ids(warehouse) == [1]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["staged", "direct"])
def test_a_connection_may_break_at_any_statement(warehouse: Warehouse, kind: str, when: Any) -> None:
    warehouse.query("CREATE TABLE t (id int, name varchar(10))")
    target = RedshiftTable("t", conn_id=warehouse.conn_id, staging=f"s3://{warehouse.bucket}/staging/", iam_role=ROLE)
    url = warehouse.put("in/a.csv", "id,name\n1,a\n2,b\n")
    journal = warehouse.server.journal
    number, broken = 0, 0
    while True:
        number += 1
        warehouse.query("TRUNCATE t")
        start = len(journal)
        work = replace(WORK, run_id=f"run {number}")
        source = S3File(url) if kind == "direct" else MemoryFiles(b"id,name\n1,a\n2,b\n")
        warehouse.server.fault = partial(_at, start + number, when)
        try:
            copy(source, target, work)
        except TransientError:
            broken += 1
        reached = len(journal) >= start + number
        warehouse.server.fault = lambda sql, at: None
        assert ids(warehouse) in ([], [1, 2])
        copy(source, target, replace(work, try_number=2))
        assert ids(warehouse) == [1, 2]
        assert warehouse.keys("staging/") == []
        if not reached:
            break
    assert broken >= 10


def _work(folder: str, connections: dict[str, str], url: str, mode: str) -> None:
    os.environ.update(connections)
    source: Any = S3File(url) if mode == "direct" else MemoryFiles(b"id,name\n1,a\n2,b\n")
    copy(source, RedshiftTable("t", conn_id="rs_kill", staging=folder, iam_role=ROLE))


@pytest.mark.parametrize("kind", ["staged", "direct"])
def test_a_process_may_be_killed_at_any_statement(
    warehouse: Warehouse, connection: Callable[..., str], kind: str, s3_endpoint: str
) -> None:
    warehouse.query("CREATE TABLE t (id int, name varchar(10))")
    base = warehouse.database
    wire = {
        **base.connection(sslmode="disable"), "conn_type": "redshift", "host": "127.0.0.1",
        "port": warehouse.server.port,
    }  # fmt: skip
    aws = {
        "conn_type": "aws", "login": "test", "password": "test",
        "extra": {"endpoint_url": s3_endpoint, "region_name": "us-east-1"},
    }  # fmt: skip
    connections = {"AIRFLOW_CONN_RS_KILL": json.dumps(wire), "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws)}
    connection("rs_kill", wire)
    url, folder = warehouse.put("in/a.csv", "id,name\n1,a\n2,b\n"), f"s3://{warehouse.bucket}/staging/"
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.redshift.test_once", "tradewind.amazon.redshift.hooks", "psycopg2", "boto3"])
    copy(MemoryFiles(b"id\n0\n"), RedshiftTable("t", conn_id="rs_kill", staging=folder, iam_role=ROLE))
    journal, killed = warehouse.server.journal, 0
    for number in range(1, 40, 2):
        warehouse.query("TRUNCATE t; TRUNCATE tradewind_ledger_t")
        start = len(journal)
        process = forks.Process(target=_work, args=(folder, connections, url, kind))

        def kill(sql: str, at: int, start: int = start, number: int = number, process: Any = process) -> None:
            if at == start + number:
                process.kill()

        warehouse.server.fault = kill
        process.start()
        process.join(120)
        warehouse.server.fault = lambda sql, at: None
        if process.exitcode == 0:
            break
        killed += 1
        assert process.exitcode == -9
        source: Any = S3File(url) if kind == "direct" else MemoryFiles(b"id,name\n1,a\n2,b\n")
        copy(source, RedshiftTable("t", conn_id="rs_kill", staging=folder, iam_role=ROLE), RETRY)
        assert ids(warehouse) == [1, 2]
        assert warehouse.keys("staging/") == []
    assert killed >= 8


def test_a_session_of_the_data_api_that_ended_while_rows_were_staged_is_followed_by_another(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.amazon.redshift.sessions.KEEP_ALIVE", 1)
    write = Staging.write

    def long(*given: Any, **options: Any) -> Any:
        assert warehouse.api.sessions
        found = write(*given, **options)
        deadline = time.monotonic() + 30
        while warehouse.api.sessions and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    monkeypatch.setattr(Staging, "write", long)
    warehouse.query("CREATE TABLE t (id int)")
    place: dict[str, Any] = {**CLUSTER, "staging": f"s3://{warehouse.bucket}/staging/", "iam_role": ROLE}

    result = copy(MemoryFiles(b"id\n1\n2\n"), RedshiftTable("t", **place))

    assert result.rows == 2
    assert warehouse.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
