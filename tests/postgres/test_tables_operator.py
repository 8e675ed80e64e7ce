"""The ends in PostgreSQL under the operator that DAG authors write."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_copies import MemoryFiles
from tests.fix_postgres import Database
from tradewind.hooks.compat import Context
from tradewind.operators.copy import CopyOperator
from tradewind.postgres.tables import PostgresQuery, PostgresTable


def test_templates_are_rendered_and_retries_load_nothing(database: Database, context: Callable[..., Context]) -> None:
    def operator() -> CopyOperator:
        return CopyOperator(
            task_id="load",
            source=PostgresQuery("SELECT %s AS day, 1 AS n", ["{{ ds }}"], conn_id=database.conn_id),
            target=PostgresTable("made_{{ ds_nodash }}", conn_id=database.conn_id),
            create=True,
            retries=3,
        )

    for number in (1, 2):
        task = operator()
        result = task.execute(context(task, try_number=number, render=True))
        assert (result["rows"], result["loaded_before"] is None) == (1, number == 1)
    assert database.query("SELECT day::text, n FROM made_20260102") == [("2026-01-02", 1)]


def test_a_signal_stops_the_load_in_the_server(database: Database, context: Callable[..., Context]) -> None:
    database.query("CREATE TABLE t (a text)")
    task = CopyOperator(
        task_id="load",
        source=PostgresQuery("SELECT pg_sleep(60)::text AS a", conn_id=database.conn_id),
        target=PostgresTable("t", conn_id=database.conn_id),
    )

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        task.on_kill()
        raise Killed

    def send() -> None:
        while database.query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (%'") != [(1,)]:
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGUSR1)

    main = threading.main_thread().ident or 0
    before = signal.signal(signal.SIGUSR1, kill)
    sender = threading.Thread(target=send)
    try:
        sender.start()
        started = time.monotonic()
        with pytest.raises(Killed):
            task.execute(context(task))
        assert time.monotonic() - started < 30
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    while database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ) != [(0,)]:
        assert time.monotonic() - started < 30
        time.sleep(0.02)
    assert database.query("SELECT * FROM t") == []


def test_a_merge_of_a_file_under_the_operator(database: Database, context: Callable[..., Context]) -> None:
    task = CopyOperator(
        task_id="load",
        source=MemoryFiles(b"id,name\n1,a\n2,b\n"),
        target=PostgresTable("t", conn_id=database.conn_id),
        mode="merge",
        key="id",
        create=True,
    )
    result = task.execute(context(task, render=True))
    assert (result["inserted"], result["updated"], result["files"]) == (2, 0, ["memory/1.csv"])
    assert database.query("TABLE t") == [(1, "a"), (2, "b")]
