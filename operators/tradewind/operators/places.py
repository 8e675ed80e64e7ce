"""Where a bad record is in a file that is no CSV: nobody sees the lines it had on its way."""

from __future__ import annotations

import contextlib

from tradewind.hooks.errors import DataError
from tradewind.operators.csv_records import Scanner, blocks, open_csv
from tradewind.operators.ends import Part


def in_records(error: DataError, part: Part) -> DataError:
    """Return an error that names the record where the server named a line.

    :param error: what a load raised
    :param part: what was loaded
    """
    said = isinstance(error.__cause__, DataError) and error.__cause__.source is None
    if part.unit == "line" or error.line is None or not said:
        return error
    return numbered(error, _record_at(part, error.line))


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
