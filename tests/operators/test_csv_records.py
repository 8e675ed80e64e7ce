"""Encodings, headers, and where records end."""

from __future__ import annotations

import codecs
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fix_copies import Short
from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import (
    CsvInput,
    Scanner,
    blocks,
    delimiter_hint,
    first_record_end,
    open_csv,
)
from tradewind.operators.formats.csv.transcoding import Pushback

pytestmark = pytest.mark.anywhere

DIALECTS = [CsvDialect(), CsvDialect(quote="'", delimiter=";"), CsvDialect(escape="\\")]


def opened(data: bytes, dialect: CsvDialect | None = None, most: int = 1 << 20, columns: tuple[str, ...] | None = None):  # type: ignore[no-untyped-def]
    return open_csv(Part("f.csv", lambda: Short(data, most), dialect or CsvDialect(), columns))


def everything(stream: object, size: int = 1000) -> bytes:
    return b"".join(iter(lambda: stream.read(size), b""))  # type: ignore[attr-defined]


def whole(source: CsvInput) -> bytes:
    return source.header + everything(source.stream)


@pytest.mark.parametrize("most", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_beats_the_stated_encoding(mark: bytes, encoding: str, most: int) -> None:
    text = "näme,b\nä,😀\n"
    source = opened(mark + text.encode(encoding), CsvDialect(encoding="latin-1"), most)
    assert source.names == ("näme", "b")
    assert everything(source.stream) == "ä,😀\n".encode()
    assert whole(opened(mark + text.encode(encoding), most=most)) == text.encode()


def test_utf8_passes_through_untouched() -> None:
    data = b"a,b\n\xff\xfe\0,1\n"
    source = opened(data)
    assert everything(source.stream) == data[4:]
    assert isinstance(source.stream, Pushback)


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_wrong_bytes_are_told_with_offset_and_line(most: int) -> None:
    data = "a,b\nc,d\n".encode("shift_jis") + b"\x81\xff\n"
    source = opened(data, CsvDialect(encoding="shift_jis"), 1000 if most == 7 else most)
    with pytest.raises(DataError, match=r"not shift_jis: bytes 81.* at offset 8 \(line 3\)") as caught:
        everything(source.stream, most)
    assert caught.value.line == 3
    with pytest.raises(DataError, match=r"at offset 4 \(line 1\)"):
        everything(opened("ab😀".encode("utf-16-le")[:-2] + b"a", CsvDialect(encoding="utf-16-le"), most).stream)


def test_empty_files_and_headers_alone() -> None:
    for data in (b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE):
        source = opened(data)
        assert (source.empty, source.names, whole(source)) == (True, None, b"")
    for data in (b"a,b", b"a,b\n", b"a,b\r\n", b"a,b\r"):
        source = opened(data, most=1)
        assert (source.empty, source.names, source.header, source.header_lines) == (False, ("a", "b"), data, 1)
        assert everything(source.stream) == b""


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("most", [1, 1000])
def test_a_header_is_read_quotes_and_all(end: bytes, most: int) -> None:
    header = b'"a ""1""","b' + end + b'2",c,d' + end
    source = opened(header + b"1,2" + end, most=most)
    assert source.names == ('a "1"', "b" + end.decode() + "2", "c", "d")
    assert (source.header, source.header_lines, source.crlf) == (header, 2, end == b"\r\n")
    assert everything(source.stream) == b"1,2" + end


def test_names_may_be_given_in_place_of_the_header_or_for_want_of_one() -> None:
    assert opened(b"a,b\n1,2\n", columns=("x", "y")).names == ("x", "y")
    assert everything(opened(b"a,b\n1,2\n", columns=("x", "y")).stream) == b"1,2\n"
    headless = opened(b"1,2\r\n", CsvDialect(header=False), columns=("x", "y"))
    assert (headless.names, headless.header, headless.crlf, everything(headless.stream)) == (
        ("x", "y"), b"", True, b"1,2\r\n"
    )  # fmt: skip


def test_a_quote_left_open_in_the_header_is_told() -> None:
    with pytest.raises(DataError, match=r"header does not end within .* is a quote"):
        opened(b'a,"b\n' + b"1,2\n" * 400_000)


def test_the_delimiter_that_was_meant() -> None:
    assert "delimiter=';'" in delimiter_hint(("a;b",), CsvDialect())
    assert "delimiter=','" in delimiter_hint(("a,b",), CsvDialect(delimiter=";"))
    assert delimiter_hint(("a;b", "c"), CsvDialect()) == ""
    assert delimiter_hint(("a",), CsvDialect()) == ""


FIELDS = st.text(st.sampled_from(["a", '"', "'", ",", ";", "\n", "\r", "\\", "ä"]), max_size=6)


def written(rows: list[list[str]], dialect: CsvDialect, end: str) -> list[bytes]:
    """Write records, each field quoted, one by one."""

    def field(text: str) -> str:
        escape = dialect.escape_char
        if escape != dialect.quote:
            text = text.replace(escape, escape * 2)
        return dialect.quote + text.replace(dialect.quote, escape + dialect.quote) + dialect.quote

    return [(dialect.delimiter.join(map(field, row)) + end).encode() for row in rows]


@given(
    rows=st.lists(st.lists(FIELDS, min_size=1, max_size=3), min_size=1, max_size=8),
    dialect=st.sampled_from(DIALECTS),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    size=st.integers(1, 60),
    final=st.booleans(),
)
def test_blocks_hold_whole_records_and_every_byte(
    rows: list[list[str]], dialect: CsvDialect, end: str, size: int, final: bool
) -> None:
    records = written(rows, dialect, end)
    if not final:
        records[-1] = records[-1].removesuffix(end.encode())
    data = dialect.delimiter.join(["h1", "h2"]).encode() + end.encode() + b"".join(records)
    source = opened(data, dialect, most=size)
    scanner = Scanner(dialect)
    found, line = [], 2
    for block in blocks(source, size):
        assert block.line == line
        line += block.data.count(source.line_end)
        found += list(scanner.records(block.data, source.line_end))
    assert found == records


ROWS = st.lists(st.lists(FIELDS, min_size=1, max_size=3), min_size=1, max_size=3)


@given(rows=ROWS, dialect=st.sampled_from(DIALECTS))
def test_the_first_record_ends_where_it_ends(rows: list[list[str]], dialect: CsvDialect) -> None:
    for end in ("\n", "\r\n", "\r"):
        records = written(rows, dialect, end)
        data = b"".join(records)
        assert first_record_end(data, dialect, at_end=True) == len(records[0])
        for cut in range(len(records[0])):
            assert first_record_end(data[:cut], dialect, at_end=False) in (0, len(records[0]))


def test_blocks_agree_with_the_csv_module() -> None:
    text = 'a,b\n1,"x\n""y"\n2,"\n\n"\n3,z'
    records = [block.data for block in blocks(opened(text.encode(), most=3), 3)]
    assert [row for data in records for row in csv.reader(io.StringIO(data.decode(), newline=""))] == [
        ["1", 'x\n"y'], ["2", "\n\n"], ["3", "z"]
    ]  # fmt: skip
