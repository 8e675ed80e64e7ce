"""The bytes of a file that is being written, cut where records end."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.records import RECORD_LIMIT, Scanner, first_record_end, header_names
from tradewind.operators.formats.pieces import Bounds, Piece

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


class CsvCutter:
    """Records of CSV; each file gets the header of the first.

    :param dialect: how they are written
    :param name: the file, for messages
    :raises InvalidArgument: for an encoding in which a line end is not the byte that it is in ASCII
    """

    def __init__(self, dialect: CsvDialect, name: str) -> None:
        if f"{dialect.delimiter}{dialect.quote}\r\n".encode(dialect.encoding) != (
            f"{dialect.delimiter}{dialect.quote}\r\n".encode()
        ):
            raise InvalidArgument(f"{name}: {dialect.encoding} cannot be cut into parts: write utf-8")
        self._dialect = dialect
        self._name = name
        self._scanner = Scanner(dialect)
        self._line_end = b""
        self._rest = b""
        self.header = b""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names in the header, None where there is none."""
        if not self.header:
            return None
        record = self.header.removeprefix(codecs.BOM_UTF8).decode(self._dialect.encoding).encode()
        return header_names(record, self._dialect, self._name)

    def feed(self, data: bytes, *, at_end: bool = False) -> bytes:
        """Take bytes, return the whole records that there are by now.

        :param data: what follows
        :param at_end: whether nothing follows
        :raises DataError: where a record does not end within 32 MiB
        """
        data = self._rest + data if self._rest else data
        if not self._line_end:
            if not self._begin(data, at_end):
                self._rest = data
                return b""
            data = data[len(self.header) :]
        end = len(data) if at_end else self._scanner.last_end(data, self._line_end)
        self._rest = data[end:]
        if len(self._rest) > RECORD_LIMIT:
            raise DataError(f"{self._name}: a record does not end within {RECORD_LIMIT:,} bytes", source=self._name)
        return data[:end]

    def _begin(self, data: bytes, at_end: bool) -> bool:
        """Look at the first record: at what ends it, and at the names in it."""
        if data.startswith(_WIDE):
            raise InvalidArgument(
                f"{self._name}: UTF-16 cannot be cut into parts: copy it to one file, or to utf-8 first"
            )
        end = first_record_end(data, self._dialect, at_end=at_end)
        if not end:
            return False
        first = data[:end]
        self._line_end = b"\r" if first.endswith(b"\r") else b"\n"
        if self._dialect.header:
            self.header = first
        return True

    def whole_header(self) -> bytes:
        """Return the header with a line end."""
        ended = not self.header or self.header.endswith((b"\r", b"\n"))
        return self.header if ended else self.header + b"\n"

    def count(self, data: bytes) -> int:
        """Return how many records there are in whole ones."""
        return self._scanner.count(data, self._line_end) + (not data.endswith(self._line_end) if data else 0)

    def fitting(self, data: bytes, room: int | None, rows: int | None) -> int:
        """Return how many bytes of whole records fit, 0 where not even the first does.

        :param data: whole records
        :param room: bytes that are left, None for any number
        :param rows: records that are left, None for any number
        """
        end = len(data)
        if room is not None and end > room:
            end = self._scanner.last_end(data[: max(room, 0)], self._line_end)
        if rows is not None and self.count(data[:end]) > rows:
            end = self._nth_end(data, rows)
        return end

    def first(self, data: bytes) -> int:
        """Return where the first record ends."""
        end = self._scanner.next_end(data, 0, self._line_end)
        return len(data) if end < 0 else end

    def _nth_end(self, data: bytes, number: int) -> int:
        if self._dialect.quote.encode() not in data:
            return sum(len(line) + 1 for line in data.split(self._line_end, number)[:number])
        end = 0
        for _ in range(number):
            end = self._scanner.next_end(data, end, self._line_end)
        return end


class CutPieces:
    """A stream of records as a set of files.

    :param written: the bytes of all of them, as one file
    :param cutter: cuts the records
    :param bounds: how large each file may get
    """

    def __init__(self, written: Iterator[tuple[bytes, int | None]], cutter: CsvCutter, bounds: Bounds) -> None:
        self._written = written
        self._cutter = cutter
        self._bounds = bounds
        self._file = -1
        self._bytes = self._rows = 0

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names in the header, None where there is none."""
        return self._cutter.columns

    def __iter__(self) -> Iterator[Piece]:
        """Yield whole records, and the header at the begin of each file."""
        for data, _ in self._written:
            yield from self._cut(self._cutter.feed(data))
        yield from self._cut(self._cutter.feed(b"", at_end=True))
        if self._file < 0:
            yield self._begin()  # no rows are a file too

    def _cut(self, data: bytes) -> Iterator[Piece]:
        full = self._file < 0
        while data:
            if full:
                yield self._begin()
            end = self._fitting(data)
            if end:
                rows = self._cutter.count(data[:end])
                yield self._piece(data[:end], rows)
                data = data[end:]
            full = bool(data)

    def _begin(self) -> Piece:
        self._file += 1
        self._bytes = self._rows = 0
        return self._piece(self._cutter.whole_header(), 0)

    def _piece(self, data: bytes, rows: int) -> Piece:
        self._bytes += len(data)
        self._rows += rows
        return Piece(self._file, data, rows)

    def _fitting(self, data: bytes) -> int:
        room = None if self._bounds.bytes is None else self._bounds.bytes - self._bytes
        rows = None if self._bounds.rows is None else self._bounds.rows - self._rows
        end = self._cutter.fitting(data, room, rows)
        return end if end or self._rows else self._cutter.first(data)
