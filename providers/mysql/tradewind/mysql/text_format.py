"""CSV written as LOAD DATA's text format, block by block, with no loop over records or fields.

LOAD DATA's own reading of quotes differs from CSV's: with ENCLOSED BY a quote counts only where a field begins, and
NULL cannot be told from a quoted text. What it does read without doubt is fields with backslash escapes and ``\\N``
for NULL (https://dev.mysql.com/doc/refman/8.4/en/load-data.html). So a block is rewritten on its way: where there
is neither a quote nor a backslash, only NULLs have to be marked.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable

from tradewind.hooks.errors import DataError
from tradewind.operators.formats.csv.records import Block, CsvInput, Scanner, blocks

BLOCK = 1 << 18

# No byte of UTF-8 (RFC 3629, section 3): it stands for the two ends of a quoted field until all else is done.
MARK = b"\xff"
# Another one: it stands for a text's own byte where that one serves as a delimiter.
HELD = b"\xfe"
# Where a delimiter would be an escape sequence (``\\n``, ``\\N``), the fields get one of their own.
UNIT = b"\x1f"
_NO_DELIMITER = frozenset(("\\" + string.ascii_letters + string.digits).encode())


class TextFormat:
    """Rewrites the records of one file.

    :param source: the file, its header read
    """

    def __init__(self, source: CsvInput) -> None:
        dialect = source.dialect
        self._name = source.name
        self._line_end = source.line_end
        self._crlf = source.crlf
        self._scanner = Scanner(dialect)
        self._quote = quote = dialect.quote.encode()
        self._escape = escape = dialect.escape_char.encode()
        self._given = dialect.delimiter.encode()
        self.delimiter = UNIT if self._given[0] in _NO_DELIMITER else self._given
        self._null = dialect.null.encode()
        self._empty_is_null = dialect.null == ""
        ends, escapes = re.escape(quote), re.escape(escape)
        if quote == escape:
            self._quoted = re.compile(b"%s([^%s]*+(?:%s%s[^%s]*+)*+)%s" % ((ends,) * 6))
        else:
            self._quoted = re.compile(b"%s((?:[^%s%s]++|%s.)*+)%s" % (ends, ends, escapes, escapes, ends), re.DOTALL)
        self._escaped = re.compile(b"%s([%s%s])" % (escapes, ends, escapes))

    def render(self, block: Block) -> bytes:
        """Write a block's records as text, each ended by a line feed.

        :param block: whole records
        :raises DataError: where they are no UTF-8, a quote is left open or a line ends in another way, with the line
        """
        data = block.data
        if not data.isascii():
            self._refuse_bytes(block)
        if self._quote in data:
            return self._quotes(block)
        text = self._ends(data, block)
        return self._unquoted(text)[1:]

    def has_empty_quotes(self, block: Block) -> bool:
        """Say whether a field of a block may be an empty text in quotes, where nothing in quotes means NULL.

        :param block: whole records
        """
        return self._empty_is_null and self._quote * 2 in block.data

    def _ends(self, data: bytes, block: Block) -> bytes:
        """Return the records between line feeds: one before the first, one after each."""
        if self._crlf:
            plain = data.replace(b"\r\n", b"\n")
            if len(data) - len(plain) != plain.count(b"\n") or b"\r" in plain:
                self._refuse_ends(block)
            data = plain
        elif self._line_end == b"\r":
            if b"\n" in data:
                self._refuse_ends(block)
            data = data.replace(b"\r", b"\n")
        elif b"\r" in data:
            self._refuse_ends(block)
        return b"\n" + data if data.endswith(b"\n") else b"\n" + data + b"\n"

    def _unquoted(self, text: bytes) -> bytes:
        """Escape what stands outside quotes, and mark the NULLs."""
        null, between = self._null, self.delimiter
        if b"\\" in text and self._given != b"\\":
            text = text.replace(b"\\", b"\\\\")
        null = null.replace(b"\\", b"\\\\")
        if between != self._given:
            text = text.replace(between, HELD).replace(self._given, between)
            null = null.replace(between, HELD)
        if b"\0" in text:
            text = text.replace(b"\0", b"\\0")
        null = null.replace(b"\0", b"\\0")
        for before, after in ((between, between), (b"\n", between), (between, b"\n"), (b"\n", b"\n")):
            old, new = before + null + after, before + b"\\N" + after
            text = text.replace(old, new)
            if before == after:  # two of them share the end of the one and the begin of the other
                text = text.replace(old, new)
        return text.replace(HELD, b"\\" + between) if between != self._given else text

    def _quotes(self, block: Block) -> bytes:
        pieces = self._quoted.split(block.data)
        outside, inside = MARK.join(pieces[::2]), MARK.join(pieces[1::2])
        if self._quote in outside:
            raise self._refused(block, self._open_record(block), "unterminated CSV quoted field")
        made = [b""] * len(pieces)
        made[1::2] = self._contents(inside).split(MARK) if len(pieces) > 1 else []
        # Marks between the stretches keep a quoted field from looking empty, or like the text that stands for NULL.
        text = self._unquoted(self._ends(outside, block))
        made[::2] = text[1:].split(MARK)
        return b"".join(made)

    def _contents(self, text: bytes) -> bytes:
        if self._quote == self._escape:
            text = text.replace(self._quote * 2, self._quote)
        else:
            text = self._escaped.sub(rb"\1", text)
        text = text.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r").replace(b"\0", b"\\0")
        return text.replace(self.delimiter, b"\\" + self.delimiter)

    def _open_record(self, block: Block) -> int:
        """Return the line of the record in which a quote is left open: the last one."""
        line = last = block.line
        for record in self._scanner.records(block.data, self._line_end):
            last = line
            line += record.count(self._line_end)
        return last

    def _refuse_bytes(self, block: Block) -> None:
        try:
            block.data.decode()
        except UnicodeDecodeError as error:
            wrong = block.data[error.start : error.start + 4]
            line = block.line + block.data.count(self._line_end, 0, error.start)
            raise self._refused(
                block,
                line,
                f"invalid byte sequence for utf8: 0x{wrong[:1].hex()} ({error.reason}): say which encoding the file "
                "has, as encoding='latin-1'",
                wrong.hex(" "),
            ) from error

    def _refuse_ends(self, block: Block) -> None:
        """Name the record that holds a line end of another kind outside quotes."""
        line = block.line
        kept = b"\r\n" if self._crlf else self._line_end
        for record in self._scanner.records(block.data, self._line_end):
            rest = self._quoted.sub(b"", record)
            whole = rest.endswith(kept)
            rest = rest[: -len(kept)] if whole else rest
            if b"\r" in rest or b"\n" in rest:
                what = "carriage return" if b"\r" in rest else "newline"
                raise self._refused(
                    block, line, f"unquoted {what} found in data: quote the field, or end all lines in the same way"
                )
            line += record.count(self._line_end)

    def _refused(self, block: Block, line: int, text: str, value: str | None = None) -> DataError:
        return DataError(f"{self._name}, line {line:,}: {text}", source=self._name, line=line, value=value)


class Rendered:
    """The records of a file as text, in one stream or in several.

    :param source: the file, its header read
    :param told: is told the bytes that went by
    """

    def __init__(self, source: CsvInput, told: Callable[[int], None]) -> None:
        self.text = TextFormat(source)
        self.records = 0
        self._blocks = blocks(source, BLOCK)
        self._told = told
        self._held: Block | None = next(self._blocks, None)
        self._data = b""
        self._at = 0
        self._stops = False

    @property
    def ended(self) -> bool:
        """Whether there are no more records."""
        return self._held is None

    def begin(self, *, stops: bool) -> bool:
        """Begin a stream.

        :param stops: whether it is to end before a block in which an empty text may stand in quotes
        :return: whether it holds anything
        """
        self._stops = stops
        return not self.ended and not self._stopped()

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end of this stream.

        :param size: how many
        :raises DataError: where records are no CSV in UTF-8
        """
        if self._at >= len(self._data):
            self._data, self._at = self._next(), 0
        start = self._at
        self._at = len(self._data) if size < 0 else start + size
        return self._data[start : self._at]

    def _next(self) -> bytes:
        block = self._held
        if block is None or self._stopped():
            return b""
        data = self.text.render(block)
        self.records += data.count(b"\n")
        self._told(len(block.data))
        self._held = next(self._blocks, None)
        return data

    def _stopped(self) -> bool:
        return self._stops and self._held is not None and self.text.has_empty_quotes(self._held)


def line_of(source: CsvInput, number: int) -> int:
    """Return the line at which an editor shows a record.

    :param source: the file, opened anew, its header read
    :param number: which record, counted from 1
    """
    text, scanner = TextFormat(source), Scanner(source.dialect)
    for block in blocks(source, BLOCK):
        count = text.render(block).count(b"\n")
        if number <= count:
            line = block.line
            for at, record in enumerate(scanner.records(block.data, source.line_end), 1):
                if at == number:
                    return line
                line += record.count(source.line_end)
        number -= count
    return source.header_lines + number
