"""The types of columns that travel between databases and files, and how their values are written on the way.

Between the ends of a copy a value is a text, whatever its type; NULL and the empty text stay apart:

=============================== ==========================================================================
boolean                         ``t`` or ``f``, ``true`` or ``false``, ``1`` or ``0``
smallint, integer, bigint       digits
decimal                         all digits, no exponent; without a precision it is unbounded
real, double                    the fewest digits that give the same number again; ``NaN``, ``Infinity``
date, time, timestamp           ISO 8601: ``2013-02-03``, ``04:05:06.789``, ``2013-02-03 04:05:06.789``
timestamptz                     ISO 8601 with the offset from UTC; without one it is UTC
interval                        ISO 8601: ``P1DT2H``
text                            itself
bytes                           ``\\x`` and hex digits: ``\\xdeadbeef``
json                            a JSON text
uuid                            ``0b6fbd47-7a31-4d7a-9a4c-6a3f4a3f2b11``
array                           as the target asks: ``{a,b}`` as PostgreSQL writes it, or a JSON text
=============================== ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

TypeKind = Literal[
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "decimal",
    "real",
    "double",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "text",
    "bytes",
    "json",
    "uuid",
    "array",
]

Spelling = Literal["braces", "json"]
"""How an array is written: ``{a,b}``, or as a JSON text."""

Arrays = Spelling | Mapping[str, Spelling]
"""One spelling for all columns, or one for each column by its name, case folded."""

_NUMBERS: tuple[TypeKind, ...] = ("smallint", "integer", "bigint", "decimal", "double")
_INTEGER_DIGITS: dict[TypeKind, int] = {"smallint": 5, "integer": 10, "bigint": 19}


class ColumnType(NamedTuple):
    """The type of a column.

    :param kind: which one
    :param precision: decimal digits of a decimal, None where it is unbounded
    :param scale: those after the point
    :param item: the type of an array's elements
    """

    kind: TypeKind
    precision: int | None = None
    scale: int | None = None
    item: ColumnType | None = None

    def __str__(self) -> str:
        if self.kind == "array":
            return f"array of {self.item}"
        return self.kind if self.precision is None else f"{self.kind}({self.precision}, {self.scale or 0})"


TEXT = ColumnType("text")


def array_of(item: ColumnType | None) -> ColumnType:
    """Return the type of an array.

    :param item: the type of its elements, texts where it is unknown
    """
    return ColumnType("array", item=item or TEXT)


def spelling(arrays: Arrays, column: str) -> Spelling:
    """Say how the arrays of a column are to be written.

    :param arrays: what the target asks for
    :param column: the column's name
    """
    return arrays if isinstance(arrays, str) else arrays.get(column.casefold(), "braces")


def common(types: Iterable[ColumnType | None]) -> ColumnType | None:
    """Return the type that holds the values of all types as they are, None where all of them are unknown.

    :param types: the types of a column in several files
    """
    found: ColumnType | None = None
    for one in types:
        if one is None or one == found:
            continue
        found = one if found is None else _both(found, one)
    return found


def _both(one: ColumnType, other: ColumnType) -> ColumnType:
    kinds = {one.kind, other.kind}
    if kinds == {"array"}:
        return array_of(common((one.item, other.item)))
    if kinds == {"real", "double"}:
        return ColumnType("double")
    if kinds == {"date", "timestamp"}:
        return ColumnType("timestamp")
    if kinds == {"array", "json"}:
        return ColumnType("json")
    if kinds <= set(_NUMBERS):
        return _number(one, other)
    return TEXT


def _number(one: ColumnType, other: ColumnType) -> ColumnType:
    wider = max(one, other, key=lambda each: _NUMBERS.index(each.kind))
    if wider.kind != "decimal":
        return ColumnType(wider.kind)
    digits = [_digits(each) for each in (one, other)]
    if None in digits:
        return ColumnType("decimal")
    whole, scale = (max(each[at] for each in digits if each) for at in (0, 1))
    return ColumnType("decimal", whole + scale, scale)


def _digits(each: ColumnType) -> tuple[int, int] | None:
    """Return the digits of a number before and after the point, None where they are unbounded."""
    if each.kind in _INTEGER_DIGITS:
        return _INTEGER_DIGITS[each.kind], 0
    return None if each.precision is None else (each.precision - (each.scale or 0), each.scale or 0)
