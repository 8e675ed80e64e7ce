"""Connecting, reading, writing."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from tests.fix_mysql import MySqlDatabase
from tests.mysql.test_hook_interrupts import gone_after
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.hooks.work import Work
from tradewind.mysql.hooks import MySqlHook
from tradewind.mysql.names import TableName

Define = Callable[..., str]


@pytest.mark.parametrize(
    "make",
    [
        lambda name: MySqlHook(name),
        lambda name: MySqlHook(mysql_conn_id=name),
        lambda name: MySqlHook(conn_id=name),
    ],
)
def test_a_connection_has_three_ways_to_be_named(
    mysql_database: MySqlDatabase, make: Callable[[str], MySqlHook]
) -> None:
    assert make(mysql_database.conn_id).get_first("SELECT DATABASE()") == (mysql_database.name,)


@pytest.mark.parametrize(
    "make", [lambda name: MySqlHook(name, database="mysql"), lambda name: MySqlHook(name, schema="mysql")]
)
def test_the_database_is_an_argument(mysql_database: MySqlDatabase, make: Callable[[str], MySqlHook]) -> None:
    assert make(mysql_database.conn_id).get_first("SELECT DATABASE()") == ("mysql",)


def test_a_session_is_strict_in_utc_and_in_utf8mb4(mysql_hook: MySqlHook) -> None:
    mode, *others = mysql_hook.get_first(
        "SELECT @@sql_mode, @@time_zone, @@character_set_client, @@character_set_connection, "
        "@@net_read_timeout, @@net_write_timeout, @@wait_timeout, @@autocommit"
    )
    assert {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "ERROR_FOR_DIVISION_BY_ZERO"} <= set(mode.split(","))
    assert others == ["+00:00", "utf8mb4", "utf8mb4", 600, 600, 3600, 0]


def test_what_the_user_asks_for_wins(mysql_database: MySqlDatabase, connection: Define) -> None:
    asked = {"charset": "latin1", "sql_mode": "ANSI_QUOTES", "init_command": "SET @x = 'first'"}
    connection("asked", mysql_database.connection(**asked))
    settings = {"time_zone": "+02:00", "max_heap_table_size": "1048576", "wait_timeout": 77}
    hook = MySqlHook("asked", settings=settings)
    sql = "SELECT @@character_set_client, @@sql_mode, @x, @@time_zone, @@max_heap_table_size, @@wait_timeout"
    assert hook.get_first(sql) == ("latin1", "ANSI_QUOTES", "first", "+02:00", 1048576, 77)
    assert hook.get_first("SELECT 'é'") == ("é",)
    assert MySqlHook("asked", charset="utf8", sql_mode="NO_BACKSLASH_ESCAPES").get_first(
        "SELECT @@character_set_client, %s", (r"a\'b",)
    ) == ("utf8mb4", r"a\'b")


@pytest.mark.parametrize("server_mode", ["", "NO_BACKSLASH_ESCAPES"])
def test_a_setting_is_a_value_whatever_the_servers_mode_is(
    mysql_database: MySqlDatabase, connection: Define, server_mode: str
) -> None:
    hostile = r"ANSI\', SESSION wait_timeout = 66, SESSION sql_mode = 'ANSI"
    connection("hostile", mysql_database.connection(sql_mode=hostile))
    before = mysql_database.query("SELECT @@GLOBAL.sql_mode")[0][0]
    mysql_database.query("SET GLOBAL sql_mode = %s", [f"{before},{server_mode}"])
    try:
        for hook in (MySqlHook("hostile"), MySqlHook(mysql_database.conn_id, settings={"sql_mode": hostile})):
            with pytest.raises(InvalidArgument, match="sql_mode' can't be set to the value of 'ANSI"):
                hook.get_first("SELECT 1")
    finally:
        mysql_database.query("SET GLOBAL sql_mode = %s", [before])


def test_the_server_learns_who_works(mysql_database: MySqlDatabase) -> None:
    work = Work("flights", "run", "load", map_index=3, try_number=2)
    with MySqlHook(mysql_database.conn_id).session(work) as session:
        rows = session.query(
            "SELECT attr_value FROM performance_schema.session_connect_attrs "
            "WHERE processlist_id = CONNECTION_ID() AND attr_name = 'program_name'"
        )
    assert rows == [("tradewind flights.load[3] try 2",)]


def test_time_outs_come_from_the_extra(mysql_database: MySqlDatabase, connection: Define) -> None:
    connection("timed", mysql_database.connection(statement_timeout=90, lock_timeout="5s"))
    found = MySqlHook("timed", lock_timeout="1min").get_first(
        "SELECT @@max_statement_time, @@innodb_lock_wait_timeout, @@lock_wait_timeout"
    )
    assert found == (90.0, 60, 60)


@pytest.mark.parametrize(
    ("cursor", "row"),
    [
        ("Cursor", (5,)),
        ("SSCursor", (5,)),
        ("DictCursor", {"x": 5}),
        ("SSDictCursor", {"x": 5}),
    ],
)
def test_cursors(mysql_database: MySqlDatabase, connection: Define, cursor: str, row: Any) -> None:
    connection("cursors", mysql_database.connection(cursor=cursor))
    hook = MySqlHook("cursors")
    assert hook.get_first("SELECT 5 AS x") == row
    assert hook.get_records("SELECT 5 AS x") == [row]
    conn = hook.get_conn()
    with conn.cursor() as cur:
        cur.execute("SELECT 5 AS x")
        assert cur.fetchall() == [row]
    conn.close()
    with hook.session() as session:
        assert session.query("SELECT 5 AS x") == [(5,)]


def test_records(mysql_hook: MySqlHook) -> None:
    assert mysql_hook.get_records("CREATE TABLE t (a int, b text)") is None
    assert mysql_hook.get_records("INSERT INTO t VALUES (1, 'x'), (2, 'y')") is None
    assert mysql_hook.get_records("SELECT * FROM t WHERE a = %(a)s", {"a": 2}) == [(2, "y")]
    assert mysql_hook.get_records("SELECT a FROM t WHERE a IN %s ORDER BY 1", ([1, 2],)) == [(1,), (2,)]
    assert mysql_hook.get_first("SELECT * FROM t WHERE a = %s", (9,)) is None
    assert mysql_hook.get_first("SELECT 'a%b'") == ("a%b",)


def test_run_returns_what_airflow_says(mysql_hook: MySqlHook) -> None:
    def rows(cursor: Any) -> Any:
        return cursor.fetchall()

    hook = mysql_hook
    assert hook.run("SELECT 1; SELECT 2", handler=rows) == [(2,)]
    assert hook.run("SELECT 1; SELECT 2", handler=rows, split_statements=True) == [(2,)]
    assert hook.run("SELECT 1; SELECT 2", handler=rows, split_statements=True, return_last=False) == [[(1,)], [(2,)]]
    assert [description[0][0] for description in hook.descriptions] == ["1", "2"]
    assert hook.run(["SELECT 1", "SELECT 2"], handler=rows) == [[(1,)], [(2,)]]
    assert hook.run("SELECT 1") is None
    assert hook.run("SELECT COUNT(*) FROM information_schema.columns a, information_schema.columns b LIMIT 0") is None
    nothing: str | list[str]
    for nothing in ("  ", "-- nothing", []):
        with pytest.raises(InvalidArgument, match="no statement"):
            hook.run(nothing)


def test_run_is_one_transaction(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int)")
    with pytest.raises(DataError, match="Division by 0"):
        mysql_hook.run("INSERT INTO t VALUES (1); INSERT INTO t SELECT 1 / 0")
    assert mysql_database.query("SELECT * FROM t") == []
    with pytest.raises(DataError, match="Division by 0"):
        mysql_hook.run(["INSERT INTO t VALUES (1)", "INSERT INTO t SELECT 1 / 0"], autocommit=True)
    assert mysql_database.query("SELECT * FROM t") == [(1,)]


def test_routines_and_several_results(mysql_hook: MySqlHook) -> None:
    mysql_hook.run(
        "CREATE PROCEDURE p(n int) BEGIN SELECT n UNION SELECT n + 1; SELECT 3; SELECT 4; SELECT 5; END;"
        "CREATE FUNCTION f(x int) RETURNS int DETERMINISTIC RETURN x + 1"
    )
    assert mysql_hook.get_records("CALL p(%s)", (1,)) == [(1,), (2,)]
    assert mysql_hook.get_first("SELECT f(4)") == (5,)
    mysql_hook.run("CREATE PROCEDURE q() BEGIN SELECT 1; SELECT 2; INSERT INTO no_such_table VALUES (1); END")
    with pytest.raises(NotFound, match="no_such_table"):  # an error behind the first result
        mysql_hook.get_records("CALL q()")


def test_values_are_bound_and_names_quoted(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    hostile = "x'); DROP TABLE victim; -- \\' \" ` \0 \x1a %s"
    mysql_database.address.query("CREATE TABLE victim (a text)", None, mysql_database.name)
    mysql_database.address.query("CREATE TABLE `we``ird; DROP` (`a``; --` text)", None, mysql_database.name)
    assert mysql_hook.get_first("SELECT %s", (hostile,)) == (hostile,)
    assert mysql_hook.get_first("SELECT %(a)s", {"a": hostile}) == (hostile,)
    mysql_hook.insert_rows("victim", [(hostile,)])
    mysql_hook.insert_rows("`we``ird; DROP`", [(hostile,)], target_fields=["a`; --"])
    assert mysql_hook.get_records("SELECT a FROM victim") == [(hostile,)]
    assert mysql_hook.get_records("SELECT `a``; --` FROM `we``ird; DROP`") == [(hostile,)]


NAMES = [
    "",
    " ",
    ".",
    "a.",
    ".a",
    "a.b.c",
    "a b",
    "a;b",
    "victim; DROP TABLE victim",
    "victim -- ",
    "victim#",
    "`a",
    "a`",
    "``",
    "`a`b",
    "a.``",
    "1a",
    "a-b",
    "'a'",
    '"a"',
    "a\0b",
    "`a\0b`",
    "`a `",
    "`\U0001f600`",
    "x" * 65,
    "(SELECT 1)",
    "a,b",
    "a/**/b",
    "%s",
    "*",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_table_that_is_none(mysql_hook: MySqlHook, name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is not the name of a table: write table, database\.table"):
        mysql_hook.insert_rows(name, [("x",)])


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("flights", "`flights`"),
        ("Staging.Flights", "`Staging`.`Flights`"),
        (" `a.b` . `c``d` ", "`a.b`.`c``d`"),
        ("été$1", "`été$1`"),
    ],
)
def test_a_name_of_a_table(text: str, sql: str) -> None:
    assert TableName.parse(text).sql == sql


ROW = {
    "i int": -(2**31),
    "big bigint unsigned": 2**64 - 1,
    "n decimal(40,3)": Decimal("12345678901234567890.123"),
    "f double": 0.1,
    "ff double": 1e300,
    "b bool": True,
    "s text": "tab\tnew\nline\rback\\slash \\N \\. \"'é☃\U0001f600\0\x1a%s",
    "x blob": b"\x00\\\xff'",
    "d date": dt.date(2013, 1, 31),
    "z datetime(6)": dt.datetime(2013, 1, 31, 5, 6, 7, 8, dt.timezone(dt.timedelta(hours=2))),
    "ts timestamp(6) null": dt.datetime(2013, 1, 31, 5, 6, 7, 8, dt.UTC),
    "nz datetime(6)": dt.datetime(2013, 1, 31, 5, 6, 7, 8),
    "t time(6)": dt.time(23, 59, 59, 999999),
    "iv time(6)": dt.timedelta(days=-1, seconds=-3, microseconds=-5),
    "u char(36)": UUID("12345678123456781234567812345678"),
    "j json": {"a": [1, None, "é\n"]},
    "jj json": [1, "x"],
    "e text": "",
    "nil text": None,
}


def test_every_type_goes_in_as_it_is(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    mysql_database.address.query(f"CREATE TABLE t ({', '.join(ROW)})", None, mysql_database.name)
    mysql_hook.insert_rows("t", [list(ROW.values()), [None] * len(ROW)])
    first, second = mysql_hook.get_records("SELECT * FROM t")
    made = dict(zip((name.split()[0] for name in ROW), first, strict=True))
    wanted = {name.split()[0]: value for name, value in ROW.items()}
    assert json.loads(made.pop("j")) == wanted.pop("j")
    assert json.loads(made.pop("jj")) == wanted.pop("jj")
    wanted |= {
        "u": str(wanted["u"]),
        "z": dt.datetime(2013, 1, 31, 3, 6, 7, 8),  # in the session's time zone, which is UTC
        "ts": dt.datetime(2013, 1, 31, 5, 6, 7, 8),
        "t": dt.timedelta(hours=23, minutes=59, seconds=59, microseconds=999999),
    }
    assert made == wanted
    assert second == (None,) * len(ROW)


def test_inserts_are_one_transaction(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    def rows() -> Iterator[tuple[int]]:
        yield from ((number,) for number in range(25_000))
        raise OSError("the source broke")

    mysql_database.query("CREATE TABLE t (a int)")
    with pytest.raises(OSError, match="the source broke"):
        mysql_hook.insert_rows("t", rows())
    assert mysql_database.query("SELECT COUNT(*) FROM t") == [(0,)]
    with pytest.raises(OSError, match="the source broke"):
        mysql_hook.insert_rows("t", rows(), commit_every=1000)
    assert mysql_database.query("SELECT COUNT(*), COUNT(DISTINCT a) FROM t") == [(25_000, 25_000)]
    mysql_hook.insert_rows("t", [])
    assert mysql_database.query("SELECT COUNT(*) FROM t") == [(25_000,)]


def test_inserts_take_few_statements(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int, b text)")
    with mysql_hook.session() as session:
        before = dict(session.query("SHOW SESSION STATUS LIKE 'Com_insert'"))
    assert before == {"Com_insert": "0"}
    started = int(mysql_database.query("SHOW GLOBAL STATUS LIKE 'Com_insert'")[0][1])
    mysql_hook.insert_rows("t", ((number, "x" * 90) for number in range(30_000)))
    assert int(mysql_database.query("SHOW GLOBAL STATUS LIKE 'Com_insert'")[0][1]) - started <= 5
    assert mysql_database.query("SELECT COUNT(*) FROM t") == [(30_000,)]


def test_inserts_that_replace(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (k int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')")
    mysql_hook.insert_rows("t", [(1, "new"), (2, "two")], target_fields=["k", "v"], replace=True)
    assert mysql_database.query("SELECT * FROM t ORDER BY k") == [(1, "new"), (2, "two")]
    for arguments in ({"commit_every": -1}, {"wibble": 1}, {"target_fields": "k"}):
        with pytest.raises(InvalidArgument):
            mysql_hook.insert_rows("t", [(1, "x")], **arguments)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((3,), "row 2 has 1 values, 2 are expected"),
        ((1, object()), "row 2: cannot write a value of type object"),
        ((1, float("nan")), "row 2: cannot write nan: MySQL has no such number"),
        ((1, Decimal("Infinity")), "row 2: cannot write Infinity"),
        ((1, dt.time(1, tzinfo=dt.UTC)), "MySQL's TIME has no zone"),
        ((1, dt.timedelta(days=40)), "MySQL's TIME ends at 838:59:59"),
        ((1, "lone \ud800 surrogate"), r"'\\ud800' cannot be written as utf-8"),
        ((1, {"a": object()}), "cannot write a value of type object"),
        ((1, "x" * 11), "Data too long for column 'b'"),
        (("four", "x"), "Incorrect integer value: 'four'"),
        ((2**40, "x"), "Out of range value for column 'a'"),
        ((None, "x"), "Column 'a' cannot be null"),
        ((1, "x"), "Duplicate entry '1'"),
    ],
)
def test_rows_that_do_not_fit(
    mysql_hook: MySqlHook, mysql_database: MySqlDatabase, row: tuple[Any, ...], message: str
) -> None:
    mysql_database.query("CREATE TABLE t (a int PRIMARY KEY, b varchar(10))")
    with pytest.raises(DataError, match=message) as failure:
        mysql_hook.insert_rows("t", [(1, "y"), row])
    assert str(pickle.loads(pickle.dumps(failure.value))) == str(failure.value)
    assert mysql_database.query("SELECT COUNT(*) FROM t") == [(0,)]


def test_a_bad_row_far_in_is_counted_from_the_first(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int)")
    rows = ((number if number != 24_999 else "four",) for number in range(30_000))
    with pytest.raises(DataError) as failure:
        mysql_hook.insert_rows("t", rows)
    assert (failure.value.line, failure.value.column, failure.value.value) == (25_000, "a", "four")


def test_a_stream_needs_no_memory(mysql_hook: MySqlHook) -> None:
    sql = "SELECT a.column_name, REPEAT('x', %s) FROM information_schema.columns a, information_schema.columns b"
    list(mysql_hook.stream("SELECT 1"))
    tracemalloc.start()
    try:
        count = sum(1 for _ in mysql_hook.stream(f"{sql} LIMIT 200000", [100]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 200_000  # 20 MB and more of rows
    assert peak < 4_000_000


def test_what_nobody_reads_is_ended_in_the_server(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    many = "SELECT REPEAT('x', 1000) FROM information_schema.columns a, information_schema.columns b"
    rows = mysql_hook.stream(many, itersize=10)
    assert next(rows) == ("x" * 1000,)
    rows.close()  # type: ignore[attr-defined]
    gone_after(mysql_database, 10)  # the query had far longer to run
    with mysql_hook.session() as session:
        for _ in range(5):
            assert session.run(many, None, lambda cur: cur.fetchone()) == ("x" * 1000,)
            assert session.query("SELECT 1") == [(1,)]


def test_warnings_are_told(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int)")
    with mysql_hook.session() as session:
        session.execute("DROP TABLE IF EXISTS gone")
        session.execute("INSERT IGNORE INTO t VALUES ('x'), ('y')")
        notices = session.take_notices()
        assert session.take_notices() == []
    assert any("1051" in text for text in notices)
    assert [text for text in notices if "Incorrect integer value" in text and "at row 2" in text]


def test_nothing_secret_is_logged(
    mysql_hook: MySqlHook,
    mysql_database: MySqlDatabase,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG):
        mysql_hook.run("SELECT %s, 'quoted secret', \"another secret\" # secret", parameters=("bound secret",))
        with pytest.raises(InvalidArgument, match=r"syntax error near WHER a = '\.\.\.'") as failure:
            mysql_hook.run("UPDATE t SET a = %s WHER a = %s", parameters=("bound secret", "it's secret"))
        mysql_hook.get_sqlalchemy_engine()
    captured = capfd.readouterr()
    told = caplog.text + captured.out + captured.err + f"{failure.value!r} {failure.value.__cause__!r}"
    assert "running: SELECT %s, '...', '...'" in told
    assert "secret" not in told
    assert mysql_database.address.password not in told
    assert mysql_database.address.password not in repr(mysql_hook.connect_options())


def test_the_uri_is_the_same_connection(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    from sqlalchemy import create_engine

    assert mysql_database.address.password in mysql_hook.get_uri()
    assert mysql_database.address.password not in repr(mysql_hook.sqlalchemy_url)
    for engine in (create_engine(mysql_hook.get_uri()), mysql_hook.get_sqlalchemy_engine()):
        with engine.connect() as conn:
            rows = [tuple(row) for row in conn.exec_driver_sql("SELECT DATABASE(), 'é'")]
            assert rows == [(mysql_database.name, "é")]
        engine.dispose()


def test_airflows_generic_classes_take_the_hook(mysql_hook: MySqlHook, mysql_database: MySqlDatabase) -> None:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    hook = mysql_hook
    assert isinstance(hook, DbApiHook)
    assert hook.get_conn_id() == mysql_database.conn_id
    assert hook.split_sql_string("select ';'; select `;`") == ["select ';'", "select `;`"]
    assert hook.get_openlineage_default_schema() == mysql_database.name
    assert hook.get_openlineage_database_dialect(hook.connection) == "mysql"
    assert MySqlHook.get_ui_field_behaviour()["relabeling"] == {"schema": "Database"}
    conn = hook.get_conn()
    assert not hook.get_autocommit(conn)
    hook.set_autocommit(conn, True)
    assert hook.get_autocommit(conn)
    conn.close()


def test_a_token_of_iam_is_the_password(connection: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore signs it without a network; the region is read off the host's name."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    host = "warehouse.abc123.eu-west-3.rds.amazonaws.com"
    connection("aws_x", {"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "aws-secret"})
    iam = {"conn_type": "mysql", "host": host, "login": "me", "schema": "d"}
    connection("iam", {**iam, "extra": {"iam": True, "aws_conn_id": "aws_x"}})
    url = MySqlHook("iam").sqlalchemy_url
    token = urlsplit(f"https://{url.password}")
    query = parse_qs(token.query)
    assert token.netloc == f"{host}:3306"
    assert (query["Action"], query["DBUser"]) == (["connect"], ["me"])
    assert query["X-Amz-Credential"][0].endswith("/eu-west-3/rds-db/aws4_request")
    assert MySqlHook("iam")._with_token().tls.mode == "REQUIRED"
    connection("iam", {**iam, "extra": {"iam": True, "aws_conn_id": "aws_x", "ssl_mode": "DISABLED"}})
    with pytest.raises(InvalidArgument, match="iam needs TLS, which ssl_mode disables"):
        MySqlHook("iam").get_conn()


@pytest.mark.parametrize("allowed", [True, False])
def test_a_file_goes_to_the_server_only_where_the_statement_names_it(
    mysql_database: MySqlDatabase, tmp_path: Path, allowed: bool
) -> None:
    from tradewind.hooks.errors import AccessDenied

    file, other = tmp_path / "it's.csv", tmp_path / "other.csv"
    file.write_text("1\n2\n")
    other.write_text("secret\n")
    mysql_database.query("CREATE TABLE t (a text)")
    hook = MySqlHook(mysql_database.conn_id, local_infile=allowed)
    if not allowed:
        with pytest.raises((InvalidArgument, AccessDenied)):
            hook.run("LOAD DATA LOCAL INFILE %s INTO TABLE t", parameters=(str(file),))
        return
    hook.run("LOAD DATA LOCAL INFILE %s INTO TABLE t", parameters=(str(file),))
    assert mysql_database.query("SELECT * FROM t") == [("1",), ("2",)]
    conn = hook.get_conn()
    conn._statement = f"LOAD DATA LOCAL INFILE '{other}x' INTO TABLE t".encode()
    assert not conn.names_file(str(other).encode())
    assert conn.names_file(f"{other}x".encode())
    conn.close()
