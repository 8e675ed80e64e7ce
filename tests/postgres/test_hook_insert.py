"""Inserting rows."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from tests.fix_postgres import Database
from tradewind.hooks.errors import (
    DataError,
    InvalidArgument,
)
from tradewind.postgres.hooks import PostgresHook

pytestmark = pytest.mark.anywhere

if TYPE_CHECKING:
    pass


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
