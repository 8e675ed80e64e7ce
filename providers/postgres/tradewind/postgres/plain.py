"""The records at the head of a CSV file that need no parser of CSV.

Where neither a quote nor a backslash is, COPY's text format with the file's own delimiter means the same as its CSV
format, byte for byte, and the server reads it in four fifths of the CPU (PostgreSQL's manual, COPY, "File Formats").
"""

from __future__ import annotations

import string

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Readable
from tradewind.operators.formats.csv.records import CsvInput
from tradewind.operators.formats.csv.transcoding import Pushback

CHUNK = 1 << 18
LONGEST = 1 << 20
"""Bytes of a record that are held back while its end is looked for."""

NO_DELIMITER = frozenset("\\." + string.ascii_lowercase + string.digits)
"""What the text format refuses as a delimiter."""


def suits(dialect: CsvDialect) -> bool:
    """Say whether the text format can take records of a dialect.

    :param dialect: how they are written
    """
    return dialect.delimiter not in NO_DELIMITER


class PlainHead:
    """A stream of the records before the first one that holds a quote, an escape or a backslash.

    :param source: the file, its header read
    """

    def __init__(self, source: CsvInput) -> None:
        self._stream = source.stream
        self._line_end = source.line_end
        dialect = source.dialect
        self._marks = [mark.encode() for mark in {dialect.quote, dialect.escape_char, "\\"}]
        self._held = b""
        self._ended = False
        self.rest: Readable | None = None
        self.lines = 0
        self.bytes = 0
        self._first = self._next(CHUNK)

    @property
    def empty(self) -> bool:
        """Whether not even the first record is plain, or there is none."""
        return not self.bytes

    def read(self, size: int = -1, /) -> bytes:
        """Return the next whole records, none at the end of the plain ones; ``rest`` then has what follows, if any.

        :param size: how much to read from the file at once
        """
        data, self._first = self._first, b""
        return data or self._next(size)

    def _next(self, size: int) -> bytes:
        found = b""
        while not found and not self._ended:
            found = self._records(self._stream.read(size))
        self.lines += found.count(self._line_end)
        self.bytes += len(found)
        return found

    def _records(self, data: bytes) -> bytes:
        mark = min((at for at in map(data.find, self._marks) if at >= 0), default=None)
        end = data.rfind(self._line_end, 0, mark) + 1
        held = self._held
        if not data:
            self._ended, self._held = True, b""
            return held
        if end:
            self._held = data[end:]
            found = b"".join((held, memoryview(data)[:end]))
        else:
            self._held, found = held + data, b""
        if mark is not None or len(self._held) > LONGEST:
            self.rest, self._held, self._ended = Pushback(self._stream, self._held), b"", True
        return found

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
