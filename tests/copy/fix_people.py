"""A table of people that expectations look at, and the table that it may reference."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_copies import MemoryFiles, copy
from tests.fix_tables import Tables
from tradewind.operators.expecting import Expectation

HEADER = b"id,code,at,day,team\n"


@pytest.fixture
def people(tables: Tables) -> Tables:
    """Make a table and one that it may reference."""
    moment = tables.pick(postgres="timestamptz", mysql="datetime(6)")
    quoted = tables.pick(postgres='"Odd %% name"', mysql="`Odd %% name`")
    tables.query("CREATE TABLE teams (id int PRIMARY KEY, part varchar(9))")
    tables.query("INSERT INTO teams VALUES (1, 'x'), (2, 'y')")
    tables.query(
        f"CREATE TABLE t (id int PRIMARY KEY, code varchar(10), at {moment}, day date, team int, "
        f"{quoted.replace('%%', '%')} varchar(9), price numeric(9, 2))"
    )
    return tables


def load(tables: Tables, body: bytes, *expect: Expectation, **asked: Any) -> Any:
    return copy(MemoryFiles(body), tables.table(), expect=expect, **asked)


def rows(tables: Tables) -> int:
    return int(tables.query("SELECT count(*) FROM t")[0][0])
