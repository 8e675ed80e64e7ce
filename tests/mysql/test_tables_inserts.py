"""A server that does not allow LOAD DATA LOCAL: rows go by INSERT, as exactly once, and the log says what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.fix_copies import MemoryFiles, MemorySink, copy
from tests.fix_mysql import Address, MySqlDatabase, MySqlServer, program
from tests.services import require
from tradewind.hooks.errors import DataError
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.projection import Field, Projection

pytestmark = pytest.mark.anywhere


@pytest.fixture(scope="module")
def mysql_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """Start a server of this module's own: the switch is the whole server's."""
    if program() is None:
        require("mysql", "no server to start")
    with MySqlServer(tmp_path_factory.mktemp("closed"), {"local-infile": "0"}) as server:
        yield server.address


@pytest.fixture
def target(mysql_database: MySqlDatabase) -> MySqlTable:
    mysql_database.query("CREATE TABLE t (id int PRIMARY KEY, name text, b boolean, at datetime)")
    return MySqlTable("t", conn_id=mysql_database.conn_id)


def test_rows_arrive_and_the_log_says_what_to_switch_on(
    mysql_database: MySqlDatabase, target: MySqlTable, caplog: pytest.LogCaptureFixture
) -> None:
    data = b'id,name,b,at\n1,"it\'s ""a""\\,\nb",t,2013-01-02T03:04:05Z\n2,,,""\n3,x,0,\n'
    with caplog.at_level(logging.WARNING):
        result = copy(MemoryFiles(data), target)
    assert (result.rows, result.plan.split()[0]) == (3, "INSERT")
    assert "switch it on by SET GLOBAL local_infile = 1" in caplog.text
    assert mysql_database.query("SELECT id, name, b, CAST(at AS CHAR) FROM t") == [
        (1, 'it\'s "a"\\,\nb', 1, "2013-01-02 03:04:05"), (2, None, None, None), (3, "x", 0, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (b"1,a\nx,b\n", "line 3, column id: .*Incorrect integer value"),
        (b"1,a\n1,b\n", "line 3: .*Duplicate entry"),
        (b"1,a\n2\n", "line 3: .*Column count"),
        (b"1,a\n2,b,c\n", "line 3: .*Column count"),
    ],
)
def test_bad_records_are_named(mysql_database: MySqlDatabase, target: MySqlTable, records: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        copy(MemoryFiles(b"id,name\n" + records), target)
    assert mysql_database.query("SELECT * FROM t") == []
    assert copy(MemoryFiles(b"id,name\n" + records), target, max_errors=1, open_rejects=MemorySink).rejected == 1
    assert mysql_database.query("SELECT id FROM t") == [(1,)]


def test_columns_are_chosen_and_cast_on_their_way(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    projection = Projection.make(
        {"key": Field("id", "bigint"), "who": "name", "day": Field("at", "timestamptz")}, {"b": True}
    )
    data = b'junk,who,key,day\nx,a,1,2013-01-02T03:04:05+01:00\n"y,z","",2,""\n'
    assert copy(MemoryFiles(data, projection=projection), target).rows == 2
    assert mysql_database.query("SELECT id, name, b, CAST(at AS CHAR) FROM t") == [
        (1, "a", 1, "2013-01-02 02:04:05"), (2, "", 1, None)
    ]  # fmt: skip
    key = Projection.make({"key": Field("id", "bigint")}, None)
    with pytest.raises(DataError, match=r"line 3: .*Truncated incorrect INTEGER value: 'q'"):
        copy(MemoryFiles(b"key,who\n3,a\nq,b\n", projection=key), target)
