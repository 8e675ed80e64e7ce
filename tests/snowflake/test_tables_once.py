"""A load happens once: twins, kills, lost answers."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tradewind.hooks.errors import Superseded, TransientError
from tradewind.operators.copy import CopyOperator
from tradewind.operators.expectations import NotNull
from tradewind.operators.local_files import LocalFile
from tradewind.snowflake.copying import copy_files
from tradewind.snowflake.ledger import Ledger
from tradewind.snowflake.names import TableName
from tradewind.snowflake.session import SnowflakeSession
from tradewind.snowflake.tables import SnowflakeTable

pytestmark = pytest.mark.anywhere

Try = Callable[..., dict[str, Any]]


@pytest.fixture
def make_try(snowflake_database: SnowflakeDatabase, tmp_path: Path, context: Callable[..., Any]) -> Try:
    """Return what runs one try of a load of two rows."""
    snowflake_database.query("CREATE TABLE t (id INTEGER, name VARCHAR)")
    path = tmp_path / "in.csv"
    path.write_text("id,name\n1,a\n2,b\n")

    def run(number: int, **arguments: Any) -> dict[str, Any]:
        operator = CopyOperator(task_id="load", source=LocalFile(str(path)), target=SnowflakeTable("t"), **arguments)
        made = context(operator, run_id="run", try_number=number, max_tries=3)
        result: dict[str, Any] = inspect.unwrap(type(operator).execute)(operator, made)
        return result

    return run


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two loads go on when both have their rows in the table, in open transactions, and not before."""
    barrier = threading.Barrier(2, timeout=60)

    def copy(*given: Any, **named: Any) -> int:
        rows = copy_files(*given, **named)
        barrier.wait()
        return rows

    monkeypatch.setattr("tradewind.snowflake.loading.copy_files", copy)


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("arguments", [{}, {"mode": "merge", "key": "id"}], ids=["append", "merge"])
def test_of_two_tries_at_once_one_loads(
    make_try: Try, snowflake_database: SnowflakeDatabase, arguments: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = [each.result() for each in [pool.submit(make_try, number, **arguments) for number in (1, 2)]]

    assert snowflake_database.query("SELECT * FROM t ORDER BY id") == [(1, "a"), (2, "b")]
    assert [each["rows"] for each in results] == [2, 2]
    assert [each["loaded_before"] for each in results].count(None) == 1
    assert snowflake_database.query("SELECT COUNT(*) FROM tradewind_ledger WHERE loaded_at IS NULL AND rows > 0") == [
        (0,)
    ]


@pytest.mark.usefixtures("together")
def test_two_merges_of_one_new_key_make_one_row(
    snowflake_database: SnowflakeDatabase, tmp_path: Path, context: Callable[..., Any]
) -> None:
    snowflake_database.query("CREATE TABLE t (id INTEGER, name VARCHAR)")

    def run(name: str) -> dict[str, Any]:
        path = tmp_path / f"{name}.csv"
        path.write_text(f"id,name\n7,{name}\n")
        operator = CopyOperator(
            task_id=name, source=LocalFile(str(path)), target=SnowflakeTable("t"), mode="merge", key="id"
        )
        result: dict[str, Any] = inspect.unwrap(type(operator).execute)(operator, context(operator))
        return result

    with ThreadPoolExecutor(2) as pool:
        results = [each.result() for each in [pool.submit(run, name) for name in ("one", "other")]]

    [(number, name)] = snowflake_database.query("SELECT * FROM t")
    assert number == 7
    assert name in ("one", "other")
    assert sorted((each["inserted"], each["updated"]) for each in results) == [(0, 1), (1, 0)]


def test_a_commit_whose_answer_is_lost_is_found_by_the_retry(
    make_try: Try, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Ledger.finish

    def lose(self: Any, *given: Any) -> None:
        finish(self, *given)
        self.session.commit()
        raise TransientError("the answer is lost")

    monkeypatch.setattr(Ledger, "finish", lose)
    with pytest.raises(TransientError):
        make_try(1)
    monkeypatch.setattr(Ledger, "finish", finish)

    assert make_try(2)["loaded_before"] is not None
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(2,)]


def test_a_try_that_fails_at_the_end_leaves_nothing_and_the_retry_loads(
    make_try: Try, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_recall", lambda self, token: (_ for _ in ()).throw(TransientError("cut")))
        with pytest.raises(TransientError):
            make_try(1)
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(0,)]

    assert make_try(2)["loaded_before"] is None
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(2,)]


@pytest.mark.parametrize("arguments", [{}, {"mode": "replace"}], ids=["append", "replace"])
def test_what_a_worker_that_is_gone_has_left_open_is_ended_by_the_retry(
    make_try: Try, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
) -> None:
    def vanish(self: Ledger, tokens: list[str], result: Any) -> None:
        self._lock(tokens)
        raise KeyboardInterrupt

    gone: list[SnowflakeSession] = []
    with monkeypatch.context() as patch:  # nobody is left who would roll back or close the session
        patch.setattr(Ledger, "finish", vanish)
        patch.setattr(SnowflakeSession, "rollback", lambda self: None)
        patch.setattr(SnowflakeSession, "close", lambda self: gone.append(self))
        with pytest.raises(KeyboardInterrupt):
            make_try(1, **arguments)
    assert make_try(2, **arguments)["loaded_before"] is None
    assert snowflake_database.query("SELECT * FROM t ORDER BY id") == [(1, "a"), (2, "b")]
    for session in gone:
        session.close()


def test_a_try_whose_transaction_was_ended_by_a_newer_one_commits_nothing(
    make_try: Try, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Ledger._lock
    newer: list[dict[str, Any]] = []

    def overtaken(self: Ledger, tokens: list[str]) -> None:
        monkeypatch.setattr(Ledger, "_lock", lock)
        newer.append(make_try(2))
        lock(self, tokens)

    monkeypatch.setattr(Ledger, "_lock", overtaken)
    older = make_try(1)

    assert newer[0]["loaded_before"] is None
    assert older["loaded_before"] is not None
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(2,)]


def test_a_try_whose_transaction_somebody_has_ended_says_so(
    make_try: Try, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Ledger._lock

    def ended(self: Ledger, tokens: list[str]) -> None:
        [(number,)] = self.session.query("SELECT CURRENT_TRANSACTION()")
        self.session.query(f"SELECT SYSTEM$ABORT_TRANSACTION({number})")
        lock(self, tokens)

    monkeypatch.setattr(Ledger, "_lock", ended)
    with pytest.raises(Superseded, match="has ended this one's transaction"):
        make_try(1)

    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(0,)]
    assert snowflake_database.query("SELECT COUNT(*) FROM tradewind_ledger WHERE loaded_at IS NOT NULL") == [(0,)]


@pytest.mark.parametrize(
    "arguments",
    [{"mode": "merge", "key": "id"}, {"expect": [NotNull("id", of="load")]}],
    ids=["merge", "append"],
)
def test_a_try_whose_staged_rows_are_gone_commits_nothing(
    make_try: Try, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
) -> None:
    def copy(session: SnowflakeSession, *given: Any, **named: Any) -> int:
        rows = copy_files(session, *given, **named)
        [(number,)] = session.query("SELECT CURRENT_TRANSACTION()")
        session.query(f"SELECT SYSTEM$ABORT_TRANSACTION({number})")
        return rows

    with monkeypatch.context() as patched:
        patched.setattr("tradewind.snowflake.loading.copy_files", copy)
        with pytest.raises(Superseded, match="0 of 2 staged rows are there"):
            make_try(1, **arguments)

    assert snowflake_database.query("SELECT COUNT(*) FROM tradewind_ledger WHERE loaded_at IS NOT NULL") == [(0,)]
    assert make_try(2, **arguments)["rows"] == 2
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(2,)]


def test_old_entries_are_forgotten(make_try: Try, snowflake_database: SnowflakeDatabase) -> None:
    make_try(1)
    snowflake_database.query("UPDATE tradewind_ledger SET claimed_at = DATEADD(DAY, -100, SYSDATE())")
    with snowflake_database.hook().session() as session:
        assert Ledger(session, TableName("TRADEWIND_LEDGER", "S", snowflake_database.name), 101).prune() == 0
        assert Ledger(session, TableName("TRADEWIND_LEDGER", "S", snowflake_database.name), 99).prune() == 1
