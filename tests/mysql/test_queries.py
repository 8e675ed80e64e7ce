"""Queries as the source of a copy."""

from __future__ import annotations

import csv
import gzip
import io
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.fix_copies import WORK, drain
from tests.fix_mysql import MySqlDatabase
from tests.mysql.test_hook_interrupts import BUSY, gone_after, until_it_works
from tradewind.amazon.s3.files import S3File
from tradewind.hooks.compat import Context
from tradewind.hooks.errors import AccessDenied, InvalidArgument, NotFound, TradewindError
from tradewind.mysql.queries import MySqlQuery
from tradewind.operators.copy import CopyOperator
from tradewind.operators.dialect import CsvDialect

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook


def test_a_query_has_its_values_bound(mysql_database: MySqlDatabase) -> None:
    hostile = "it's \\ %s \"x\" ) INTO OUTFILE '/tmp/x' -- ä"
    query = MySqlQuery("SELECT %s AS a, '%%' AS b -- the end\n;", [hostile], conn_id=mysql_database.conn_id)
    assert list(csv.reader(io.StringIO(drain(query).decode()))) == [["a", "b"], [hostile, "%"]]
    named = MySqlQuery("SELECT %(x)s + 1 AS a -- the end", {"x": 4}, conn_id=mysql_database.conn_id)
    assert drain(named) == b"a\n5\n"
    assert drain(MySqlQuery("SELECT '100%' AS a", conn_id=mysql_database.conn_id)) == b"a\n100%\n"
    with pytest.raises(InvalidArgument, match="do not fit"):
        drain(MySqlQuery("SELECT %s, %s", [1], conn_id=mysql_database.conn_id))


def test_a_query_keeps_its_order_and_its_names(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int); INSERT INTO t VALUES (2), (3), (1)")
    sql = "WITH q AS (SELECT a FROM t) SELECT a, -a AS `b c`, a FROM q ORDER BY a DESC"
    assert drain(MySqlQuery(sql, conn_id=mysql_database.conn_id)) == b"a,b c,a\n3,-3,3\n2,-2,2\n1,-1,1\n"
    assert drain(MySqlQuery("VALUES (1, 'x')", conn_id=mysql_database.conn_id), CsvDialect(header=False)) == b"1,x\n"
    none = MySqlQuery("SELECT a FROM t WHERE a > 9", conn_id=mysql_database.conn_id)
    assert drain(none) == b"a\n"
    with none.open(WORK) as one, none.open(WORK) as two:
        assert one.fingerprint == two.fingerprint
        assert [part.columns for part in one.parts()] == [("a",)]


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        ("SELECT * FROM nope", NotFound, "nope"),
        ("SELEC 1", InvalidArgument, "syntax error"),
        ("SELECT 1; SELECT 2", InvalidArgument, "syntax error"),
        ("DO 1", InvalidArgument, "gives no rows"),
        ("UPDATE t SET a = 1", TradewindError, "READ ONLY transaction"),
        ("SELECT * FROM t FOR UPDATE", TradewindError, "READ ONLY transaction"),
        ("SELECT a, f FROM t", InvalidArgument, "six digits of the FLOAT f: write `f` [+] 0e0 AS `f`"),
        ("SELECT * FROM t INTO OUTFILE '/nowhere/x'", InvalidArgument, "gives no rows"),
    ],
)
def test_what_cannot_be_read_is_refused(
    mysql_database: MySqlDatabase, sql: str, error: type[Exception], message: str
) -> None:
    mysql_database.query("CREATE TABLE t (a int, f float) ENGINE=InnoDB; INSERT INTO t VALUES (7, 0.1)")
    with pytest.raises(error, match=message):
        drain(MySqlQuery(sql, conn_id=mysql_database.conn_id))
    gone_after(mysql_database, 5)
    assert mysql_database.query("SELECT a FROM t") == [(7,)]
    as_told = MySqlQuery("SELECT `f` + 0e0 AS `f` FROM t", conn_id=mysql_database.conn_id)
    assert drain(as_told) == b"f\n0.10000000149011612\n"


@pytest.mark.parametrize(
    "arguments", [{"sql": " ; "}, {"sql": 1}, {"sql": "SELECT 1", "parameters": "x"}, {"conn_id": ""}]
)
def test_a_declaration_that_cannot_work_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        MySqlQuery(**{"sql": "SELECT 1", **arguments}).check()


def test_a_user_without_the_right_is_told(mysql_database: MySqlDatabase, connection: Any) -> None:
    mysql_database.query("CREATE TABLE t (a int)")
    user = f"u_{mysql_database.name[-8:]}"
    mysql_database.address.query(f"CREATE USER {user} IDENTIFIED BY 'Secret-1234'")
    try:
        connection("narrow", {**mysql_database.connection(), "login": user, "password": "Secret-1234", "schema": ""})
        with pytest.raises(AccessDenied, match="denied"):
            drain(MySqlQuery(f"SELECT * FROM {mysql_database.name}.t", conn_id="narrow"))
    finally:
        mysql_database.address.query(f"DROP USER {user}")


def test_a_query_becomes_an_object_in_s3(
    mysql_database: MySqlDatabase, s3_hook: S3Hook, bucket: str, context: Callable[..., Context]
) -> None:
    with mysql_database.address.connect(mysql_database.name) as conn, conn.cursor() as cur:
        cur.execute("CREATE TABLE t (n int PRIMARY KEY, s varchar(20), d decimal(9,2), z timestamp NULL)")
        rows = [(n, "a,b" if n % 9 == 0 else f"text {n}", n / 4, "2013-02-03 04:05:06") for n in range(30_000)]
        cur.executemany("INSERT INTO t VALUES (%s, %s, %s, %s)", [*rows, (30_000, None, None, None)])
    url = f"s3://{bucket}/t.csv.gz"
    copy = CopyOperator(
        task_id="unload",
        source=MySqlQuery("SELECT * FROM t WHERE n >= %s ORDER BY n", [1], conn_id=mysql_database.conn_id),
        target=S3File(url),
    )
    told = copy.execute(context(copy))
    assert (told["rows"], told["counted"]) == (30_000, True)
    body = s3_hook.client().get_object(Bucket=bucket, Key="t.csv.gz")["Body"].read()
    text = gzip.decompress(body).decode()
    found = list(csv.reader(io.StringIO(text)))
    wanted = [[str(n), s, f"{d:.2f}", z] for n, s, d, z in rows[1:]]
    assert found == [["n", "s", "d", "z"], *wanted, ["30000", "", "", ""]]
    gone_after(mysql_database, 5)


def test_a_query_that_fails_leaves_no_object(
    mysql_database: MySqlDatabase, s3_hook: S3Hook, bucket: str, context: Callable[..., Context]
) -> None:
    with mysql_database.address.connect(mysql_database.name) as conn, conn.cursor() as cur:
        cur.execute("CREATE TABLE t (n int PRIMARY KEY)")
        cur.executemany("INSERT INTO t VALUES (%s)", range(40_000))
    sql = "SELECT n, REPEAT('x', 500), 9223372036854775807 - 39000 + n AS big FROM t ORDER BY n"
    copy = CopyOperator(
        task_id="unload",
        source=MySqlQuery(sql, conn_id=mysql_database.conn_id),
        target=S3File(f"s3://{bucket}/t.csv"),
    )
    with pytest.raises(TradewindError, match="out of range"):
        copy.execute(context(copy))
    assert s3_hook.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_signal_ends_the_query_in_the_server(
    mysql_database: MySqlDatabase, s3_hook: S3Hook, bucket: str, context: Callable[..., Context]
) -> None:
    copy = CopyOperator(
        task_id="unload",
        source=MySqlQuery(BUSY, conn_id=mysql_database.conn_id),
        target=S3File(f"s3://{bucket}/t.csv"),
    )

    def terminate(number: int, frame: object) -> None:
        copy.on_kill()
        raise SystemExit(143)

    def send() -> None:
        until_it_works(mysql_database)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, terminate)
    sender = threading.Thread(target=send)
    try:
        sender.start()
        with pytest.raises(SystemExit):
            copy.execute(context(copy))
    finally:
        signal.signal(signal.SIGTERM, before)
        sender.join()
    gone_after(mysql_database, 5)
    assert s3_hook.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0
