"""Readers while a table is replaced: each sees the old rows or the new ones, all of them, and never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.fix_tables import Tables
from tradewind.hooks.errors import DataError

ROWS = 5_000
TIMES = 6


def body(version: int, rows: int = ROWS) -> bytes:
    return b"id,version\n" + b"".join(b"%d,%d\n" % (number, version) for number in range(rows))


class Reader:
    """Reads a table over and over, on a connection of its own each time, until it is told to stop."""

    def __init__(self, query: Callable[[str], list[tuple[Any, ...]]]) -> None:
        self._query = query
        self._stop = threading.Event()
        self.seen: list[tuple[Any, ...]] = []
        self.failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                self.seen += self._query("SELECT count(*), min(version), max(version) FROM t")
        except BaseException as error:
            self.failed.append(error)


@pytest.fixture
def filled(tables: Tables) -> Tables:
    tables.query("CREATE TABLE t (id int PRIMARY KEY, version int NOT NULL)")
    copy(MemoryFiles(body(0)), tables.table())
    return tables


def test_a_reader_sees_each_version_whole(filled: Tables) -> None:
    with Reader(filled.query) as reader:
        for version in range(1, TIMES + 1):
            work = replace(WORK, run_id=f"run {version}")
            assert copy(MemoryFiles(body(version)), filled.table(), work, mode="replace").rows == ROWS
    assert reader.failed == []
    assert [row for row in reader.seen if row[0] != ROWS or row[1] != row[2]] == []
    versions = [row[1] for row in reader.seen]
    assert versions == sorted(versions)
    assert len(set(versions)) > 1, "the reader was too slow to see a change"


def test_a_reader_sees_nothing_of_a_replace_that_fails(filled: Tables) -> None:
    with Reader(filled.query) as reader:
        for version in range(1, TIMES + 1):
            bad = body(version) + b"%d,no number\n" % ROWS
            with pytest.raises(DataError, match=f"line {ROWS + 2:,}"):
                copy(MemoryFiles(bad), filled.table(), replace(WORK, run_id=f"run {version}"), mode="replace")
    assert reader.failed == []
    assert set(reader.seen) == {(ROWS, 0, 0)}


def test_two_replaces_at_the_same_time_leave_one_of_the_two(filled: Tables) -> None:
    results: list[int] = []

    def run(version: int) -> None:
        work = replace(WORK, run_id=f"run {version}")
        results.append(copy(MemoryFiles(body(version, version)), filled.table(), work, mode="replace").rows)

    threads = [threading.Thread(target=run, args=(version,)) for version in (3_000, 4_000)]
    for thread in threads:
        thread.start()
    with Reader(filled.query) as reader:
        for thread in threads:
            thread.join(60)
    assert sorted(results) == [3_000, 4_000]
    [(count, low, high)] = filled.query("SELECT count(*), min(version), max(version) FROM t")
    assert (low, high) == (count, count)
    assert set(reader.seen) <= {(ROWS, 0, 0), (3_000, 3_000, 3_000), (4_000, 4_000, 4_000)}
