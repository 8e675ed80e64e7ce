"""Several parts of CSV, made one file: one header, one dialect, whole records."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from collections.abc import Iterator, Sequence

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part, Readable
from tradewind.operators.formats.csv.records import CsvInput, open_csv

CHUNK = 256 * 1024
_UTF8 = ("utf-8", "ascii")


def joined(found: Iterator[Part], dialect: CsvDialect, *, renamed: bool = False) -> Iterator[tuple[bytes, int | None]]:
    """Yield the bytes of one file, each with the rows that became known by then, None where nobody counts them.

    A single part that is already as the file shall be is handed through untouched.

    :param found: what to join
    :param dialect: how the file shall be written
    :param renamed: whether the parts' columns are to stand in place of their headers
    :raises InvalidArgument: where a part is written in another dialect, which bytes alone cannot change
    :raises DataError: where headers differ
    """
    parts = list(found)
    projected = any(part.projection for part in parts)
    if len(parts) == 1 and parts[0].dialect == dialect and not projected and not (renamed and dialect.header):
        yield from _streamed(parts[0].open())
        return
    first: CsvInput | None = None
    end = b"\n"
    for part in parts:
        _check_dialect(part, dialect)
        opened = open_csv(part)
        if opened.empty and (not part.columns or part.dialect.header):  # not even a header: no rows
            opened.close()
            continue
        if first is None:
            first = opened
            if dialect.header:
                yield _header(opened, renamed or projected, dialect), 0
        elif opened.names != first.names:
            opened.close()
            raise _other_columns(opened, first)
        if not end.endswith((b"\n", b"\r")):
            yield b"\n", 0
        for data, rows in _streamed(opened.stream):
            end = data[-1:] or end
            yield data, rows


def columns_joined(found: Sequence[Part], dialect: CsvDialect, *, renamed: bool = False) -> dict[str, tuple[str, ...]]:
    """Return the columns of each part as far as they are known, and refuse what :func:`joined` would refuse.

    :param found: what would be joined
    :param dialect: how the file would be written
    :param renamed: whether the parts' columns are to stand in place of their headers
    """
    columns: dict[str, tuple[str, ...]] = {}
    first: CsvInput | None = None
    for part in found:
        if part.columns is not None and part.projection is None:
            columns[part.name] = part.columns
            continue
        _check_dialect(part, dialect)
        with contextlib.closing(open_csv(part)) as opened:
            if opened.empty:
                continue
            if first is not None and opened.names != first.names:
                raise _other_columns(opened, first)
            first = first or opened
            if dialect.header:
                _header(opened, renamed or part.projection is not None, dialect)
            columns[part.name] = opened.names or ()
    return columns


def _other_columns(opened: CsvInput, first: CsvInput) -> DataError:
    return DataError(
        f"{opened.name} has other columns than {first.name}: {_listed(opened.names)}, not {_listed(first.names)}:"
        " copy them one by one",
        source=opened.name,
    )


def _streamed(stream: Readable) -> Iterator[tuple[bytes, int | None]]:
    try:
        while data := stream.read(CHUNK):
            yield data, 0
        yield b"", rows_of(stream)
    finally:
        stream.close()


def _listed(names: Sequence[str] | None) -> str:
    return ", ".join(names or ()) or "none"


def rows_of(stream: Readable | None) -> int | None:
    """Return how many rows a stream had, which sources that render rows know when it is read; else None."""
    while stream is not None:
        rows = getattr(stream, "rows", None)
        if isinstance(rows, int):
            return rows
        stream = getattr(stream, "_stream", None)
    return None


def _header(opened: CsvInput, renamed: bool, dialect: CsvDialect) -> bytes:
    if opened.header and not renamed:
        return opened.header if opened.header.endswith((b"\n", b"\r")) else opened.header + b"\n"
    if opened.names is None:
        raise InvalidArgument(f"{opened.name} has no header, the file shall have one: give columns=, or header=False")
    return render(opened.names, dialect)


def render(fields: Sequence[str], dialect: CsvDialect) -> bytes:
    """Write one record as UTF-8."""
    out = io.StringIO()
    csv.writer(
        out,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape,
        doublequote=dialect.escape is None,
        lineterminator="\n",
    ).writerow(fields)
    return out.getvalue().encode()


def _check_dialect(part: Part, dialect: CsvDialect) -> None:
    for name in ("delimiter", "quote", "escape", "null"):
        theirs, ours = getattr(part.dialect, name), getattr(dialect, name)
        if theirs != ours:
            raise InvalidArgument(f"{part.name} has {name} {theirs!r}, the file shall have {ours!r}: use the same")
    if codecs.lookup(dialect.encoding).name not in _UTF8:
        raise InvalidArgument(f"what is joined or gets another header is written as utf-8, not {dialect.encoding}")
