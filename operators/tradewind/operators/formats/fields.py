"""Blocks of CSV as rows of texts, NULL and the empty text apart."""

from __future__ import annotations

import re

from tradewind.operators.formats.csv.records import Block
from tradewind.operators.formats.typed import Input

# Lone surrogates stand in no text of UTF-8: for a quoted field's begin, and for a delimiter and line ends within one.
_QUOTED, _DELIMITER, _LF, _CR = "\udc80", "\udc81", "\udc82", "\udc83"
_BETWEEN = "\udc84"


class FieldReader:
    """Reads the blocks of one input.

    :param given: the input
    """

    def __init__(self, given: Input) -> None:
        source, dialect = given.source, given.source.dialect
        self._given = given
        self._width = len(given.names)
        self._line_end = "\r\n" if source.crlf else source.line_end.decode()
        self._delimiter, self._quote, self._escape = dialect.delimiter, dialect.quote, dialect.escape_char
        self._null = dialect.null
        quote, escape = re.escape(self._quote), re.escape(self._escape)
        if quote == escape:
            self._stretch = re.compile(f"{quote}((?:[^{quote}]++|{quote}{quote})*+){quote}")
        else:
            self._stretch = re.compile(f"{quote}((?:[^{quote}{escape}]++|{escape}.)*+){quote}", re.DOTALL)
        self._escaped = re.compile(f"{escape}([{quote}{escape}])")
        self._held = str.maketrans({_QUOTED: "", _DELIMITER: self._delimiter, _LF: "\n", _CR: "\r"})

    def columns(self, block: Block) -> list[list[str | None]]:
        """Return the values of each column.

        :param block: whole records
        :raises DataError: where a record is no CSV in UTF-8, or has too many or too few fields
        """
        text = self._decoded(block)
        quoted = self._quote in text
        if quoted:
            text = self._marked(text, block)
        lines = text.split(self._line_end)
        if not lines[-1]:
            lines.pop()
        delimiter, width = self._delimiter, self._width
        rows = [line.split(delimiter) for line in lines]
        for index, row in enumerate(rows):
            if len(row) != width:
                self._given.refuse(block, index, None, f"the record has {len(row)} fields, {width} are expected")
        read = self._held_values if quoted else self._plain_values
        return [read(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]

    def _plain_values(self, column: tuple[str, ...]) -> list[str | None]:
        null = self._null
        return [None if value == null else value for value in column]

    def _held_values(self, column: tuple[str, ...]) -> list[str | None]:
        null, held, mark = self._null, self._held, _QUOTED
        return [None if value == null else value.translate(held) if mark in value else value for value in column]

    def _marked(self, text: str, block: Block) -> str:
        """Take the quotes off, and put marks in place of what would part fields or records within them."""
        pieces = self._stretch.split(text)
        if any(self._quote in piece for piece in pieces[::2]):
            index = _BETWEEN.join(pieces[::2]).count(self._line_end)
            self._given.refuse(block, max(index - 1, 0), None, "a quote is left open")
        inside = _BETWEEN.join(pieces[1::2])
        if self._quote == self._escape:
            inside = inside.replace(self._quote * 2, self._quote)
        else:
            inside = self._escaped.sub(r"\1", inside)
        inside = inside.replace(self._delimiter, _DELIMITER).replace("\n", _LF).replace("\r", _CR)
        pieces[1::2] = [_QUOTED + piece for piece in inside.split(_BETWEEN)] if len(pieces) > 1 else []
        return "".join(pieces)

    def _decoded(self, block: Block) -> str:
        try:
            return block.data.decode()
        except UnicodeDecodeError as error:
            end = self._given.source.line_end
            index = block.data.count(end, 0, error.start)
            wrong = error.object[error.start : error.start + 4].hex(" ")
            self._given.refuse(block, index, None, f"bytes {wrong} are not UTF-8", wrong)
