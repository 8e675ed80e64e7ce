"""Records with escapes, which go from database to database as they are: the values that could get lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.fix_copies import WORK, copy
from tests.fix_mysql import MySqlDatabase
from tests.fix_postgres import Database
from tradewind.hooks.errors import DataError
from tradewind.mysql.escaped_text import BLOCK, EscapedText
from tradewind.mysql.queries import MySqlQuery
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.ends import CopyRequest
from tradewind.operators.projection import Field
from tradewind.postgres.tables import PostgresQuery, PostgresTable

TEXTS = [
    "",
    "N",
    "\\N",
    "\\",
    "\\\\N",
    "\\.",
    "c:\\files\\new\\value\\0",
    "a\tb\nc\rd\r\ne",
    "\x01\b\f\v\x1a\x1b\x7f",
    "\\\f\\\v",
    "'\"`,;|%",
    "größe 😀 \u2028",
    "x" * 31 + "\t",
    "\\f" * 200_000,  # over several blocks
]


@pytest.fixture
def mysql(mysql_database: MySqlDatabase) -> MySqlDatabase:
    mysql_database.query("CREATE TABLE target (id int PRIMARY KEY, word longtext CHARACTER SET utf8mb4)")
    return mysql_database


def words(database: MySqlDatabase, table: str = "target") -> list[str | None]:
    with database.address.connect(database.name, charset="utf8mb4") as conn, conn.cursor() as cur:
        cur.execute(f"SELECT word FROM {table} ORDER BY id")
        return [word for (word,) in cur.fetchall()]


def into(database: MySqlDatabase, table: str = "target") -> MySqlTable:
    return MySqlTable(table, conn_id=database.conn_id)


@pytest.mark.parametrize("mode", ["append", "merge"])
@pytest.mark.parametrize("infile", [1, 0])
def test_texts_of_postgres_arrive_in_mysql(database: Database, mysql: MySqlDatabase, mode: Any, infile: int) -> None:
    given: list[str | None] = [*TEXTS, None]
    database.query("CREATE TABLE source (id int, word text)")
    for number, word in enumerate(given):
        database.query("INSERT INTO source VALUES (%s, %s)", [number, word])
    mysql.query(f"SET GLOBAL local_infile = {infile}")
    try:
        key = ("id",) if mode == "merge" else ()
        result = copy(PostgresTable("source", conn_id=database.conn_id), into(mysql), mode=mode, key=key)
    finally:
        mysql.query("SET GLOBAL local_infile = 1")

    assert (result.rows, words(mysql)) == (len(given), given)


def test_texts_of_mysql_arrive_in_mysql(mysql: MySqlDatabase) -> None:
    given: list[str | None] = [*TEXTS, "\0", "a\0\\0\tb", None]
    mysql.query("CREATE TABLE source LIKE target")
    with mysql.address.connect(mysql.name, charset="utf8mb4") as conn, conn.cursor() as cur:
        cur.executemany("INSERT INTO source VALUES (%s, %s)", list(enumerate(given)))

    copy(MySqlTable("source", conn_id=mysql.conn_id), into(mysql))

    assert words(mysql) == given


COLUMNS = """
id int PRIMARY KEY, yes boolean, said varchar(10), at datetime(6), seen timestamp(6) NULL, told varchar(40), num int,
raw varbinary(10)
"""


def values(database: MySqlDatabase) -> list[tuple[Any, ...]]:
    return database.query(
        "SELECT id, yes, said, CONCAT(at), CONCAT(CONVERT_TZ(seen, @@time_zone, '+00:00')), told, num, HEX(raw) "
        "FROM typed ORDER BY id"
    )


@pytest.mark.parametrize("projected", [False, True])
def test_what_a_column_takes_as_it_is_comes_bare(database: Database, mysql: MySqlDatabase, projected: bool) -> None:
    """A moment in a column of moments has no offset, in one of texts it keeps it; so it is with booleans and ``t``."""
    mysql.query(f"CREATE TABLE typed ({COLUMNS})")
    moment = "timestamptz '2013-02-03 04:05:06.789+05:30'"
    sql = (
        f"SELECT 1 AS id, true AS yes, true AS said, {moment} AS at, {moment} AS seen, {moment} AS told, '' AS num, "
        "'\\x5c00'::bytea AS raw UNION ALL SELECT 2, false, false, NULL, NULL, NULL, '7', NULL ORDER BY 1"
    )
    columns = ["id", "yes", "said", "at", "seen", "told", "num", "raw"] if projected else None

    copy(PostgresQuery(sql, conn_id=database.conn_id, columns=columns), into(mysql, "typed"))

    at = "2013-02-02 22:35:06.789000"
    assert values(mysql) == [
        (1, 1, "t", at, at, "2013-02-02 22:35:06.789+00", None, "5C00"),
        (2, 0, "f", None, None, None, 7, None),
    ]


def test_columns_made_in_the_target(mysql: MySqlDatabase) -> None:
    """MySQL's query is not rewritten: what its columns become is told to LOAD DATA."""
    mysql.query(f"CREATE TABLE typed ({COLUMNS})")
    sql = "SELECT 1 AS n, '2013-02-03T04:05:06Z' AS a, 'yes' AS b, X'5c00' AS r, '' AS num"
    sql += " UNION ALL SELECT 2, '', NULL, NULL, '7'"
    columns: dict[str, str | Field] = {
        "n": "id",
        "a": Field("at", type="timestamptz"),
        "b": "yes",
        "r": "raw",
        "num": "num",
    }
    source = MySqlQuery(sql, conn_id=mysql.conn_id, columns=columns, constants={"told": "a\tb"})

    copy(source, into(mysql, "typed"))

    assert values(mysql) == [
        (1, 1, None, "2013-02-03 04:05:06.000000", None, "a\tb", None, "5C00"),
        (2, None, None, None, None, "a\tb", 7, None),
    ]


def test_a_record_that_does_not_fit_is_named(database: Database, mysql: MySqlDatabase) -> None:
    sql = "SELECT n AS id, CASE n WHEN 2 THEN E'a\\nb' END AS word FROM generate_series(1, 5) n"
    sql += " UNION ALL SELECT 3, 'twice'"

    with pytest.raises(DataError, match=r"query on .*, line 8: Duplicate entry '3'"):
        copy(PostgresQuery(sql, conn_id=database.conn_id), into(mysql))

    assert words(mysql) == []


def test_the_plan_tells_the_statement(database: Database, mysql: MySqlDatabase) -> None:
    mysql.query(f"CREATE TABLE typed ({COLUMNS})")
    source = PostgresQuery("SELECT 1 AS id, true AS yes, now() AS at", conn_id=database.conn_id)
    with source.open(WORK) as reading:
        plan = into(mysql, "typed").plan(reading, CopyRequest(work=WORK))

    [load] = [text for text in plan.statements if text.startswith("LOAD DATA")]
    assert load.endswith("(`id`, `yes`, `at`)")
    assert "TERMINATED BY '\t'" in load


class Pieces:
    """A stream that gives the bytes of one piece after the other."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._left = [piece for piece in pieces if piece]

    def read(self, size: int = -1, /) -> bytes:
        assert size == BLOCK
        return self._left.pop(0) if self._left else b""

    def close(self) -> None:
        pass


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("read", [lambda text: text.read(), lambda text: text.read(5)], ids=["records", "bytes"])
def test_records_come_whole_wherever_the_stream_is_cut(size: int, read: Callable[[EscapedText], bytes]) -> None:
    data = b"1\tc:\\\\files\\f\\\\v\\v\n2\t\\N\n" + b"3\t\\\\\\f\\\\\\\\f\n" * 5
    told: list[int] = []
    text = EscapedText(Pieces([data[at : at + size] for at in range(0, len(data), size)]), told.append)

    assert not text.empty
    assert text.records == 0  # those that were read ahead did not go by yet
    found = list(iter(lambda: read(text), b""))

    assert b"".join(found) == b"1\tc:\\\\files\f\\\\v\v\n2\t\\N\n" + b"3\t\\\\\f\\\\\\\\f\n" * 5
    assert (text.records, sum(told)) == (7, len(data))
    assert EscapedText(Pieces([]), told.append).empty
