"""Several records of one key in a merge's input: an error, or the last or the first of them counts."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from tests.fix_copies import MemoryFiles, MemorySink, copy
from tests.fix_mysql import MySqlDatabase
from tests.fix_tables import Tables, mysql_tables
from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.ends import CopyResult

HEADER = b"id,name\n"


@pytest.fixture(params=["a primary key", "no index"])
def target(request: pytest.FixtureRequest, tables: Tables) -> Tables:
    key = " PRIMARY KEY" if request.param == "a primary key" else ""
    tables.query(f"CREATE TABLE t (id int{key}, name varchar(20), n int)")
    return tables


def merge(tables: Tables, *files: bytes, which: str = "last", **asked: Any) -> CopyResult:
    return copy(MemoryFiles(*files), tables.table(), mode="merge", key=("ID",), duplicates=which, **asked)


def names(tables: Tables) -> list[Any]:
    return tables.query("SELECT id, name FROM t ORDER BY id")


@pytest.mark.parametrize(("which", "kept"), [("last", ("c", "z", "q")), ("first", ("a", "x", "p"))])
def test_one_record_of_each_key_counts_by_file_and_line(
    which: str, kept: tuple[str, str, str], target: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    target.query("INSERT INTO t VALUES (1, 'old', 1), (2, 'same', 2)")
    files = [HEADER + b"1,a\n2,same\n3,x\n1,b\n", b"name,id\ny,3\nc,1\n", HEADER + b'3,z\n4,p\n"4",q\n']
    with caplog.at_level(logging.INFO):
        result = merge(target, *files, which=which)
    assert names(target) == [(1, kept[0]), (2, "same"), (3, kept[1]), (4, kept[2])]
    assert (result.rows, result.duplicates) == (4, 5)
    assert (result.inserted, result.updated, result.unchanged) == (2, 1, 1)
    assert f"5 records have a key of which the {which} one counts" in caplog.text
    again = merge(target, *files, which=which)
    assert (again.loaded_before is not None, again.duplicates) == (True, 5)


def test_they_are_an_error_where_nothing_is_said(target: Tables) -> None:
    with pytest.raises(DataError, match="not unique in the input: 1 keys stand more than once"):
        merge(target, HEADER + b"1,a\n1,b\n", which="error")
    assert names(target) == []
    assert merge(target, HEADER + b"1,a\n1,b\n").rows == 1


def test_a_key_of_several_columns(tables: Tables) -> None:
    tables.query("CREATE TABLE t (a int, b varchar(5), c int, tradewind_ordinal int, PRIMARY KEY (a, b))")
    body = b"a,b,c,TRADEWIND_ordinal\n1,x,1,9\n1,y,2,8\n1,x,3,7\n2,x,4,6\n"
    result = copy(MemoryFiles(body), tables.table(), mode="merge", key=("a", "b"), duplicates="last")
    assert tables.query("SELECT * FROM t ORDER BY a, b") == [(1, "x", 3, 7), (1, "y", 2, 8), (2, "x", 4, 6)]
    assert (result.rows, result.duplicates) == (3, 1)


def test_a_null_in_the_key_stays_an_error(target: Tables) -> None:
    with pytest.raises(DataError, match=r"'id' is NULL in 2 records|line 2|id"):
        merge(target, HEADER + b",a\n,b\n1,c\n1,d\n")
    assert names(target) == []


def test_bad_records_among_them_are_set_aside(target: Tables) -> None:
    sink = MemorySink()
    body = HEADER + b"1,a\nx,b\n2,c\n1,d\ny,e\n1,f\n"
    result = merge(target, body, max_errors=2, open_rejects=lambda: sink)
    assert names(target) == [(1, "f"), (2, "c")]
    assert (result.rows, result.duplicates, result.rejected) == (2, 2, 2)
    assert sink.data.count(b"\n") == 3


def shuffled(target: Tables, **asked: Any) -> None:
    """Merge many records in random order, several of each key, and compare with what Python keeps of them."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    records = [(chance.randrange(5_000), f"name {number}") for number in range(40_000)]
    files = [records[start : start + 15_000] for start in range(0, len(records), 15_000)]
    bodies = [HEADER + b"".join(b"%d,%s\n" % (key, name.encode()) for key, name in file) for file in files]
    for which, wanted in (("last", dict(records)), ("first", dict(reversed(records)))):
        target.query("DELETE FROM t")
        result = merge(target, *bodies, which=which, **asked)
        assert dict(names(target)) == wanted
        assert (result.rows, result.duplicates) == (len(wanted), len(records) - len(wanted))


def test_many_records_in_random_order(target: Tables) -> None:
    shuffled(target)


def test_many_records_in_random_order_around_bad_ones(target: Tables) -> None:
    shuffled(target, max_errors=1, open_rejects=MemorySink)


def test_many_records_that_go_by_insert(mysql_database: MySqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    from tradewind.mysql.bulk import Inserts

    monkeypatch.setattr("tradewind.mysql.loading.bulk", Inserts)
    mysql_database.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(20), n int)")
    shuffled(mysql_tables(mysql_database))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"duplicates": "newest", "mode": "merge", "key": "id"}, "duplicates must be one of error, last, first"),
        ({"duplicates": "last"}, "duplicates='last' means nothing to mode 'append'"),
        ({"duplicates": "first", "mode": "replace"}, "means nothing to mode 'replace'"),
    ],
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(asked: dict[str, Any], says: str) -> None:
    from tradewind.operators.copy import CopyOperator
    from tradewind.postgres.tables import PostgresTable

    with pytest.raises(InvalidArgument, match=says):
        CopyOperator(task_id="t", source=PostgresTable("a"), target=PostgresTable("t"), **asked)
