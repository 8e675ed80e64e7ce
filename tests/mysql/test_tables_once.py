"""Exactly once: twins at the same time, killed backends, and the ledger itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, MemoryReading, copy
from tests.fix_mysql import MySqlDatabase
from tradewind.hooks.errors import AccessDenied, ConnectionFailed
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyResult, Part, Reading
from tradewind.operators.types import Arrays


class Gate:
    """A stream that stops in the middle until it is let on."""

    def __init__(self, data: bytes, reached: threading.Event, go: threading.Event) -> None:
        self._rest = [data[: len(data) // 2], data[len(data) // 2 :]]
        self._reached = reached
        self._go = go

    def read(self, size: int = -1, /) -> bytes:
        if len(self._rest) == 1:
            self._reached.set()
            assert self._go.wait(30)
        return self._rest.pop(0) if self._rest else b""

    def close(self) -> None:
        pass


class GatedFiles(MemoryFiles):
    """One file that stops half way."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reached, self.go = threading.Event(), threading.Event()

    def open(self, work: Any) -> Any:
        source = self

        class Gated(MemoryReading):
            def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Any:
                data = source.contents[0]
                yield Part("gated.csv", lambda: Gate(data, source.reached, source.go), source.dialect)

        class Opened:
            def __enter__(self) -> Reading:
                return Gated(source)

            def __exit__(self, *_: object) -> None:
                return None

        return Opened()


DATA = b"id\n" + b"".join(b"%d\n" % number for number in range(20_000))


def target(database: MySqlDatabase) -> MySqlTable:
    """Every try has ends of its own, as in Airflow."""
    return MySqlTable("t", conn_id=database.conn_id)


@pytest.fixture
def table(mysql_database: MySqlDatabase) -> MySqlDatabase:
    mysql_database.query("CREATE TABLE t (id int)")
    return mysql_database


def in_thread(call: Callable[[], CopyResult]) -> tuple[threading.Thread, list[CopyResult | BaseException]]:
    outcome: list[CopyResult | BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def wait_for_lock(database: MySqlDatabase) -> None:
    query = (
        "SELECT count(*) FROM information_schema.processlist "
        "WHERE db = DATABASE() AND state IN ('User lock', 'Update') AND info LIKE 'SELECT GET_LOCK%'"
    )
    pause = threading.Event()
    while database.query(query) != [(1,)]:
        pause.wait(0.01)


@pytest.mark.parametrize("mode", ["append", "replace", "merge"])
def test_the_second_of_two_tries_waits_and_reports_the_first(
    table: MySqlDatabase, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked: dict[str, Any] = {"mode": mode, "key": ("id",) if mode == "merge" else ()}
    gated = GatedFiles(DATA)
    first, one = in_thread(lambda: copy(gated, target(table), **asked))
    assert gated.reached.wait(30)
    with caplog.at_level(logging.INFO):
        second, two = in_thread(lambda: copy(MemoryFiles(DATA), target(table), **asked))
        wait_for_lock(table)
        gated.go.set()
        first.join(30)
        second.join(30)
    assert isinstance(one[0], CopyResult)
    assert isinstance(two[0], CopyResult)
    assert (one[0].loaded_before, two[0].rows) == (None, 20_000)
    assert two[0].loaded_before is not None
    assert table.query("SELECT count(*), count(DISTINCT id) FROM t") == [(20_000, 20_000)]
    assert "is loading" in caplog.text
    assert "loaded by try 1" in caplog.text


def test_a_killed_backend_leaves_the_table_and_its_twin_goes_on(table: MySqlDatabase) -> None:
    table.query("INSERT INTO t VALUES (-1)")
    gated = GatedFiles(DATA)
    first, one = in_thread(lambda: copy(gated, target(table)))
    assert gated.reached.wait(30)
    second, two = in_thread(lambda: copy(MemoryFiles(DATA), target(table)))
    wait_for_lock(table)
    (number,) = [row[0] for row in table.running() if str(row[2]).startswith("LOAD DATA")]
    table.query(f"KILL CONNECTION {number}")
    gated.go.set()
    first.join(30)
    second.join(30)
    assert isinstance(one[0], ConnectionFailed)
    assert isinstance(two[0], CopyResult)
    assert two[0].loaded_before is None
    assert table.query("SELECT count(*), count(DISTINCT id) FROM t") == [(20_001, 20_001)]
    assert table.query("SELECT try, `rows` FROM tradewind_ledger") == [(1, 20_000)]


def test_readers_never_see_a_replaced_table_empty(table: MySqlDatabase) -> None:
    table.query("INSERT INTO t SELECT seq FROM seq_1_to_100")
    gated = GatedFiles(DATA)
    thread, outcome = in_thread(lambda: copy(gated, target(table), mode="replace"))
    assert gated.reached.wait(30)
    assert table.query("SELECT count(*) FROM t") == [(100,)]
    gated.go.set()
    thread.join(30)
    assert isinstance(outcome[0], CopyResult)
    assert table.query("SELECT count(*) FROM t") == [(20_000,)]


def test_first_users_of_a_ledger_at_the_same_time(table: MySqlDatabase) -> None:
    with ThreadPoolExecutor(6) as pool:
        works = [replace(WORK, task_id=f"task {number}") for number in range(6)]
        results = list(pool.map(lambda work: copy(MemoryFiles(b"id\n1\n"), target(table), work), works))
    assert [result.loaded_before for result in results] == [None] * 6
    assert table.query("SELECT count(*) FROM t") == [(6,)]


def test_many_twins_at_the_same_time_load_once(table: MySqlDatabase) -> None:
    for number in range(10):
        with ThreadPoolExecutor(3) as pool:
            works = [replace(WORK, run_id=f"run {number}")] * 3
            results = list(pool.map(lambda work: copy(MemoryFiles(b"id\n1\n2\n"), target(table), work), works))
        assert sorted(result.loaded_before is None for result in results) == [False, False, True]
    assert table.query("SELECT count(*) FROM t") == [(20,)]


def test_a_later_try_ends_the_earlier_one_and_loads(table: MySqlDatabase) -> None:
    gated = GatedFiles(DATA)
    first, one = in_thread(lambda: copy(gated, target(table)))
    assert gated.reached.wait(30)
    assert copy(MemoryFiles(DATA), target(table), replace(WORK, try_number=2)).loaded_before is None
    gated.go.set()
    first.join(30)
    assert isinstance(one[0], ConnectionFailed)
    assert table.query("SELECT count(*), count(DISTINCT id) FROM t") == [(20_000, 20_000)]
    assert table.query("SELECT try, `rows` FROM tradewind_ledger") == [(2, 20_000)]


def test_a_user_that_may_not_create_the_ledger_is_told_what_to_run(
    table: MySqlDatabase, connection: Callable[..., str]
) -> None:
    user = f"user_{table.name[-12:]}"
    table.query(f"CREATE USER {user} IDENTIFIED BY 'x'; GRANT INSERT, SELECT ON t TO {user}")
    try:
        conn_id = connection(f"my_{user}", {**table.connection(), "login": user, "password": "x"})
        limited = MySqlTable("t", conn_id=conn_id)
        with pytest.raises(
            AccessDenied, match=r"have somebody run (CREATE TABLE IF NOT EXISTS .*) and grant"
        ) as caught:
            copy(MemoryFiles(b"id\n1\n"), limited)
        ddl = str(caught.value).split("have somebody run ")[1].split(" and grant")[0]
        table.query(f"{ddl}; GRANT SELECT, INSERT, UPDATE, DELETE ON tradewind_ledger TO {user}")
        assert copy(MemoryFiles(b"id\n1\n"), limited).rows == 1
    finally:
        table.query(f"DROP USER {user}")


def test_the_ledger_may_be_elsewhere_and_forgets_old_entries(table: MySqlDatabase) -> None:
    end = MySqlTable("t", conn_id=table.conn_id, ledger="`the ledger`", ledger_days=30)
    copy(MemoryFiles(b"id\n1\n"), end)
    table.query("UPDATE `the ledger` SET loaded_at = UTC_TIMESTAMP(6) - INTERVAL 31 DAY")
    for number in range(100):
        copy(MemoryFiles(b"id\n1\n"), end, replace(WORK, run_id=str(number)))
        if table.query("SELECT count(*) FROM `the ledger` WHERE run_id = %s", [WORK.run_id]) == [(0,)]:
            break
    else:
        pytest.fail("the old entry was never pruned")


def test_the_ledger_says_what_was_loaded(table: MySqlDatabase) -> None:
    copy(MemoryFiles(b"id\n1\n"), target(table))
    found = table.query(
        "SELECT dag_id, run_id, task_id, map_index, try, target, source, mode, `rows`, bytes, files, "
        "JSON_VALUE(result, '$.plan') FROM tradewind_ledger"
    )
    assert found == [
        (
            "dag",
            "run 1",
            "load",
            -1,
            1,
            f"{table.name}.t",
            "memory",
            "append",
            1,
            5,
            1,
            f"LOAD DATA into {table.name}.t",
        )
    ]
