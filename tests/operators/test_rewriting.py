"""Columns chosen, renamed and cast, and constants beside them: records of CSV in any dialect, rewritten in blocks."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.fix_copies import Short
from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.casts import KINDS, Cast, converter
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import open_csv
from tradewind.operators.formats.csv.rewriting import FieldReader, FieldWriter
from tradewind.operators.projection import FILE_NAME, Columns, Constant, Field, Projection

pytestmark = pytest.mark.anywhere

PLAIN = b"id,name,n\n1,a,10\n2,,20\n"
DIALECTS = [
    CsvDialect(),
    CsvDialect(delimiter=";", quote="'", null="NULL"),
    CsvDialect(escape="\\", null="\\N"),
    CsvDialect(delimiter="|", escape="\\", quote="'"),
    CsvDialect(delimiter="\t", null="-"),
    CsvDialect(delimiter="\\"),
]


def rewrite(
    data: bytes,
    columns: dict[str, str | Field] | None = None,
    constants: dict[str, Constant] | None = None,
    dialect: CsvDialect | None = None,
    most: int = 1 << 20,
) -> tuple[tuple[str, ...] | None, bytes]:
    projection = Projection.make(columns, constants)
    part = Part("f.csv", lambda: Short(data, most), dialect or CsvDialect(), projection=projection)
    source = open_csv(part)
    try:
        return source.names, b"".join(iter(lambda: source.stream.read(1 << 16), b""))
    finally:
        source.close()


@pytest.mark.parametrize(
    ("columns", "constants", "names", "records"),
    [
        ({"id": "key", "name": "who", "n": "n"}, None, ("key", "who", "n"), b"1,a,10\n2,,20\n"),
        ({"n": "n", "id": "key"}, None, ("n", "key"), b"10,1\n20,2\n"),
        ({"ID": "key"}, None, ("key",), b"1\n2\n"),
        (None, {"day": "2026-01-02"}, ("id", "name", "n", "day"), b"1,a,10,2026-01-02\n2,,20,2026-01-02\n"),
        ({"id": "id"}, {"file": FILE_NAME, "no": None}, ("id", "file", "no"), b"1,f.csv,\n2,f.csv,\n"),
        (
            {"id": "id"},
            {"odd": 'a,"b"\n', "empty": ""},
            ("id", "odd", "empty"),
            b'1,"a,""b""\n",""\n2,"a,""b""\n",""\n',
        ),
        (
            {"id": "id"},
            {"back": r"\1\g<0>", "yes": True, "x": 1.5},
            ("id", "back", "yes", "x"),
            b"1,\\1\\g<0>,true,1.5\n2,\\1\\g<0>,true,1.5\n",
        ),
        ({"id": Field("id", "double")}, {"two": 2}, ("id", "two"), b"1,2\n2,2\n"),
        ({"name": Field("name", "text")}, None, ("name",), b"a\n\n"),
    ],
    ids=["renamed", "order", "case", "added", "file and null", "quoted", "backslashes", "cast and constant", "null"],
)
def test_columns_are_chosen_and_constants_added(
    columns: Any, constants: Any, names: tuple[str, ...], records: bytes
) -> None:
    for most in (1, 7, 1 << 20):
        assert rewrite(PLAIN, columns, constants, most=most) == (names, records)


def test_line_ends_and_the_last_record() -> None:
    swapped: dict[str, str | Field] = {"b": "b", "a": "a"}
    assert rewrite(b"a,b\r\n1,2\r\n3,4", swapped)[1] == b"2,1\n4,3\n"
    assert rewrite(b"a,b\r1,2\r3,4\r", swapped)[1] == b"2,1\r4,3\r"
    assert rewrite(b'a,b\n1,"x\ny"\n3,4\n', swapped)[1] == b'"x\ny",1\n4,3\n'
    assert rewrite(b"a,b\n", swapped) == (("b", "a"), b"")
    assert rewrite(b"", swapped) == (None, b"")
    assert rewrite(b"a\n\n1\n\n", {"a": "x"}, {"c": 1})[1] == b",1\n1,1\n,1\n"


@pytest.mark.parametrize("dialect", DIALECTS, ids=repr)
@pytest.mark.parametrize("seed", [None, 1, 2], ids=["any", "1", "2"])
def test_whatever_stands_in_the_fields_stays(dialect: CsvDialect, seed: int | None) -> None:
    seed = random.randrange(1 << 30) if seed is None else seed
    print(f"seed {seed}")
    rng = random.Random(seed)
    alphabet = ["a", "é", " ", "\n", "\r", "\\", "\\.", "'", '"', ",", ";", "|", "\t", "-", "NULL", "\\N"]
    write, read = FieldWriter(dialect), FieldReader(dialect)
    delimiter = dialect.delimiter.encode()
    rows = [
        [rng.choice((None, "", "".join(rng.choices(alphabet, k=rng.randint(0, 4))))) for _ in range(4)]
        for _ in range(rng.randint(1, 300))
    ]
    data = delimiter.join((b"a", b"b", b"c", b"d")) + b"\n"
    data += b"".join(delimiter.join(map(write, row)) + b"\n" for row in rows)
    constants: dict[str, Constant] = {"k": rows[0][0], "e": "".join(alphabet)}

    for row in rows:
        assert [read(write(text)) for text in row] == row
    names, made = rewrite(data, {"d": "d", "b": "x"}, constants, dialect, most=rng.randint(1, 999))
    assert names == ("d", "x", "k", "e")
    expected = [[row[3], row[1], rows[0][0], constants["e"]] for row in rows]
    assert made == b"".join(delimiter.join(write(text) for text in row) + b"\n" for row in expected)  # type: ignore[arg-type]
    cast = rewrite(data, {"d": Field("d", "text"), "b": "x"}, constants, dialect)[1]
    assert cast == made


VALUES: dict[str, dict[str, str | None]] = {
    "boolean": {"true": "t", "N": "f", "1": "t", " off ": "f", "perhaps": None},
    "integer": {"+7": "7", "-2147483648": "-2147483648", "2147483648": None, "1.0": None, "x": None},
    "bigint": {"9223372036854775807": "9223372036854775807", "9223372036854775808": None},
    "decimal": {"1.50": "1.50", "1e3": "1000", "NaN": None, "x": None},
    "decimal(4,2)": {"1.005": "1.01", "-1.005": "-1.01", "99.99": "99.99", "99.995": None, "1e9999999": None},
    "double": {"0.1": "0.1", "2": "2", "1e400": None, "nan": "NaN", "-inf": "-Infinity", "x": None},
    "date": {"2013-02-03": "2013-02-03", "2013-02-03 04:05": "2013-02-03", "2013-02-30": None},
    "time": {"04:05": "04:05:00", "04:05:06.5": "04:05:06.500000", "25:00": None},
    "timestamp": {"2013-02-03": "2013-02-03 00:00:00", "2013-02-03T04:05:06Z": "2013-02-03 04:05:06", "x": None},
    "timestamptz": {
        "2013-02-03 04:05:06+02:00": "2013-02-03 02:05:06+00",
        "2013-02-03 04:05": "2013-02-03 04:05:00+00",
    },
    "text": {"x": "x", "1,5": "1,5"},
    "json": {'{"a": 1}': '{"a": 1}', "{": None},
    "uuid": {"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a": None},
    "bytes": {"\\xDEAD": "\\xdead", "é": "\\xc3a9", "\\xd": None},
}


@pytest.mark.parametrize("kind", VALUES)
def test_each_type_takes_its_values_and_no_others(kind: str) -> None:
    convert = converter(Cast.parse(kind))
    for text, expected in VALUES[kind].items():
        if expected is None:
            with pytest.raises(ValueError):
                convert(text)
        else:
            assert convert(text) == expected
    assert {Cast.parse(name).kind for name in VALUES} == set(KINDS)


@pytest.mark.parametrize(
    "kind", ["int", "decimal(2,3)", "decimal(0)", "decimal(66)", "integer(3)", "", "text[]", None, 5]
)
def test_a_type_that_is_none_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"type must be one of boolean, .* bytes|a decimal has from 1 to 65"):
        Cast.parse(kind)


@pytest.mark.parametrize(
    ("data", "columns", "constants", "words", "line"),
    [
        (b"id,n\n1\n", {"n": "n"}, None, "f.csv, line 2: the record has 1 fields, the header 2", 2),
        (b"id,n\n1,2\n1,2,3\n4,5\n", {"n": "n"}, None, "f.csv, line 3: the record has 3 fields, the header 2", 3),
        (b"id,n\n1,2\n\n", {"n": "n"}, None, "f.csv, line 3: the record has 1 fields", 3),
        (b'id,n\n1,"a\nb"\n3,"x\n', {"n": "n"}, None, "f.csv, line 4: a quote is left open", 4),
        (b"id,n\n1,a\rb\n", {"n": "n"}, None, "f.csv, line 2: a quote is left open, or a line ends in another way", 2),
        (b"id,n\n1,\xff\n", {"n": "n"}, None, "f.csv, line 2: bytes ff are not UTF-8", 2),
        (
            b"id,n\n1,2\n1,x\n",
            {"n": Field("n", "integer")},
            None,
            "line 3, column n: 'x' is no integer: it",
            3,
        ),
        (
            b'id,n\n1,""\n1,x\n',
            {"n": Field("m", "date")},
            None,
            "line 3, column n: 'x' is no date: Inv",
            3,
        ),
        (b"id,n\n1,2\n", {"m": "m"}, None, r"columns: f.csv has no column 'm': \(it has id, n\)", 1),
        (b"id,name\n1,2\n", {"nmae": "m"}, None, "did you mean 'name'", 1),
        (b"id,n\n1,2\n", None, {"N": 1}, "f.csv has a column 'n', which is a constant too", None),
        (b"id,n\n1,2\n", {"id": "a", "ID": "b"}, None, "'id' and 'ID' are one column of f.csv", None),
    ],
)
def test_what_does_not_fit_is_named(data: bytes, columns: Any, constants: Any, words: str, line: int | None) -> None:
    with pytest.raises(DataError, match=words) as caught:
        rewrite(data, columns, constants)
    assert (caught.value.source, caught.value.line) == ("f.csv", line)


def test_fields_without_names_cannot_be_chosen() -> None:
    with pytest.raises(DataError, match=r"f.csv has no header, which columns= and constants= need"):
        rewrite(b"1,2\n", {"a": "b"}, dialect=CsvDialect(header=False))


@pytest.mark.parametrize(
    ("columns", "constants", "words"),
    [
        ({}, None, "columns is an empty dict"),
        ({"a": "x", "b": "x"}, None, "name the column 'x' 2 times"),
        ({"a": "x"}, {"x": 1}, "name the column 'x' 2 times"),
        ({"a": 5}, None, "columns must be names to names"),
        ({"": "a"}, None, "columns must be names to names"),
        ({"a": Field("x", "int")}, None, "type must be one of boolean, integer"),
        (None, {"x": [1]}, "constant 'x' must be a text, number, date, FILE_NAME or None"),
        (None, {"x": "a\0"}, "constant 'x' holds a NUL"),
        (None, {5: "a"}, "constants must be names to values"),
    ],
)
def test_what_cannot_work_is_refused(columns: Columns | None, constants: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Projection.make(columns, constants)  # type: ignore[arg-type]
