"""Files in memory, read and written in a format, and what of them is CSV."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from tests.fix_copies import Short
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats import FileAccess, FileFormat
from tradewind.operators.formats.csv.records import open_csv
from tradewind.operators.formats.fields import FieldReader
from tradewind.operators.formats.typed import TypedParts
from tradewind.operators.types import Arrays, ColumnType

NAME = "memory/file"


NO_PANDAS = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        assert name != "pandas", "pandas is looked for"
sys.meta_path.insert(0, Finder())
"""
"""pyarrow imports it where it is installed, once it makes a value of its own of one of Python's."""
AS_A_TASK_ENDS = """
import os
os._exit(0)
"""
"""Airflow finalizes no Python at the end of a task; a process that had used pyarrow 16 was seen to abort in it."""


class Stored:
    """A file in memory that counts what is read of it.

    :param data: its bytes
    :param most: how many a stream gives at once
    """

    def __init__(self, data: bytes, most: int = 1 << 20) -> None:
        self.data = data
        self.most = most
        self.reads: list[tuple[int, int]] = []

    def access(self) -> FileAccess:
        return FileAccess(NAME, len(self.data), lambda: Short(self.data, self.most), self._read_at)

    def _read_at(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.data[offset : offset + length]


def csv_of(layout: FileFormat, data: bytes, *, arrays: Arrays = "braces", dialect: CsvDialect | None = None) -> str:
    """Read a file, and return its records as the CSV that a target gets."""
    part = layout.part(Stored(data, 997).access(), dialect, arrays)
    with closing(open_csv(part)) as source:
        return b"".join(iter(lambda: source.stream.read(1 << 16), b"")).decode()


def values_of(layout: FileFormat, data: bytes, *, arrays: Arrays = "braces") -> dict[str, list[str | None]]:
    """Read a file, and return the values of each column."""
    found: dict[str, list[str | None]] = {}
    for given in TypedParts(iter([layout.part(Stored(data).access(), None, arrays)]), "a test").inputs():
        reader = FieldReader(given)
        for block in given.blocks(1 << 16):
            for name, column in zip(given.names, reader.columns(block), strict=True):
                found.setdefault(name, []).extend(column)
    return found


def part_of(
    data: bytes,
    columns: Sequence[str] | None = None,
    types: Sequence[ColumnType | None] | None = None,
    *,
    name: str = "memory/in.csv",
    **dialect: Any,
) -> Part:
    """Return a part of CSV in memory; with columns it has no header."""
    made = CsvDialect(header=columns is None, **dialect)
    return Part(
        name,
        lambda: io.BytesIO(data),
        made,
        None if columns is None else tuple(columns),
        types=None if types is None else tuple(types),
    )


def written(layout: FileFormat, *parts: Part) -> bytes:
    """Write parts as a file, and return its bytes."""
    return b"".join(data for data, _ in layout.written(_each(parts), renamed=False))


def _each(parts: Sequence[Part]) -> Iterator[Part]:
    yield from parts
