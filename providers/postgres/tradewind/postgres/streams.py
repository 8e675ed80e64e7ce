"""Byte streams on their way into COPY."""

from __future__ import annotations

import contextlib
import re

from tradewind.hooks.errors import DataError
from tradewind.operators.ends import Part, Readable
from tradewind.operators.formats.csv.records import Scanner, blocks, open_csv
from tradewind.operators.progress import Progress

_END_MARK = re.compile(rb"[\r\n]\\\.[\r\n]")


class Counted:
    """A stream whose bytes are counted as they pass.

    :param stream: the bytes
    :param progress: takes the counts
    :param part: where they come from
    :param guard_end: whether to refuse a record ``\\.``, which servers before 18 take for the end of the input
    """

    def __init__(self, stream: Readable, progress: Progress, part: Part, *, guard_end: bool) -> None:
        self._stream = stream
        self._progress = progress
        self._part = part
        self._guard_end = guard_end
        self._tail = b"\n"  # the stream begins with a record
        self.bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes.

        :raises DataError: where a record would end the copy before the end of the input
        """
        data = self._stream.read(size)
        if self._guard_end and data:
            self._look(data)
        self.bytes += len(data)
        self._progress.add(len(data))
        return data

    def _look(self, data: bytes) -> None:
        seen = self._tail + data
        if b"\\." in seen and _END_MARK.search(seen):
            refuse_end_mark(self._part)
            self._guard_end = False  # it stands within quotes, where it means nothing
        self._tail = seen[-3:]

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def refuse_end_mark(part: Part) -> None:
    """Read a file again to see whether one of its records is the end mark, and not a line of a quoted text.

    :param part: the file
    :raises DataError: where it is, with the line
    """
    source = open_csv(part, rewrite=False)
    scanner = Scanner(source.dialect)
    with contextlib.closing(source):
        for block in blocks(source, 1 << 20):
            line = block.line
            for record in scanner.records(block.data, source.line_end) if b"\\." in block.data else ():
                if record.rstrip(b"\r\n") == b"\\." != record:
                    raise DataError(
                        f"{part.name}, line {line:,}: the record is nothing but \\., which PostgreSQL before 18 takes "
                        "for the end of the input: quote it",
                        source=part.name,
                        line=line,
                        value="\\.",
                    )
                line += record.count(source.line_end)
