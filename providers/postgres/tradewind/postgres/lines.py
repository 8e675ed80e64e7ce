"""The line of a record as the server counts, and as an editor shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import CsvInput, Scanner, blocks, open_csv


class ServerLines:
    """The server's way of counting the lines of a COPY.

    It counts line ends within quotes only if they are of the file's kind, CR for CRLF; and until it has seen the
    first line end, CR alone. The line it names is the last one of the record.

    :param source: the file, its header read
    """

    def __init__(self, source: CsvInput) -> None:
        self._mark = b"\r" if source.crlf or source.line_end == b"\r" else b"\n"

    def counted(self, record: bytes, *, first: bool) -> int:
        """Return by how much a record raises the server's count.

        :param record: its bytes
        :param first: whether it is the first of its COPY
        """
        return 1 + record.rstrip(b"\r\n").count(b"\r" if first else self._mark)

    def find(self, records: Iterable[bytes], line: int) -> int | None:
        """Return the index of the record at a line.

        :param records: all records of the COPY
        :param line: as the server counts
        """
        at = 0
        for index, record in enumerate(records):
            at += self.counted(record, first=index == 0)
            if at >= line:
                return index
        return None


@dataclass(frozen=True)
class Position:
    """Where in a file a COPY of its records began.

    :param line: how many lines lie before it, the header's among them
    :param offset: how many bytes lie before it, those of the header not counted
    """

    line: int = 0
    offset: int = 0


def line_in_file(part: Part, line: int, start: Position) -> int:
    """Return the line at which an editor shows a record, reading the file again where the server counts otherwise.

    :param part: the file
    :param line: as the server counts, the line that was put in front among them
    :param start: where its COPY began
    """
    shown = start.line + line - 1
    source = open_csv(part, rewrite=False)
    with contextlib.closing(source):
        if not source.crlf:
            return shown  # LF within quotes is counted; CR files have no other line end
        left = start.offset
        while left and (skipped := source.stream.read(min(left, 1 << 20))):
            left -= len(skipped)
        lines, scanner = ServerLines(source), Scanner(source.dialect)
        at, shown = 1, start.line + 1
        for block in blocks(source, 1 << 20):
            for record in scanner.records(block.data, source.line_end):
                at += lines.counted(record, first=False)
                if at >= line:
                    return shown
                shown += record.count(source.line_end)
        return shown
