"""Parquet: every type of pyarrow as CSV, typed columns as Parquet, and what is refused with its record and column."""

from __future__ import annotations

import datetime as dt
import io
import random
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fix_copies import Short
from tests.fix_formats import AS_A_TASK_ENDS, NAME, NO_PANDAS, Stored, csv_of, part_of, values_of, written
from tests.services import pyarrow
from tradewind.hooks.errors import DataError, InvalidArgument, TransientError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats import FileAccess
from tradewind.operators.formats.csv.records import open_csv
from tradewind.operators.formats.parquet import Parquet, reading
from tradewind.operators.formats.parquet.arrow import as_binary
from tradewind.operators.projection import Constant, Field, Projection
from tradewind.operators.types import ColumnType, TypeKind, array_of

pytestmark = pytest.mark.anywhere

UTC = dt.UTC
U = UUID("0b6fbd47-7a31-4d7a-9a4c-6a3f4a3f2b11")


def stored(table: Any, **options: Any) -> bytes:
    """Write a table as pyarrow does."""
    sink = io.BytesIO()
    pyarrow().parquet.write_table(table, sink, **options)
    return sink.getvalue()


def one(values: list[Any], kind: Any, **options: Any) -> bytes:
    return stored(pyarrow().table({"a": pyarrow().array(values, kind)}), **options)


def read(data: bytes) -> Any:
    return pyarrow().parquet.read_table(io.BytesIO(data))


KINDS: dict[str, tuple[str, list[Any], ColumnType, list[str | None]]] = {
    "truth": ("bool_()", [True, False, None], ColumnType("boolean"), ["true", "false", None]),
    "int8": ("int8()", [-128, 127], ColumnType("smallint"), ["-128", "127"]),
    "uint16": ("uint16()", [65535], ColumnType("integer"), ["65535"]),
    "uint32": ("uint32()", [4294967295], ColumnType("bigint"), ["4294967295"]),
    "uint64": ("uint64()", [18446744073709551615], ColumnType("decimal", 20, 0), ["18446744073709551615"]),
    "float": ("float32()", [0.1, None, float("nan")], ColumnType("real"), ["0.1", None, "NaN"]),
    "double": (
        "float64()",
        [0.1, 1e300, 5e-324, float("inf"), float("-inf")],
        ColumnType("double"),
        ["0.1", "1e+300", "5e-324", "Infinity", "-Infinity"],
    ),
    "decimal": (
        "decimal128(20, 7)",
        [Decimal("0.0000001"), Decimal("-5"), None],
        ColumnType("decimal", 20, 7),
        ["0.0000001", "-5.0000000", None],
    ),
    "wide decimal": ("decimal256(50, 2)", [Decimal(10) ** 47], ColumnType("decimal", 50, 2), ["1" + "0" * 47 + ".00"]),
    "date": ("date32()", [dt.date(1, 2, 3), dt.date(9999, 12, 31)], ColumnType("date"), ["0001-02-03", "9999-12-31"]),
    "date64": ("date64()", [dt.date(2013, 2, 3)], ColumnType("date"), ["2013-02-03"]),
    "time": ("time64('us')", [dt.time(4, 5, 6, 789)], ColumnType("time"), ["04:05:06.000789"]),
    "time in ms": ("time32('ms')", [dt.time(23, 59, 59)], ColumnType("time"), ["23:59:59.000000"]),
    "moment": (
        "timestamp('us')",
        [dt.datetime(2013, 2, 3, 4, 5, 6, 789), None],
        ColumnType("timestamp"),
        ["2013-02-03 04:05:06.000789", None],
    ),
    "moment in ns": (
        "timestamp('ns')",
        [dt.datetime(2013, 2, 3)],
        ColumnType("timestamp"),
        ["2013-02-03 00:00:00.000000"],
    ),
    "moment with a zone": (
        "timestamp('ms', 'America/New_York')",
        [dt.datetime(2013, 2, 3, 4, 5, 6, tzinfo=UTC), None],
        ColumnType("timestamptz"),
        ["2013-02-03 04:05:06.000000+00", None],
    ),
    "text": ("string()", ["", 'a,"b"\n\\N', None, "é"], ColumnType("text"), ["", 'a,"b"\n\\N', None, "é"]),
    "large text": ("large_string()", ["", None, "x"], ColumnType("text"), ["", None, "x"]),
    "bytes": ("binary()", [b"\xde\xad", b"", None], ColumnType("bytes"), ["\\xdead", "\\x", None]),
    "large bytes": ("large_binary()", [None, b"\x00"], ColumnType("bytes"), [None, "\\x00"]),
    "fixed bytes": ("binary(2)", [b"\x01\x02", None], ColumnType("bytes"), ["\\x0102", None]),
    "dictionary": ("dictionary(int32(), string())", ["x", None, "", "x"], ColumnType("text"), ["x", None, "", "x"]),
    "lists": ("list_(int32())", [[1, None], [], None], array_of(ColumnType("integer")), ["{1,NULL}", "{}", None]),
    "lists of texts": (
        "list_(string())",
        [["a,b", "", None, 'q"']],
        array_of(ColumnType("text")),
        ['{"a,b","",NULL,"q\\""}'],
    ),
    "lists of moments": (
        "list_(timestamp('us', 'UTC'))",
        [[dt.datetime(2013, 2, 3, tzinfo=UTC)]],
        array_of(ColumnType("timestamptz")),
        ['{"2013-02-03 00:00:00+00:00"}'],
    ),
    "lists of lists": ("list_(list_(int32()))", [[[1], []]], ColumnType("json"), ["[[1],[]]"]),
    "structs": (
        "struct([('x', decimal128(5, 2)), ('y', list_(string()))])",
        [{"x": Decimal("1.10"), "y": ['"', None]}, None],
        ColumnType("json"),
        ['{"x":1.10,"y":["\\"",null]}', None],
    ),
    "maps": ("map_(string(), int64())", [[("k", 1), ("l", None)]], ColumnType("json"), ['{"k":1,"l":null}']),
    "nothing": ("null()", [None, None], ColumnType("text"), [None, None]),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_column_becomes_text(name: str) -> None:
    kind, values, column, texts = KINDS[name]
    data = one(values, eval(kind, {**vars(pyarrow())}))

    assert Parquet().part(Stored(data).access()).types == (column,)
    assert values_of(Parquet(), data) == {"a": texts}


def test_old_moments_of_96_bits_are_read() -> None:
    data = one([dt.datetime(2013, 2, 3, 4, 5, 6)], pyarrow().timestamp("ns"), use_deprecated_int96_timestamps=True)

    assert values_of(Parquet(), data) == {"a": ["2013-02-03 04:05:06.000000"]}


def test_uuids_and_json_are_read_where_pyarrow_knows_them() -> None:
    pa = pyarrow()
    if not hasattr(pa, "uuid") or not hasattr(pa, "json_"):
        pytest.skip(f"pyarrow {pa.__version__} knows no type of UUIDs or of JSON")
    data = stored(pa.table({"u": pa.array([U.bytes, None], pa.uuid()), "j": pa.array(['{"a": 1}', None], pa.json_())}))

    assert Parquet().part(Stored(data).access()).types == (ColumnType("uuid"), ColumnType("json"))
    assert values_of(Parquet(), data) == {"u": [str(U), None], "j": ['{"a": 1}', None]}


def test_quotes_are_left_out_where_none_is_needed() -> None:
    pa = pyarrow()
    plain = stored(pa.table({"a": [1, 2], "b": ["x", None]}))
    empty = stored(pa.table({"a": [1, 2], "b": ["x", ""]}))

    assert csv_of(Parquet(), plain) == "1,x\n2,\n"
    assert csv_of(Parquet(), empty) == '1,"x"\n2,""\n'
    assert csv_of(Parquet(), plain, dialect=CsvDialect(delimiter=";")) == "1;x\n2;\n"


def test_lists_are_json_where_the_target_asks() -> None:
    data = one([["a", None], []], pyarrow().list_(pyarrow().string()))

    assert values_of(Parquet(), data, arrays="json") == {"a": ['["a",null]', "[]"]}


def test_columns_are_chosen_in_any_order() -> None:
    data = stored(pyarrow().table({"a": [1], "b": [2], "c": [3]}))

    assert csv_of(Parquet(("c", "a")), data) == "3,1\n"
    with pytest.raises(DataError, match="memory/file has no column 'd': it has a, b, c"):
        Parquet(("d",)).part(Stored(data).access())


def test_a_file_is_read_by_few_ranges() -> None:
    pa = pyarrow()
    table = pa.table({"a": list(range(200_000)), "b": [f"text {number}" for number in range(200_000)]})
    file = Stored(stored(table, row_group_size=50_000))
    part = Parquet().part(file.access())
    stream = part.open()
    while stream.read(1 << 16):
        pass

    assert stream.rows == 200_000  # type: ignore[attr-defined]
    assert len(file.reads) <= 2 + 2 * 4, "more than two ranges for a row group"
    assert sum(length for _, length in file.reads) < 1.5 * len(file.data)


def test_one_huge_row_group_is_read_through_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WHOLE", 1 << 16)
    monkeypatch.setattr(reading, "BUFFER", 1 << 14)
    pa = pyarrow()
    table = pa.table({"a": [str(number * 7919) for number in range(300_000)]})
    file = Stored(stored(table, use_dictionary=False, compression="none", data_page_size=1 << 14))
    stream = Parquet().part(file.access()).open()
    size = sum(len(data) for data in iter(lambda: stream.read(1 << 16), b""))

    assert size == sum(len(text.as_py()) + 3 for text in table["a"])
    assert max(length for _, length in file.reads) <= 1 << 16, "the footer, or a buffer"


CHOSEN: dict[str, tuple[dict[str, str | Field], dict[str, Constant], str]] = {
    "renamed": ({"id": "key"}, {}, "{n}\n"),
    "of other case": ({"ID": "key"}, {}, "{n}\n"),
    "cast": ({"id": Field("key", "text")}, {"day": "2026-01-02"}, "{n},2026-01-02\n"),
    "nested": ({"place": "place", "id": "id"}, {}, '"{{""x"":{n}}}",{n}\n'),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_columns_that_nobody_wants_are_not_read(name: str) -> None:
    columns, constants, line = CHOSEN[name]
    some = random.Random(2013)
    wide = {f"wide {number}": [some.randbytes(40) for _ in range(5_000)] for number in range(4)}
    numbers = list(range(5_000))
    table = pyarrow().table({**wide, "id": numbers, "place": [{"x": number} for number in numbers]})
    file = Stored(stored(table, row_group_size=2_500))
    projection = Projection.make(columns, constants)
    part = replace(Parquet().part(file.access(), projection=projection), projection=projection)
    with closing(open_csv(part)) as source:
        made = b"".join(iter(lambda: source.stream.read(1 << 16), b"")).decode()

    assert source.names == (*(getattr(to, "name", to) for to in columns.values()), *constants)
    assert made == "".join(line.format(n=number) for number in numbers)
    assert len(file.data) > 800_000
    assert sum(length for _, length in file.reads) < 250_000


def test_a_column_that_is_not_there_is_told_with_all_that_are() -> None:
    file = Stored(stored(pyarrow().table({"id": [1], "name": ["a"], "x": [2]})))
    projection = Projection.make({"id": "id", "nmae": "name"}, None)
    part = replace(Parquet().part(file.access(), projection=projection), projection=projection)
    with pytest.raises(DataError, match=r"no column 'nmae': did you mean 'name'\? \(it has id, name, x\)"):
        open_csv(part)


def test_what_is_no_parquet_is_named() -> None:
    good = one([1, 2, 3], pyarrow().int64())
    for data in (b"", b"a,b\n1,2\n", good[:-8] + b"x" * 8, good[: len(good) // 2]):
        with pytest.raises(DataError, match="memory/file is no whole Parquet file: "):
            Parquet().part(Stored(data).access())
    damaged = bytearray(one([str(number) for number in range(10_000)], pyarrow().string()))
    damaged[100:2000] = b"\xff" * 1900
    with pytest.raises(DataError, match="memory/file is no whole Parquet file: "):
        csv_of(Parquet(), bytes(damaged))


def test_what_the_store_says_is_told() -> None:
    data = one([1], pyarrow().int64())

    def fail(offset: int, length: int) -> bytes:
        raise TransientError("the network is gone")

    with pytest.raises(TransientError, match="the network is gone"):
        Parquet().part(FileAccess(NAME, len(data), lambda: io.BytesIO(data), fail))


def test_nanoseconds_that_count_are_refused_with_their_record() -> None:
    data = one([1_000, 2_000, 3_001], pyarrow().timestamp("ns"))
    with pytest.raises(DataError, match=r"memory/file, record 3, column a: .*lose data.*") as caught:
        csv_of(Parquet(), data)
    assert (caught.value.line, caught.value.column) == (3, "a")


def test_without_pyarrow_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InvalidArgument, match=r"Parquet needs the package pyarrow: install tradewind\[parquet\]"):
        Parquet().part(Stored(b"").access())


# writing

TYPED: dict[TypeKind, tuple[list[str | None], list[Any]]] = {
    "boolean": (["t", "f", "1", "0", None], [True, False, True, False, None]),
    "smallint": (["-32768", None], [-32768, None]),
    "integer": (["2147483647"], [2147483647]),
    "bigint": (["-9223372036854775808"], [-(2**63)]),
    "real": (["0.5", "NaN"], [0.5, "nan"]),
    "double": (["0.1", "Infinity", "-Infinity", "5e-324"], [0.1, float("inf"), float("-inf"), 5e-324]),
    "date": (["0001-01-01", "9999-12-31"], [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "time": (["04:05:06.789", "23:59:59"], [dt.time(4, 5, 6, 789000), dt.time(23, 59, 59)]),
    "timestamp": (["2013-02-03 04:05:06.789"], [dt.datetime(2013, 2, 3, 4, 5, 6, 789000)]),
    "timestamptz": (
        ["2013-02-03 04:05:06+05:30", "2013-02-03 04:05:06+00"],
        [dt.datetime(2013, 2, 2, 22, 35, 6, tzinfo=UTC), dt.datetime(2013, 2, 3, 4, 5, 6, tzinfo=UTC)],
    ),
    "interval": (["P1DT2H"], ["P1DT2H"]),
    "text": (["", "a", None], ["", "a", None]),
    "bytes": (["\\xdead", "\\x", None, "\\x00"], [b"\xde\xad", b"", None, b"\0"]),
    "json": (['{"a": 1}', None], ['{"a": 1}', None]),
    "uuid": ([str(U), None], [U, None]),
}


def records(values: list[str | None]) -> bytes:
    """Write one column as CSV, beside a number."""
    quoted = ["" if value is None else '"' + value.replace('"', '""') + '"' for value in values]
    return "".join(f"{at},{field}\n" for at, field in enumerate(quoted)).encode()


def column(kind: ColumnType, *values: str | None) -> Any:
    """Write values as Parquet, and read them as pyarrow does."""
    return read(written(Parquet(), part_of(records(list(values)), ["n", "a"], [ColumnType("bigint"), kind])))["a"]


@pytest.mark.parametrize("kind", TYPED)
def test_a_type_is_kept(kind: TypeKind) -> None:
    texts, values = TYPED[kind]
    found = [str(each) if each != each else each for each in column(ColumnType(kind), *texts).to_pylist()]
    if kind == "uuid":
        found = [UUID(each) if isinstance(each, str) else each for each in found]

    assert found == values


def test_decimals_stay_decimals() -> None:
    pa = pyarrow()
    found = column(ColumnType("decimal", 20, 6), "-12345678901234.000001", "0.1", None)
    assert found.type == pa.decimal128(20, 6)
    assert found.to_pylist() == [Decimal("-12345678901234.000001"), Decimal("0.1"), None]
    assert column(ColumnType("decimal", 65, 30), "0." + "0" * 29 + "1").to_pylist() == [Decimal("1E-30")]
    unbounded = column(ColumnType("decimal"), "1.5", "0.0001", "-7")
    assert unbounded.type == pa.decimal128(38, 4)
    assert unbounded.to_pylist() == [Decimal("1.5"), Decimal("0.0001"), Decimal(-7)]


def test_moments_without_an_offset_are_in_utc() -> None:
    found = column(ColumnType("timestamptz"), "2013-02-03 04:05:06.789", None)

    assert found.to_pylist() == [dt.datetime(2013, 2, 3, 4, 5, 6, 789000, tzinfo=UTC), None]


def test_arrays_are_lists() -> None:
    items = {"integer": ("[1,null]", [1, None]), "text": ('["a",""]', ["a", ""]), "boolean": ("[true]", [True])}
    for item, (text, values) in items.items():
        assert column(array_of(ColumnType(item)), text, "[]", None).to_pylist() == [values, [], None]  # type: ignore[arg-type]
    moments = column(array_of(ColumnType("timestamptz")), '["2013-02-03T04:05:06+00:00",null]')
    assert moments.to_pylist() == [[dt.datetime(2013, 2, 3, 4, 5, 6, tzinfo=UTC), None]]
    exact = column(array_of(ColumnType("decimal", 10, 2)), "[12345678.91,1]")
    assert exact.to_pylist() == [[Decimal("12345678.91"), Decimal("1.00")]]


def test_the_same_records_give_the_same_bytes_however_they_come() -> None:
    body = "".join(f"{number},name {number}\n" for number in range(200_000)).encode()
    types = (ColumnType("bigint"), ColumnType("text"))
    made = {
        written(Parquet(), Part("p", partial(Short, body, most), CsvDialect(header=False), ("n", "s"), types=types))
        for most in (1 << 10, 77_777, 1 << 22)
    }

    assert len(made) == 1


def test_row_groups_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tradewind.operators.formats.parquet import writing

    monkeypatch.setattr(writing, "BLOCK", 1 << 12)
    monkeypatch.setattr(writing, "ROW_GROUP", 1 << 14)
    body = "".join(f"{number},{'x' * 100}\n" for number in range(1000)).encode()
    part = part_of(body, ["n", "s"], [ColumnType("bigint"), ColumnType("text")])
    made = pyarrow().parquet.ParquetFile(io.BytesIO(written(Parquet(), part)))

    assert made.metadata.num_rows == 1000
    assert 6 <= made.metadata.num_row_groups <= 8
    assert made.read()["n"].to_pylist() == list(range(1000))


@pytest.mark.parametrize(
    ("codec", "said"), [("zstd", "ZSTD"), ("snappy", "SNAPPY"), ("gzip", "GZIP"), (None, "UNCOMPRESSED")]
)
def test_pages_are_compressed_as_asked(codec: str | None, said: str) -> None:
    made = written(Parquet(codec=codec), part_of(b"1\n", ["n"], [ColumnType("bigint")]))
    facts = pyarrow().parquet.ParquetFile(io.BytesIO(made)).metadata

    assert facts.row_group(0).column(0).compression == said


def test_no_records_keep_their_columns() -> None:
    made = written(Parquet(), part_of(b"", ["n", "d"], [ColumnType("bigint"), ColumnType("decimal", 9, 2)]))
    table = read(made)

    assert (table.num_rows, [str(kind) for kind in table.schema.types]) == (0, ["int64", "decimal128(9, 2)"])
    assert csv_of(Parquet(), made) == ""


def test_what_a_csv_shows_becomes_types() -> None:
    made = written(Parquet(), part_of(b"n,d,t,day,s\n1,0.10,t,2013-02-03,x\n2,5,f,,\n"))
    table = read(made)

    assert [str(kind) for kind in table.schema.types] == ["int64", "decimal128(38, 2)", "bool", "date32[day]", "string"]
    assert table.to_pylist()[1] == {"n": 2, "d": Decimal(5), "t": False, "day": None, "s": None}


BAD: dict[str, tuple[ColumnType, str, str]] = {
    "no number": (ColumnType("integer"), "x", "'x' is no integer"),
    "too large": (ColumnType("smallint"), "32768", "'32768' is no smallint"),
    "no decimal": (ColumnType("decimal", 10, 2), "NaN", "'NaN' is no decimal(10, 2): Parquet's decimals have no such"),
    "too many digits": (ColumnType("decimal", 5, 2), "0.123", "'0.123' is no decimal(5, 2): cast it to a numeric"),
    "no date": (ColumnType("date"), "infinity", "'infinity' is no date"),
    "no truth": (ColumnType("boolean"), "2", "'2' is no boolean"),
    "no bytes": (ColumnType("bytes"), "\\xabc", "'\\\\xabc' is no bytes"),
    "no UUID": (ColumnType("uuid"), "0b6f", "'0b6f' is no uuid"),
    "lists within": (array_of(ColumnType("integer")), "[[1]]", "'[[1]]' is no array of integer"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_named_with_record_and_column(name: str) -> None:
    kind, text, says = BAD[name]
    if kind.kind == "uuid" and not hasattr(pyarrow(), "uuid"):
        pytest.skip(f"pyarrow {pyarrow().__version__} knows no type of UUIDs")
    good: dict[str, str] = {"boolean": "t", "date": "2013-02-03", "bytes": "\\x", "uuid": str(U), "array": "[1]"}
    values: list[str | None] = [good.get(kind.kind, "1"), None] * 5_000
    part = part_of(records([*values, text, "1"]), ["n", "a"], [ColumnType("bigint"), kind], name="t on db")
    with pytest.raises(DataError) as caught:
        written(Parquet(), part)

    assert f"t on db, record 10,001, column a: {says}" in str(caught.value)
    assert (caught.value.line, caught.value.column, caught.value.value) == (10_001, "a", text)


def test_a_record_of_another_width_is_named() -> None:
    with pytest.raises(DataError, match=r"memory/in.csv, line 3: .*[Ee]xpected 2 columns, got 3"):
        written(Parquet(), part_of(b"a,b\n1,2\n1,2,3\n"))


BOTH_WAYS = """
from tests.operators.test_parquet import *
for kind, (texts, _) in [*TYPED.items(), ("decimal", (["1.5", None], None))]:
    data = written(Parquet(), part_of(records(texts), ["n", "a"], [ColumnType("bigint"), ColumnType(kind)]))
    assert csv_of(Parquet(), data)
"""


def test_pandas_stays_out() -> None:
    program = NO_PANDAS + BOTH_WAYS + AS_A_TASK_ENDS
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(
    st.lists(
        st.tuples(
            st.none() | TEXTS,
            st.none() | st.binary(max_size=9),
            st.none()
            | st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_values_survive_both_ways(rows: list[tuple[str | None, bytes | None, Decimal | None]]) -> None:
    pa = pyarrow()
    texts, blobs, numbers = (list(each) for each in zip(*rows, strict=True))
    table = pa.table(
        {
            "t": pa.array(texts, pa.string()),
            "b": pa.array(blobs, pa.binary()),
            "d": pa.array(numbers, pa.decimal128(20, 6)),
        }
    )
    part = Parquet().part(Stored(stored(table)).access())

    assert read(written(Parquet(), part)).to_pylist() == table.to_pylist()


def test_a_slice_of_values_of_one_width_is_read_within_its_bounds() -> None:
    """Batches of a file are slices; pyarrow 16 crashes, or gives other bytes, when it casts such a slice itself."""
    pa = pyarrow()
    chance = random.Random(16)
    for _ in range(300):
        values = [chance.choice([None, b"abc", b"xyz"]) for _ in range(chance.randint(1, 40))]
        column = pa.array(values, pa.binary(3)).slice(chance.randint(0, len(values)))

        assert as_binary(column).to_pylist() == column.to_pylist()
        assert as_binary(column, large=True).to_pylist() == column.to_pylist()
