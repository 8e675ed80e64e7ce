"""Rows as they are staged and unloaded: CSV that COPY reads alike whether it tells quoted texts from bare ones or not.

COPY knows NULL by its text alone, so NULL is written as a text that no value is. Sources that render rows are asked to
write it so. Of a file of CSV only the fields that are NULL are touched, and quotes that are escaped in another way than
COPY reads.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part, Readable, Reading
from tradewind.operators.formats.csv.joining import render
from tradewind.operators.formats.csv.records import CsvInput, blocks, open_csv
from tradewind.operators.formats.csv.rewriting import FieldReader, FieldWriter
from tradewind.operators.projection import Projection
from tradewind.operators.types import Arrays

_BLOCK = 1 << 18
_PART_BITS = 40
"""A record's number is that of its part, and then its own in this many bits: both together are a bigint."""


def staged_dialect(reading: Reading, mark: str) -> CsvDialect:
    """Return how a reading's rows are to be staged.

    :param reading: the rows
    :param mark: what NULL is written as
    """
    asked = CsvDialect(null=mark)
    first = next(iter(reading.parts(asked, arrays="json")), None)
    if first is None:
        return asked
    named = first.columns is not None or first.dialect.header or first.projection is not None
    return CsvDialect(delimiter=first.dialect.delimiter, quote=first.dialect.quote, null=mark, header=named)


class Marked(Reading):
    """A reading whose NULLs are all written alike, and whose arrays come as JSON, which SUPER reads.

    :param reading: the rows
    :param dialect: see :func:`staged_dialect`
    :param ordinal: the name of a first column that numbers the records as they come; without one there is none
    """

    def __init__(self, reading: Reading, dialect: CsvDialect, ordinal: str = "") -> None:
        self._reading = reading
        self._dialect = dialect
        self._ordinal = ordinal
        self._names: tuple[str, ...] | None = None

    @property
    def fingerprint(self) -> str:
        """What identifies the input."""
        return self._reading.fingerprint

    @property
    def total_bytes(self) -> int | None:
        """How many bytes all parts have, if that is known."""
        return self._reading.total_bytes

    @property
    def read_bytes(self) -> int:
        """How many of them are read so far."""
        return self._reading.read_bytes

    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        """Yield the parts, in the one dialect."""
        for number, part in enumerate(self._reading.parts(self._dialect, arrays="json")):
            written = part.dialect
            alike = (written.null, written.escape_char) == (self._dialect.null, self._dialect.escape_char)
            yield part if alike and not self._ordinal else self._marked(part, number << _PART_BITS)

    def _marked(self, part: Part, before: int) -> Part:
        def opened() -> Readable:
            source = self._in_order(part)
            names = source.names and (*filter(None, [self._ordinal]), *source.names)
            head = render(names, self._dialect) if self._dialect.header and names else b""
            return _MarkedStream(source, head, self._dialect, before if self._ordinal else None)

        return replace(
            part, open=opened, dialect=self._dialect, columns=None, projection=None, batches=None, open_escaped=None
        )

    def _in_order(self, part: Part) -> CsvInput:
        """Open a part, its columns in the order of the first part's where they are the same ones."""
        source = open_csv(part)
        if source.empty or source.names is None or source.names == self._names:
            return source
        if self._names is None:
            self._names = source.names
            return source
        found = {name.strip().casefold(): name for name in source.names}
        wanted = {found.get(name.strip().casefold(), ""): name for name in self._names}
        if part.projection is not None or len(wanted) != len(source.names) or set(wanted) != set(source.names):
            return source
        source.close()
        return open_csv(replace(part, projection=Projection.make(wanted, None)))


class _MarkedStream:
    """The records of an input, its NULLs written anew.

    :param source: the input, its header read
    :param head: the header to write
    :param dialect: how to write
    :param before: the number before that of the first record, None where they get none
    """

    def __init__(self, source: CsvInput, head: bytes, dialect: CsvDialect, before: int | None = None) -> None:
        self._source = source
        self._blocks = blocks(source, _BLOCK)
        self._mark = marker(source.dialect, dialect.null, source.line_end)
        self._number = None if before is None else numberer(dialect, before)
        self._rest = head

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            data = self._mark(block.data)
            self._rest = data if self._number is None else self._number(data)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """Close the input."""
        self._source.close()


def rendered(part: Part, asked: CsvDialect) -> Readable:
    """Open the rows that were unloaded, in another dialect.

    :param part: the rows, their columns named, NULL written as no value is
    :param asked: how they are to be written
    """
    source = open_csv(part)
    head = render(part.columns or (), asked) if asked.header else b""
    return _RenderedStream(source, head, asked)


class _RenderedStream:
    """The records of an input in another dialect, in which a quoted text is never NULL.

    :param source: the input
    :param head: the header to write
    :param asked: how to write
    """

    def __init__(self, source: CsvInput, head: bytes, asked: CsvDialect) -> None:
        self._stream = source.stream  # for who looks for the number of rows
        self._source = source
        self._blocks = blocks(source, _BLOCK)
        self._write = renderer(source.dialect, asked)
        self._rest = head

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = self._write(block.data)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """Close the input."""
        self._source.close()


def renderer(written: CsvDialect, asked: CsvDialect) -> Callable[[bytes], bytes]:
    """Return what rewrites whole records of an unload: each field is read and written, or only those that differ.

    :param written: how the records are written, NULL as no value is
    :param asked: how to write
    """
    read, write = FieldReader(written), FieldWriter(asked)
    q, delimiter = re.escape(written.quote.encode()), re.escape(written.delimiter.encode())
    stretch = b"%s(?:[^%s]++|%s%s)*+%s" % (q, q, q, q, q)
    alike = (asked.delimiter, asked.quote, asked.escape_char) == (written.delimiter, written.quote, written.escape_char)
    if alike:
        edges = delimiter + rb"\r\n"
        looked = b"|".join(re.escape(text.encode()) for text in (written.null, asked.null))
        pattern = re.compile(
            b"%s|(?<![^%s])(?!(?<=\\r)\\n)(?!(?<=[\\r\\n])\\Z)(%s)(?=[%s]|\\Z)" % (stretch, edges, looked, edges),
            re.DOTALL,
        )
        return lambda data: pattern.sub(lambda found: found[0] if found[1] is None else write(read(found[1])), data)
    field = re.compile(
        b"((?:[^%s%s\r\n]++|%s)*+)(%s|\r?\n|\\Z)(?<!\\A)" % (q, delimiter, stretch, delimiter), re.DOTALL
    )
    new = asked.delimiter.encode()

    def put(found: re.Match[bytes]) -> bytes:
        if not found[0]:
            return b""
        end = found[2]
        return write(read(found[1])) + (new if end == written.delimiter.encode() else end)

    return lambda data: field.sub(put, data)


def numberer(written: CsvDialect, before: int) -> Callable[[bytes], bytes]:
    """Return what puts a number before each of whole records, one higher than before.

    :param written: how the records are written: a quote within quotes is doubled, LF ends a record
    :param before: the number before the first one
    """
    quote, delimiter = re.escape(written.quote.encode()), written.delimiter.encode()
    record = re.compile(rb"(?!\Z)(?:[^%s\n]++|%s[^%s]*+(?:%s|\Z))*+(?:\n|\Z)" % ((quote,) * 4), re.DOTALL)
    numbers = itertools.count(before + 1)
    return lambda data: record.sub(lambda found: b"%d%s%s" % (next(numbers), delimiter, found[0]), data)


def marker(written: CsvDialect, null: str, line_end: bytes = b"\n") -> Callable[[bytes], bytes]:
    """Return what rewrites whole records: bare fields that are NULL, and escapes within quotes.

    :param written: how the records are written
    :param null: what NULL is to be
    :param line_end: what ends a record
    """
    quote, escape = written.quote.encode(), written.escape_char.encode()
    doubled = quote == escape
    q, e = re.escape(quote), re.escape(escape)
    stretch = b"%s(?:[^%s]++|%s%s)*+%s" % (q, q, q, q, q) if doubled else b"%s(?:[^%s%s]++|%s.)*+%s" % (q, q, e, e, q)
    edges = re.escape(written.delimiter.encode()) + rb"\r\n"
    bare = b"(?<![^%s])(?!(?<=\r)\n)(?!(?<=[\r\n])\\Z)%s(?=[%s]|\\Z)" % (edges, re.escape(written.null.encode()), edges)
    pattern = re.compile(b"(%s)|(%s)|\r(?!\n)" % (stretch, bare), re.DOTALL)
    escaped = re.compile(e + b"(.)", re.DOTALL)
    new = null.encode()

    def put(match: re.Match[bytes]) -> bytes:
        found = match[1]
        if found is None:
            if match[2] is not None:
                return new
            return b"\n" if line_end == b"\r" else match[0]
        if doubled:
            return found
        inner = escaped.sub(rb"\1", found[1:-1])
        return quote + inner.replace(quote, quote * 2) + quote

    return lambda data: pattern.sub(put, data)
