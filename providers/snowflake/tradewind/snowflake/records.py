"""Records of CSV on their way into ``COPY INTO``, which would round a number, and refuse an empty text for one.

Bytes that the service reads as they are meant pass through untouched. Where they must be looked at, one substitution of
a regular expression looks at a block: each record must have as many fields as there are columns, a number no more
digits after the point than its column keeps, and a quoted empty field of a number, date or truth value becomes NULL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.records import Block, CsvInput, Scanner
from tradewind.operators.formats.csv.rewriting import FieldReader, FieldWriter
from tradewind.operators.types import ColumnType
from tradewind.snowflake.catalog import Column

# No bytes of UTF-8 (RFC 3629, section 3): they stand around each record until it is known that none was passed over.
_BEGIN, _END = b"\xff", b"\xfe"
_WHOLE = ("smallint", "integer", "bigint")
_SHOWN = 100


class Records:
    """Makes the records of one input such that the service reads them as they are meant.

    :param source: the input, open
    :param columns: the table's columns in the order of its fields
    :param checked: whether the number of fields is to be counted here, for a ``COPY`` that transforms counts none
    :param unit: what an error counts, see :class:`tradewind.operators.ends.Part`
    """

    def __init__(self, source: CsvInput, columns: Sequence[Column], *, checked: bool, unit: str = "line") -> None:
        self._source, self._columns = source, tuple(columns)
        self._unit = unit
        self._seen = 0
        self._scanner = Scanner(source.dialect)
        given = source.types or (None,) * len(self._columns)
        self._numbers = {
            at: column
            for at, (column, kind) in enumerate(zip(self._columns, given, strict=True))
            if column.type == "NUMBER" and not fits(kind, column)
        }
        standard = is_standard(source.dialect)
        null = source.dialect.null
        # But for its text for NULL the service reads it: that text is left out, all else stays as it is.
        near = bool(null) and '"' not in null and is_standard(replace(source.dialect, null=""))
        self.dialect = source.dialect if standard else CsvDialect(header=False)
        if near:
            self.dialect = replace(source.dialect, null="")
        self._always = bool(self._numbers) or checked or not standard
        self._empties = any(column.never_empty for column in self._columns)
        self._field = _field(source.dialect)
        end = b"\r" if source.line_end == b"\r" else b"\r?\n"
        delimiter = re.escape(source.dialect.delimiter.encode())

        def record(fields: Iterable[bytes]) -> re.Pattern[bytes]:
            return re.compile(rb"(?!\Z)" + delimiter.join(fields) + rb"(?:%s|\Z)" % end, re.DOTALL)

        self._record = record(map(self._pattern, range(len(self._columns))))
        self._replacement = self._template() if standard else self._converted()
        self._near = record(map(self._near_pattern, range(len(self._columns)))) if near else None

    def made(self, block: Block) -> bytes:
        """Return a block's records as the service is to have them.

        :param block: whole records
        :raises DataError: with the line and the column of what does not fit
        """
        data = block.data
        quoted_empty = self._source.dialect.quote.encode() * 2
        if not self._always and not (self._empties and quoted_empty in data):
            return data
        if _BEGIN in data or _END in data:
            raise self._refused(block)
        if self._near is not None and not self._has_bare_empty(data):
            text = self._near.sub(self._template(), data)
        else:
            text = self._record.sub(self._replacement, data)
        records = text.count(_BEGIN)
        if not text.startswith(_BEGIN) or not text.endswith(_END) or text.count(_END + _BEGIN) != records - 1:
            raise self._refused(block)
        self._seen += records
        return text[1:-1].replace(_END + _BEGIN, b"")

    def _pattern(self, at: int) -> bytes:
        column, quote = self._columns[at], re.escape(self._source.dialect.quote.encode())
        inner = self._field
        if at in self._numbers:
            number = _either_way(_number(column.scale), quote)
            inner = b"%s|%s" % (number, re.escape(self._source.dialect.null.encode()))
        return b"(?:%s%s|(%s))" % (quote, quote, inner) if column.never_empty else b"(%s)" % inner

    def _near_pattern(self, at: int) -> bytes:
        """Return the pattern of a field whose group takes no part where it is NULL."""
        null = re.escape(self._source.dialect.null.encode())
        inner = _either_way(_number(self._columns[at].scale)) if at in self._numbers else self._field
        return b"(?:%s%s|(%s))" % (b'""|' if self._columns[at].never_empty else b"", null, inner)

    def _has_bare_empty(self, data: bytes) -> bool:
        """Say whether a field may be empty without quotes, which is a text where NULL is another one."""
        delimiter = self._source.dialect.delimiter.encode()
        marks = (delimiter, b"\n", b"\r")
        pairs = [one + other for one in marks for other in marks if one + other != b"\r\n"]
        return data.startswith(marks) or data.endswith(delimiter) or any(pair in data for pair in pairs)

    def _template(self) -> bytes:
        """Return the replacement where fields stay as they are: the engine puts it together by itself."""
        pieces = [b"\\g<%d>" % number for number in range(1, len(self._columns) + 1)]
        between = self._source.dialect.delimiter.encode().replace(b"\\", b"\\\\")
        return _BEGIN + between.join(pieces) + self._source.line_end + _END

    def _converted(self) -> Callable[[re.Match[bytes]], bytes]:
        """Return the replacement where the dialect is none of the service's."""
        read, write = FieldReader(self._source.dialect), FieldWriter(self.dialect)
        delimiter, end = self.dialect.delimiter.encode(), self._source.line_end + _END

        def replacement(match: re.Match[bytes]) -> bytes:
            fields = [None if raw is None else read(raw) for raw in match.groups()]
            return _BEGIN + delimiter.join(map(write, fields)) + end

        return replacement

    def _refused(self, block: Block) -> DataError:
        """Find the record that is at fault; for the path of errors, it is not fast."""
        line = block.line
        for number, whole in enumerate(self._scanner.records(block.data, self._source.line_end), self._seen + 1):
            found = self._fault(whole)
            if found is not None:
                column, value, text = found
                return self._error(line if self._unit == "line" else number, text, column, value)
            line += whole.count(self._source.line_end)
        return self._error(block.line, "it cannot be read")

    def _fault(self, whole: bytes) -> tuple[str | None, str | None, str] | None:
        try:
            whole.decode()
        except UnicodeDecodeError as error:
            wrong = whole[error.start : error.end].hex(" ")
            return None, wrong, f"invalid UTF8: bytes {wrong}; say which encoding the file has"
        if self._record.fullmatch(whole):
            return None
        delimiter = self._source.dialect.delimiter.encode()
        bare = whole.rstrip(b"\r\n")
        fields = list(re.finditer(rb"(%s)(?:%s|\Z)" % (self._field, re.escape(delimiter)), bare, re.DOTALL))
        if bare and fields and fields[-1].start() == len(bare) and not bare.endswith(delimiter):
            fields.pop()
        if len(fields) != len(self._columns):
            return None, None, f"the record has {len(fields)} fields, {len(self._columns)} are expected"
        read = FieldReader(self._source.dialect)
        for at, (column, field) in enumerate(zip(self._columns, fields, strict=True)):
            if not re.fullmatch(self._pattern(at), field[1], re.DOTALL):
                value = (read(field[1]) or "")[:_SHOWN]
                return column.name, value, why(value, column)
        return None, None, "a quote is left open, or a line ends in another way than the first"

    def _error(self, line: int, text: str, column: str | None = None, value: str | None = None) -> DataError:
        name = self._source.name
        where = f"{name}, {self._unit} {line:,}" + (f", column {column}" if column else "")
        return DataError(f"{where}: {text}", source=name, line=line, column=column, value=value)


def why(value: str, column: Column) -> str:
    """Say why a number is none that a column keeps.

    :param value: its text
    :param column: a NUMBER
    """
    try:
        float(value)
    except ValueError:
        return f"value {value!r} is no {column.whole_type}"
    return f"value {value!r} has more digits after the point than {column.whole_type} keeps: it would be rounded"


def is_standard(dialect: CsvDialect) -> bool:
    """Say whether the service reads a dialect: NULL_IF would make NULL of a quoted text too, so NULL is nothing.

    :param dialect: how records are written
    """
    plain = dialect.delimiter == "\t" or (dialect.delimiter.isprintable() and dialect.delimiter not in "\\'")
    return plain and dialect.null == "" and dialect.quote == '"' and dialect.escape_char == '"'


def _field(dialect: CsvDialect) -> bytes:
    """Return the pattern of any field."""
    quote, escape = re.escape(dialect.quote.encode()), re.escape(dialect.escape_char.encode())
    if quote == escape:
        stretch = b"%s(?:[^%s]++|%s%s)*+%s" % ((quote,) * 5)
    else:
        stretch = b"%s(?:[^%s%s]++|%s.)*+%s" % (quote, quote, escape, escape, quote)
    return b"(?:[^%s%s\r\n]++|%s)*+" % (quote, re.escape(dialect.delimiter.encode()), stretch)


def _number(scale: int) -> bytes:
    """Return the pattern of a number with so many digits after the point; an exponent says nothing of them."""
    fraction = rb"(?:[.][0-9]{0,%d}0*+)?" % scale
    exponent = rb"|[ ]*[+-]?[0-9.]++[eE][+-]?[0-9]++[ ]*" if scale else b""
    return rb"(?:[ ]*[+-]?[0-9]*%s[ ]*%s)" % (fraction, exponent)


def _either_way(number: bytes, quote: bytes = b'"') -> bytes:
    """Return the pattern of a number in quotes or without."""
    return b"%s|%s%s%s" % (number, quote, number, quote)


def fits(kind: ColumnType | None, column: Column) -> bool:
    """Say whether all values of a type keep their digits in a column.

    :param kind: the type, None where it is unknown
    :param column: a NUMBER
    """
    if kind is None:
        return False
    if kind.kind in _WHOLE or kind.kind == "boolean":
        return True
    return kind.kind == "decimal" and kind.precision is not None and (kind.scale or 0) <= column.scale
