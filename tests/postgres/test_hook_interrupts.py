"""A signal, a cut, a dead peer: what runs in the server ends."""

from __future__ import annotations

import itertools
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.fix_postgres import Database, half_deaf_proxy, postgres_child
from tests.postgres.sessions import once_it_sleeps, until_alone, until_it_sleeps
from tradewind.hooks.errors import ConnectionFailed, TimedOut, TransientError
from tradewind.hooks.libpq import session as session_module
from tradewind.hooks.libpq.cancel import CancelRequest
from tradewind.hooks.libpq.errors import QueryCancelled
from tradewind.postgres.hooks import PostgresHook

pytestmark = pytest.mark.anywhere

# Each program says "ready" once its statement is about to run.
SLEEPS = """
with hook.session() as session:
    session.execute("CREATE TABLE t (a int)")
    session.execute("INSERT INTO t VALUES (1)")
    print("ready", flush=True)
    session.execute("SELECT pg_sleep(60)")
"""
COPIES_OUT = """
class Slow:
    def write(self, data):
        print("ready", flush=True)
        time.sleep(0.05)
with hook.session() as session:
    session.copy_out("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO STDOUT", Slow())
"""
COPIES_IN = """
class Endless:
    def read(self, size):
        print("ready", flush=True)
        time.sleep(0.01)
        return b"1\\n" * 1000
with hook.session() as session:
    session.execute("CREATE TABLE t (a int)")
    session.copy_in("COPY t FROM STDIN", Endless())
"""
STALLS = """
class Stalled:
    def read(self, size):
        print("ready", flush=True)
        time.sleep(600)
with hook.session() as session:
    session.execute("CREATE TABLE t (a int)")
    session.copy_in("COPY t FROM STDIN", Stalled())
"""
CURSOR = """
with hook.session() as session:
    for row in session.stream("SELECT generate_series(1, 1000000000)", itersize=1000):
        if row == (1,):
            print("ready", flush=True)
"""
IDLE = """
with hook.session() as session:
    session.execute("CREATE TABLE t (a int)")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    "program",
    [SLEEPS, COPIES_OUT, COPIES_IN, CURSOR],
    ids=["statement", "copy out", "copy in", "server-side cursor"],
)
def test_sigterm_ends_what_runs_within_two_seconds(database: Database, program: str) -> None:
    with postgres_child(database, program) as child:
        if program == SLEEPS:
            until_it_sleeps(database)
        child.send_signal(signal.SIGTERM)
        until_alone(database, 2.0)
        assert child.wait(5) == 143
        assert "on_kill" in child.stdout.read()  # the handler ran while the statement did
    assert not database.query("SELECT to_regclass('t')")[0][0]


def test_sigterm_ends_a_copy_whose_source_stalls(database: Database) -> None:
    """A server that waits for COPY data takes no cancel: its connection is cut."""
    with postgres_child(database, STALLS) as child:
        child.send_signal(signal.SIGTERM)
        took = until_alone(database, 10.0)
        assert took > 1
        assert child.wait(15) == 143


@pytest.mark.parametrize(
    ("program", "patience"),
    [(SLEEPS, 6.5), (COPIES_OUT, 2.0), (COPIES_IN, 2.0), (IDLE, 2.0)],
    ids=["statement", "copy out", "copy in", "idle in transaction"],
)
def test_sigkill_is_seen_by_the_server(
    database: Database, program: str, patience: float, record_property: Callable[[str, object], None]
) -> None:
    with postgres_child(database, program) as child:
        if program == SLEEPS:
            until_it_sleeps(database)
        child.kill()
        record_property("seconds", until_alone(database, patience))
    assert not database.query("SELECT to_regclass('t')")[0][0]


def sleep(hook: PostgresHook, seconds: float = 30) -> None:
    with hook.session() as session:
        session.execute("CREATE TABLE t (a int)")
        session.execute("SELECT pg_sleep(%s)", [seconds])


def test_cancel_from_another_thread(hook: PostgresHook, database: Database) -> None:
    with (
        once_it_sleeps(database, hook.cancel),
        pytest.raises(QueryCancelled, match="canceling statement due to user request"),
    ):
        sleep(hook)
    assert not database.query("SELECT to_regclass('t')")[0][0]


def cancel_while_idle(hook: PostgresHook) -> None:
    with hook.session() as session:
        session.execute("CREATE TABLE t (a int)")
        hook.cancel()


def test_nothing_runs_after_a_cancel(hook: PostgresHook, database: Database) -> None:
    with pytest.raises(QueryCancelled, match="nothing more is run"):
        cancel_while_idle(hook)
    assert not database.query("SELECT to_regclass('t')")[0][0]


def test_a_cancel_just_before_a_statement_begins_ends_it_at_once(
    hook: PostgresHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal may come between the decision to run a statement and its first byte: there is nothing to wait for."""
    cuts: list[object] = []
    monkeypatch.setattr("tradewind.hooks.libpq.session.LibpqSession._shut_down", cuts.append)
    real = session_module.interruptible

    def late(call: Callable[[], object], stop: Callable[[], None]) -> object:
        hook.cancel()
        return real(call, stop)

    def run() -> None:
        with hook.session() as session:
            monkeypatch.setattr(session_module, "interruptible", late)
            session.execute("SELECT pg_sleep(60)")

    with pytest.raises(QueryCancelled, match="nothing more is run"):
        run()
    assert not cuts


def test_a_cancel_that_overtakes_its_statement_is_sent_again(
    hook: PostgresHook, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[object] = []
    monkeypatch.setattr("tradewind.hooks.libpq.session.LibpqSession._shut_down", cuts.append)
    sent: list[float] = []
    real = CancelRequest.send

    def first_is_lost(request: CancelRequest) -> None:
        sent.append(time.monotonic())
        if len(sent) > 1:
            real(request)

    monkeypatch.setattr(CancelRequest, "send", first_is_lost)
    with once_it_sleeps(database, hook.cancel), pytest.raises(QueryCancelled):
        sleep(hook)
    assert len(sent) > 1
    assert not cuts


def test_what_a_reader_raises_comes_back_and_the_copy_is_undone(hook: PostgresHook, database: Database) -> None:
    class Breaks:
        def __init__(self) -> None:
            self.data = [b"1\n", b"2\n"]

        def read(self, size: int = -1) -> bytes:
            if self.data:
                return self.data.pop()
            raise OSError("the disk is gone")

    database.query("CREATE TABLE t (a int)")
    with pytest.raises(OSError, match="the disk is gone"):
        hook.copy_in("COPY t FROM STDIN", Breaks())
    assert database.query("SELECT count(*) FROM t") == [(0,)]


def test_what_a_writer_raises_comes_back(hook: PostgresHook, database: Database) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        hook.copy_out("COPY (SELECT generate_series(1, 1000000)) TO STDOUT", Full())
    until_alone(database, 2.0)


def test_a_cancel_that_gets_no_answer_freezes_nothing(
    database: Database, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is accepted and never answered: the other threads run on, and the connection is cut."""
    monkeypatch.setattr("tradewind.hooks.libpq.session.CANCEL_PATIENCE", 0.5)
    with half_deaf_proxy(database.host, database.port) as port:
        connection("proxied", {**database.connection(), "host": "127.0.0.1", "port": port})
        ticks: list[float] = []
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(0.05):
                ticks.append(time.monotonic())

        threading.Thread(target=tick).start()
        hook = PostgresHook("proxied")
        try:
            with once_it_sleeps(database, hook.cancel), pytest.raises(ConnectionFailed):
                sleep(hook)
        finally:
            ended.set()
    assert max(later - earlier for earlier, later in itertools.pairwise(ticks)) < 0.5
    until_alone(database, 7.0)


@pytest.mark.parametrize("timeout", [0.2, "200ms"])
def test_a_statement_timeout(database: Database, timeout: float | str) -> None:
    with pytest.raises(TimedOut, match="statement timeout"):
        PostgresHook(database.conn_id, statement_timeout=timeout).run("SELECT pg_sleep(30)")


def test_a_lock_timeout(database: Database, hook: PostgresHook) -> None:
    database.query("CREATE TABLE t (a int)")
    with hook.session() as holder:
        holder.execute("LOCK TABLE t")
        with pytest.raises(TimedOut, match="lock timeout"):
            PostgresHook(database.conn_id, lock_timeout=0.1).run("SELECT * FROM t")


def test_a_connect_timeout(connection: Callable[..., str]) -> None:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        connection(
            "deaf", {"conn_type": "postgres", "host": "127.0.0.1", "port": port, "extra": {"connect_timeout": 2}}
        )
        started = time.monotonic()
        with pytest.raises(TimedOut, match="timeout expired"):
            PostgresHook("deaf").get_conn()
        assert time.monotonic() - started < 5


def test_a_server_that_goes_away_is_a_transient_error(
    tmp_path_factory: pytest.TempPathFactory, connection: Callable[..., str]
) -> None:
    from tradewind.local.postgres import PostgresServer

    with PostgresServer(tmp_path_factory.mktemp("going")) as server:
        connection("going", server.dsn())
        hook = PostgresHook("going")
        database = Database("127.0.0.1", server.port, "tradewind", server.password, "postgres", "going")
        with (
            once_it_sleeps(database, server.stop),
            pytest.raises(ConnectionFailed, match=r"terminating connection|server closed") as failure,
        ):
            sleep(hook)
        assert isinstance(failure.value, TransientError)
