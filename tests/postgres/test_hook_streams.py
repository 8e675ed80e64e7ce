"""Streaming out of a query, and through COPY."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fix_postgres import Database
from tradewind.hooks.errors import (
    DataError,
    InvalidArgument,
    NotFound,
)
from tradewind.postgres.hooks import PostgresHook

pytestmark = pytest.mark.anywhere

if TYPE_CHECKING:
    pass


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
