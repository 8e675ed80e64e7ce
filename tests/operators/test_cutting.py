"""A file's bytes cut where records end, wherever the bytes come from: the same parts, each within its bounds."""

from __future__ import annotations

import random

import pytest

from tests.operators.test_rewriting import DIALECTS
from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.cutting import CsvCutter
from tradewind.operators.formats.csv.rewriting import FieldWriter

pytestmark = pytest.mark.anywhere


def cut(data: bytes, dialect: CsvDialect, most: int, room: int | None, rows: int | None) -> tuple[bytes, list[bytes]]:
    """Cut as a set of files is written."""
    cutter = CsvCutter(dialect, "f.csv")
    parts: list[bytes] = []

    def take(block: bytes) -> None:
        while block:
            part = parts[-1]
            left = None if room is None else room - len(part)
            end = cutter.fitting(block, left, None if rows is None else rows - cutter.count(part))
            end = end or (0 if part else cutter.first(block))
            parts[-1] += block[:end]
            block = block[end:]
            if block:
                parts.append(b"")

    parts.append(b"")
    for start in range(0, len(data), most):
        take(cutter.feed(data[start : start + most]))
    take(cutter.feed(b"", at_end=True))
    return cutter.header, parts


@pytest.mark.parametrize("dialect", DIALECTS, ids=repr)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_parts_are_the_same_however_the_bytes_come(dialect: CsvDialect, line_end: bytes) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    write, delimiter = FieldWriter(dialect), dialect.delimiter.encode()
    texts = ["", "a", "b" * 30, "x\ny", 'q"', "q'", dialect.quote * 2, "\\", "\r", "é", None]
    records = [delimiter.join(write(rng.choice(texts)) for _ in range(3)) + line_end for _ in range(400)]
    data = delimiter.join((b"a", b"b", b"c")) + line_end + b"".join(records)
    if rng.random() < 0.5:
        data, records[-1] = data[: -len(line_end)], records[-1][: -len(line_end)]

    for room, rows in ((200, None), (None, 7), (150, 3), (1, None), (None, None)):
        expected: list[bytes] = [b""]
        held = 0
        for record in records:
            full = room is not None and len(expected[-1]) + len(record) > room
            if expected[-1] and (full or (rows is not None and held == rows)):
                expected.append(b"")
            held = 1 if not expected[-1] else held + 1
            expected[-1] += record
        for most in (1, rng.randint(2, 500), 1 << 20):
            header, parts = cut(data, dialect, most, room, rows)
            assert header + b"".join(parts) == data
            assert parts == expected


def test_headers_and_counts() -> None:
    cutter = CsvCutter(CsvDialect(), "f.csv")
    assert cutter.feed(b'\xef\xbb\xbfid,"na\nme"') == b""
    assert cutter.feed(b"\n1,a\n2") == b"1,a\n"
    assert (cutter.header, cutter.columns) == (b'\xef\xbb\xbfid,"na\nme"\n', ("id", "na\nme"))
    assert cutter.feed(b"", at_end=True) == b"2"
    assert [cutter.count(data) for data in (b"", b"1,a\n", b'1,"\n"\n2', b"\n\n")] == [0, 1, 2, 2]

    alone = CsvCutter(CsvDialect(), "f.csv")
    assert alone.feed(b"id") == b""
    assert alone.feed(b"", at_end=True) == b""
    assert (alone.header, alone.whole_header()) == (b"id", b"id\n")
    bare = CsvCutter(CsvDialect(header=False), "f.csv")
    assert bare.feed(b"1\n2\n") == b"1\n2\n"
    assert (bare.header, bare.columns) == (b"", None)


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="utf-16 cannot be cut into parts"):
        CsvCutter(CsvDialect(encoding="utf-16"), "f.csv")
    with pytest.raises(InvalidArgument, match="UTF-16 cannot be cut into parts"):
        CsvCutter(CsvDialect(), "f.csv").feed("a,b\n".encode("utf-16"))
    cutter = CsvCutter(CsvDialect(), "f.csv")
    cutter.feed(b'a\n1\n"')
    with pytest.raises(DataError, match="a record does not end within"):
        cutter.feed(bytes(33 << 20))
