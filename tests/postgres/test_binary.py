"""Columns of pyarrow go through COPY's binary format: what arrives is what their texts would have brought."""

from __future__ import annotations

import datetime as dt
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Context, Decimal
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fix_copies import WORK, copy
from tests.fix_formats import AS_A_TASK_ENDS, NO_PANDAS
from tests.fix_postgres import Database
from tests.services import pyarrow
from tradewind.hooks.errors import DataError
from tradewind.hooks.libpq.names import TableName
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.parquet.arrow import column_type
from tradewind.operators.formats.parquet.rendering import CsvWriter
from tradewind.operators.local_files import LocalFile
from tradewind.postgres.binary import HEAD, BinaryWriter, Unfit, binary_writer
from tradewind.postgres.catalog import find_table
from tradewind.postgres.hooks import PostgresHook
from tradewind.postgres.tables import PostgresTable

pytestmark = pytest.mark.anywhere

EXACT = Context(prec=80)
DAYS = st.dates()
MOMENTS = st.datetimes()
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def whole(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, high, 0])


def decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    numbers = st.integers(-most, most) | st.integers(-9999, 9999) | st.sampled_from([most, -most, 0, 10_000, -1])
    return numbers.map(lambda number: Decimal(number).scaleb(-scale, EXACT))


PAIRS: list[tuple[str, str, Any]] = [
    ("bool_()", "boolean", st.booleans()),
    ("int8()", "smallint", whole(8)),
    ("int16()", "smallint", whole(16)),
    ("int32()", "integer", whole(32)),
    ("int64()", "bigint", whole(64)),
    ("int64()", "smallint", whole(16)),
    ("int64()", "numeric", whole(64)),
    ("uint8()", "numeric(5, 1)", whole(8, signed=False)),
    ("uint32()", "bigint", whole(32, signed=False)),
    ("float32()", "real", st.floats(width=32)),
    ("float64()", "double precision", st.floats()),
    ("decimal128(9, 2)", "numeric", decimals(9, 2)),
    ("decimal128(9, 2)", "numeric(12, 1)", decimals(9, 2)),
    ("decimal128(18, 18)", "numeric", decimals(18, 18)),
    ("decimal128(18, 17)", "numeric", decimals(18, 17)),
    ("decimal128(38, 0)", "numeric", decimals(38, 0)),
    ("decimal128(38, 11)", "numeric(40, 12)", decimals(38, 11)),
    ("decimal128(38, 38)", "numeric", decimals(38, 38)),
    ("date32()", "date", DAYS),
    ("date64()", "date", DAYS),
    ("time32('ms')", "time", st.times().map(lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000))),
    ("time64('us')", "time", st.times()),
    ("time64('us')", "time(2)", st.times()),
    ("timestamp('us')", "timestamp", MOMENTS),
    ("timestamp('us')", "timestamp(3)", MOMENTS),
    ("timestamp('ns')", "timestamp", st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))),
    ("timestamp('us')", "timestamptz", MOMENTS),
    ("timestamp('us', 'America/New_York')", "timestamptz", MOMENTS),
    ("timestamp('us', 'UTC')", "timestamp", MOMENTS),
    ("string()", "text", TEXTS),
    ("large_string()", "varchar(12)", TEXTS),
    ("string()", "char(12)", TEXTS),
    ("dictionary(int32(), string())", "text", TEXTS),
    ("string()", "jsonb", st.sampled_from(["{}", '{"a": [1, "é"]}', "null", "1.50"])),
    ("large_string()", "json", st.sampled_from(["{}", '{"a":  1}'])),
    ("binary()", "bytea", st.binary(max_size=9)),
    ("large_binary()", "bytea", st.binary(max_size=9)),
    ("binary(3)", "bytea", st.binary(min_size=3, max_size=3)),
]
"""A type of pyarrow, a type of PostgreSQL, and values of the first one that the second one has."""


class Columns(SimpleNamespace):
    """An input of pyarrow, as a file would be one."""

    def __init__(self, batch: Any) -> None:
        names = tuple(batch.schema.names)
        types = tuple(column_type(field.type) for field in batch.schema)
        rows = batch.num_rows
        super().__init__(batch=batch, schema=batch.schema, columns=names, types=types, rows=rows, name="memory")


def arrow(text: str) -> Any:
    return eval(text, {**vars(pyarrow())})


def array_of(values: list[Any], kind: Any) -> Any:
    pa = pyarrow()
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    return pa.array(values, kind)


def writer_for(hook: PostgresHook, given: Columns, table: str = "b") -> BinaryWriter | None:
    with hook.session(WORK) as session:
        found = find_table(session, TableName.parse(table))
    assert found is not None
    return binary_writer(given, given.types, found.columns)


@pytest.fixture
def tables(database: Database) -> Iterator[Any]:
    """Two tables of all types, and a connection whose time is UTC's, as a load's is."""
    import psycopg2

    columns = ", ".join(f"c{number} {kind}" for number, (_, kind, _) in enumerate(PAIRS))
    database.query(f"CREATE TABLE a ({columns}); CREATE TABLE b ({columns})")
    connection = psycopg2.connect(
        host=database.host, port=database.port, user=database.user, password=database.password, dbname=database.name
    )
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        yield cursor


@st.composite
def batches(draw: Callable[..., Any]) -> Any:
    """Draw rows of all types; the first one is cut off again, so that buffers do not begin with a value."""
    pa = pyarrow()
    count = draw(st.integers(2, 6))
    columns = [
        array_of(draw(st.lists(st.none() | values, min_size=count, max_size=count)), arrow(kind))
        for kind, _, values in PAIRS
    ]
    made = pa.record_batch(columns, names=[f"c{number}" for number in range(len(PAIRS))])
    return made.slice(draw(st.integers(0, 1)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=batches())
def test_what_arrives_is_what_the_texts_mean(tables: Any, hook: PostgresHook, batch: Any) -> None:
    given = Columns(batch)
    write = writer_for(hook, given)
    assert write is not None
    text = CsvWriter(given, CsvDialect(header=False), "braces")(batch)
    tables.execute("TRUNCATE a, b")
    tables.copy_expert("COPY a FROM STDIN (FORMAT csv)", io.BytesIO(text))
    tables.copy_expert("COPY b FROM STDIN (FORMAT binary)", io.BytesIO(HEAD + write(batch)))

    rows = []
    for table in "ab":
        tables.execute(f"SELECT * FROM (SELECT {table}::text AS row FROM {table}) AS found")
        rows.append(tables.fetchall())
    assert rows[0] == rows[1]
    assert len(rows[1]) == batch.num_rows


@pytest.mark.parametrize(
    ("kind", "into", "value"),
    [
        ("int64()", "integer", 2**31),
        ("int64()", "smallint", -(2**15) - 1),
        ("date32()", "date", 2932897),  # 10000-01-01
        ("date32()", "date", -719163),  # 1 BC
        ("date32()", "date", 2**31 - 1),  # infinity, were it PostgreSQL's
        ("timestamp('us')", "timestamp", 2**63 - 1),
        ("timestamp('us')", "timestamp", -(2**63) + 1),
        ("timestamp('s')", "timestamp", 253402300800),  # 10000-01-01
        ("timestamp('ns')", "timestamp", 1),
        ("time64('ns')", "time", 1),
    ],
)
def test_what_only_a_text_can_say_is_not_sent(
    database: Database, hook: PostgresHook, kind: str, into: str, value: int
) -> None:
    pa = pyarrow()
    database.query(f"CREATE TABLE b (a {into})")
    stored = arrow(kind)
    whole = pa.array([None, value], pa.int32() if stored.bit_width == 32 else pa.int64())
    given = Columns(pa.record_batch([whole.view(stored)], names=["a"]))
    write = writer_for(hook, given)
    assert write is not None

    with pytest.raises(Unfit):
        write(given.batch)


@pytest.mark.parametrize(
    ("kind", "into"),
    [
        ("float32()", "double precision"),  # 0.1 would become 0.10000000149011612
        ("float64()", "real"),
        ("float64()", "numeric"),
        ("int64()", "double precision"),
        ("int64()", "text"),
        ("string()", "integer"),
        ("string()", "xml"),
        ("string()", "short"),
        ("string()", "mood"),
        ("uint64()", "numeric"),
        ("decimal256(50, 2)", "numeric"),
        ("timestamp('us')", "date"),
        ("date32()", "timestamp"),
        ("list_(int32())", "integer[]"),
        ("struct([('x', int32())])", "jsonb"),
        ("duration('s')", "interval"),
    ],
)
def test_types_that_are_not_the_same_go_as_texts(database: Database, hook: PostgresHook, kind: str, into: str) -> None:
    database.query("CREATE DOMAIN short AS text; CREATE TYPE mood AS ENUM ('sad')")
    database.query(f"CREATE TABLE b (a integer, b {into})")
    pa = pyarrow()
    columns = [pa.array([1], pa.int32()), pa.nulls(1, arrow(kind))]

    assert writer_for(hook, Columns(pa.record_batch(columns, names=["a", "b"]))) is None


PLAIN = {
    "int64()": ("integer", [1, None]),
    "float64()": ("double precision", [0.1, None]),
    "bool_()": ("boolean", [True, None]),
    "decimal128(9, 2)": ("numeric", [Decimal("-1.50"), None]),
    "decimal128(38, 3)": ("numeric", [Decimal(10**30), None]),
    "date32()": ("date", [dt.date(2013, 2, 3), None]),
    "time64('us')": ("time without time zone", [dt.time(4, 5), None]),
    "timestamp('us')": ("timestamp without time zone", [dt.datetime(2013, 2, 3), None]),
    "string()": ("jsonb", ["{}", None]),
    "binary()": ("bytea", [b"x", None]),
}
READS = """
import pathlib
from tests.fix_formats import Stored
from tradewind.operators.formats.parquet import Parquet
from tradewind.postgres.binary import binary_writer
from tradewind.postgres.catalog import Column
part = Parquet().part(Stored(pathlib.Path(sys.argv[1]).read_bytes()).access())
write = binary_writer(part.batches, part.types, [Column("a", base, "X", base=base) for base in sys.argv[2:]])
assert part.batches.stream(write).read()
"""


def test_pandas_stays_out(tmp_path: Path) -> None:
    pa, file = pyarrow(), tmp_path / "a.parquet"
    columns = [pa.array(values, arrow(kind)) for kind, (_, values) in PLAIN.items()]
    pa.parquet.write_table(pa.table(columns, names=list(PLAIN)), file)
    program = NO_PANDAS + READS + AS_A_TASK_ENDS
    arguments = [sys.executable, "-c", program, str(file), *(base for base, _ in PLAIN.values())]
    subprocess.run(arguments, check=True, cwd=Path(__file__).parents[2])


def test_uuids_are_sixteen_bytes(database: Database, hook: PostgresHook) -> None:
    pa = pyarrow()
    if not hasattr(pa, "uuid"):
        pytest.skip(f"pyarrow {pa.__version__} knows no type of UUIDs")
    database.query("CREATE TABLE b (a uuid)")
    values = [uuid4(), None]
    storage = pa.array([value and value.bytes for value in values], pa.binary(16))
    given = Columns(pa.record_batch([pa.ExtensionArray.from_storage(pa.uuid(), storage)], names=["a"]))
    write = writer_for(hook, given)
    assert write is not None
    with hook.session(WORK) as session:
        session.copy_in("COPY b FROM STDIN (FORMAT binary)", io.BytesIO(HEAD + write(given.batch)))
        session.commit()

    assert database.query("SELECT a::text FROM b") == [(values[0] and str(values[0]),), (None,)]


ROWS = [{"id": number, "note": 'two\nlines, "quoted"', "code": "ab"} for number in range(1, 301)]
BAD = 250


def load(path: Path, rows: list[dict[str, Any]], database: Database, **asked: Any) -> Any:
    pyarrow().parquet.write_table(pyarrow().Table.from_pylist(rows), path, row_group_size=100)
    source, target = LocalFile(path), PostgresTable("t", conn_id=database.conn_id)
    return copy(source, target, replace(WORK, run_id=uuid4().hex), **asked)


@pytest.fixture
def table(database: Database, tmp_path: Path) -> Path:
    database.query(
        "CREATE TABLE t (id int PRIMARY KEY, note text, code varchar(2) CHECK (code <> 'no'), "
        "day date DEFAULT '2013-02-03')"
    )
    return tmp_path / "a.parquet"


def test_a_file_is_loaded_in_binary(table: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = written_by(monkeypatch)

    assert load(table, ROWS, database).rows == 300
    assert database.query("SELECT count(*), max(id), min(note), min(day)::text FROM t") == [
        (300, 300, ROWS[0]["note"], "2013-02-03")
    ]
    merged = load(table, [{**row, "code": "x"} for row in ROWS[200:]], database, mode="merge", key=("id",))
    assert (merged.inserted, merged.updated) == (0, 100)
    assert set(sent) == {BinaryWriter}


@pytest.mark.parametrize(
    ("bad", "column", "value", "said"),
    [
        ({"id": 2**31}, "id", "2147483648", "out of range for type integer"),
        ({"code": "abc"}, "code", "abc", "value too long"),
        ({"note": "a\0b"}, "note", None, "NUL byte"),
        ({"id": None}, "id", None, "violates not-null constraint"),
        ({"id": 1}, None, None, "duplicate key"),
        ({"code": "no"}, None, None, "violates check constraint"),
    ],
)
def test_a_bad_record_is_named_as_a_text_would_name_it(
    table: Path, database: Database, bad: dict[str, Any], column: str | None, value: str | None, said: str
) -> None:
    rows = [{**row, **bad} if row["id"] == BAD else row for row in ROWS]
    where = rf"{table}, record {BAD}{f', column {column}' if column else ''}: .*{said}"
    with pytest.raises(DataError, match=where) as caught:
        load(table, rows, database)

    assert (caught.value.source, caught.value.line, caught.value.column) == (str(table), BAD, column)
    assert value is None or caught.value.value == value
    assert database.query("SELECT count(*) FROM t") == [(0,)]


def written_by(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """Note which kind of writer is called."""
    seen: list[type] = []

    def spied(kind: Any) -> Callable[[Any, Any], bytes]:
        def call(writer: Any, batch: Any) -> bytes:
            seen.append(kind)
            return bytes(write(writer, batch))

        write = kind.__call__
        return call

    for kind in (BinaryWriter, CsvWriter):
        monkeypatch.setattr(kind, "__call__", spied(kind))
    return seen


def test_what_binary_does_not_take_goes_as_a_text(
    table: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pa = pyarrow()
    sent = written_by(monkeypatch)
    days = pa.array([0] * 9999 + [2932897], pa.int32()).view(pa.date32())  # the last one is 10000-01-01
    pa.parquet.write_table(pa.table({"id": pa.array(range(10000), pa.int64()), "day": days}), table)
    result = copy(LocalFile(table), PostgresTable("t", conn_id=database.conn_id))

    assert [kind for kind, _ in groupby(sent)] == [BinaryWriter, CsvWriter]
    texts = [f"{number},1970-01-01\n" for number in range(9999)] + ["9999,10000-01-01\n"]
    assert (result.rows, result.bytes) == (10000, len("".join(texts)))
    assert database.query("SELECT count(*), max(day)::text FROM t") == [(10000, "10000-01-01")]
