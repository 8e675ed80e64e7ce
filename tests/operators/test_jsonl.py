"""JSON lines: what they become as CSV, what becomes of CSV, and what is refused with its line."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fix_formats import NAME, Stored, csv_of, part_of, values_of, written
from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.records import open_csv
from tradewind.operators.formats.jsonl import JsonLines, reading
from tradewind.operators.projection import Projection
from tradewind.operators.types import ColumnType, array_of

pytestmark = pytest.mark.anywhere

READ = {
    "numbers keep their digits": (
        '{"n":12345678901234567890.123456789012345678}\n{"n":-0.0}\n{"n":1E400}',
        "12345678901234567890.123456789012345678\n-0.0\n1E400\n",
    ),
    "null and the empty text": ('{"a":"","b":null}\n{"a":null,"b":""}\n', '"",\n,""\n'),
    "a key that is not there": ('{"a":1}\n{"b":2}\n{}\n', "1,\n,2\n,\n"),
    "keys in the order in which they come": ('{"b":1}\n{"a":2,"b":3}\n', "1,\n3,2\n"),
    "quotes, delimiters and line ends": ('{"a":"x,\\"y\\"\\nz\\r","b":1}\n', '"x,""y""\nz\r",1\n'),
    "truth": ('{"a":true}\n{"a":false}\n', "t\nf\n"),
    "objects stay JSON": ('{"a":{"x":[1.10,"é\\"",null,true]}}\n', '"{""x"":[1.10,""é\\"""",null,true]}"\n'),
    "lists of one kind": ('{"a":[1,null,2]}\n{"a":[]}\n', '"{1,NULL,2}"\n{}\n'),
    "lists of texts": ('{"a":["x,y","","NULL","q\\"\\\\",null]}\n', '"{""x,y"","""",""NULL"",""q\\""\\\\"",NULL}"\n'),
    "mixed lists are JSON": ('{"a":[1,"x"]}\n', '"[1,""x""]"\n'),
    "lists of lists are JSON": ('{"a":[[1],[2]]}\n', '"[[1],[2]]"\n'),
    "blank lines": ('{"a":1}\n\n \r\n{"a":2}\r\n', "1\n2\n"),
    "a mark and no last line end": ('\ufeff{"a":1}\n{"a":2}', "1\n2\n"),
    "the end mark of COPY": ('{"a":"\\\\."}\n', '"\\."\n'),
}


@pytest.mark.parametrize("name", READ)
def test_lines_become_records(name: str) -> None:
    lines, records = READ[name]

    assert csv_of(JsonLines(), lines.encode()) == records


def test_the_target_says_how_lists_and_fields_are_written() -> None:
    lines = b'{"a":[1,2],"b":["x"],"c":"y;z"}\n'

    assert csv_of(JsonLines(), lines, arrays="json") == '"[1,2]","[""x""]",y;z\n'
    assert csv_of(JsonLines(), lines, arrays={"a": "json"}) == '"[1,2]","{""x""}",y;z\n'
    dialect = CsvDialect(delimiter=";", quote="'", escape="\\", null="-")
    assert csv_of(JsonLines(), b'{"a":"it\'s","b":null,"c":"-"}\n', dialect=dialect) == "'it\\'s';-;'-'\n"


def test_columns_choose_keys() -> None:
    assert csv_of(JsonLines(("b", "none")), b'{"a":1,"b":2}\n{"b":3,"later":4}\n') == "2,\n3,\n"


def test_other_encodings_are_read() -> None:
    assert csv_of(JsonLines(encoding="latin-1"), '{"a":"é"}\n'.encode("latin-1")) == "é\n"


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["1", "2"], ColumnType("bigint")),
        (["1", "9223372036854775808"], ColumnType("decimal")),
        (["1", "0.10"], ColumnType("decimal")),
        (["1", "1e3"], ColumnType("double")),
        (["true", "null"], ColumnType("boolean")),
        (["null"], None),
        (['"1"', '"2"'], ColumnType("text")),
        (['"true"'], ColumnType("text")),
        (['"2013-02-03"'], ColumnType("date")),
        (['"2013-02-03T04:05:06Z"'], ColumnType("timestamptz")),
        (['"2013-02-03 04:05:06"', '"2013-02-03"'], ColumnType("timestamp")),
        (['"0b6fbd47-7a31-4d7a-9a4c-6a3f4a3f2b11"'], ColumnType("uuid")),
        (['"\\\\xdead"'], ColumnType("text")),
        (["1", '"x"'], ColumnType("text")),
        (['{"a":1}'], ColumnType("json")),
        (["[1]", "[2.5]", "[]"], array_of(ColumnType("decimal"))),
        (["[]"], ColumnType("json")),
        (["[1]", "{}"], ColumnType("json")),
    ],
)
def test_types_are_told_from_the_first_records(lines: list[str], kind: ColumnType | None) -> None:
    data = "".join(f'{{"a":{line}}}\n' for line in lines).encode()

    assert JsonLines().part(Stored(data).access()).types == (kind,)


BAD: dict[str, tuple[bytes, str]] = {
    "no JSON": (b'{"a":1}\n{"a":}\n', "line 2 is no JSON: expecting value at character 6: '}'"),
    "a list": (b'[{"a":1}]\n', "line 1 is a list: the file must hold one object on each line"),
    "two objects": (b'{"a":1} {"a":2}\n', "line 1 is no JSON: extra data at character 9"),
    "not a number": (b'{"a":1}\n{"a":NaN}\n', "line 2: NaN is no JSON: write it as a text"),
    "a key twice": (b'{"a":1,"a":2}\n', "line 1: the key 'a' stands twice in an object"),
    "a key twice within": (b'{"a":{"b":1,"b":2}}\n', "line 1: the key 'b' stands twice"),
    "half a character": (b'{"a":1}\n{"a":"\\ud800"}\n', "line 2, column a: '\\ud800' is half of a character"),
    "half a character within": (b'{"a":["\\udfff"]}\n', "line 1, column a: '\\udfff' is half"),
    "other bytes": (b'{"a":1}\n\n{"a":"\xff"}\n', "line 3: bytes ff 22 7d are not UTF-8"),
    "too deep": (b'{"a":1}\n{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n", "line 2: the object is nested too deep"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_named(name: str) -> None:
    data, says = BAD[name]
    with pytest.raises(DataError) as caught:
        csv_of(JsonLines(), data)

    assert f"{NAME}, {says}" in str(caught.value)
    assert caught.value.source == NAME


def test_a_key_that_turns_up_late_is_named() -> None:
    early = b'{"a":"' + b"x" * 100_000 + b'"}\n'
    data = early * 50 + b'{"a":"y","late":1}\n'
    with pytest.raises(DataError, match=r"line 51: the key 'late' is in none of the first records"):
        csv_of(JsonLines(), data)


def test_keys_that_nobody_wants_are_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b'{"wide":{"x":"%s"},"id":7}\n' % (b"x" * 100) * 2_000 + b'{"wide":[],"id":8,"new":[]}\n'
    monkeypatch.setattr(reading, "json_text", lambda value: pytest.fail(f"{value} is rendered"))
    for columns in ({"id": "key"}, {"Id": "key"}):
        projection = Projection.make(columns, None)
        part = replace(JsonLines().part(Stored(data).access(), projection=projection), projection=projection)
        with closing(open_csv(part)) as source:
            made = b"".join(iter(lambda: source.stream.read(1 << 16), b""))
        assert (source.names, source.outputs) == (("key",), None)
        assert made == b"7\n" * 2_000 + b"8\n"


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    data = b'{"a":1}\n{"a":"' + b"x" * (34 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="line 2: the line does not end within"):
            csv_of(JsonLines(("a",)), data)
        assert tracemalloc.get_traced_memory()[1] < 120 << 20
    finally:
        tracemalloc.stop()


def test_memory_stays_flat() -> None:
    data = b'{"a":"%s","b":[1,2,3],"c":null}\n' % (b"x" * 500) * 20_000
    part = JsonLines().part(Stored(data).access())
    tracemalloc.start()
    try:
        source = open_csv(part)
        size = sum(len(piece) for piece in iter(lambda: source.stream.read(1 << 16), b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert size == len(b'%s,"{1,2,3}",\n' % (b"x" * 500)) * 20_000
    assert peak < 6 << 20


WRITTEN = [
    ("boolean", "t,f,1,0,true", "[true,false,true,false,true]"),
    ("bigint", "1,-7,007,0", "[1,-7,7,0]"),
    ("decimal", "0.10,-12345678901234567890.5,NaN", '[0.10,-12345678901234567890.5,"NaN"]'),
    ("double", "1e+300,Infinity,-Infinity,5e-324", '[1e+300,"Infinity","-Infinity",5e-324]'),
    (
        "timestamptz",
        "2013-02-03 04:05:06.7+00,2013-02-03 04:05:06",
        '["2013-02-03T04:05:06.7Z","2013-02-03T04:05:06Z"]',
    ),
    ("timestamptz", "2013-02-03 04:05:06+05:30", '["2013-02-03T04:05:06+05:30"]'),
    ("timestamp", "2013-02-03 04:05:06", '["2013-02-03T04:05:06"]'),
    ("bytes", "\\xdead", '["\\\\xdead"]'),
    ("text", "a\\b,é,\x01", '["a\\\\b","é","\\u0001"]'),
    ("json", '"{""a"": [1]}","""x"""', '[{"a": [1]},"x"]'),
]


@pytest.mark.parametrize(("kind", "fields", "values"), WRITTEN)
def test_values_are_written_by_their_type(kind: Any, fields: str, values: str) -> None:
    width = len(json.loads(values))
    names = [f"c{number}" for number in range(width)]
    made = written(JsonLines(), part_of(f"{fields}\n".encode(), names, [ColumnType(kind)] * width))

    shown = values.removeprefix("[").removesuffix("]")
    assert made.decode().count("\n") == 1
    assert list(json.loads(made, parse_float=Decimal).values()) == json.loads(f"[{shown}]", parse_float=Decimal)
    if kind in ("decimal", "bigint"):
        assert (
            made.decode() == "{" + ",".join(f'"{n}":{v}' for n, v in zip(names, shown.split(","), strict=True)) + "}\n"
        )


def test_null_and_the_empty_text_are_written_apart() -> None:
    part = part_of(b'1,"",\n2,,""\n', ["id", "a", "b"], [ColumnType("bigint"), ColumnType("text"), ColumnType("text")])

    assert written(JsonLines(), part) == b'{"id":1,"a":"","b":null}\n{"id":2,"a":null,"b":""}\n'


def test_any_dialect_is_read_right() -> None:
    data = b"a;b\n'it\\'s;';-\n'-';x\\y\n'l\n2';\n"
    part = part_of(data, delimiter=";", quote="'", escape="\\", null="-")

    assert [json.loads(line) for line in written(JsonLines(), part).splitlines()] == [
        {"a": "it's;", "b": None},
        {"a": "-", "b": "x\\y"},
        {"a": "l\n2", "b": ""},
    ]


def test_what_a_csv_shows_is_written_as_it_shows() -> None:
    made = written(JsonLines(), part_of(b"n,d,t,day\n1,0.10,t,2013-02-03\n2,5,f,\n"))

    assert made == b'{"n":1,"d":0.10,"t":true,"day":"2013-02-03"}\n{"n":2,"d":5,"t":false,"day":null}\n'


def test_a_value_of_another_type_is_named_with_its_line() -> None:
    data = b"n,s\n" + b'1,"two\nlines"\n' * 100_001 + b'x,"two\nlines"\n'
    with pytest.raises(
        DataError, match=r"memory/in.csv, line 200,004, column n: 'x' is no bigint, as the first"
    ) as caught:
        written(JsonLines(), part_of(data))
    assert (caught.value.line, caught.value.column, caught.value.value) == (200_004, "n", "x")
    typed = part_of(b"1\nx\n", ["n"], [ColumnType("integer")], name="t on db")
    with pytest.raises(DataError, match=r"t on db, record 2, column n: 'x' is no integer$"):
        written(JsonLines(), typed)


def test_broken_csv_is_named() -> None:
    with pytest.raises(DataError, match=r"line 3: the record has 3 fields, 2 are expected"):
        written(JsonLines(), part_of(b"a,b\n1,2\n1,2,3\n"))
    with pytest.raises(DataError, match=r"a quote is left open"):
        written(JsonLines(), part_of(b'a,b\n1,2\n"1,2\n'))
    with pytest.raises(DataError, match=r"bytes ff 0a are not UTF-8"):
        written(JsonLines(), part_of(b"a,b\n1,\xff\n", ["a", "b"], [ColumnType("text")] * 2))
    with pytest.raises(DataError, match="has the columns a, all parts together have a, b: copy"):
        written(JsonLines(), part_of(b"a\n1\n"), part_of(b"b\n1\n"))


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), min_size=1, max_size=8))
def test_any_texts_survive_both_ways(rows: list[tuple[str | None, str | None]]) -> None:
    lines = "".join(json.dumps({"a": a, "b": b, "n": at}) + "\n" for at, (a, b) in enumerate(rows)).encode()
    found = values_of(JsonLines(), lines)
    assert list(zip(found["a"], found["b"], strict=True)) == rows

    records = csv_of(JsonLines(), lines).encode()
    kinds = [ColumnType("text"), ColumnType("text"), ColumnType("bigint")]
    again = written(JsonLines(), part_of(records, ["a", "b", "n"], kinds))
    assert [(row["a"], row["b"]) for row in map(json.loads, again.splitlines())] == rows
