"""Bad records set aside: which ones, where they are told, and when the file appears."""

from __future__ import annotations

import csv
import io
import random

import pytest

from tests.fix_copies import MemoryFiles, MemorySink, copy
from tests.fix_mysql import MySqlDatabase
from tradewind.hooks.errors import DataError
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.tables import rejects

pytestmark = pytest.mark.anywhere


@pytest.fixture
def target(mysql_database: MySqlDatabase) -> MySqlTable:
    mysql_database.query(
        "CREATE TABLE kinds (k int PRIMARY KEY); INSERT INTO kinds VALUES (0), (1), (2); "
        "CREATE TABLE t (id bigint PRIMARY KEY, name text NOT NULL, n int CHECK (n < 100), k int, "
        "FOREIGN KEY (k) REFERENCES kinds (k))"
    )
    return MySqlTable("t", conn_id=mysql_database.conn_id)


def test_every_kind_of_bad_record_is_set_aside(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    data = (
        b"id,name,n,k\r\n"
        b"1,a,1,1\r\n"
        b'2,"two\nlines",2,1\r\n'
        b"x,type,1,1\r\n"
        b"3,ragged,1\r\n"
        b"4,ragged,1,1,1\r\n"
        b'1,"dup\r\n""",1,1\r\n'
        b"5,,1,1\r\n"
        b"6,check,100,1\r\n"
        b"7,foreign,1,99\r\n"
        b"8,enc\xff,1,1\r\n"
        b"9,nul\0,1,1\r\n"
        b"10,good,1,2"
    )
    sink = MemorySink()
    result = copy(MemoryFiles(data), target, max_errors=20, open_rejects=lambda: sink)
    assert mysql_database.query("SELECT id FROM t ORDER BY 1") == [(1,), (2,), (9,), (10,)]
    assert (result.rows, result.rejected, sink.state) == (4, 8, "committed")
    told = list(csv.reader(io.StringIO(sink.data.decode("utf-8", "replace"), newline="")))
    assert told[0] == ["file", "line", "column", "reason", "record"]
    assert [int(row[1]) for row in told[1:]] == [5, 6, 7, 8, 10, 11, 12, 13]
    assert told[1][2:] == ["id", told[1][3], "x,type,1,1"]
    assert told[1][3].startswith("Incorrect integer value: 'x' for column")
    assert told[4][3:] == [
        "Duplicate entry '1' for key 'PRIMARY' [1062]",
        '1,"dup\r\n""",1,1',
    ]
    assert "foreign key" in told[7][3]
    assert all(row[0] == "memory/1.csv" for row in told[1:])
    assert b"8,enc\xff,1,1" in sink.data


def test_too_many_bad_records_keep_nothing(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    sink = MemorySink()
    data = b"id,name\n1,a\nx,b\n2,c\ny,d\nz,e\n"
    with pytest.raises(DataError, match=r"more than 2 bad records, nothing is loaded; .*line 6, column id") as caught:
        copy(MemoryFiles(data), target, max_errors=2, open_rejects=lambda: sink)
    assert caught.value.line == 6
    assert mysql_database.query("SELECT * FROM t") == []
    assert sink.state == "aborted"
    assert copy(MemoryFiles(data), target, max_errors=3, open_rejects=MemorySink).rejected == 3


def test_no_bad_record_opens_no_file(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    def never() -> MemorySink:
        raise AssertionError("the file was opened")

    result = copy(MemoryFiles(b"id,name\n1,a\n", b"id,name\n2,b\n"), target, max_errors=2, open_rejects=never)
    assert (result.rows, result.rejected, result.bytes) == (2, 0, 8)


def test_a_merge_sets_aside_what_no_row_can_hold(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    sink = MemorySink()
    data = b"id,name,n\n1,a,1\n2,,2\n3,c,99999999999\nx,d,4\n5,e,5\n"
    result = copy(MemoryFiles(data), target, mode="merge", key=("id",), max_errors=9, open_rejects=lambda: sink)
    assert (result.rows, result.inserted, result.rejected) == (2, 2, 3)


def test_scattered_bad_records_over_many_blocks(mysql_database: MySqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "BLOCK", 2000)
    monkeypatch.setattr(rejects, "AFTER_ERROR", 300)
    chance = random.Random(7)
    bad = set(chance.sample(range(2000), 60))
    lines = [f'{"x" if number in bad else number},"a\n{"b" * chance.randrange(9)}"\n' for number in range(2000)]
    mysql_database.query("CREATE TABLE m (id int PRIMARY KEY, name text)")
    sink = MemorySink()
    result = copy(
        MemoryFiles(("id,name\n" + "".join(lines)).encode(), most=997),
        MySqlTable("m", conn_id=mysql_database.conn_id),
        max_errors=60,
        open_rejects=lambda: sink,
    )
    assert (result.rows, result.rejected) == (1940, 60)
    told = list(csv.DictReader(io.StringIO(sink.data.decode(), newline="")))
    assert [int(row["line"]) for row in told] == [2 * number + 2 for number in sorted(bad)]


def test_a_merge_that_breaks_a_check_fails_as_a_whole(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    """The temporary table has no CHECK: what breaks one is seen when the rows are written."""
    with pytest.raises(DataError, match=r"(?i)constraint"):
        copy(MemoryFiles(b"id,name,n\n1,a,1\n3,c,300\n"), target, mode="merge", key=("id",))
    assert mysql_database.query("SELECT * FROM t") == []
