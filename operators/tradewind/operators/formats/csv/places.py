"""Where a bad record is in a file: the record where nobody sees lines, the column where the server names none."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace

from tradewind.hooks.errors import DataError
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import CsvInput, Scanner, blocks, open_csv, split_record

_ABOUT_BYTES = re.compile(r"NUL byte|invalid byte sequence|not UTF-8|invalid UTF8")
# NUL, and what bytes that are no UTF-8 become in a text.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def in_records(error: DataError, part: Part) -> DataError:
    """Return an error that names the record where the server named a line.

    :param error: what a load raised
    :param part: what was loaded
    """
    said = isinstance(error.__cause__, DataError) and error.__cause__.source is None
    if part.unit == "line" or error.line is None or not said:
        return error
    return numbered(error, _record_at(part, error.line))


def in_column(error: DataError, part: Part) -> DataError:
    """Return an error that names the column too, where the server named the line of a text that is no text to it.

    :param error: what a load raised
    :param part: what was loaded
    """
    if (
        error.column is not None
        or error.line is None
        or error.source != part.name
        or not _ABOUT_BYTES.search(str(error))
    ):
        return error
    with contextlib.closing(open_csv(replace(part, projection=None))) as source:  # the columns as the file names them
        found = _bad_field(source, error.line)
    if found is None:
        return error
    line, column = found
    text = str(error).replace(f", line {error.line:,}", f", line {line:,}, column {column}", 1)
    made = DataError(text, source=error.source, line=line, column=column, value=error.value)
    made.__cause__ = error.__cause__
    return made


def in_one_of(error: DataError, parts: Sequence[Part]) -> DataError:
    """Return an error that names the column too, see :func:`in_column`.

    :param error: what a copy raised
    :param parts: what it was copied from
    """
    part = next((part for part in parts if part.name == error.source), None)
    return error if part is None else in_column(error, part)


def _bad_field(source: CsvInput, line: int) -> tuple[int, str] | None:
    """Return the line at which the record begins that a line belongs to, and its column with bytes that are no text."""
    scanner = Scanner(source.dialect)
    for block in blocks(source, 1 << 20):
        at = block.line
        for record in scanner.records(block.data, source.line_end):
            after = at + record.count(source.line_end)
            if at <= line < after or (after == at and line == at):
                fields = split_record(record.decode(errors="surrogateescape"), source.dialect)
                bad = [number for number, field in enumerate(fields) if _NO_TEXT.search(field)]
                named = source.names or ()
                return (at, named[bad[0]]) if bad and bad[0] < len(named) else None
            at = after
    return None


def numbered(error: DataError, number: int) -> DataError:
    """Return an error that names a record in place of a line.

    :param error: one that names a line of its source
    :param number: the record's, counted from 1
    """
    text, line = str(error), f", line {error.line:,}"
    if line not in text:
        return error
    made = DataError(
        text.replace(line, f", record {number:,}", 1),
        source=error.source,
        line=number,
        column=error.column,
        value=error.value,
    )
    made.__cause__ = error.__cause__
    return made


def _record_at(part: Part, line: int) -> int:
    """Return the number of the record that a line of a part's CSV belongs to."""
    number = 0
    with contextlib.closing(open_csv(part)) as source:
        scanner = Scanner(source.dialect)
        for block in blocks(source, 1 << 20):
            at = block.line
            for record in scanner.records(block.data, source.line_end):
                number += 1
                at += record.count(source.line_end)
                if at > line:
                    return number
    return number
