"""The parts of a copy on their way into a file of typed columns."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import NoReturn

from tradewind.hooks.errors import DataError
from tradewind.operators.ends import Part, Readable
from tradewind.operators.formats.csv.records import Block, CsvInput, blocks, open_csv
from tradewind.operators.tables.creating import column_types
from tradewind.operators.types import TEXT, ColumnType

log = logging.getLogger(__name__)


class TypedParts:
    """Parts whose columns have types: their own, or those that their first records show.

    :param found: the parts
    :param what: what is made from them, for messages
    :raises DataError: where nothing names the columns
    """

    def __init__(self, found: Iterator[Part], what: str) -> None:
        self._parts = list(found)
        types = column_types(self._parts, what)
        self.names = tuple(types)
        self.types: tuple[ColumnType, ...] = tuple(kind or TEXT for kind in types.values())
        self.guessed = any(part.types is None for part in self._parts)
        if self.guessed:
            shown = ", ".join(f"{name} {kind}" for name, kind in zip(self.names, self.types, strict=True))
            log.info(
                "%s: the first records show the types %s; columns={...: Field(..., type=...)} sets them", what, shown
            )

    def inputs(self) -> Iterator[Input]:
        """Open one part after the other.

        :raises DataError: where a part has other columns
        """
        for part in self._parts:
            source = open_csv(part)
            with contextlib.closing(source):
                if source.empty:
                    continue
                if source.names != self.names:
                    raise DataError(
                        f"{part.name} has the columns {', '.join(source.names or ()) or 'none'}, all parts together "
                        f"have {', '.join(self.names)}: copy them one by one",
                        source=part.name,
                    )
                yield Input(self, part, source)


class Input:
    """One part, open.

    :param parts: what it is one of
    :param part: what was opened
    :param source: its records
    """

    def __init__(self, parts: TypedParts, part: Part, source: CsvInput) -> None:
        self.source = source
        self.names, self.types = parts.names, parts.types
        self._guessed = part.types is None
        self._in_lines = part.unit == "line" and part.types is None
        self.records = 0
        """How many of its records are done."""

    @property
    def stream(self) -> Readable:
        """The stream of its records, which may know their number at the end."""
        return self.source.stream

    def blocks(self, size: int) -> Iterator[Block]:
        """Cut the records into blocks that are the same each time, however the bytes come.

        :param size: bytes of a block, about
        """
        self.source.stream = _Filled(self.source.stream)
        yield from blocks(self.source, size)

    def refuse(self, block: Block, index: int, column: str | None, problem: str, value: str | None = None) -> NoReturn:
        """Raise what is wrong with a record.

        :param block: the block that it is in
        :param index: which one of the block, counted from 0
        :param column: the column
        :param problem: what is wrong
        :param value: what was found
        """
        where, number = "record", self.records + index + 1
        if self._in_lines:
            where, number = "line", block.line + self._lines_before(block, index)
        place = f"{self.source.name}, {where} {number:,}" + (f", column {column}" if column else "")
        hint = ", as the first records are: give its type as columns={...: Field(..., type='text')}"
        raise DataError(
            f"{place}: {problem}{hint if self._guessed and column else ''}",
            source=self.source.name,
            line=number,
            column=column,
            value=None if value is None else value[:200],
        )

    def _lines_before(self, block: Block, index: int) -> int:
        from tradewind.operators.formats.csv.records import Scanner

        records = list(Scanner(self.source.dialect).records(block.data, self.source.line_end))
        return sum(record.count(self.source.line_end) for record in records[:index])


class _Filled:
    """A stream that gives as many bytes as it is asked for, but at its end."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        pieces, held = [], 0
        while held != size and (data := self._stream.read(size - held if size >= 0 else -1)):
            pieces.append(data)
            held += len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
