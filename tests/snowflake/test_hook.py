"""The hook on a service that executes: sessions, results, transactions, errors, cancelling."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    DataError,
    InvalidArgument,
    NotFound,
    TransientError,
)
from tradewind.hooks.work import Work
from tradewind.snowflake.errors import QueryCancelled

WORK = Work("dag", "run", "task")


def test_values_come_back_with_their_types(snowflake_database: SnowflakeDatabase) -> None:
    rows = snowflake_database.hook().get_records(
        "SELECT 1 AS i, 1.50::NUMBER(10,2) AS n, 'ü' AS t, TRUE AS b, '2026-01-02'::DATE AS d,"
        " '2026-01-02 03:04:05.678'::TIMESTAMP_NTZ AS ts, NULL::TIMESTAMP_NTZ AS none"
    )

    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678000)
    assert rows == [(1, Decimal("1.50"), "ü", True, dt.date(2026, 1, 2), moment, None)]


def test_values_are_bound(snowflake_database: SnowflakeDatabase) -> None:
    hook = snowflake_database.hook()
    hostile = "x'); DROP TABLE t; -- \\' \n"

    assert hook.get_first("SELECT %s", (hostile,)) == (hostile,)
    assert hook.get_first("SELECT %(a)s", {"a": hostile}) == (hostile,)


def test_a_text_is_one_transaction(snowflake_database: SnowflakeDatabase) -> None:
    hook = snowflake_database.hook()
    hook.run("CREATE TABLE t (i INT)")
    with pytest.raises(NotFound):
        hook.run("INSERT INTO t VALUES (1); INSERT INTO nowhere VALUES (2)")
    assert hook.get_first("SELECT COUNT(*) FROM t") == (0,)

    hook.run("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
    with pytest.raises(NotFound):
        hook.run(["INSERT INTO t VALUES (3)", "SELECT * FROM nowhere"], autocommit=True)
    assert hook.get_records("SELECT i FROM t ORDER BY i") == [(1,), (2,), (3,)]


def test_a_session_counts_and_names_its_statements(snowflake_database: SnowflakeDatabase) -> None:
    with snowflake_database.hook().session(WORK) as session:
        session.execute("CREATE TABLE t (i INT)")
        assert session.execute("INSERT INTO t VALUES (1), (2), (3)") == 3
        journal = {each["id"]: each for each in snowflake_database.server.journal()}

        assert session.query_id is not None
        assert journal[session.query_id]["tag"] == "tradewind dag.task (run, try 1)"
        assert session.query("SELECT COUNT(*) FROM t") == [(3,)]


def test_rows_and_arrow_tables_stream(snowflake_database: SnowflakeDatabase) -> None:
    hook = snowflake_database.hook()
    sql = "SELECT seq4() AS i FROM TABLE(GENERATOR(ROWCOUNT => 25000)) ORDER BY 1"

    assert [row[0] for row in hook.stream(sql, itersize=10_000)] == list(range(25_000))
    assert sum(table.num_rows for table in hook.arrow(sql)) == 25_000


def test_a_file_goes_into_a_stage_and_a_table(snowflake_database: SnowflakeDatabase, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,a\n2,b\n")
    with snowflake_database.hook().session(autocommit=True) as session:
        session.execute("CREATE TABLE t (i INT, s VARCHAR)")
        session.execute("CREATE STAGE st")
        assert [row[6] for row in session.query(f"PUT file://{tmp_path}/a.csv @st")] == ["UPLOADED"]
        [loaded] = session.query("COPY INTO t FROM @st FILE_FORMAT = (TYPE = CSV)")

        assert loaded[1:4] == ("LOADED", 2, 2)
        assert session.query("SELECT * FROM t ORDER BY 1") == [(1, "a"), (2, "b")]


def test_files_in_s3_go_into_a_table(snowflake_database: SnowflakeDatabase, s3_hook: Any, bucket: str) -> None:
    for name in ("a", "b"):
        s3_hook.client().put_object(Bucket=bucket, Key=f"in/{name}.csv", Body=f"1,{name}\n".encode())
    with snowflake_database.hook().session(autocommit=True) as session:
        session.execute("CREATE TABLE t (i INT, s VARCHAR)")
        loaded = session.query(f"COPY INTO t FROM 's3://{bucket}/in/' FILE_FORMAT = (TYPE = CSV)")

        assert sorted(row[0].rpartition("/")[2] for row in loaded) == ["a.csv", "b.csv"]
        assert session.query("SELECT s FROM t ORDER BY 1") == [("a",), ("b",)]


ERRORS: dict[str, tuple[str, type[Exception], str]] = {
    "syntax": ("SELEKT 'hidden'", InvalidArgument, "syntax error"),
    "no table": ("SELECT * FROM nowhere", NotFound, "NOWHERE"),
    "no number": ("SELECT 'abc'::INT", DataError, "abc"),
    "not there": ("CREATE PIPE p AS SELECT 1", InvalidArgument, "syntax error|Unsupported"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_whether_a_retry_helps(snowflake_database: SnowflakeDatabase, case: str) -> None:
    sql, kind, says = ERRORS[case]
    with pytest.raises(kind, match=says) as caught:
        snowflake_database.hook().get_records(sql)
    assert "hidden" not in str(caught.value)
    assert "snowflake connection snowflake_default" in str(caught.value)


def test_a_broken_network_is_transient_and_bounded(snowflake_database: SnowflakeDatabase) -> None:
    snowflake_database.server.faults({"path": "query-request", "kind": "drop"})
    hook = snowflake_database.hook(network_timeout=3, login_timeout=3)
    with pytest.raises((ConnectionFailed, TransientError)):
        hook.get_records("SELECT 1")


def test_one_refused_request_is_sent_again(snowflake_database: SnowflakeDatabase) -> None:
    snowflake_database.server.faults(
        {"path": "query-request", "kind": "status", "count": 1, "body": "lucky"},
        {"path": "query-request", "kind": "drop", "count": 1, "after": True, "body": "lucky"},
    )

    assert snowflake_database.hook().get_first("SELECT 'lucky'") == ("lucky",)
    executed = [each for each in snowflake_database.server.journal() if each["sql"] == "SELECT 'lucky'"]
    assert len(executed) == 1


def test_an_interrupted_wait_ends_the_statement(snowflake_database: SnowflakeDatabase) -> None:
    server = snowflake_database.server

    class Killed(BaseException):
        pass

    def handler(*_: Any) -> None:
        raise Killed

    def kill() -> None:
        server.wait_for(lambda: _waiting(server, "SYSTEM$WAIT(61)"))
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=kill)
    try:
        thread.start()
        with pytest.raises(Killed):
            snowflake_database.hook().get_records("SELECT SYSTEM$WAIT(61)")
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    [found] = [each for each in server.journal() if "SYSTEM$WAIT(61)" in each["sql"]]
    assert found["status"] == "ABORTED"


def test_a_signal_s_handler_may_cancel(snowflake_database: SnowflakeDatabase) -> None:
    server, hook = snowflake_database.server, snowflake_database.hook()

    def kill() -> None:
        server.wait_for(lambda: _waiting(server, "SYSTEM$WAIT(62)"))
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: hook.cancel())
    thread = threading.Thread(target=kill)
    try:
        thread.start()
        with pytest.raises(QueryCancelled):
            hook.get_records("SELECT SYSTEM$WAIT(62)")
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert not _waiting(server, "SYSTEM$WAIT(62)")


def _waiting(server: Any, sql: str) -> bool:
    return any(sql in each["sql"] and each["status"] == "RUNNING" for each in server.journal())


def test_the_form_s_test_tells_who_one_is(snowflake_database: SnowflakeDatabase) -> None:
    assert snowflake_database.hook(role="loader").test_connection()[1].endswith("as ETL with the role LOADER")
    snowflake_database.connect(password="wrong")
    fine, told = snowflake_database.hook().test_connection()

    assert not fine
    assert "Incorrect username or password" in told


def test_a_wrong_password_is_permanent_and_not_shown(snowflake_database: SnowflakeDatabase) -> None:
    snowflake_database.connect(password="wrong-Pass")
    with pytest.raises(AccessDenied) as caught:
        snowflake_database.hook().get_records("SELECT 1")
    assert "wrong-Pass" not in str(caught.value)


def test_sessions_end_with_their_blocks(snowflake_database: SnowflakeDatabase) -> None:
    open_before = {each["id"] for each in snowflake_database.server.sessions()}
    with snowflake_database.hook().session() as session:
        mine = session.id
    assert {each["id"] for each in snowflake_database.server.sessions()} - open_before == set()
    assert mine not in open_before


def test_session_parameters_and_places_reach_the_service(snowflake_database: SnowflakeDatabase) -> None:
    hook = snowflake_database.hook(
        warehouse="big", role="analyst", session_parameters={"statement_timeout_in_seconds": 60}, query_tag="mine"
    )
    [row] = hook.get_records("SELECT CURRENT_WAREHOUSE(), CURRENT_ROLE(), CURRENT_DATABASE(), CURRENT_SCHEMA()")

    assert row == ("BIG", "ANALYST", snowflake_database.name, "S")
    login = [
        each for each in snowflake_database.server.journal() if each["sql"].startswith("SELECT CURRENT_WAREHOUSE()")
    ]
    assert login[-1]["tag"] == "mine"


MakeConnection = Callable[..., str]
