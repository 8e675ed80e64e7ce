"""Tables made from their first input, and what an end refuses when a DAG is parsed."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.fix_postgres import Database
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.hooks.libpq.names import TableName
from tradewind.operators.dialect import CsvDialect
from tradewind.postgres.tables import PostgresQuery, PostgresTable

pytestmark = pytest.mark.anywhere


def types(database: Database, table: str) -> dict[str, str]:
    return dict(
        database.query(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            [table],
        )
    )


def test_types_are_told_from_the_whole_sample(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    data = (
        b"yes,int,big,dec,dbl,day,at,atz,id,zip,tel,na,none,mixed,q\n"
        b"t,1,9223372036854775808,1,1e5,2013-02-03,2013-02-03,2013-02-03T04:05:06Z,"
        b'00000000-0000-4000-8000-00000000000a,01234,+49,NA,,1,"1"\n'
        b'FALSE,-20,-1,1.50,2,2000-02-29,2013-02-03 04:05,2013-02-03 04:05:06.5+02,,1,1,2,,x,""\n'
    )
    target = PostgresTable("made", conn_id=database.conn_id)
    with caplog.at_level(logging.INFO):
        assert copy(MemoryFiles(data), target, create=True).rows == 2
    assert types(database, "made") == {
        "yes": "boolean", "int": "bigint", "big": "numeric", "dec": "numeric", "dbl": "double precision",
        "day": "date", "at": "timestamp without time zone", "atz": "timestamp with time zone", "id": "uuid",
        "zip": "text", "tel": "text", "na": "text", "none": "text", "mixed": "text", "q": "bigint",
    }  # fmt: skip
    assert 'CREATE TABLE "made" ("yes" boolean' in caplog.text
    assert copy(MemoryFiles(data), target, replace(WORK, run_id="2"), create=True).rows == 2


def test_all_files_are_looked_at(database: Database) -> None:
    dialect = CsvDialect(null="NA")
    target = PostgresTable("made", conn_id=database.conn_id)
    copy(MemoryFiles(b"", b"a,b\n1,NA\n", b"b,c\n2,x\nNA,y", dialect=dialect), target, create=True)
    assert types(database, "made") == {"a": "bigint", "b": "bigint", "c": "text"}


def test_the_key_of_a_merge_becomes_the_primary_key(database: Database) -> None:
    target = PostgresTable("made", conn_id=database.conn_id)
    data = MemoryFiles(b"a,B\n1,x\n2,y\n")
    assert copy(data, target, mode="merge", key=("b", "a"), create=True).inserted == 2
    assert copy(data, target, replace(WORK, max_tries=9), mode="merge", key=("b", "a"), create=True).unchanged == 2
    with pytest.raises(DataError, match="duplicate key"):
        copy(MemoryFiles(b"a,B\n1,x\n"), target)


def test_a_failed_load_leaves_no_table(database: Database) -> None:
    target = PostgresTable("made", conn_id=database.conn_id)
    with pytest.raises(DataError, match="missing data"):
        copy(MemoryFiles(b"a,b\n1,x\n2\n"), target, create=True)
    with pytest.raises(DataError, match="delimiter=';'"):
        copy(MemoryFiles(b"a;b\n1;x\n"), target, create=True)
    with pytest.raises(DataError, match="no part of the input has a header"):
        copy(MemoryFiles(b""), target, create=True)
    with pytest.raises(InvalidArgument, match="the input has no column 'c'"):
        copy(MemoryFiles(b"a,b\n1,x\n"), target, mode="merge", key=("c",), create=True)
    with pytest.raises(DataError, match="longer than the 63 bytes"):
        copy(MemoryFiles(b"a" * 64 + b"\n1\n"), target, create=True)
    assert database.query("SELECT to_regclass('made')") == [(None,)]
    with pytest.raises(NotFound, match="no schema nope: create it"):
        copy(MemoryFiles(b"a\n1\n"), PostgresTable("nope.made", conn_id=database.conn_id), create=True)


def test_two_first_loads_at_the_same_time_make_one_table(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(
                lambda number: copy(
                    MemoryFiles(b"a\n1\n"),
                    PostgresTable("made", conn_id=database.conn_id),
                    replace(WORK, run_id=str(number)),
                    create=True,
                ),
                range(4),
            )
        )
    assert [result.rows for result in results] == [1] * 4
    assert database.query("SELECT count(*) FROM made") == [(4,)]


@pytest.mark.parametrize(
    ("text", "schema", "table"),
    [
        ("Flights", None, "flights"),
        ("Staging.Flights_2", "staging", "flights_2"),
        ('"Staging"."Flights.2013"', "Staging", "Flights.2013"),
        ('a."b""c"', "a", 'b"c'),
        ("größe", None, "größe"),
        (" a . b ", "a", "b"),
    ],
)
def test_names_are_read_as_sql_reads_them(text: str, schema: str | None, table: str) -> None:
    assert TableName.parse(text) == TableName(table, schema)
    assert TableName.parse(TableName.parse(text).sql) == TableName(table, schema)


@pytest.mark.parametrize(
    "text", ["", " ", "a.b.c", "a b", "a;drop table b", '"a', "a.", ".a", "1a", "a-b", '""', "a\0"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        PostgresTable(text).check()


@pytest.mark.parametrize(
    "end",
    [
        lambda: PostgresTable(None),  # type: ignore[arg-type]
        lambda: PostgresTable("a", conn_id=""),
        lambda: PostgresTable("a", ledger="b c"),
        lambda: PostgresTable("a", ledger_days=0),
        lambda: PostgresQuery(" ; "),
        lambda: PostgresQuery("SELECT 1", "abc"),
        lambda: PostgresQuery("SELECT 1", conn_id=None),  # type: ignore[arg-type]
    ],
)
def test_arguments_that_cannot_work_are_refused(end: Any) -> None:
    with pytest.raises(InvalidArgument):
        end().check()


def test_templates_wait_for_their_values() -> None:
    PostgresTable("{{ schema }}.flights_{{ ds_nodash }}", ledger="{{ ledger }}").check()
    PostgresQuery("{% if x %}SELECT 1{% endif %}").check()


def test_ends_name_themselves(database: Database) -> None:
    table = PostgresTable("Staging.flights", conn_id=database.conn_id)
    assert table.describe() == f"Staging.flights on {database.conn_id}"
    assert table.openlineage_dataset() == (
        f"postgres://{database.host}:{database.port}",
        f"{database.name}.staging.flights",
    )
    assert PostgresTable("a", conn_id="nowhere").openlineage_dataset() is None
    assert table.assets() == []
    assert PostgresQuery("SELECT 1", conn_id="w").describe() == "query on w"
