"""From a line of a staged object back to the record of the source."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tradewind.amazon.redshift.load_errors import LoadError
from tradewind.hooks.errors import DataError, SourceChanged
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.files.reading import FileReading
from tradewind.operators.formats.csv.records import CsvInput, Scanner, blocks, open_csv

if TYPE_CHECKING:
    from tradewind.operators.ends import Reading
    from tradewind.operators.files.manifests import Manifest
    from tradewind.operators.files.storage import Storage

_BLOCK = 1 << 20


class Found(NamedTuple):
    """A staged record that COPY refused.

    :param number: its number among all that were staged, counted from 1
    :param record: its bytes
    :param error: what the service says
    """

    number: int
    record: bytes
    error: LoadError


class Placed(NamedTuple):
    """A record of the source that COPY refused.

    :param name: the file, or the query
    :param record: its bytes
    :param error: what is wrong with it, with its place
    :param reason: the service's words alone
    """

    name: str
    record: bytes
    error: DataError
    reason: str


def traced(error: LoadError, manifest: Manifest, storage: Storage, reading: Reading) -> DataError:
    """Return an error that names the record of the source.

    :param error: what the service tells of a staged object
    :param manifest: the staged objects
    :param storage: where they are
    :param reading: the source that was staged
    """
    found = find_records([error], manifest, storage) if error.line else []
    return next((each.error for each in placed(found, reading)), None) or error.told()


def find_records(
    errors: Sequence[LoadError], manifest: Manifest, storage: Storage, tick: Callable[[], object] = lambda: None
) -> list[Found]:
    """Find the staged records that lines belong to, in order; each object is read once, and up to its last one.

    :param errors: what the service tells
    :param manifest: the staged objects
    :param storage: where they are
    :param tick: called for each block that is read
    """
    found: list[Found] = []
    before = 0
    for member in manifest.files:
        lines = deque(sorted((each for each in errors if each.url == member.url), key=lambda each: each.line))
        if lines:
            file = storage.find(member.url)
            dialect = _dialect(manifest)
            part = Part(member.url, lambda file=file: storage.read(file, compression="gzip"), dialect)  # type: ignore[misc]
            with contextlib.closing(open_csv(part)) as source:
                found += _at_lines(source, lines, before, tick)
        before += member.rows
    return found


def placed(
    found: Sequence[Found],
    reading: Reading,
    shown: Callable[[bytes], bytes] = bytes,
    tick: Callable[[], object] = lambda: None,
) -> Iterator[Placed]:
    """Yield records with their place in the source, which is read once more where only so their lines are known.

    :param found: the records, in order
    :param reading: the source that was staged
    :param shown: writes a staged record as the source would, where the source has no bytes of its own
    :param tick: called for each block that is read
    :raises SourceChanged: where the source has fewer records now
    """
    waiting, before = deque(found), 0
    parts = list(reading.parts())
    for part in parts:
        if not waiting:
            return
        lines = part.unit == "line" and (part.columns is None or isinstance(reading, FileReading))
        if len(parts) == 1 and not lines:
            for each in waiting:
                error = each.error.at(part.name, "record", each.number)
                yield Placed(part.name, shown(each.record), error, each.error.reason)
            return
        number = before
        with contextlib.closing(open_csv(replace(part, projection=None))) as source:
            for line, record in _records(source, tick):
                number += 1
                if number == waiting[0].number:
                    told = waiting.popleft().error
                    place = told.at(part.name, "line", line) if lines else told.at(part.name, "record", number - before)
                    yield Placed(part.name, record, place, told.reason)
                    if not waiting:
                        return
        before = number
    if waiting:
        raise SourceChanged("the source has fewer records than were loaded: the next try loads it anew")


def _dialect(manifest: Manifest) -> CsvDialect:
    written = manifest.written
    return CsvDialect(
        delimiter=str(written.get("delimiter", ",")),
        quote=str(written.get("quote", '"')),
        header=bool(written.get("header", True)),
    )


def _at_lines(source: CsvInput, lines: deque[LoadError], before: int, tick: Callable[[], object]) -> Iterator[Found]:
    for number, (line, record) in enumerate(_records(source, tick), before + 1):
        after = line + max(record.count(source.line_end), 1)
        if lines[0].line < after:
            yield Found(number, record, lines[0])
            while lines and lines[0].line < after:
                lines.popleft()
            if not lines:
                return


def _records(source: CsvInput, tick: Callable[[], object]) -> Iterator[tuple[int, bytes]]:
    """Yield the records with the lines on which they begin."""
    scanner = Scanner(source.dialect)
    for block in blocks(source, _BLOCK):
        tick()
        line = block.line
        for record in scanner.records(block.data, source.line_end):
            yield line, record
            line += record.count(source.line_end)
