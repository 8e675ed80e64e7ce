"""Records of CSV written as Parquet, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tradewind.operators.ends import Part
from tradewind.operators.formats.parquet.arrow import pyarrow
from tradewind.operators.formats.parquet.parsing import Parser, settled
from tradewind.operators.formats.typed import Input, TypedParts

BLOCK = 1 << 20
"""Bytes of CSV that are parsed at once."""

ROW_GROUP = 8 << 20
"""Bytes of CSV whose records make a row group: 90,000 flights. Twice as many take twice the memory for 1 % less."""


class _Sink:
    """Takes the bytes of the file, and hands them out."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        self._size += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        return data


def parquet_bytes(found: Iterator[Part], codec: str | None) -> Iterator[tuple[bytes, int]]:
    """Yield the bytes of one file, each piece with the records that it holds.

    :param found: what to write
    :param codec: how pages are compressed
    :raises DataError: where a value is none of its column's type
    """
    parts = TypedParts(found, "a Parquet file")
    file = _File(codec)
    for given in parts.inputs():
        file.begin(given)
        yield from file.add(given)
    yield file.end(parts)


class _File:
    """A file that is being written."""

    def __init__(self, codec: str | None) -> None:
        self._codec = codec or "none"
        self._sink = _Sink()
        self._writer: Any = None
        self._kinds: Any = None
        self._parser: Parser | None = None
        self._held: list[Any] = []
        self._size = 0

    def begin(self, given: Input) -> None:
        """Begin a part."""
        self._parser = None if self._kinds is None else Parser(given, self._kinds)

    def add(self, given: Input) -> Iterator[tuple[bytes, int]]:
        """Write the records of a part."""
        for block in given.blocks(BLOCK):
            if self._parser is None:
                self._kinds = settled(given.types, given.names, Parser(given, None).parse(block))
                self._parser = Parser(given, self._kinds)
                self._open(self._parser.schema)
            table = self._parser.parse(block)
            given.records += table.num_rows
            self._held.append(table)
            self._size += len(block.data)
            if self._size >= ROW_GROUP:
                yield self._flush()

    def end(self, parts: TypedParts) -> tuple[bytes, int]:
        """Write what is left, and the footer."""
        if self._writer is None:
            self._open(self._schema_of_nothing(parts))
        data, rows = self._flush() if self._held else (b"", 0)
        self._writer.close()
        return data + self._sink.taken(), rows

    def _schema_of_nothing(self, parts: TypedParts) -> Any:
        from tradewind.operators.formats.parquet.parsing import arrow_type

        return pyarrow().schema([(name, arrow_type(kind)) for name, kind in zip(parts.names, parts.types, strict=True)])

    def _open(self, schema: Any) -> None:
        pa = pyarrow()
        self._writer = pa.parquet.ParquetWriter(pa.PythonFile(self._sink, mode="w"), schema, compression=self._codec)

    def _flush(self) -> tuple[bytes, int]:
        table = pyarrow().concat_tables(self._held)
        self._held, self._size = [], 0
        self._writer.write_table(table, row_group_size=table.num_rows)
        return self._sink.taken(), table.num_rows
