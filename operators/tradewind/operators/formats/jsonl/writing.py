"""Records of CSV written as JSON lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from json.encoder import encode_basestring

from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import Block
from tradewind.operators.formats.fields import FieldReader
from tradewind.operators.formats.typed import Input, TypedParts
from tradewind.operators.types import ColumnType, TypeKind

BLOCK = 1 << 18

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_PADDED = re.compile(r"(-?)0*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")
_NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})
_TRUTH = {"t": "true", "true": "true", "1": "true", "f": "false", "false": "false", "0": "false"}
_NUMBERS: frozenset[TypeKind] = frozenset({"smallint", "integer", "bigint", "decimal", "real", "double"})
_OFFSET = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)\Z")

Convert = Callable[[str], str | None]
"""Writes a value as JSON, None where it is no value of its type."""


def json_lines(found: Iterator[Part]) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of one file, each piece with its records.

    :param found: what to write
    :raises DataError: where a value is none of its column's type
    """
    parts = list(found)
    if not parts:
        return
    for given in TypedParts(iter(parts), "a file of JSON lines").inputs():
        writer = _Writer(given)
        for block in given.blocks(BLOCK):
            data, records = writer.lines(block)
            given.records += records
            yield data, records


class _Writer:
    """Writes the records of one input."""

    def __init__(self, given: Input) -> None:
        self._given = given
        self._fields = FieldReader(given)
        self._convert = [_converter(kind) for kind in given.types]
        names = [encode_basestring(name).replace("%", "%%") for name in given.names]
        self._line = "{" + ",".join(f"{name}:%s" for name in names) + "}"

    def lines(self, block: Block) -> tuple[bytes, int]:
        columns = self._fields.columns(block)
        made = [
            self._written(column, convert, block, at)
            for at, (column, convert) in enumerate(zip(columns, self._convert, strict=True))
        ]
        line = self._line
        lines = [line % row for row in zip(*made, strict=True)]
        return ("\n".join(lines) + "\n").encode() if lines else b"", len(lines)

    def _written(self, column: Sequence[str | None], convert: Convert, block: Block, at: int) -> list[str]:
        made = ["null" if value is None else convert(value) for value in column]
        if None in made:
            index = made.index(None)
            value, kind = column[index] or "", self._given.types[at]
            self._given.refuse(block, index, self._given.names[at], f"{value[:60]!r} is no {kind}", value)
        return made  # type: ignore[return-value]


def _converter(kind: ColumnType) -> Convert:
    if kind.kind in _NUMBERS:
        return _number
    if kind.kind == "boolean":
        return _TRUTH.get
    if kind.kind in ("json", "array"):
        return _nested
    if kind.kind == "timestamptz":
        return _moment
    return _local if kind.kind == "timestamp" else encode_basestring


def _number(value: str) -> str | None:
    if _NUMBER.fullmatch(value):
        return value
    if value in _NO_NUMBERS:
        return f'"{value}"'
    padded = _PADDED.fullmatch(value)  # MySQL's ZEROFILL
    return padded[1] + padded[2] if padded else None


def _nested(value: str) -> str:
    # A line end in a JSON text is a blank between its tokens.
    return value.replace("\n", " ").replace("\r", " ")


def _local(value: str) -> str:
    return encode_basestring(value.replace(" ", "T", 1))


def _moment(value: str) -> str:
    """Write a moment as RFC 3339 does; without an offset it is in UTC."""
    if value.endswith("+00"):
        value = value[:-3] + "Z"
    elif not _OFFSET.search(value, 11) and value[:1].isdigit():
        value += "Z"
    return _local(value)
