"""Parquet files read by ranges, batch by batch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tradewind.hooks.errors import DataError, TradewindError
from tradewind.operators.files.reading_ahead import AheadReader
from tradewind.operators.formats import FileAccess
from tradewind.operators.formats.parquet.arrow import column_type, pyarrow
from tradewind.operators.names import shown
from tradewind.operators.projection import Projection
from tradewind.operators.types import ColumnType

FOOTER = 1 << 16
"""Bytes at the end of a file that are read with its length: nearly all footers fit."""

WHOLE = 32 << 20
"""Bytes of a row group that are fetched at once; a larger one is read column by column through buffers."""

BUFFER = 1 << 20
"""Bytes of such a buffer, of which each column has one."""

# Measured on 2.7 million flights: batches of 4,096 rows in one thread take 62 MB, of 16,384 rows in two 119 MB, for
# as much CPU; the thread that reads ahead leaves the other core to the database.
BATCH_BYTES = 1 << 20
MOST_ROWS = 1 << 12


class RangeFile(io.RawIOBase):
    """A file that is read by ranges, its end kept.

    :param file: the file
    """

    def __init__(self, file: FileAccess) -> None:
        self._file = file
        self._position = 0
        self._tail = b""
        self.fault: TradewindError | None = None
        """What the store said, which pyarrow would tell in words of its own."""

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Read from the offset on."""
        left = max(self._file.size - self._position, 0)
        size = left if size < 0 else min(size, left)
        data = self._fetch(self._position, size) if size else b""
        self._position += len(data)
        return data

    def _fetch(self, offset: int, size: int) -> bytes:
        start = max(self._file.size - FOOTER, 0)
        if offset < start:
            return self._read_at(offset, size)
        self._tail = self._tail or self._read_at(start, self._file.size - start)
        return self._tail[offset - start : offset - start + size]

    def _read_at(self, offset: int, size: int) -> bytes:
        try:
            return self._file.read_at(offset, size)
        except TradewindError as error:
            self.fault = error
            raise


@contextlib.contextmanager
def _told(file: FileAccess, raw: RangeFile) -> Iterator[None]:
    """Tell what pyarrow says as an error of the file; what the store said comes first."""
    pa = pyarrow()
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if raw.fault is not None:
            raise raw.fault from error
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file.name} is no whole Parquet file: {text}", source=file.name) from error


@dataclass
class ParquetFile:
    """A file whose footer is read.

    :param file: the file
    :param columns: the names of the columns that are read
    :param types: their types between the ends
    :param metadata: what the footer says
    :param schema: these columns in pyarrow
    """

    file: FileAccess
    columns: tuple[str, ...]
    types: tuple[ColumnType, ...]
    metadata: Any
    schema: Any

    @classmethod
    def open(cls, file: FileAccess, columns: Sequence[str] | None, projection: Projection | None = None) -> ParquetFile:
        """Read a footer.

        :param file: the file
        :param columns: the columns that are wanted, None for all
        :param projection: what will be made of them: those that nobody wants are not read
        :raises DataError: where the file is none of Parquet, or has no such column
        """
        pa = pyarrow()
        raw = RangeFile(file)
        with _told(file, raw):
            opened = pa.parquet.ParquetFile(raw, coerce_int96_timestamp_unit="us")
            metadata, schema = opened.metadata, opened.schema_arrow
        names = tuple(columns or schema.names)
        missing = next((name for name in names if name not in schema.names), None)
        if missing is not None:
            raise DataError(
                f"columns: {file.name} has no column {missing!r}: it has {shown(schema.names)}",
                source=file.name,
                column=missing,
            )
        if len(set(names)) < len(names):
            raise DataError(f"{file.name} has two columns of one name: {shown(names)}", source=file.name)
        names = (projection and projection.wanted(names)) or names
        uuids = _uuids(metadata)
        types = tuple(column_type(schema.field(name).type, uuid=name in uuids) for name in names)
        return cls(file, names, types, metadata, pa.schema([schema.field(name) for name in names]))

    @property
    def name(self) -> str:
        """The file, for messages."""
        return self.file.name

    @property
    def rows(self) -> int:
        """How many records the file has."""
        return int(self.metadata.num_rows)

    def stream(self, write: Callable[[Any], bytes]) -> ParquetStream:
        """Read the file from its begin.

        :param write: makes bytes of a batch
        """
        return ParquetStream(self, write)


def _uuids(metadata: Any) -> set[str]:
    """Return the columns that the file says are UUIDs."""
    columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    return {column.path for column in columns if column.logical_type.type == "UUID"}


class ParquetStream(AheadReader):
    """What is made of a file's batches, by a thread ahead of the reader, so that reading and loading go on at once.

    :param opened: the file, its footer read
    :param write: makes bytes of a batch
    """

    def __init__(self, opened: ParquetFile, write: Callable[[Any], bytes]) -> None:
        self._opened = opened
        super().__init__(_Written(opened, write))

    @property
    def rows(self) -> int | None:
        """How many records there were, None until all are read."""
        return self._opened.rows if self._ended else None


class _Written:
    """The batches of a file, written."""

    def __init__(self, opened: ParquetFile, write: Callable[[Any], bytes]) -> None:
        self._opened = opened
        self._write = write
        self.name = opened.file.name
        self.position = 0
        self._raw = RangeFile(opened.file)

    def chunks(self, stopped: Callable[[], bool], /) -> Iterator[bytes]:
        """Yield the records of one batch after the other.

        :param stopped: asked before each
        :raises DataError: where the file is damaged
        """
        batches = self._read()
        while not stopped():
            with _told(self._opened.file, self._raw):
                batch = next(batches, None)
            if batch is None:
                return
            yield self._write(batch)
            self.position += batch.num_rows

    def close(self) -> None:
        """Let the file go."""

    def _read(self) -> Iterator[Any]:
        pa = pyarrow()
        metadata, columns = self._opened.metadata, list(self._opened.columns)
        for group in range(metadata.num_row_groups):
            facts = metadata.row_group(group)
            if not facts.num_rows:
                continue
            stored, plain = self._sizes(facts)
            file = pa.parquet.ParquetFile(
                self._raw,
                metadata=metadata,
                pre_buffer=stored <= WHOLE,
                buffer_size=0 if stored <= WHOLE else BUFFER,
                coerce_int96_timestamp_unit="us",
            )
            width = max(plain // facts.num_rows, 1)
            rows = min(max(BATCH_BYTES // width, 1), MOST_ROWS)
            for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
                yield batch.select(columns)

    def _sizes(self, facts: Any) -> tuple[int, int]:
        """Return the bytes that the columns take in a row group, as they are stored and without compression."""
        chunks = [facts.column(index) for index in range(facts.num_columns)]
        paths = tuple(f"{name}." for name in self._opened.columns)
        read = [chunk for chunk in chunks if f"{chunk.path_in_schema}.".startswith(paths)]
        return sum(chunk.total_compressed_size for chunk in read), sum(chunk.total_uncompressed_size for chunk in read)
