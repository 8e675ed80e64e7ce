"""A signal, a cut, a dead peer: what runs in the server ends."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_mysql import MySqlDatabase, MySqlServer, mysql_child
from tests.fix_postgres import half_deaf_proxy
from tests.fix_proxy import Faults, Proxy
from tradewind.hooks.errors import ConnectionFailed, InvalidArgument, TimedOut, TransientError
from tradewind.hooks.work import Work
from tradewind.mysql.errors import QueryCancelled
from tradewind.mysql.hooks import MySqlHook

pytestmark = pytest.mark.anywhere

# SLEEP() looks at its client and would end by itself: this works, and does not look.
BUSY = "SELECT BENCHMARK(100000000000, MD5('x'))"

# Each program says "ready" once its statement is about to run.
WORKS = f"""
with hook.session(Work("d", "r", "t")) as session:
    session.execute("INSERT INTO t VALUES (1)")
    print("ready", flush=True)
    session.execute("{BUSY}")
"""
STREAMS = """
with hook.session() as session:
    session.execute("INSERT INTO t VALUES (1)")
    many = "information_schema.columns"
    for row in session.stream(f"SELECT REPEAT('x', 10000) FROM {many} a, {many} b", itersize=10):
        print("ready", flush=True)
        time.sleep(0.05)
"""
IDLE = """
with hook.session() as session:
    session.execute("INSERT INTO t VALUES (1)")
    print("ready", flush=True)
    time.sleep(60)
"""
RAISES = f"""
def alarm(number, frame):
    raise RuntimeError("time is over")
signal.signal(signal.SIGALRM, alarm)
try:
    with hook.session() as session:
        session.execute("INSERT INTO t VALUES (1)")
        print("ready", flush=True)
        session.execute("{BUSY}")
except RuntimeError as error:
    print(error, flush=True)
    time.sleep(60)
"""


def gone_after(database: MySqlDatabase, patience: float) -> float:
    """Wait until no other session is left on the database; return how long it took, in seconds."""
    started = time.monotonic()
    while rows := database.running():
        assert time.monotonic() - started < patience, f"still running: {rows}"
        time.sleep(0.02)
    return time.monotonic() - started


def at_work(database: MySqlDatabase) -> list[Any]:
    """List the statements that run; a connection that was closed is in the server's list for a moment yet, idle."""
    return [statement for _, _, statement in database.running() if statement is not None]


def until_it_works(database: MySqlDatabase, sql: str = BUSY) -> int:
    """Wait until the server runs the statement: a child says "ready" just before; return its connection's number."""
    deadline = time.monotonic() + 20
    while not (found := [row[0] for row in database.running() if row[2] == sql]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(found[0])


@pytest.fixture
def table(mysql_database: MySqlDatabase) -> MySqlDatabase:
    mysql_database.query("CREATE TABLE t (a int) ENGINE=InnoDB")
    return mysql_database


def test_sigterm_ends_a_statement_within_two_seconds(table: MySqlDatabase) -> None:
    with mysql_child(table, WORKS) as child:
        until_it_works(table)
        child.send_signal(signal.SIGTERM)
        gone_after(table, 2.0)
        assert child.wait(5) == 143
        assert "on_kill" in child.stdout.read()  # the handler ran while the statement did
    assert table.query("SELECT * FROM t") == []


def test_sigterm_ends_a_stream_that_the_server_is_stuck_in_writing(table: MySqlDatabase) -> None:
    with mysql_child(table, STREAMS) as child:
        child.send_signal(signal.SIGTERM)
        gone_after(table, 8.0)
        assert child.wait(10) == 143
    assert table.query("SELECT * FROM t") == []


def test_an_exception_out_of_a_signal_handler_ends_the_statement(table: MySqlDatabase) -> None:
    """As Airflow's execution_timeout does it: nobody calls on_kill."""
    with mysql_child(table, RAISES) as child:
        until_it_works(table)
        child.send_signal(signal.SIGALRM)
        gone_after(table, 5.0)
        assert child.stdout.readline() == "time is over\n"
    assert table.query("SELECT * FROM t") == []


@pytest.mark.parametrize("program", [STREAMS, IDLE], ids=["stream", "idle in transaction"])
def test_sigkill_is_seen_by_a_server_that_writes_or_waits(table: MySqlDatabase, program: str) -> None:
    with mysql_child(table, program) as child:
        child.kill()
        gone_after(table, 2.0)
    assert table.query("SELECT * FROM t") == []


def test_a_retry_ends_what_a_killed_try_left(table: MySqlDatabase) -> None:
    """MySQL looks at its client only when it writes: the statement of a killed worker runs on, until its retry."""
    with mysql_child(table, WORKS) as child:
        number = until_it_works(table)
        child.kill()
        child.wait(5)
    assert [row[0] for row in table.running()] == [number]  # it does not know yet
    hook = MySqlHook(table.conn_id)
    for other in (Work("d", "r", "other", try_number=2), Work("d", "r", "t", map_index=1, try_number=2)):
        with hook.session(other):
            assert number in [row[0] for row in table.running()]
    with hook.session(Work("d", "r", "t", try_number=2)) as session:
        assert number not in [row[0] for row in table.running()]
        session.execute("INSERT INTO t VALUES (2)")
    assert table.query("SELECT * FROM t") == [(2,)]


def test_sessions_of_one_try_leave_each_other_alone(table: MySqlDatabase) -> None:
    work = Work("d", "r", "t", try_number=2)
    hook = MySqlHook(table.conn_id)
    with hook.session(work) as one, hook.session(work) as two, hook.session(work) as three:
        assert [session.query("SELECT 1") for session in (one, two, three)] == [[(1,)]] * 3

    def overtaken() -> None:
        with hook.session(Work("d", "r", "t", try_number=1)) as late:
            with hook.session(work) as retry:
                assert retry.query("SELECT 2") == [(2,)]
            late.query("SELECT 1")

    with pytest.raises(ConnectionFailed):  # the try that was given up finds out
        overtaken()


def test_a_statement_timeout_bounds_what_a_killed_worker_left(table: MySqlDatabase) -> None:
    program = WORKS.replace("with hook", "hook._timeouts['statement_timeout'] = 3\nwith hook", 1)
    with mysql_child(table, program) as child:
        until_it_works(table)
        child.kill()
        gone_after(table, 10.0)
    assert table.query("SELECT * FROM t") == []


def work(hook: MySqlHook, sql: str = BUSY) -> None:
    with hook.session() as session:
        session.execute("INSERT INTO t VALUES (1)")
        session.execute(sql)


@pytest.mark.parametrize("sql", [BUSY, "SELECT SLEEP(60)"])  # SLEEP() that is killed returns, without an error
def test_cancel_from_another_thread(table: MySqlDatabase, sql: str, caplog: pytest.LogCaptureFixture) -> None:
    hook = MySqlHook(table.conn_id)

    def cancel() -> None:
        until_it_works(table, sql)
        hook.cancel()

    other = threading.Thread(target=cancel)
    other.start()
    with caplog.at_level("INFO"), pytest.raises(QueryCancelled):
        work(hook, sql)
    other.join()
    gone_after(table, 2.0)
    assert table.query("SELECT * FROM t") == []


def cancelled_within(database: MySqlDatabase, told: list[str]) -> None:
    with MySqlHook(database.conn_id).session() as session:

        def cancel() -> None:
            until_it_works(database)
            told.extend([session.cancel(), session.cancel()])

        other = threading.Thread(target=cancel)
        other.start()
        try:
            session.execute(BUSY)
        finally:
            other.join()


def test_the_cancel_says_what_became_of_it(table: MySqlDatabase) -> None:
    told: list[str] = []
    with pytest.raises(QueryCancelled):
        cancelled_within(table, told)
    assert told == ["the server has ended the statement"] * 2


def cancelled_while_idle(hook: MySqlHook) -> None:
    with hook.session() as session:
        session.execute("INSERT INTO t VALUES (1)")
        hook.cancel()


def test_nothing_runs_after_a_cancel(table: MySqlDatabase) -> None:
    with pytest.raises(QueryCancelled, match="nothing more is run"):
        cancelled_while_idle(MySqlHook(table.conn_id))
    assert table.query("SELECT * FROM t") == []


def test_a_cancel_that_gets_no_answer_cuts_the_connection(table: MySqlDatabase, connection: Callable[..., str]) -> None:
    """The second connection is accepted and never answered."""
    with half_deaf_proxy(table.address.host, table.address.port) as port:
        connection("proxied", {**table.connection(), "port": port})
        hook = MySqlHook("proxied")

        def cancel() -> None:
            until_it_works(table)
            hook.cancel()

        threading.Thread(target=cancel).start()
        with pytest.raises(QueryCancelled):
            work(hook)
    assert at_work(table) == [BUSY]  # nobody could tell the server


def test_the_number_of_another_servers_connection_is_left_alone(
    table: MySqlDatabase, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind one address there may be several servers: a number of one means another session on the next."""
    from tradewind.mysql import cancel as module

    real = module.find_target
    seen: list[Any] = []

    def another(conn: Any) -> Any:
        found = real(conn)
        seen.append(found)
        return found if len(seen) == 1 else module.Target(("another", 1, 1), found.number, found.host)

    monkeypatch.setattr("tradewind.mysql.hooks.find_target", another)
    monkeypatch.setattr(module, "find_target", another)
    hook = MySqlHook(table.conn_id)

    def cancel() -> None:
        until_it_works(table)
        hook.cancel()

    threading.Thread(target=cancel).start()
    with pytest.raises(QueryCancelled):
        work(hook)
    assert at_work(table) == [BUSY]


@pytest.mark.parametrize("timeout", [0.3, "300ms"])
def test_a_statement_timeout(table: MySqlDatabase, timeout: float | str) -> None:
    with pytest.raises(TimedOut):
        work(MySqlHook(table.conn_id, statement_timeout=timeout))
    gone_after(table, 2.0)
    assert table.query("SELECT * FROM t") == []


@pytest.mark.parametrize("sql", [BUSY, "SELECT SLEEP(60)", "UPDATE t SET a = BENCHMARK(100000000000, MD5('x'))"])
def test_a_statement_timeout_where_the_server_has_none(
    table: MySqlDatabase, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL's own ends a SELECT alone: the session watches the rest."""
    monkeypatch.setattr("tradewind.mysql.configuring._timeouts", lambda conn, timeouts: {})
    with pytest.raises(TimedOut, match=r"ran longer than 0\.3 s"):  # and not NULL, which the server returns
        work(MySqlHook(table.conn_id, statement_timeout=0.3), sql)
    gone_after(table, 2.0)


def test_a_lock_timeout(table: MySqlDatabase) -> None:
    table.query("INSERT INTO t VALUES (7)")
    hook = MySqlHook(table.conn_id, lock_timeout=1)
    with MySqlHook(table.conn_id).session() as holder:
        holder.execute("UPDATE t SET a = 8")
        with pytest.raises(TimedOut, match="Lock wait timeout exceeded"):
            hook.run("UPDATE t SET a = 9")
        with pytest.raises(TimedOut, match="Lock wait timeout exceeded"):
            hook.run("ALTER TABLE t ADD b int")


def test_a_read_timeout_ends_the_statement(table: MySqlDatabase) -> None:
    with pytest.raises(TimedOut):
        work(MySqlHook(table.conn_id, read_timeout=0.5))
    gone_after(table, 2.0)
    assert table.query("SELECT * FROM t") == []


def test_a_connect_timeout(connection: Callable[..., str]) -> None:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        connection("deaf", {"conn_type": "mysql", "host": "127.0.0.1", "port": port, "extra": {"connect_timeout": 1}})
        with pytest.raises(TimedOut, match="timed out"):
            MySqlHook("deaf").get_conn()


def left_alone(hook: MySqlHook, server: MySqlServer, number: int) -> None:
    with hook.session() as session:
        session.query("SELECT 1")
        server.stop(number)
        session.query("SELECT 1")


def test_a_server_that_goes_away_is_a_transient_error(
    tmp_path_factory: pytest.TempPathFactory, connection: Callable[..., str], mysql_server: MySqlServer
) -> None:
    with MySqlServer(tmp_path_factory.mktemp("going")) as server:
        address = server.address
        going = {"conn_type": "mysql", "host": address.host, "port": address.port, "login": address.user}
        connection("going", {**going, "password": address.password})
        hook = MySqlHook("going")
        for number in (signal.SIGTERM, signal.SIGKILL):
            with pytest.raises(ConnectionFailed) as failure:
                left_alone(hook, server, number)
            assert isinstance(failure.value, TransientError)
            server.start()
            connection("going", {**going, "port": server.port, "password": address.password})
            hook = MySqlHook("going")
            assert hook.get_first("SELECT 1") == (1,)


def test_a_server_that_hangs_up_while_a_session_is_opened_is_a_transient_error(
    table: MySqlDatabase, connection: Callable[..., str]
) -> None:
    target, work = (table.address.host, table.address.port), Work("d", "r", "t", try_number=2)
    broken = 0
    for seed in range(40):
        with Proxy(target, Faults(drop_answer=1.0, within=1500), seed, http=False) as proxy:
            connection("hanging", {**table.connection(), "host": "127.0.0.1", "port": proxy.port})
            try:
                with MySqlHook("hanging").session(work):
                    pass
            except ConnectionFailed:
                broken += 1
    assert broken > 10


def test_one_stream_at_a_time(table: MySqlDatabase) -> None:
    with MySqlHook(table.conn_id).session() as session:
        rows = session.stream("SELECT 1 UNION SELECT 2 UNION SELECT 3", itersize=1)
        assert next(rows) == (1,)
        with pytest.raises(InvalidArgument, match="a stream is being read on this session"):
            session.query("SELECT 2")
        rows.close()  # type: ignore[attr-defined]
        assert session.query("SELECT 2") == [(2,)]
