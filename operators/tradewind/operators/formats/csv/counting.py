"""How many records a stream of CSV holds, at the speed of ``bytes.count``."""

from __future__ import annotations

import codecs

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.records import Scanner, first_record_end

_ASCII_WITHIN = frozenset({"utf-8", "utf-8-sig", "ascii"})


class RecordCounter:
    """Counts the records of CSV that goes by, line ends within quotes apart.

    :param dialect: how they are written
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self._dialect = dialect
        self._scanner = Scanner(dialect)
        name = codecs.lookup(dialect.encoding).name
        self._decoder = None if name in _ASCII_WITHIN else codecs.getincrementaldecoder(name)()
        self._line_end = b""
        self._rest = b""
        self._ended = 0

    @property
    def rows(self) -> int:
        """The records so far without the header; the last one counts whether or not its line ends."""
        records = self._ended + bool(self._rest)
        return records - 1 if self._dialect.header and records else records

    def add(self, data: bytes) -> None:
        """Take the next bytes.

        :param data: any bytes, cut anywhere
        """
        data = self._rest + (data if self._decoder is None else self._decoder.decode(data).encode())
        if not self._line_end:
            first = first_record_end(data, self._dialect, at_end=False)
            if first:
                self._line_end = b"\r" if data[:first].endswith(b"\r") else b"\n"
        end = self._scanner.last_end(data, self._line_end) if self._line_end else 0
        self._ended += self._scanner.count(data[:end], self._line_end) if end else 0
        self._rest = data[end:]
