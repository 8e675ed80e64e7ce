"""Streams of CSV bytes: what encoding they have, what their header says, and where their records end.

The bytes of a UTF-8 file pass through untouched; nothing here looks at single fields of data. A record ends at a line
end outside quotes, and a quote is counted wherever it stands, as PostgreSQL's ``COPY`` does: both must agree on
where records end.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Batches, Part, Readable
from tradewind.operators.formats.csv.transcoding import Pushback, as_utf8
from tradewind.operators.projection import Output, keeps_records
from tradewind.operators.types import ColumnType

CHUNK = 1 << 18
HEADER_LIMIT = 1 << 20
RECORD_LIMIT = 32 << 20


@dataclass
class CsvInput:
    """One part of a source, open: UTF-8, its header read.

    :param name: the file, for messages
    :param stream: the records that follow the header
    :param dialect: how they are written
    :param header: the bytes of the header record, its line end included; none where there is no header
    :param names: the names of the columns, None where nothing names them
    :param fields: the names of the records' fields, which a projection may name otherwise
    :param outputs: what the records are to become, None where they are it
    :param types: the types of the columns, each None where it is unknown; None where all are
    :param line_end: what ends a line: LF (which CRLF ends with too) or a bare CR
    :param crlf: whether lines end with CRLF
    :param empty: whether there is no byte at all
    :param escaped: whether the records are those of :mod:`tradewind.operators.formats.escaped`, and no CSV
    :param batches: the same records as batches of columns, where the source has them
    """

    name: str
    stream: Readable
    dialect: CsvDialect
    header: bytes = b""
    names: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None
    outputs: tuple[Output, ...] | None = None
    types: tuple[ColumnType | None, ...] | None = None
    line_end: bytes = b"\n"
    crlf: bool = False
    empty: bool = False
    escaped: bool = False
    batches: Batches | None = None

    @property
    def header_lines(self) -> int:
        """How many lines the header takes."""
        return self.header.count(self.line_end) or (1 if self.header else 0)

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()


def open_csv(part: Part, *, rewrite: bool = True) -> CsvInput:
    """Open a part: find its encoding, read its header, choose its columns.

    :param part: what to open
    :param rewrite: whether records come as the columns that are asked for; else the bytes are those of the file, and
        ``outputs`` says what has to become of them
    :return: the records, as UTF-8
    :raises DataError: where the bytes are not in the encoding, or the header cannot be one
    """
    raw = part.open()
    try:
        if part.batches is not None and not rewrite:  # all is known: nothing is read before it is asked for
            return projected(unread(part, raw), part, rewrite=False)
        stream = as_utf8(raw, part.dialect.encoding, part.name)
        return projected(_with_header(part, stream), part, rewrite=rewrite)
    except BaseException:
        raw.close()
        raise


def unread(part: Part, stream: Readable) -> CsvInput:
    """Return a part whose columns are known, of which nothing was read.

    :param part: the part
    :param stream: its records
    """
    empty = part.batches is not None and not part.batches.rows
    names, batches = part.columns, part.batches
    return CsvInput(part.name, stream, part.dialect, names=names, types=part.types, empty=empty, batches=batches)


def projected(source: CsvInput, part: Part, *, rewrite: bool) -> CsvInput:
    """Choose the columns of an input that are asked for.

    :param source: the input, its header read
    :param part: what it was opened from
    :param rewrite: see :func:`open_csv`
    """
    from tradewind.operators.formats.csv.rewriting import rewritten

    source.fields = source.names
    if part.projection is None or source.empty:
        return source
    outputs = part.projection.resolve(source.fields, part.name)
    names = tuple(output.name for output in outputs)
    source.types = projected_types(outputs, part.types)
    if keeps_records(outputs, len(source.fields or ())):
        return replace(source, names=names)
    return rewritten(source, outputs, part.unit) if rewrite else replace(source, names=names, outputs=outputs)


def projected_types(
    outputs: Sequence[Output], types: Sequence[ColumnType | None] | None
) -> tuple[ColumnType | None, ...]:
    """Return the types of the columns that records become.

    :param outputs: the columns, resolved
    :param types: those of the records' fields, None where they are unknown
    """
    return tuple(
        ColumnType(output.cast.kind, output.cast.precision, output.cast.scale if output.cast.precision else None)
        if output.cast
        else (types[output.index] if types and output.index >= 0 else None)
        for output in outputs
    )


def _with_header(part: Part, stream: Readable) -> CsvInput:
    dialect = part.dialect
    data, end = _first_record(stream, dialect, part.name)
    result = CsvInput(part.name, stream, dialect, names=part.columns, types=part.types, empty=not data)
    record = data[:end]
    result.line_end, result.crlf = _line_end(record)
    if dialect.header and data:
        result.header = record
        found = header_names(record, dialect, part.name)
        if part.columns is None:
            result.names = found
        data = data[end:]
    result.stream = Pushback(stream, data)
    return result


def _first_record(stream: Readable, dialect: CsvDialect, name: str) -> tuple[bytes, int]:
    limit = HEADER_LIMIT if dialect.header else RECORD_LIMIT
    data = b""
    while True:
        more = stream.read(CHUNK)
        data += more
        end = first_record_end(data, dialect, at_end=not more)
        if end or not more:
            return data, end or len(data)
        if len(data) > limit:
            what = "header" if dialect.header else "first record"
            raise DataError(
                f"{name}: the {what} does not end within {limit:,} bytes: is a quote ({dialect.quote}) left open?",
                source=name,
                line=1,
            )


def _line_end(record: bytes) -> tuple[bytes, bool]:
    if record.endswith(b"\r\n"):
        return b"\n", True
    return (b"\r", False) if record.endswith(b"\r") else (b"\n", False)


def header_names(record: bytes, dialect: CsvDialect, name: str) -> tuple[str, ...]:
    """Return the names that a header record holds.

    :param record: the record, in UTF-8
    :param dialect: how it is written
    :param name: the file, for messages
    :raises DataError: where it is no header: NUL bytes, bytes that are not UTF-8, empty or repeated names
    """
    if b"\0" in record:
        raise DataError(
            f"{name}: the header holds NUL bytes: if the file is UTF-16, say encoding='utf-16-le'", source=name, line=1
        )
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: the header is not UTF-8 (byte 0x{record[error.start]:02x} at offset {error.start:,}): "
            "say which encoding the file has, as encoding='latin-1'",
            source=name,
            line=1,
        ) from error
    names = split_record(text, dialect)
    _check_names(names, name)
    return names


def split_record(text: str, dialect: CsvDialect) -> tuple[str, ...]:
    """Return the fields of one record.

    :param text: the record, with or without its line end
    :param dialect: how it is written
    """
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        doublequote=dialect.escape_char == dialect.quote,
        escapechar=None if dialect.escape_char == dialect.quote else dialect.escape_char,
    )
    with long_fields():
        return tuple(next(reader, ()))


@contextmanager
def long_fields() -> Iterator[None]:
    """Let the module csv read fields of any length: its own limit, 128 KiB, is one of the whole process."""
    before = csv.field_size_limit(RECORD_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _check_names(names: tuple[str, ...], name: str) -> None:
    if not names:
        raise DataError(f"{name}: the header is an empty line: it must name the columns", source=name, line=1)
    for number, column in enumerate(names, 1):
        if not column.strip():
            raise DataError(f"{name}: column {number} of {len(names)} has no name in the header", source=name, line=1)
    if len(set(names)) < len(names):
        twice = next(column for column in names if names.count(column) > 1)
        raise DataError(
            f"{name}: the header names the column {twice!r} {names.count(twice)} times",
            source=name,
            line=1,
            column=twice,
        )


def delimiter_hint(names: tuple[str, ...], dialect: CsvDialect) -> str:
    """Say which delimiter was meant where a header of one field shows another one; else nothing.

    :param names: the header's fields
    :param dialect: how it was read
    """
    if len(names) != 1:
        return ""
    for other, shown in ((";", "';'"), ("\t", r"'\t'"), ("|", "'|'"), (",", "','")):
        if other in names[0] and other != dialect.delimiter:
            return f"the whole header is one field that holds {shown}: is the file written with delimiter={shown}?"
    return ""


class Scanner:
    """Find where records end, by the rules of one dialect.

    :param dialect: how the records are written
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self._quote = dialect.quote.encode()
        quote, escape = re.escape(self._quote), re.escape(dialect.escape_char.encode())
        self._doubled = dialect.escape_char == dialect.quote
        # A quoted stretch; the escape means something within quotes only.
        self._quoted = re.compile(
            b"%s[^%s]*%s?" % (quote, quote, quote)
            if self._doubled
            else b"%s(?:[^%s%s]|%s.)*+(?:%s)?" % (quote, quote, escape, escape, quote),
            re.DOTALL,
        )

    def last_end(self, data: bytes, line_end: bytes) -> int:
        """Return how many bytes of ``data`` are whole records, 0 for none.

        :param data: bytes that begin with a record
        :param line_end: what ends a line
        """
        if not self._doubled:
            return self._last_end_escaped(data, line_end)
        end = data.rfind(line_end) + 1
        quotes = data.count(self._quote, 0, end)
        while end and quotes & 1:
            before = data.rfind(line_end, 0, end - 1) + 1
            quotes -= data.count(self._quote, before, end)
            end = before
        return end

    def count(self, data: bytes, line_end: bytes) -> int:
        """Return how many records end in a block.

        :param data: whole records
        :param line_end: what ends a line
        """
        outside = b"".join(data.split(self._quote)[::2]) if self._doubled else self._quoted.sub(b"", data)
        return outside.count(line_end)

    def _last_end_escaped(self, data: bytes, line_end: bytes) -> int:
        last = floor = 0
        for match in self._quoted.finditer(data):
            found = data.rfind(line_end, floor, match.start()) + 1
            last, floor = found or last, match.end()
        tail_open = floor == len(data) and floor > 0 and self._is_open(data)
        found = 0 if tail_open else data.rfind(line_end, floor) + 1
        return found or last

    def _is_open(self, data: bytes) -> bool:
        final = None
        for final in self._quoted.finditer(data):  # noqa: B007 (the last one counts)
            pass
        return final is not None and (len(final.group()) < 2 or not final.group().endswith(self._quote))

    def records(self, data: bytes, line_end: bytes) -> Iterator[bytes]:
        """Yield the records of a block one by one; for the path of errors, it is not fast.

        :param data: whole records; the last one may lack its line end
        :param line_end: what ends a line
        """
        start = 0
        while start < len(data):
            position = self.next_end(data, start, line_end)
            position = len(data) if position < 0 else position
            yield data[start:position]
            start = position

    def next_end(self, data: bytes, start: int, line_end: bytes) -> int:
        """Return where the record that begins at ``start`` ends, its line end included; -1 where it goes on.

        :param data: the bytes
        :param start: where the record begins
        :param line_end: what ends a line
        """
        position = start
        while True:
            end = data.find(line_end, position)
            if end < 0:
                return -1
            quote = data.find(self._quote, position, end)
            if quote < 0:
                return end + 1
            match = self._quoted.match(data, quote)
            position = match.end() if match else quote + 1


def first_record_end(data: bytes, dialect: CsvDialect, *, at_end: bool) -> int:
    """Return where the first record ends, its line end included; 0 where more bytes are needed to tell.

    :param data: bytes that begin with a record
    :param dialect: how it is written
    :param at_end: whether no more bytes follow
    """
    scanner = Scanner(dialect)
    ends = [end for mark in (b"\n", b"\r") if (end := scanner.next_end(data, 0, mark)) > 0]
    if not ends:
        return len(data) if at_end else 0
    end = min(ends)
    if data[end - 1 : end] == b"\n" or at_end or end < len(data):
        return end + (data[end - 1 : end + 1] == b"\r\n")
    return 0  # a CR at the very end: an LF may follow


class Block(NamedTuple):
    """Whole records of a file.

    :param data: their bytes
    :param line: the line of the first one, counted from 1 in the file
    """

    data: bytes
    line: int


def blocks(source: CsvInput, size: int) -> Iterator[Block]:
    """Cut the records that follow the header into blocks.

    :param source: the file
    :param size: bytes of a block, about; a longer record makes a longer block
    :raises DataError: where a record does not end within 32 MiB
    """
    scanner = Scanner(source.dialect)
    line = source.header_lines + 1
    rest = b""
    while data := source.stream.read(size):
        data = rest + data
        end = scanner.last_end(data, source.line_end)
        if end:
            yield Block(data[:end], line)
            line += data.count(source.line_end, 0, end)
        elif len(data) > RECORD_LIMIT:
            raise DataError(
                f"{source.name}, line {line:,}: the record does not end within {RECORD_LIMIT:,} bytes: "
                f"is a quote ({source.dialect.quote}) left open?",
                source=source.name,
                line=line,
            )
        rest = data[end:]
    if rest:
        yield Block(rest, line)
