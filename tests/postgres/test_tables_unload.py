"""Unloading: what comes out, from whom, and what happens when it stops."""

from __future__ import annotations

import csv
import io
import threading
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fix_copies import WORK, MemoryFiles, copy, drain
from tests.fix_postgres import Database
from tests.postgres.sessions import once_it_sleeps, until_alone
from tradewind.hooks.errors import InvalidArgument, NotFound, TradewindError
from tradewind.hooks.libpq.errors import QueryCancelled
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Readable
from tradewind.operators.tables.unloads import CopyStream
from tradewind.postgres.tables import PostgresQuery, PostgresTable

pytestmark = pytest.mark.anywhere

TYPES = (
    "CREATE TABLE kinds AS SELECT 0.1::float8 + 0.2::float8 AS f, '2013-02-03 04:05:06+02'::timestamptz AS z, "
    "'\\xdeadbeef'::bytea AS b, '{\"a\": 1}'::jsonb AS j, ARRAY['x', NULL, 'a,b'] AS a, interval '1 day 2 hours' AS i, "
    "date '2013-02-03' AS d, true AS t, NULL::text AS n, ''::text AS e, 1e100::numeric AS big"
)


def test_a_table_comes_out_the_same_whatever_the_server_is_set_to(database: Database) -> None:
    database.query(TYPES)
    database.query(
        f"ALTER DATABASE {database.name} SET datestyle = 'German, DMY'; "
        f"ALTER DATABASE {database.name} SET bytea_output = 'escape'; "
        f"ALTER DATABASE {database.name} SET intervalstyle = 'sql_standard'; "
        f"ALTER DATABASE {database.name} SET timezone = 'Asia/Tokyo'; "
        f"ALTER DATABASE {database.name} SET extra_float_digits = -3; "
        f"ALTER DATABASE {database.name} SET client_encoding = 'latin1'"
    )
    out = drain(PostgresTable("kinds", conn_id=database.conn_id)).decode()
    row = next(csv.DictReader(io.StringIO(out)))
    assert row == {
        "f": "0.30000000000000004", "z": "2013-02-03 02:05:06+00", "b": "\\xdeadbeef", "j": '{"a": 1}',
        "a": '{x,NULL,"a,b"}', "i": "P1DT2H", "d": "2013-02-03", "t": "t", "n": "", "e": "", "big": "1" + "0" * 100,
    }  # fmt: skip
    assert out.split("\n")[1].endswith(',,"",1' + "0" * 100)
    database.query("CREATE TABLE again (LIKE kinds)")
    copy(PostgresTable("kinds", conn_id=database.conn_id), PostgresTable("again", conn_id=database.conn_id))
    assert database.query("SELECT count(*) FROM (TABLE kinds INTERSECT TABLE again) AS both_have") == [(1,)]


def test_a_query_has_its_values_bound(database: Database) -> None:
    hostile = "it's \\ %s \"x\" ) TO PROGRAM 'false' --"
    query = PostgresQuery("SELECT %s AS a, '%%' AS b -- the end\n;", [hostile], conn_id=database.conn_id)
    assert list(csv.reader(io.StringIO(drain(query).decode()))) == [["a", "b"], [hostile, "%"]]
    named = PostgresQuery("SELECT %(x)s::int + 1 AS a -- the end", {"x": 4}, conn_id=database.conn_id)
    assert drain(named) == b"a\n5\n"
    assert drain(PostgresQuery("SELECT '100%' AS a", conn_id=database.conn_id)) == b"a\n100%\n"


def test_the_target_s_dialect_is_obeyed(database: Database) -> None:
    asked = CsvDialect(delimiter=";", quote="'", escape="\\", null="NULL", header=False, encoding="latin-1")
    query = PostgresQuery("VALUES ('ä', 'it''s;', NULL), ('', 'NULL', 'x')", conn_id=database.conn_id)
    assert drain(query, asked) == "ä;'it\\'s;';NULL\n;'NULL';x\n".encode("latin-1")
    with query.open(WORK) as reading:
        part = next(iter(reading.parts(asked)))
        assert (part.dialect, part.columns) == (asked, ("column1", "column2", "column3"))
        with pytest.raises(InvalidArgument, match="cannot write utf-16"):
            list(reading.parts(CsvDialect(encoding="utf-16")))


def test_rows_are_counted_and_reads_are_exact(database: Database) -> None:
    query = PostgresQuery("SELECT g, repeat('x', g % 50) FROM generate_series(1, 50000) AS g", conn_id=database.conn_id)
    with query.open(WORK) as reading:
        part = next(iter(reading.parts()))
        for size in (-1, 7777, 1 << 20):
            stream = part.open()
            assert isinstance(stream, CopyStream)
            data = b"".join(iter(lambda stream=stream, size=size: stream.read(size), b""))  # type: ignore[misc]
            assert (data.count(b"\n"), stream.rows) == (50_001, 50_000)
            assert stream.read(10) == b""
            stream.close()


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        ("SELECT * FROM nope", NotFound, 'relation "nope" does not exist'),
        ("SELEC 1", InvalidArgument, "syntax error"),
        ("SELECT 1; SELECT 2", InvalidArgument, "syntax error"),
        ("SELECT 1 / (50000 - g) FROM generate_series(1, 90000) AS g", TradewindError, "division by zero"),
        ("SELECT nextval('s')", TradewindError, "read-only transaction"),
    ],
)
def test_errors_of_the_query_are_raised_by_read(
    database: Database, sql: str, error: type[Exception], message: str
) -> None:
    database.query("CREATE SEQUENCE s")
    with pytest.raises(error, match=message):
        drain(PostgresQuery(sql, conn_id=database.conn_id))


def exhaust(stream: Readable) -> None:
    while stream.read(1 << 20):
        pass


def test_closing_before_the_end_cancels_the_query(database: Database) -> None:
    query = PostgresQuery("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)", conn_id=database.conn_id)
    with query.open(WORK) as reading:
        stream = next(iter(reading.parts())).open()
        assert len(stream.read(1000)) == 1000
        stream.close()
        with pytest.raises(ValueError, match="closed"):
            exhaust(stream)
    until_alone(database)
    assert not [thread for thread in threading.enumerate() if thread.name == "tradewind-copy-out"]


def test_cancelling_the_reading_ends_a_query_that_gives_nothing(database: Database) -> None:
    query = PostgresQuery("SELECT pg_sleep(60)", conn_id=database.conn_id)
    with query.open(WORK) as reading:
        stream = next(iter(reading.parts())).open()
        with once_it_sleeps(database, reading.cancel), pytest.raises(QueryCancelled):
            exhaust(stream)
        stream.close()
    until_alone(database)


def test_a_killed_backend_is_an_error_and_not_the_end(database: Database) -> None:
    query = PostgresQuery("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)", conn_id=database.conn_id)
    with query.open(WORK) as reading:
        stream = next(iter(reading.parts())).open()
        stream.read(1000)
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for _ in range(2):
            with pytest.raises(TradewindError):
                exhaust(stream)
        stream.close()


HOSTILE = st.text(
    st.one_of(st.sampled_from("\",\n\r\\.\t;'%N|"), st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    max_size=12,
)


@settings(max_examples=15, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(st.none() | HOSTILE, st.none() | HOSTILE), max_size=8))
def test_hostile_texts_survive_the_round_trip(database: Database, rows: list[tuple[str | None, str | None]]) -> None:
    source = PostgresTable("given", conn_id=database.conn_id)
    target = PostgresTable("taken", conn_id=database.conn_id)
    number = uuid4().hex
    database.query("DROP TABLE IF EXISTS given, taken")
    database.query("CREATE TABLE given (a text, b text); CREATE TABLE taken (a text, b text)")
    for row in rows:
        database.query("INSERT INTO given VALUES (%s, %s)", row)
    copy(source, target, WORK.__class__("dag", number, "t"))
    assert sorted(map(str, database.query("TABLE taken"))) == sorted(map(str, rows))
    data = drain(source)
    copy(MemoryFiles(data, most=5), target, WORK.__class__("dag", number, "u"), mode="replace")
    assert sorted(map(str, database.query("TABLE taken"))) == sorted(map(str, rows))


def test_a_table_may_be_made_from_a_query(database: Database) -> None:
    query = PostgresQuery("SELECT g AS a, g * 0.5 AS b FROM generate_series(1, 1000) AS g", conn_id=database.conn_id)
    assert copy(query, PostgresTable("made", conn_id=database.conn_id), create=True).rows == 1000
    assert database.query("SELECT sum(a), sum(b) FROM made") == [(500500, 250250)]
