"""Records of CSV written as Parquet, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import Block
from tradewind.operators.formats.parquet.arrow import pyarrow
from tradewind.operators.formats.parquet.parsing import Parser, arrow_type, settled
from tradewind.operators.formats.typed import Input, TypedParts
from tradewind.operators.types import ColumnType

BLOCK = 1 << 20
"""Bytes of CSV that are parsed at once."""

ROW_GROUP = 8 << 20
"""Bytes of CSV whose records make a row group: 90,000 flights. Twice as many take twice the memory for 1 % less."""


SAMPLE = 4 << 20
"""Bytes of CSV by which decimals that nobody bounds get their scale."""


class FileBytes:
    """Takes the bytes of a file from pyarrow, and hands them out."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Take bytes."""
        self._pieces.append(bytes(data))
        self._size += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        """Return how many there were."""
        return self._size

    def flush(self) -> None:
        """Do nothing: all is there."""

    def close(self) -> None:
        """Take no more."""
        self.closed = True

    def taken(self) -> bytes:
        """Hand out what came since the last time."""
        data, self._pieces = b"".join(self._pieces), []
        return data


class Tables:
    """The records of a copy as tables of one schema, each with the bytes of CSV that it was made from.

    :param found: the parts of the copy
    :raises DataError: where a value is none of its column's type
    """

    def __init__(self, found: Iterator[Part]) -> None:
        self._parts = TypedParts(found, "a Parquet file")
        self.schema: Any = None
        """The columns, known with the first table, or at the end."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self._parts.names

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """Yield the tables; they can be taken once."""
        kinds: Any = None
        for given in self._parts.inputs():
            parser: Parser | None = None
            blocks = given.blocks(BLOCK)
            if kinds is None:
                kinds, blocks = _settled(given, blocks)
            for block in blocks:
                parser = parser or Parser(given, kinds)
                self.schema = self.schema or parser.schema
                table = parser.parse(block)
                given.records += table.num_rows
                yield table, len(block.data)
        if self.schema is None:
            types = zip(self._parts.names, self._parts.types, strict=True)
            self.schema = pyarrow().schema([(name, arrow_type(kind)) for name, kind in types])


def _settled(given: Input, blocks: Iterator[Block]) -> tuple[tuple[ColumnType, ...], Iterator[Block]]:
    """Settle the types of an input's columns by as many of its first records as their kinds were told from."""
    if not any(kind.kind == "decimal" and kind.precision is None for kind in given.types):
        return given.types, blocks
    first: list[Block] = []
    for block in blocks:
        first.append(block)
        if sum(len(each.data) for each in first) >= SAMPLE:
            break
    if not first:
        return given.types, blocks
    texts = pyarrow().concat_tables([Parser(given, None).parse(block) for block in first])
    return settled(given.types, given.names, texts), chain(first, blocks)


def file_writer(sink: FileBytes, schema: Any, codec: str | None) -> Any:
    """Open a file.

    :param sink: takes its bytes
    :param schema: its columns in pyarrow
    :param codec: how pages are compressed
    """
    pa = pyarrow()
    return pa.parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression=codec or "none")


def parquet_bytes(found: Iterator[Part], codec: str | None) -> Iterator[tuple[bytes, int]]:
    """Yield the bytes of one file, each piece with the records that it holds.

    :param found: what to write
    :param codec: how pages are compressed
    :raises DataError: where a value is none of its column's type
    """
    tables, sink, writer = Tables(found), FileBytes(), None
    held: list[Any] = []
    size = 0
    for table, made_from in tables:
        writer = writer or file_writer(sink, tables.schema, codec)
        held.append(table)
        size += made_from
        if size >= ROW_GROUP:
            yield _flushed(writer, held, sink)
            size = 0
    writer = writer or file_writer(sink, tables.schema, codec)
    data, rows = _flushed(writer, held, sink) if held else (b"", 0)
    writer.close()
    yield data + sink.taken(), rows


def _flushed(writer: Any, held: list[Any], sink: FileBytes) -> tuple[bytes, int]:
    """Write what is held as a row group."""
    table = pyarrow().concat_tables(held)
    held.clear()
    writer.write_table(table, row_group_size=table.num_rows)
    return sink.taken(), table.num_rows
