"""Which types the columns of a CSV file have, told from a sample of its records."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Literal

from tradewind.operators.formats.csv.records import CsvInput, Scanner, long_fields
from tradewind.operators.formats.csv.transcoding import Pushback

Kind = Literal["boolean", "bigint", "decimal", "double", "date", "timestamp", "timestamptz", "uuid", "text"]
"""Those of :data:`tradewind.operators.types.TypeKind` that a text shows."""

SAMPLE_BYTES = 8 << 20
SAMPLE_RECORDS = 100_000

# A plus sign or a leading zero would be lost: such a column stays text (telephone numbers, postal codes).
_INTEGER = re.compile(r"-?[1-9]\d*|0")
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)\.\d+")
_DOUBLE = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?[eE][+-]?\d+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(Z|[+-]\d\d(?::?\d\d)?)?")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BOOLEANS = frozenset({"true", "false", "t", "f"})

# What a column is that holds values of two kinds.
_BOTH: dict[frozenset[Kind], Kind] = {
    frozenset({"bigint", "decimal"}): "decimal",
    frozenset({"bigint", "double"}): "double",
    frozenset({"decimal", "double"}): "double",
    frozenset({"date", "timestamp"}): "timestamp",
}


def kind_of(value: str) -> Kind:
    """Return the narrowest kind that keeps a value as it is.

    :param value: a field, not NULL
    """
    if value.lower() in _BOOLEANS:
        return "boolean"
    if _INTEGER.fullmatch(value):
        return "bigint" if -(2**63) <= int(value[:40]) < 2**63 and len(value) <= 20 else "decimal"
    if _DECIMAL.fullmatch(value):
        return "decimal"
    if _DOUBLE.fullmatch(value):
        return "double"
    if _UUID.fullmatch(value):
        return "uuid"
    if _DATE.fullmatch(value):
        return "date" if _is(date.fromisoformat, value) else "text"
    if match := _TIMESTAMP.fullmatch(value):
        local = value[:19] if match[1] is None else value[: match.start(1)][:19]
        if _is(datetime.fromisoformat, local):
            return "timestamptz" if match[1] else "timestamp"
    return "text"


def _is(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except ValueError:
        return False
    return True


def widest(values: Iterable[str], null: str) -> Kind | None:
    """Return the kind that keeps all values as they are, None where all of them are NULL.

    :param values: the fields of a column
    :param null: the text that stands for NULL
    """
    kind: Kind | None = None
    for value in values:
        if value == null:
            continue
        kind = _joined(kind, kind_of(value))
        if kind == "text":
            break
    return kind


def _joined(one: Kind | None, other: Kind | None) -> Kind | None:
    """Return the kind of a column that holds both kinds.

    :param one: a kind, None for NULL alone
    :param other: another one
    """
    if one is None or other is None or one == other:
        return one or other
    return _BOTH.get(frozenset({one, other}), "text")


def sample(source: CsvInput, limit: int = SAMPLE_BYTES) -> bytes:
    """Read the first whole records of an input, which is then as it was.

    :param source: the input, its header read
    :param limit: bytes to read
    """
    data = bytearray()
    while len(data) < limit and (more := source.stream.read(min(1 << 20, limit - len(data)))):
        data += more
    held = bytes(data)
    source.stream = Pushback(source.stream, held)
    if len(held) < limit:
        return held
    return held[: Scanner(source.dialect).last_end(held, source.line_end)]


def infer(source: CsvInput, limit: int = SAMPLE_BYTES) -> list[Kind | None]:
    """Tell the kind of each column from the first records of an input.

    :param source: the input, its header read; afterwards as it was
    :param limit: bytes to look at
    :return: a kind for each column, None where all values are NULL
    """
    dialect = source.dialect
    text = sample(source, limit).decode("utf-8", "replace")
    doubled = dialect.escape_char == dialect.quote
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        doublequote=doubled,
        escapechar=None if doubled else dialect.escape_char,
    )
    width = len(source.names or ())
    seen: list[set[str]] = [set() for _ in range(width)]
    with long_fields():
        for rows in _batches(reader):
            full = [row for row in rows if len(row) == width]  # a ragged record is the load's business
            for values, column in zip(seen, zip(*full, strict=True), strict=False):
                values.update(column)
    return [widest(values, dialect.null) for values in seen]


def _batches(reader: Iterable[list[str]], size: int = 10_000) -> Iterable[Sequence[list[str]]]:
    rows: list[list[str]] = []
    for number, row in enumerate(reader):
        if number >= SAMPLE_RECORDS:
            break
        rows.append(row)
        if len(rows) == size:
            yield rows
            rows = []
    yield rows
