"""Records written as a set of Parquet files, each of bounded size.

A file ends at a row group's end. How many bytes a row group takes is known only when it is written, and what is written
cannot be taken back: where bytes are bounded, each is first written to nowhere, which doubles the work of encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tradewind.operators.formats.parquet.arrow import pyarrow
from tradewind.operators.formats.parquet.writing import ROW_GROUP, FileBytes, Tables, file_writer
from tradewind.operators.formats.pieces import Bounds, Piece

MAGIC = 4
"""Bytes before the first row group."""

_TRAILER = 8


class ParquetPieces:
    """The records of a copy as a set of files.

    :param tables: the records
    :param codec: how pages are compressed
    :param bounds: how large each file may get; a file of one record may be larger
    """

    def __init__(self, tables: Tables, codec: str | None, bounds: Bounds) -> None:
        self._tables = tables
        self._codec = codec
        self._bounds = bounds
        self._held = _Held()
        self._file: _File | None = None
        self._number = 0
        self._each = 0.0
        """Bytes that a record took in the row group before."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self._tables.names

    def __iter__(self) -> Iterator[Piece]:
        """Yield a row group after the other, and what ends each file."""
        for table, size in self._tables:
            self._held.add(table, size)
            while self._held.size >= ROW_GROUP or (self._bounds.rows and self._held.rows >= self._rows_left()):
                yield from self._row_group()
        while self._held.rows:
            yield from self._row_group()
        if self._file is not None or not self._number:
            yield self._ended()

    def _rows_left(self) -> int:
        return (self._bounds.rows or 0) - (self._file.rows if self._file else 0)

    def _row_group(self) -> Iterator[Piece]:
        """Write as much of what is held as a row group may have, and the file has room for."""
        table = self._held.table(self._rows_left() if self._bounds.rows else None)
        if self._bounds.bytes is not None:
            fitting = self._fitting(table, self._bounds.bytes)
            if not fitting:
                yield self._ended()
                return
            table = table.slice(0, fitting)
        file = self._opened()
        self._held.drop(table.num_rows)
        yield Piece(self._number, file.write(table), table.num_rows)
        if self._bounds.rows and not self._rows_left():
            yield self._ended()

    def _fitting(self, table: Any, most: int) -> int:
        """Return how many of the records the file has room for: all, or in a new file as many as fit, else none."""
        rows, file = table.num_rows, self._opened()
        if rows * self._each > most:
            rows = max(int(most / self._each), 1)
        while True:
            group, footer = _measured(table.slice(0, rows), self._codec)
            self._each = group / rows
            if file.size + group + file.footer + footer <= most or (rows == 1 and not file.rows):
                file.footer += footer
                return int(rows)
            if file.rows:
                return 0
            room = max(most - MAGIC - footer, 1)
            rows = max(min(rows * room // group, rows - rows // 16 - 1), 1)

    def _opened(self) -> _File:
        self._file = self._file or _File(self._tables.schema, self._codec)
        return self._file

    def _ended(self) -> Piece:
        piece = Piece(self._number, self._opened().close(), 0)
        self._file = None
        self._number += 1
        return piece


class _Held:
    """Records that wait for their row group."""

    def __init__(self) -> None:
        self._tables: list[Any] = []
        self.rows = self.size = 0

    def add(self, table: Any, size: int) -> None:
        """Take records, made from so many bytes."""
        self._tables.append(table)
        self.rows += table.num_rows
        self.size += size

    def table(self, most: int | None) -> Any:
        """Return the first records as one table; they stay.

        :param most: how many at most
        """
        self._tables = [pyarrow().concat_tables(self._tables)]
        return self._tables[0] if most is None else self._tables[0].slice(0, most)

    def drop(self, rows: int) -> None:
        """Let the first records go."""
        [table] = self._tables
        left = self.rows - rows
        self.size = self.size * left // self.rows
        self.rows = left
        self._tables = [table.slice(rows)] if left else []


class _File:
    """A file of the set that is being written."""

    def __init__(self, schema: Any, codec: str | None) -> None:
        self._sink = FileBytes()
        self._writer = file_writer(self._sink, schema, codec)
        self.rows = 0
        self.size = MAGIC
        self.footer = 0
        """What the footer will have at most, for the row groups so far."""

    def write(self, table: Any) -> bytes:
        """Write a row group."""
        self._writer.write_table(table, row_group_size=table.num_rows)
        self.rows += table.num_rows
        data = self._sink.taken()
        self.size = self._sink.tell()
        return data

    def close(self) -> bytes:
        """Write the footer."""
        self._writer.close()
        return self._sink.taken()


def _measured(table: Any, codec: str | None) -> tuple[int, int]:
    """Return the bytes that a row group takes, and its footer."""
    sink = _Nowhere()
    writer = file_writer(sink, table.schema, codec)
    writer.write_table(table, row_group_size=table.num_rows)
    writer.close()
    footer = int.from_bytes(sink.last[-_TRAILER:-MAGIC], "little") + _TRAILER
    return sink.tell() - MAGIC - footer, footer


class _Nowhere(FileBytes):
    """Counts bytes, and keeps the last."""

    last = b""

    def write(self, data: Any) -> int:
        """Count bytes."""
        size = super().write(data)
        self.last = (self.last + self.taken())[-_TRAILER:]
        return size
