"""Connecting, reading, writing."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import os
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

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
from tradewind.hooks.work import Work
from tradewind.postgres.errors import SerializationFailed
from tradewind.postgres.hooks import PostgresHook
from tradewind.postgres.options import application_name

if TYPE_CHECKING:
    from tradewind.local.postgres import PostgresServer

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


def test_values_are_bound_and_names_quoted(hook: PostgresHook, database: Database) -> None:
    hostile = "x'); DROP TABLE victim; --"
    database.query('CREATE TABLE victim (a text); CREATE TABLE "we""ird; DROP TABLE victim; --" ("a""; --" text)')
    assert hook.get_first("SELECT %s", (hostile,)) == (hostile,)
    hook.insert_rows("victim", [(hostile,)])
    hook.insert_rows('"we""ird; DROP TABLE victim; --"', [(hostile,)], target_fields=['a"; --'])
    assert database.query("SELECT a FROM victim") == [(hostile,)]
    assert database.query('SELECT "a""; --" FROM "we""ird; DROP TABLE victim; --"') == [(hostile,)]
    with pytest.raises(InvalidArgument, match="not the name of a table"):
        hook.insert_rows("victim; DROP TABLE victim", [("x",)])


ROW = {
    "i int": -(2**31),
    "n numeric": Decimal("12345678901234567890.123"),
    "f float8": 0.1,
    "b bool": True,
    "s text": "tab\tnew\nline\rback\\slash \\N \\. \"'é☃",
    "x bytea": b"\x00\\\xff",
    "d date": dt.date(2013, 1, 31),
    "z timestamptz": dt.datetime(2013, 1, 31, 5, 6, 7, 8, dt.UTC),
    "t time": dt.time(23, 59, 59, 999999),
    "iv interval": dt.timedelta(days=-1, seconds=3, microseconds=5),
    "u uuid": UUID("12345678123456781234567812345678"),
    "j jsonb": {"a": [1, None, "é\n"]},
    "a int[]": [1, None, 3],
    "aa text[]": [['a"b', "c\\d"], ["NULL", ""]],
    "e text": "",
    "nil text": None,
}


def test_every_type_goes_in_as_it_is(hook: PostgresHook, database: Database) -> None:
    database.query(f"CREATE TABLE t ({', '.join(ROW)})")
    hook.insert_rows("t", [list(ROW.values()), [None] * len(ROW)])
    first, second = database.query("SELECT * FROM t")
    made = [
        bytes(value) if isinstance(value, memoryview) else str(value) if name == "u uuid" else value
        for name, value in zip(ROW, first, strict=True)
    ]
    wanted = [str(value) if isinstance(value, UUID) else value for value in ROW.values()]
    assert made == wanted
    assert second == (None,) * len(ROW)


def test_inserts_are_one_transaction(hook: PostgresHook, database: Database) -> None:
    def rows() -> Iterator[tuple[int]]:
        yield from ((number,) for number in range(2500))
        raise OSError("the source broke")

    database.query("CREATE TABLE t (a int)")
    with pytest.raises(OSError, match="the source broke"):
        hook.insert_rows("t", rows())
    assert database.query("SELECT count(*) FROM t") == [(0,)]
    with pytest.raises(OSError, match="the source broke"):
        hook.insert_rows("t", rows(), commit_every=1000)
    assert database.query("SELECT count(*) FROM t") == [(2000,)]
    hook.insert_rows("t", ((number,) for number in range(5)), commit_every=0)
    assert database.query("SELECT count(*) FROM t") == [(2005,)]
    hook.insert_rows("t", [])
    assert database.query("SELECT count(*) FROM t") == [(2005,)]


def test_inserts_that_replace(hook: PostgresHook, database: Database) -> None:
    database.query(
        "CREATE TABLE t (k int PRIMARY KEY, v text, kept text DEFAULT 'kept'); INSERT INTO t VALUES (1, 'old')"
    )
    hook.insert_rows("t", [(1, "new"), (2, "two")], target_fields=["k", "v"], replace=True, replace_index="k")
    assert database.query("SELECT * FROM t ORDER BY k") == [(1, "new", "kept"), (2, "two", "kept")]
    for arguments in ({"replace": True}, {"replace_index": "k"}, {"commit_every": -1}, {"wibble": 1}):
        with pytest.raises(InvalidArgument):
            hook.insert_rows("t", [(1, "x")], **arguments)


def test_rows_that_do_not_fit(hook: PostgresHook, database: Database) -> None:
    database.query("CREATE TABLE t (a int, b int)")
    with pytest.raises(DataError, match="row 2 has 1 values, the first one has 2"):
        hook.insert_rows("t", [(1, 2), (3,)])
    with pytest.raises(DataError, match="cannot write a value of type object"):
        hook.insert_rows("t", [(1, object())])
    with pytest.raises(DataError, match="invalid input syntax") as failure:
        hook.insert_rows("t", [(1, 2), (3, "four")])
    assert (failure.value.line, failure.value.column, failure.value.value) == (2, "b", "four")
    copied = pickle.loads(pickle.dumps(failure.value))
    assert (copied.line, copied.column, str(copied)) == (2, "b", str(failure.value))
    assert database.query("SELECT count(*) FROM t") == [(0,)]


def test_a_stream_needs_no_memory(hook: PostgresHook) -> None:
    tracemalloc.start()
    try:
        count = sum(
            1 for _ in hook.stream("SELECT i, repeat('x', 100) FROM generate_series(1, %s) AS g (i)", [200_000])
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 200_000  # 20 MB and more of rows
    assert peak < 4_000_000


def test_a_stream_left_early_leaves_no_session(hook: PostgresHook, database: Database) -> None:
    rows = hook.stream("SELECT generate_series(1, 1000000)", itersize=10)
    assert next(rows) == (1,)
    rows.close()  # type: ignore[attr-defined]
    assert database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tradewind%%' AND state <> 'idle' "
        "AND datname = current_database()"
    ) == [(0,)]


def test_copy_streams(hook: PostgresHook) -> None:
    hook.run("CREATE TABLE t (a int, b text)")
    data = "".join(f"{number},é{number}\n" for number in range(50_000)).encode()
    assert hook.copy_in("COPY t FROM STDIN (FORMAT csv)", io.BytesIO(data)) == 50_000
    out = io.BytesIO()
    assert hook.copy_out("COPY (SELECT * FROM t ORDER BY a) TO STDOUT (FORMAT csv)", out) == 50_000
    assert out.getvalue() == data


def test_copy_with_files(hook: PostgresHook, tmp_path: Path) -> None:
    hook.run("CREATE TABLE t (a text)")
    file = tmp_path / "in.csv"
    file.write_text("to stdout\n")
    # Words in texts, names and comments decide nothing.
    assert hook.copy_expert("/* to stdout */ COPY t FROM STDIN (FORMAT csv, NULL 'to stdout!')", str(file)) == 1
    assert file.read_text() == "to stdout\n"
    out = tmp_path / "out.csv"
    out.write_text("before")
    with pytest.raises(DataError, match="division by zero"):
        hook.copy_expert("COPY (SELECT 1 / (3 - i) FROM generate_series(1, 5) AS g (i)) TO STDOUT", out)
    assert out.read_text() == "before"
    assert hook.copy_expert("COPY (SELECT a, ' from stdin ' FROM t) TO STDOUT", out) == 1
    assert out.read_text() == "to stdout\t from stdin \n"
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]
    with pytest.raises(NotFound, match=r"missing\.csv is not there"):
        hook.copy_expert("COPY t FROM STDIN", tmp_path / "missing.csv")
    for wrong in ("COPY t FROM '/etc/passwd'", "SELECT 1", "COPY t TO PROGRAM 'sh'", "COPY t FROM STDIN; DROP TABLE t"):
        with pytest.raises(InvalidArgument, match="must be one COPY"):
            hook.copy_expert(wrong, file)
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


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


def test_a_token_of_iam_is_the_password(
    database: Database, connection: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore signs it without a network; the region is read off the host's name."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    host = "warehouse.abc123.eu-west-3.rds.amazonaws.com"
    connection("aws_x", {"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "aws-secret"})
    connection(
        "iam",
        {
            "conn_type": "postgres",
            "host": host,
            "login": "me",
            "schema": "d",
            "extra": {"iam": True, "aws_conn_id": "aws_x"},
        },
    )
    url = PostgresHook("iam").sqlalchemy_url
    token = urlsplit(f"https://{url.password}")
    query = parse_qs(token.query)
    assert token.netloc == f"{host}:5432"
    assert (query["Action"], query["DBUser"]) == (["connect"], ["me"])
    assert query["X-Amz-Credential"][0].startswith("AKIAEXAMPLE/")
    assert query["X-Amz-Credential"][0].endswith("/eu-west-3/rds-db/aws4_request")
    assert len(query["X-Amz-Signature"][0]) == 64
    assert "aws-secret" not in str(url.password)
    assert url.query["sslmode"] == "require"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"host": "a,b"}, InvalidArgument, "needs one host name"),
        ({"login": None}, InvalidArgument, "needs the database user"),
        ({"host": "db.example.com"}, InvalidArgument, "needs a region"),
        ({"extra": {"iam": True, "region": "eu-west-3"}}, AccessDenied, "no aws credentials"),
    ],
)
def test_iam_that_cannot_work(
    connection: Define,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: dict[str, Any],
    kind: type[TradewindError],
    message: str,
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    connection("aws_x", {"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "aws-secret"})
    connection(
        "iam",
        {
            "conn_type": "postgres",
            "host": "db.example.com",
            "login": "me",
            "extra": {"iam": True, "aws_conn_id": "aws_x"},
            **change,
        },
    )
    with pytest.raises(kind, match=message):
        PostgresHook("iam").get_conn()


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, Path, Path]]:
    """A server with a certificate for ``localhost``, its CA's file, and that of another CA."""
    import trustme

    from tradewind.local.postgres import PostgresServer

    folder = tmp_path_factory.mktemp("tls")
    ours, other = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other.pem")
    made = ours.issue_cert("localhost")
    server = PostgresServer(
        tmp_path_factory.mktemp("tls_server"),
        settings={"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"},
    )
    certificate, key = folder / "server.pem", folder / "server.key"
    made.cert_chain_pems[0].write_to_path(certificate)
    made.private_key_pem.write_to_path(key)
    with PostgresServer(server.folder):
        pass  # makes the cluster, into which the certificate goes
    for path in (certificate, key):
        target = server.data / path.name
        target.write_bytes(path.read_bytes())
        target.chmod(0o600)
        if os.geteuid() == 0:
            owner = server.data.stat()
            os.chown(target, owner.st_uid, owner.st_gid)
    with server:
        yield server, folder / "ca.pem", folder / "other.pem"


def test_tls_verifies_the_server(tls_server: tuple[PostgresServer, Path, Path], connection: Define) -> None:
    server, ca, other = tls_server

    def hook(host: str, ca: Path, **extra: Any) -> PostgresHook:
        options = {"sslmode": "verify-full", "sslrootcert": str(ca), **extra}
        connection(
            "tls",
            {
                "conn_type": "postgres",
                "host": host,
                "port": server.port,
                "login": "tradewind",
                "password": server.password,
                "schema": "postgres",
                "extra": json.dumps(options),
            },
        )
        return PostgresHook("tls")

    assert hook("localhost", ca).get_first("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == (True,)
    assert hook("localhost", ca).test_connection()[1].endswith("with TLS")
    assert hook("127.0.0.1", ca, sslmode="verify-ca").get_first("SELECT 1") == (1,)
    with pytest.raises(AccessDenied, match=r"certificate verify failed"):
        hook("localhost", other).get_conn()
    with pytest.raises(AccessDenied, match="does not match host name"):
        hook("127.0.0.1", ca).get_conn()
    with pytest.raises(InvalidArgument, match="root certificate file"):
        hook("localhost", ca.with_name("missing.pem")).get_conn()


def test_tls_is_required_of_a_server_without(database: Database, connection: Define) -> None:
    connection("tls", database.connection(sslmode="require"))
    with pytest.raises(InvalidArgument, match="does not support SSL"):
        PostgresHook("tls").get_conn()
