"""Unloading: what comes out of tables and queries, and what happens when it stops."""

from __future__ import annotations

import csv
import io
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fix_copies import WORK
from tests.fix_mysql import MySqlDatabase
from tests.mysql.test_hook_interrupts import gone_after
from tradewind.hooks.errors import DataError, NotFound, SourceChanged, TradewindError
from tradewind.mysql.errors import QueryCancelled
from tradewind.mysql.hooks import MySqlHook
from tradewind.mysql.names import TableName
from tradewind.mysql.packets import Column
from tradewind.mysql.rendering import Renderer
from tradewind.mysql.styles import ESCAPED, csv_style
from tradewind.mysql.unloading import MySqlReading, table_reading
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Readable
from tradewind.operators.tables.unloads import CopyStream

pytestmark = pytest.mark.anywhere

NULLS = CsvDialect(null="\\N")

# Each value as it is written in SQL, and as it comes out.
TYPES: dict[str, list[tuple[str, str]]] = {
    "bigint": [("-9223372036854775808", "-9223372036854775808")],
    "bigint unsigned": [("18446744073709551615", "18446744073709551615")],
    "int(6) zerofill": [("42", "000042")],
    "boolean": [("true", "1")],
    "decimal(65,30)": [("-" + "9" * 35 + "." + "9" * 30, "-" + "9" * 35 + "." + "9" * 30)],
    "decimal(4,2)": [("0.1", "0.10")],
    "double": [("0.1e0 + 0.2e0", "0.30000000000000004"), ("1e100", "1e100"), ("-5e-324", "-5e-324")],
    "float": [("0.1", "0.10000000149011612"), ("16777216", "16777216"), ("3.4028234e38", "3.4028234663852886e38")],
    "float(7,2)": [("0.1", "0.10"), ("12345.67", "12345.67")],
    "date": [("'2013-02-03'", "2013-02-03"), ("'0000-00-00'", "0000-00-00"), ("'2013-00-00'", "2013-00-00")],
    "datetime": [("'2013-02-03 04:05:06'", "2013-02-03 04:05:06"), ("0", "0000-00-00 00:00:00")],
    "datetime(3)": [("'9999-12-31 23:59:59.999'", "9999-12-31 23:59:59.999")],
    "timestamp(6) null": [("FROM_UNIXTIME(1359864306.789)", "2013-02-03 04:05:06.789000")],
    "time": [("'-838:59:59'", "-838:59:59"), ("'00:00:01'", "00:00:01")],
    "time(6)": [("'100:00:00.000001'", "100:00:00.000001")],
    "year": [("2013", "2013"), ("0", "0000")],
    "bit(1)": [("b'0'", "0"), ("b'1'", "1")],
    "bit(64)": [("b'101'", "5"), ("~0", "18446744073709551615")],
    "binary(4)": [("X'00ff'", "\\x00ff0000")],
    "varbinary(300)": [("''", "\\x"), ("X'DEAD2C220A'", "\\xdead2c220a"), ("REPEAT(X'ff', 300)", "\\x" + "ff" * 300)],
    "blob": [("X'fffefdfcfb'", "\\xfffefdfcfb")],
    "point": [("POINT(1, 2)", "\\x000000000101000000" + struct.pack("<dd", 1, 2).hex())],
    "json": [("'{\"a\": [1, \"é,\"]}'", '{"a": [1, "é,"]}')],
    "enum('a','b,c')": [("'b,c'", "b,c")],
    "set('x','y','z')": [("'z,x'", "x,z"), ("''", "")],
    "char(5)": [("'ab  '", "ab")],
    "varchar(5) character set latin1": [("'äöü'", "äöü")],
    "varchar(5) character set ucs2": [("'łé'", "łé")],
    "text": [("'NA'", "NA"), ("''", ""), ("' \\t😀\\\\ '", " \t😀\\ ")],
    "longtext": [("REPEAT('é\"', 500000)", 'é"' * 500_000)],
}  # fmt: skip


def unload(reading: MySqlReading, dialect: CsvDialect | None = None, size: int = 1 << 16) -> bytes:
    """Read all of it, and see that the rows were counted."""
    [part] = reading.parts(dialect)
    stream = part.open()
    data = b"".join(iter(lambda: stream.read(size), b""))
    assert isinstance(stream, CopyStream)
    assert stream.rows is not None
    stream.close()
    return data


def table(database: MySqlDatabase, name: str = "t", **options: Any) -> MySqlReading:
    return table_reading(MySqlHook(database.conn_id, **options), WORK, f"{name} on it", TableName.parse(name))


def query(database: MySqlDatabase, sql: str) -> MySqlReading:
    return MySqlReading(MySqlHook(database.conn_id), WORK, "query", sql)


def parsed(data: bytes, null: str = "\\N") -> list[list[str | None]]:
    before = csv.field_size_limit(2_000_000)
    try:
        reader = csv.reader(io.StringIO(data.decode(), ""))
        return [[None if field == null else field for field in row] for row in reader]
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize("kind", TYPES)
def test_a_value_comes_out_exactly(mysql_database: MySqlDatabase, kind: str) -> None:
    mysql_database.query(f"CREATE TABLE t (n int PRIMARY KEY, v {kind})")
    with mysql_database.address.connect(mysql_database.name) as conn, conn.cursor() as cur:
        cur.execute("SET sql_mode = '', time_zone = '+00:00'")
        for number, (value, _) in enumerate([*TYPES[kind], ("NULL", "")]):
            cur.execute(f"INSERT INTO t VALUES ({number}, {value})")
    found = {row[0]: row[1] for row in parsed(unload(table(mysql_database), NULLS))[1:]}
    assert found == {str(number): made for number, made in enumerate([*(made for _, made in TYPES[kind]), None])}


def test_the_same_comes_out_whatever_the_connection_is_set_to(
    mysql_database: MySqlDatabase, connection: Callable[..., str]
) -> None:
    mysql_database.query("CREATE TABLE t (é char(5), z timestamp, f float)")
    mysql_database.query("INSERT INTO t VALUES ('ü', '2013-02-03 04:05:06', 0.5), ('', '2013-02-03 04:05:06', 1e30)")
    plain = unload(table(mysql_database))
    odd = {
        "charset": "latin1",
        "sql_mode": "ANSI,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES",
        "init_command": "SET time_zone = '+09:00', sql_select_limit = 1",
        "cursor": "ssdictcursor",
    }
    connection(mysql_database.conn_id, mysql_database.connection(**odd))
    assert unload(table(mysql_database)) == plain
    assert unload(table(mysql_database, settings={"time_zone": "-05:00"})) == plain
    assert parsed(plain)[0] == ["é", "z", "f"]
    assert len(parsed(plain)) == 3


def test_null_and_the_empty_text_stay_apart(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a varchar(9), b int, c varchar(9))")
    mysql_database.query("INSERT INTO t VALUES (NULL, NULL, ''), ('', 1, NULL), ('NA', NULL, 'x')")
    body = CsvDialect(header=False)
    assert unload(table(mysql_database), body) == b',,""\n"",1,\nNA,,x\n'
    assert unload(table(mysql_database), CsvDialect(header=False, null="NA")) == b'NA,NA,\n,1,NA\n"NA",NA,x\n'
    mysql_database.query("DELETE FROM t WHERE a = 'NA'")
    assert unload(table(mysql_database), CsvDialect(header=False, null="NA")) == b"NA,NA,\n,1,NA\n"
    mysql_database.query("ALTER TABLE t DROP b, DROP c")
    assert unload(table(mysql_database), body) == b'\n""\n'
    mysql_database.query(r"INSERT INTO t VALUES ('\\.')")
    assert unload(table(mysql_database), body) == b'\n""\n"\\."\n'


def test_the_target_s_dialect_is_obeyed(mysql_database: MySqlDatabase) -> None:
    ask = mysql_database.address.query
    ask("CREATE TABLE t (a varchar(20), `b;'` varchar(20), c varchar(20))", database=mysql_database.name)
    ask("INSERT INTO t VALUES (%s, %s, %s), (%s, %s, %s)", ["ä", "it's\\;", None, "", "NULL", "x"], mysql_database.name)
    asked = CsvDialect(delimiter=";", quote="'", escape="\\", null="NULL", header=True, encoding="latin-1")
    wanted = "a;'b;\\'';c\nä;'it\\'s\\\\;';NULL\n;'NULL';x\n"
    assert unload(table(mysql_database), asked) == wanted.encode("latin-1")
    wide = CsvDialect(delimiter="\t", null="NULL", encoding="utf-16")
    assert unload(table(mysql_database), wide).decode("utf-16") == "a\tb;'\tc\nä\tit's\\;\tNULL\n\t\"NULL\"\tx\n"
    [part] = table(mysql_database).parts(asked)
    assert (part.dialect, part.columns) == (asked, ("a", "b;'", "c"))


def test_what_an_encoding_cannot_write_is_an_error(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a varchar(20))")
    mysql_database.query("INSERT INTO t VALUES ('a'), ('ł')")
    for encoding in ("latin-1", "ascii"):
        with pytest.raises(DataError, match="'ł' cannot be written as"):
            unload(table(mysql_database), CsvDialect(encoding=encoding))
    gone_after(mysql_database, 5)


def test_a_text_that_is_no_utf8_is_an_error(mysql_database: MySqlDatabase) -> None:
    """MySQL lets no such text in, but for ways round: here a row that it would send."""
    for row in (
        b"\x03a\xffb\x00",
        b"\x03a\xfeb\x00",
        b"\x03a\xfbb\x00",
        b"\x02\xc3,\x00",
        b"\x24" + b"a" * 35 + b"\xff\x00",
    ):
        with pytest.raises(DataError, match="not UTF-8"):
            Renderer([Column("a", 253), Column("b", 253)], csv_style(CsvDialect()), "it").rows([b"\x01a\x01b", row])


def test_a_row_that_is_none_is_an_error() -> None:
    for row in (b"\x01a\x05b", b"\x01a\xfd\xff\xff\xffb"):
        renderer = Renderer([Column("a", 253), Column("b", 252, binary=True)], csv_style(CsvDialect()), "it")
        with pytest.raises(TradewindError, match="none of MySQL's protocol"):
            renderer.rows([row])
    for row in (b"\x01a", b"\x01a\x01b\x01c", b"\x01a\x05b", b"\x01a\xfc\xff\xffb", b"\x01a\xffb"):
        with pytest.raises(TradewindError, match="none of MySQL's protocol"):
            Renderer([Column("a", 253), Column("b", 253)], csv_style(CsvDialect(null="\\N")), "it").rows([row])


# Short and long, plain and not: each of the ways that a block of rows can be written.
PLAIN = st.text(st.characters(min_codepoint=32, exclude_characters="\"',;|\\", exclude_categories=["Cs"]), max_size=40)
LONG = st.builds(lambda text, times: (text * times)[:70_000], PLAIN, st.sampled_from([8, 60, 251, 4000]))
HOSTILE = st.text(
    st.one_of(st.sampled_from("\",\n\r\\.\t;'%N|\0\x01\x0b\x1f !"), st.characters(exclude_categories=["Cs"])),
    max_size=12,
)
SMALL = st.sampled_from(
    ["", "N", "\\N", "\\.", "a", "x" * 31, "x" * 32, "x" * 250, "x" * 251, "😀" * 8, "x" * 33 + "\x0c"]
)
VALUES = st.none() | PLAIN | HOSTILE | SMALL | LONG
DIALECTS = st.sampled_from(
    [
        CsvDialect(),
        CsvDialect(null="\\N"),
        CsvDialect(null="N", delimiter="\t", quote="'"),
        CsvDialect(delimiter="|", escape="\\"),
        CsvDialect(delimiter="\x01", quote="\x02", null="a", encoding="utf-16-le"),
    ]
)


ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


def expected(rows: list[Any], dialect: CsvDialect | None) -> bytes:
    """Write rows as PostgreSQL's COPY does, a field after the other; with escapes where there is no dialect."""
    if dialect is None:
        escaped = (["\\N" if value is None else value.translate(ESCAPES) for value in row] for row in rows)
        return "".join("\t".join(row) + "\n" for row in escaped).encode()
    special = {dialect.delimiter, dialect.quote, "\r", "\n"}
    alone = rows and len(rows[0]) == 1  # COPY quotes its own end mark

    def field(value: str | None) -> str:
        if value is None:
            return dialect.null
        if value == dialect.null or special & set(value) or (value == "\\." and alone):
            escape, quote = dialect.escape_char, dialect.quote
            inner = value if escape == quote else value.replace(escape, escape * 2)
            return quote + inner.replace(quote, escape + quote) + quote
        return value

    return "".join(dialect.delimiter.join(map(field, row)) + "\n" for row in rows).encode(dialect.encoding)


@settings(max_examples=120, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(VALUES, VALUES), max_size=8), dialect=DIALECTS)
def test_texts_come_out_as_they_went_in(
    mysql_database: MySqlDatabase, rows: list[tuple[str | None, str | None]], dialect: CsvDialect
) -> None:
    mysql_database.query("CREATE TABLE IF NOT EXISTS given (n int AUTO_INCREMENT PRIMARY KEY, a longtext, b longtext)")
    mysql_database.query("TRUNCATE given")
    with mysql_database.address.connect(mysql_database.name, charset="utf8mb4") as conn, conn.cursor() as cur:
        cur.executemany("INSERT INTO given (a, b) VALUES (%s, %s)", rows)
    sql = "SELECT n, a, 7 AS b, NULL AS c, b AS d, CAST(b AS BINARY) AS e, n AS f FROM given ORDER BY n"
    names = [name if name != dialect.null else f"\x02{name}\x02" for name in "nabcdef"]
    header = (dialect.delimiter.join(names) + "\n").encode(dialect.encoding)
    wanted = [
        (str(n), a, "7", None, b, None if b is None else "\\x" + b.encode().hex(), str(n))
        for n, (a, b) in enumerate(rows, 1)
    ]
    reading = query(mysql_database, sql)
    assert unload(reading, dialect) == header + expected(wanted, dialect)
    [part] = reading.parts(dialect)
    assert part.open_escaped
    with closing(part.open_escaped(frozenset())) as stream:
        assert stream.read() == expected(wanted, None)


def packed(row: Sequence[str | None]) -> bytes:
    """Write a row as the protocol does."""

    def field(value: str | None) -> bytes:
        if value is None:
            return b"\xfb"
        data = value.encode()
        return (bytes([len(data)]) if len(data) < 251 else b"\xfc" + len(data).to_bytes(2, "little")) + data

    return b"".join(map(field, row))


TEXTS = st.none() | PLAIN | HOSTILE | SMALL | LONG.map(lambda text: text[:400])
NUMBERS = st.none() | st.sampled_from(["N", "a", "\\N"]) | st.integers(0, 10**30).map(str)


@settings(max_examples=400, database=None, deadline=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, TEXTS, NUMBERS, NUMBERS, TEXTS, NUMBERS), min_size=1, max_size=8)
    | st.lists(st.tuples(TEXTS), min_size=1, max_size=8)
    | st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8),
    dialect=DIALECTS | st.none(),
    apart=st.sets(st.integers(0, 5)),
)
def test_all_ways_to_write_a_block_write_the_same(
    rows: list[tuple[str | None, ...]], dialect: CsvDialect | None, apart: set[int]
) -> None:
    columns = [Column(f"c{number}", 253) for number in range(len(rows[0]))]
    payloads = [packed(row) for row in rows]
    wanted = expected(rows, dialect)
    style, encoding = (csv_style(dialect), dialect.encoding) if dialect else (ESCAPED, "utf-8")
    renderer = Renderer(columns, style, "it", encoding)
    for _ in range(2):  # what the first block shows of the columns serves the next
        assert renderer.rows(payloads) == wanted
    wanted = expected(rows, dialect and replace(dialect, encoding="utf-8"))
    renderer = Renderer(columns, style, "it")
    renderer._apart = sorted(number for number in apart if number < len(columns))
    ways = [renderer._marked, renderer._split, renderer._careful, *([renderer._mixed] if renderer._apart else [])]
    made = [way(payloads) for way in ways]
    assert made[2] == wanted
    assert {one for one in made if one is not None} == {wanted}
    if len(renderer._apart) == len(columns):
        assert made[3] == wanted  # with all of them taken out there is nothing left to fail


@settings(max_examples=60, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20),
    singles=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=20),
)
def test_floats_have_all_of_their_digits(
    mysql_database: MySqlDatabase, numbers: list[float], singles: list[float]
) -> None:
    mysql_database.query("CREATE TABLE IF NOT EXISTS t (d double, f float)")
    mysql_database.query("TRUNCATE t")
    with mysql_database.address.connect(mysql_database.name) as conn, conn.cursor() as cur:
        cur.executemany("INSERT INTO t VALUES (%s, NULL)", [(number,) for number in numbers])
        cur.executemany("INSERT INTO t VALUES (NULL, %s)", [(number,) for number in singles])
    rows = parsed(unload(table(mysql_database), NULLS))[1:]
    assert [float(double) for double, _ in rows if double] == numbers
    assert [float(single) for _, single in rows if single] == singles


def test_reads_are_exact_and_rows_are_counted(mysql_database: MySqlDatabase) -> None:
    with mysql_database.address.connect(mysql_database.name) as conn, conn.cursor() as cur:
        cur.execute("CREATE TABLE numbers (n int PRIMARY KEY)")
        cur.executemany("INSERT INTO numbers VALUES (%s)", range(1, 50_001))
    reading = query(mysql_database, "SELECT n, REPEAT('x', n % 300) FROM numbers ORDER BY n")
    [part] = reading.parts(CsvDialect(header=False))
    wanted = b"".join(b"%d,%s\n" % (n, b"x" * (n % 300) or b'""') for n in range(1, 50_001))
    for size in (-1, 7777, 1 << 20):
        stream = part.open()
        assert isinstance(stream, CopyStream)
        data = b"".join(iter(lambda stream=stream, size=size: stream.read(size), b""))  # type: ignore[misc]
        assert data == wanted
        assert stream.rows == 50_000
        assert stream.read(10) == b""
        stream.close()


def test_rows_longer_than_a_packet_come_whole(mysql_database: MySqlDatabase) -> None:
    most = (1 << 24) - 1
    with mysql_database.address.connect(mysql_database.name) as conn, conn.cursor() as cur:
        cur.execute("SELECT @@max_allowed_packet")
        before = cur.fetchone()[0]
        cur.execute("SET GLOBAL max_allowed_packet = 67108864")
    try:
        # A row of exactly one full packet is followed by an empty one: its text is 10 bytes shorter than the row.
        sizes = [1, most - 12, most - 11, most - 10, most - 9, most, 2 * most, 7]
        rows = " UNION ALL ".join(f"SELECT {n}, REPEAT('x', {size})" for n, size in enumerate(sizes))
        data = unload(query(mysql_database, rows), CsvDialect(header=False), 1 << 20)
    finally:
        mysql_database.address.query(f"SET GLOBAL max_allowed_packet = {before}")
    assert [len(line) - 2 for line in data.splitlines()] == sizes
    assert set(data) == set(b"01234567,x\n")


def test_memory_is_bounded(mysql_database: MySqlDatabase) -> None:
    many = "information_schema.character_sets a, information_schema.character_sets b, information_schema.engines c"
    [part] = query(mysql_database, f"SELECT REPEAT('x', 5000), 'y' FROM {many}").parts()
    tracemalloc.start()
    try:
        stream, total = part.open(), 0
        while data := stream.read(1 << 16):
            total += len(data)
        stream.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 40e6
    assert peak < 8e6


def test_one_snapshot_and_no_writing(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int) ENGINE=InnoDB; INSERT INTO t VALUES (1), (2)")
    [part] = table(mysql_database).parts()
    stream = part.open()
    mysql_database.query("DELETE FROM t")
    assert b"".join(iter(lambda: stream.read(100), b"")) == b"a\n1\n2\n"
    stream.close()
    with pytest.raises(TradewindError, match="READ ONLY transaction"):
        unload(query(mysql_database, "SELECT * FROM t FOR UPDATE"))


def test_a_table_that_is_not_there_or_changes_is_an_error(mysql_database: MySqlDatabase) -> None:
    with pytest.raises(NotFound, match="nope"):
        unload(table(mysql_database, "nope"))
    mysql_database.query("CREATE TABLE t (a int, b float)")
    [part] = table(mysql_database).parts()
    mysql_database.query("ALTER TABLE t ADD c int")
    stream = part.open()
    assert stream.read() == b"a,b\n"
    stream.close()
    mysql_database.query("ALTER TABLE t DROP b")
    [part] = table(mysql_database).parts()
    mysql_database.query("ALTER TABLE t ADD d int")
    stream = part.open()
    with pytest.raises(SourceChanged, match="its columns changed"):
        stream.read()
    stream.close()


MANY = "information_schema.columns a, information_schema.columns b"


def exhaust(stream: Readable) -> None:
    while stream.read(1 << 20):
        pass


def test_closing_before_the_end_ends_the_query(mysql_database: MySqlDatabase) -> None:
    [part] = query(mysql_database, f"SELECT REPEAT('x', 10000) FROM {MANY}").parts()
    stream = part.open()
    assert len(stream.read(1000)) == 1000
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        exhaust(stream)
    gone_after(mysql_database, 5)
    assert not [thread for thread in threading.enumerate() if thread.name == "tradewind-copy-out"]


@contextmanager
def once_it_runs(database: MySqlDatabase, sql: str, act: Callable[[int], object]) -> Iterator[None]:
    """Act from another thread as soon as the server runs the statement; what that raises is raised at the end."""
    from tests.mysql.test_hook_interrupts import until_it_works

    with ThreadPoolExecutor(1) as other:
        acted = other.submit(lambda: act(until_it_works(database, sql)))
        yield
        acted.result()


@pytest.mark.parametrize("sql", ["SELECT SLEEP(60)", "SELECT BENCHMARK(100000000000, MD5('x'))"])
def test_cancelling_the_reading_ends_a_query_that_gives_nothing(mysql_database: MySqlDatabase, sql: str) -> None:
    reading = query(mysql_database, sql)
    [part] = reading.parts()
    stream = part.open()
    with once_it_runs(mysql_database, sql, lambda number: reading.cancel()), pytest.raises(QueryCancelled):
        exhaust(stream)
    stream.close()
    gone_after(mysql_database, 5)


@pytest.mark.parametrize("kill", ["KILL QUERY", "KILL CONNECTION"])
def test_a_statement_that_another_ends_is_an_error_and_not_the_end(mysql_database: MySqlDatabase, kill: str) -> None:
    sql = f"SELECT REPEAT('x', 10000) FROM {MANY}"
    [part] = query(mysql_database, sql).parts()
    stream = part.open()
    stream.read(1000)
    [number] = [row[0] for row in mysql_database.running() if row[2] == sql]
    mysql_database.query(f"{kill} {number}")
    for _ in range(2):
        with pytest.raises(TradewindError):
            exhaust(stream)
    assert stream.rows is None  # type: ignore[attr-defined]
    stream.close()


def test_an_error_in_the_middle_is_an_error(mysql_database: MySqlDatabase) -> None:
    with mysql_database.address.connect(mysql_database.name) as conn, conn.cursor() as cur:
        cur.execute("CREATE TABLE t (seq int PRIMARY KEY)")
        cur.executemany("INSERT INTO t VALUES (%s)", range(20_000))
    fails = "SELECT seq, CAST(9223372036854775807 AS SIGNED) - 15000 + seq AS big FROM t ORDER BY seq"
    [part] = query(mysql_database, fails).parts()
    stream = part.open()
    with pytest.raises(DataError, match="out of range"):
        exhaust(stream)
    stream.close()
    gone_after(mysql_database, 5)
