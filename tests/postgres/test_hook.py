"""Reading and running statements; what they fail with."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.fix_postgres import Database
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    DataError,
    InvalidArgument,
    NotFound,
    PermanentError,
    Throttled,
    TradewindError,
    TransientError,
)
from tradewind.hooks.libpq.errors import SerializationFailed
from tradewind.postgres.hooks import PostgresHook

if TYPE_CHECKING:
    pass

Define = Callable[..., str]


@pytest.mark.parametrize(
    ("cursor", "read"),
    [
        ("dictcursor", lambda row: row["x"]),
        ("realdictcursor", lambda row: row["x"]),
        ("namedtuplecursor", lambda row: row.x),
    ],
)
def test_cursors(database: Database, connection: Define, cursor: str, read: Callable[[Any], int]) -> None:
    connection("cursors", database.connection(cursor=cursor))
    assert read(PostgresHook("cursors").get_first("SELECT 5 AS x")) == 5


def test_records(hook: PostgresHook) -> None:
    assert hook.get_records("CREATE TABLE t (a int, b text)") is None
    assert hook.get_records("INSERT INTO t VALUES (1, 'x'), (2, 'y')") is None
    assert hook.get_records("SELECT * FROM t WHERE a = %(a)s", {"a": 2}) == [(2, "y")]
    assert hook.get_first("SELECT * FROM t WHERE a = %s", (9,)) is None
    assert hook.get_first("SELECT 'a%b'") == ("a%b",)


def test_run_returns_what_airflow_says(hook: PostgresHook) -> None:
    def rows(cursor: Any) -> Any:
        return cursor.fetchall()

    assert hook.run("SELECT 1; SELECT 2", handler=rows) == [(2,)]
    assert hook.run("SELECT 1; SELECT 2", handler=rows, split_statements=True) == [(2,)]
    assert hook.run("SELECT 1; SELECT 2", handler=rows, split_statements=True, return_last=False) == [[(1,)], [(2,)]]
    assert [description[0].name for description in hook.descriptions] == ["?column?", "?column?"]
    assert hook.run(["SELECT 1", "SELECT 2"], handler=rows) == [[(1,)], [(2,)]]
    assert hook.run("SELECT 1") is None
    with pytest.raises(InvalidArgument, match="no statement"):
        hook.run("  ")


def test_run_is_one_transaction(hook: PostgresHook, database: Database) -> None:
    with pytest.raises(DataError, match="division by zero"):
        hook.run(["CREATE TABLE t (a int)", "SELECT 1 / 0"])
    assert not database.query("SELECT to_regclass('t')")[0][0]
    with pytest.raises(DataError, match="division by zero"):
        hook.run(["CREATE TABLE t (a int)", "SELECT 1 / 0"], autocommit=True)
    assert database.query("SELECT to_regclass('t')")[0][0]
    hook.run("VACUUM t", autocommit=True)


@pytest.mark.parametrize(
    ("sql", "kind", "message"),
    [
        ("SELECT * FROM no_such_table", NotFound, 'relation "no_such_table" does not exist'),
        ("SELECT numbr FROM (SELECT 1 AS number) AS t", NotFound, "number"),
        ("SELECT no_such_function()", NotFound, "no_such_function"),
        ("SELEC 1", InvalidArgument, "syntax error"),
        ("SELECT 'x'::int", DataError, "invalid input syntax"),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$", SerializationFailed, r"40P01|deadlock"),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53300'; END $$", Throttled, r"too_many_connections|53300"),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01'; END $$", ConnectionFailed, "admin_shutdown|57P01"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", ConnectionFailed, "terminating|server closed"),
        ("SET ROLE tw_reader; SELECT * FROM pg_authid", AccessDenied, "permission denied"),
    ],
)
def test_what_a_statement_fails_with(
    hook: PostgresHook, database: Database, sql: str, kind: type[TradewindError], message: str
) -> None:
    if "tw_reader" in sql:
        database.query("DO $$ BEGIN CREATE ROLE tw_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    with pytest.raises(kind, match=message) as failure:
        hook.run(sql)
    assert failure.value.__cause__ is not None
    assert str(failure.value).startswith(f"postgres connection {database.conn_id}: ")
    assert isinstance(failure.value, TransientError) != isinstance(failure.value, PermanentError)
    assert str(pickle.loads(pickle.dumps(failure.value))) == str(failure.value)


def test_an_exception_of_the_users_own_is_retried_as_the_task_says(hook: PostgresHook) -> None:
    with pytest.raises(TradewindError, match="no rows yet") as failure:
        hook.run("DO $$ BEGIN RAISE EXCEPTION 'no rows yet'; END $$")
    assert not isinstance(failure.value, TransientError | PermanentError)


def test_nothing_secret_is_logged(
    hook: PostgresHook, database: Database, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        hook.run("SELECT %s, 'quoted secret'", parameters=("bound secret",))
        hook.get_sqlalchemy_engine()
    captured = capfd.readouterr()
    told = caplog.text + captured.out + captured.err
    assert "running: SELECT %s, '...'" in told
    assert "secret" not in told
    assert database.password not in told


def test_airflows_generic_classes_take_the_hook(hook: PostgresHook, database: Database) -> None:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    assert isinstance(hook, DbApiHook)
    assert hook.get_conn_id() == database.conn_id
    assert hook.split_sql_string("select ';'; select 2") == ["select ';'", "select 2"]
    info = hook.get_openlineage_database_info(hook.connection)
    assert (info.scheme, info.authority, info.database) == ("postgres", f"127.0.0.1:{database.port}", database.name)
    assert hook.get_openlineage_default_schema() == "public"
    assert hook.get_openlineage_database_dialect(hook.connection) == "postgres"
    assert PostgresHook.get_ui_field_behaviour()["relabeling"] == {"schema": "Database"}
