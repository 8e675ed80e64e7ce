"""Connecting: how a connection is named, what its options mean, how it fails."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fix_postgres import Database
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    InvalidArgument,
    NotFound,
    TradewindError,
)
from tradewind.hooks.libpq.options import application_name
from tradewind.hooks.work import Work
from tradewind.postgres.hooks import PostgresHook

if TYPE_CHECKING:
    pass

Define = Callable[..., str]


@pytest.mark.parametrize(
    "make",
    [
        lambda name: PostgresHook(name),
        lambda name: PostgresHook(postgres_conn_id=name),
        lambda name: PostgresHook(conn_id=name),
    ],
)
def test_a_connection_has_three_ways_to_be_named(database: Database, make: Callable[[str], PostgresHook]) -> None:
    assert make(database.conn_id).get_first("SELECT current_database()") == (database.name,)


@pytest.mark.parametrize(
    "make", [lambda name: PostgresHook(name, database="template1"), lambda name: PostgresHook(name, schema="template1")]
)
def test_the_database_is_an_argument(database: Database, make: Callable[[str], PostgresHook]) -> None:
    assert make(database.conn_id).get_first("SELECT current_database()") == ("template1",)


def test_arguments_that_contradict_each_other() -> None:
    with pytest.raises(InvalidArgument, match="differ: give one"):
        PostgresHook("a", conn_id="b")
    with pytest.raises(InvalidArgument, match="differ: give one"):
        PostgresHook("a", database="b", schema="c")


def test_the_server_learns_who_works_and_notices_when_it_is_gone(hook: PostgresHook) -> None:
    work = Work("flights", "run", "load", map_index=3, try_number=2)
    with hook.session(work) as session:
        rows = dict(session.query("SELECT name, setting FROM pg_settings"))
    assert rows["application_name"] == "tradewind flights.load[3] try 2"
    assert rows["client_encoding"] == "UTF8"
    assert rows["client_connection_check_interval"] == "5000"
    silent = int(rows["tcp_keepalives_idle"]) + int(rows["tcp_keepalives_interval"]) * int(rows["tcp_keepalives_count"])
    assert silent <= 120
    assert rows["tcp_user_timeout"] == "120000"


def test_a_name_that_is_too_long_is_cut_in_the_middle() -> None:
    name = application_name(Work("d" * 60 + "é", "run", "t" * 60, try_number=7))
    assert len(name.encode()) == 63
    assert name.startswith("tradewind dddd")
    assert name.endswith("tttt try 7")


def test_the_name_comes_from_the_environment_of_a_task(hook: PostgresHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "d")
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "t")
    assert hook.get_first("SHOW application_name") == ("tradewind d.t",)


def test_what_the_user_asks_of_libpq_wins(database: Database, connection: Define) -> None:
    connection("asked", database.connection(application_name="mine", options="-c work_mem=7MB", keepalives="0"))
    assert PostgresHook("asked").get_first(
        "SELECT current_setting('application_name'), current_setting('work_mem')"
    ) == (
        "mine",
        "7MB",
    )
    assert PostgresHook("asked", options="-c work_mem=8MB").get_first("SHOW work_mem") == ("8MB",)
    assert PostgresHook("asked", settings={"work_mem": "9MB"}).get_first("SHOW work_mem") == ("9MB",)


def test_time_outs_come_from_the_extra(database: Database, connection: Define) -> None:
    connection("timed", database.connection(statement_timeout=90, lock_timeout="5s"))
    found = PostgresHook("timed", lock_timeout="1min").get_first(
        "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
    )
    assert found == ("90s", "1min")


@pytest.mark.parametrize("wrong", ["soon", -1, True, "10 parsecs"])
def test_a_time_out_that_is_none(database: Database, wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="statement_timeout must be seconds"):
        PostgresHook(database.conn_id, statement_timeout=wrong).get_conn()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"sslmod": "require"}, "unknown option 'sslmod': did you mean 'sslmode'?"),
        ({"statment_timeout": 3}, "did you mean 'statement_timeout'?"),
        ({"keepalive_idle": 3}, "did you mean 'keepalives_idle'?"),
        ({"wibble'; x=": 3}, "unknown option"),
        ({"sslmode": "sometimes"}, "invalid sslmode value"),
        ({"sslmode": ["require"]}, "sslmode must be a text or a number, not list"),
        ({"cursor": "dictcursr"}, "unknown cursor 'dictcursr': did you mean 'dictcursor'?"),
        ({"connect_timeout": "long"}, "invalid integer value"),
    ],
)
def test_options_that_cannot_work(database: Database, connection: Define, extra: dict[str, Any], message: str) -> None:
    connection("wrong", database.connection(**extra))
    with pytest.raises(InvalidArgument) as failure:
        PostgresHook("wrong").get_conn()
    assert message in str(failure.value)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"password": "not-the-password"}, AccessDenied, "password authentication failed"),
        ({"login": "nobody_here"}, AccessDenied, "nobody_here"),
        ({"password": None}, AccessDenied, "no password supplied"),
        ({"schema": "no_such_database"}, NotFound, 'database "no_such_database" does not exist'),
        ({"host": "no-such-host.invalid"}, ConnectionFailed, "could not translate host name"),
        ({"port": 1}, ConnectionFailed, "Connection refused"),
        ({"host": "/nowhere"}, ConnectionFailed, "No such file"),
    ],
)
def test_connections_that_fail(
    database: Database, connection: Define, change: dict[str, Any], kind: type[TradewindError], message: str
) -> None:
    connection("fails", {**database.connection(), **change})
    with pytest.raises(kind, match=message) as failure:
        PostgresHook("fails").get_conn()
    told = f"{failure.value!r} {failure.value.__cause__!r}"
    assert database.password not in told
    assert "not-the-password" not in told
    copied = pickle.loads(pickle.dumps(failure.value))
    assert (type(copied), str(copied)) == (kind, str(failure.value))


def test_several_hosts(database: Database, connection: Define) -> None:
    connection(
        "hosts",
        {
            **database.connection(port=f"1,{database.port}", target_session_attrs="read-write"),
            "host": f"127.0.0.1,{database.host}",
            "port": None,
        },
    )
    hook = PostgresHook("hosts")
    assert hook.get_first("SELECT 1") == (1,)
    with hook.get_sqlalchemy_engine().connect() as engine:
        assert engine.exec_driver_sql("SELECT 2").scalar() == 2


def test_the_connection_test_tells(database: Database, hook: PostgresHook, connection: Define) -> None:
    works, message = hook.test_connection()
    assert works
    assert message.startswith("connected to PostgreSQL 1")
    connection("wrong", {**database.connection(), "password": "not-the-password"})
    works, message = PostgresHook("wrong").test_connection()
    assert not works
    assert "password authentication failed" in message


def test_uris(database: Database, connection: Define) -> None:
    connection("uri", {**database.connection(sslmode="prefer"), "password": database.password})
    hook = PostgresHook("uri")
    assert database.password not in repr(hook.sqlalchemy_url)
    parts = urlsplit(hook.get_uri())
    assert (parts.hostname, parts.port, parts.path) == (database.host, database.port, f"/{database.name}")
    assert parse_qs(parts.query)["sslmode"] == ["prefer"]
    with hook.get_sqlalchemy_engine().connect() as engine:
        assert engine.exec_driver_sql("SELECT current_database()").scalar() == database.name
