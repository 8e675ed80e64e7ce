"""Records of CSV rewritten: fields chosen, in another order, cast, with constants beside them.

A field that is not cast keeps its bytes, its quotes among them, so that NULL and an empty text stay apart. A block is
rewritten by one substitution of a regular expression; fields that are cast are the only ones that Python looks at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from tradewind.hooks.errors import DataError
from tradewind.operators.casts import converter
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.records import Block, CsvInput, Scanner, blocks
from tradewind.operators.projection import Output

BLOCK = 1 << 18

Unit = Literal["line", "record"]

# No bytes of UTF-8 (RFC 3629, section 3): they stand around each record until it is known that none was passed over.
_BEGIN, _END = b"\xff", b"\xfe"
_SHOWN = 100


def rewritten(source: CsvInput, outputs: Sequence[Output], unit: Unit = "line") -> CsvInput:
    """Return an input whose records hold the columns that are asked for.

    :param source: the input, its header read
    :param outputs: the columns, resolved
    :param unit: what an error counts, see :class:`tradewind.operators.ends.Part`
    """
    names = tuple(output.name for output in outputs)
    return replace(source, names=names, fields=names, stream=_Rewritten(source, outputs, unit), crlf=False)


class FieldWriter:
    """Writes a field: quoted where it must be, so that no text is taken for NULL.

    :param dialect: how to write
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self._null = dialect.null
        self._quote, self._escape = dialect.quote, dialect.escape_char
        self._special = re.compile(f"[{re.escape(dialect.delimiter + dialect.quote)}\r\n]")

    def __call__(self, text: str | None) -> bytes:
        """Write a text, None for NULL."""
        if text is None:
            return self._null.encode()
        if text and text != self._null and text != "\\." and not self._special.search(text):
            return text.encode()
        for mark in dict.fromkeys((self._escape, self._quote)):
            text = text.replace(mark, self._escape + mark)
        return f"{self._quote}{text}{self._quote}".encode()


class FieldReader:
    """Reads a field's bytes: a text, or None for NULL.

    :param dialect: how it is written
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self._null = dialect.null.encode()
        quote, escape = re.escape(dialect.quote.encode()), re.escape(dialect.escape_char.encode())
        self._quote = dialect.quote.encode()
        self._doubled = dialect.escape_char == dialect.quote
        self._stretch = re.compile(_stretch(dialect), re.DOTALL)
        self._escaped = re.compile(escape + b"([" + quote + escape + b"])")

    def __call__(self, raw: bytes) -> str | None:
        """Read a field."""
        if self._quote not in raw:
            return None if raw == self._null else raw.decode()
        return self._stretch.sub(self._content, raw).decode()

    def _content(self, match: re.Match[bytes]) -> bytes:
        inner = match.group()[1:-1]
        if self._doubled:
            return inner.replace(self._quote * 2, self._quote)
        return self._escaped.sub(rb"\1", inner)


def _stretch(dialect: CsvDialect) -> bytes:
    """Return the pattern of a quoted stretch, doubled quotes within it."""
    quote, escape = re.escape(dialect.quote.encode()), re.escape(dialect.escape_char.encode())
    if quote == escape:
        return b"%s(?:[^%s]++|%s%s)*+%s" % ((quote,) * 5)
    return b"%s(?:[^%s%s]++|%s.)*+%s" % (quote, quote, escape, escape, quote)


class _Rewritten:
    """The stream of rewritten records."""

    def __init__(self, source: CsvInput, outputs: Sequence[Output], unit: Unit) -> None:
        self._stream = source.stream  # for who looks for the number of rows
        self._rewriter = Rewriter(source, outputs, unit)
        self._blocks = blocks(source, BLOCK)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = self._rewriter.rewrite(block)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """Close the input."""
        self._stream.close()


class Rewriter:
    """Rewrites the records of one input, block by block.

    :param source: the input, its header read
    :param outputs: the columns, resolved
    :param unit: what an error counts
    """

    def __init__(self, source: CsvInput, outputs: Sequence[Output], unit: Unit = "line") -> None:
        self._name = source.name
        self._unit = unit
        self._seen = 0
        self._line_end = source.line_end
        self._scanner = Scanner(source.dialect)
        self._width = len(source.fields or ())
        self._outputs = outputs
        self._read, self._write = FieldReader(source.dialect), FieldWriter(source.dialect)
        self._delimiter = source.dialect.delimiter.encode()
        self._field = b"(?:[^%s%s\r\n]++|%s)*+" % (
            re.escape(source.dialect.quote.encode()),
            re.escape(self._delimiter),
            _stretch(source.dialect),
        )
        taken = {output.index for output in outputs}
        fields = [b"(%s)" % self._field if index in taken else self._field for index in range(self._width)]
        end = b"\r" if self._line_end == b"\r" else b"\r?\n"
        # No empty record at the very end.
        self._record = re.compile(rb"(?!\Z)" + re.escape(self._delimiter).join(fields) + rb"(?:%s|\Z)" % end, re.DOTALL)
        self._groups = {index: number for number, index in enumerate(sorted(taken - {-1}), 1)}
        casts = any(output.cast for output in outputs)
        self._replacement: bytes | Callable[[re.Match[bytes]], bytes] = self._cast() if casts else self._template()

    def rewrite(self, block: Block) -> bytes:
        """Rewrite whole records.

        :raises DataError: where one has too few or too many fields, or a field is no value of its type
        """
        data = block.data
        if _BEGIN in data or _END in data:
            raise self._refused(block, "it is not UTF-8")
        try:
            text = self._record.sub(self._replacement, data)
        except (ValueError, ArithmeticError):
            raise self._refused(block, "a field cannot be read") from None
        records = text.count(_BEGIN)
        if not text.startswith(_BEGIN) or not text.endswith(_END) or text.count(_END + _BEGIN) != records - 1:
            raise self._refused(block, "it cannot be read")
        self._seen += records
        return text[1:-1].replace(_END + _BEGIN, b"")

    def _template(self) -> bytes:
        """Return the replacement where no field is cast: the engine puts it together by itself."""
        pieces = [
            self._write(output.value).replace(b"\\", b"\\\\")
            if output.field is None
            else b"\\g<%d>" % self._groups[output.index]
            for output in self._outputs
        ]
        between = self._delimiter.replace(b"\\", b"\\\\")
        return _BEGIN + between.join(pieces) + self._line_end + _END

    def _cast(self) -> Callable[[re.Match[bytes]], bytes]:
        """Return the replacement where fields are cast."""
        pieces = [self._piece(output) for output in self._outputs]
        delimiter, end = self._delimiter, self._line_end + _END

        def replacement(match: re.Match[bytes]) -> bytes:
            return _BEGIN + delimiter.join([piece(match) for piece in pieces]) + end

        return replacement

    def _piece(self, output: Output) -> Callable[[re.Match[bytes]], bytes]:
        if output.field is None:
            constant = self._write(output.value)
            return lambda match: constant
        group = self._groups[output.index]
        if output.cast is None:
            return lambda match: match[group]
        convert, read, write = converter(output.cast), self._read, self._write
        empty = None if output.cast.never_empty else ""

        def piece(match: re.Match[bytes]) -> bytes:
            text = read(match[group])
            if not text:
                return write(text if text is None else empty)
            return write(convert(text))

        return piece

    def _refused(self, block: Block, reason: str) -> DataError:
        """Find the record that is at fault; for the path of errors, it is not fast."""
        line = block.line
        for number, whole in enumerate(self._scanner.records(block.data, self._line_end), self._seen + 1):
            error = self._fault(whole, line if self._unit == "line" else number)
            if error is not None:
                return error
            line += whole.count(self._line_end)
        return self._error(block.line if self._unit == "line" else self._seen + 1, reason)

    def _fault(self, whole: bytes, line: int) -> DataError | None:
        try:
            whole.decode()
        except UnicodeDecodeError as error:
            wrong = whole[error.start : error.end].hex(" ")
            return self._error(line, f"bytes {wrong} are not UTF-8: say which encoding the file has", value=wrong)
        match = self._record.fullmatch(whole)
        if match is None:
            return self._error(line, self._malformed(whole))
        for output in self._outputs:
            if output.cast is not None:
                text = self._read(match[self._groups[output.index]])
                try:
                    self._piece(output)(match)
                except (ValueError, ArithmeticError) as error:
                    return self._error(
                        line, f"{text!r:.{_SHOWN}} is no {output.cast}: {error}", output.field, (text or "")[:_SHOWN]
                    )
        return None

    def _malformed(self, whole: bytes) -> str:
        fields = re.compile(self._field + b"(%s)?" % re.escape(self._delimiter), re.DOTALL)
        bare = whole.rstrip(b"\r\n")
        found = fields.match(bare)
        count, at = 1, 0
        while found is not None and found[1]:
            at = found.end()
            found = fields.match(bare, at)
            count += 1
        if found is None or found.end() != len(bare):
            return "a quote is left open, or a line ends in another way than the first"
        return f"the record has {count} fields, the header {self._width}"

    def _error(self, line: int, text: str, column: str | None = None, value: str | None = None) -> DataError:
        where = f"{self._name}, {self._unit} {line:,}" + (f", column {column}" if column else "")
        return DataError(f"{where}: {text}", source=self._name, line=line, column=column, value=value)
