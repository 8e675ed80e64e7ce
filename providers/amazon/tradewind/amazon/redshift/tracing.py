"""From a line of a staged object back to the record of the source."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from tradewind.amazon.redshift.copying import LoadError
from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import Scanner, blocks, open_csv

if TYPE_CHECKING:
    from tradewind.operators.ends import Reading
    from tradewind.operators.files.manifests import Manifest
    from tradewind.operators.files.storage import Storage


def traced(error: LoadError, manifest: Manifest, storage: Storage, reading: Reading) -> DataError:
    """Return an error that names the record of the source.

    :param error: what the service tells of a staged object
    :param manifest: the staged objects
    :param storage: where they are
    :param reading: the source that was staged
    """
    number = 0
    for member in manifest.files:
        if member.url == error.url:
            break
        number += member.rows
    number += _record_at(storage, error.url, error.line, bool(manifest.written.get("header", True)))
    column = f", column {error.column}" if error.column else ""
    name, unit, line = _place(reading, number)
    text = f"{name}, {unit} {line:,}{column}: {error.reason}"
    return DataError(text, source=name, line=line, column=error.column or None)


def _record_at(storage: Storage, url: str, line: int, header: bool) -> int:
    """Return the number of the record that a line of a staged object belongs to, counted from 1."""
    file = storage.find(url)
    part = Part(url, lambda: storage.read(file, compression="gzip"), CsvDialect(header=header))
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


def _place(reading: Reading, number: int) -> tuple[str, str, int]:
    """Return the name of the part, what is counted in it, and the number there."""
    before = 0
    parts = list(reading.parts())
    for part in parts:
        if len(parts) == 1:
            break
        rows = _count(part)
        if number <= before + rows:
            break
        before += rows
    number -= before
    if part.unit == "record" or part.columns is not None:
        return part.name, "record", number
    return part.name, "line", _line_of(part, number)


def _count(part: Part) -> int:
    number = 0
    with contextlib.closing(open_csv(replace(part, projection=None))) as source:
        scanner = Scanner(source.dialect)
        for block in blocks(source, 1 << 20):
            number += sum(1 for _ in scanner.records(block.data, source.line_end))
    return number


def _line_of(part: Part, number: int) -> int:
    """Return the line at which a record of a file begins."""
    with contextlib.closing(open_csv(replace(part, projection=None))) as source:
        scanner = Scanner(source.dialect)
        for block in blocks(source, 1 << 20):
            at = block.line
            for record in scanner.records(block.data, source.line_end):
                number -= 1
                if not number:
                    return at
                at += record.count(source.line_end)
    return number
