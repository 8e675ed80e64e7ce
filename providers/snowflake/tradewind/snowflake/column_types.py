"""Snowflake's types: those of a result's columns, and those of a table that is made from columns of given types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.types import TEXT, ColumnType, TypeKind

_SQL: Mapping[TypeKind, str] = {
    "boolean": "BOOLEAN",
    "smallint": "NUMBER(5,0)",
    "integer": "NUMBER(10,0)",
    "bigint": "NUMBER(19,0)",
    "decimal": "NUMBER(38,12)",
    "real": "FLOAT",
    "double": "FLOAT",
    "date": "DATE",
    "time": "TIME(9)",
    "timestamp": "TIMESTAMP_NTZ(9)",
    "timestamptz": "TIMESTAMP_TZ(9)",
    "bytes": "BINARY",
    "json": "VARIANT",
    "array": "ARRAY",
    "uuid": "VARCHAR(36)",
}
_TEXT = "VARCHAR"
_MOST_DIGITS = 38

# The connector's numbers of types (snowflake.connector.constants.FIELD_TYPES).
_FIXED, _REAL = 0, 1
_KINDS: Mapping[int, TypeKind] = {
    1: "double",
    2: "text",
    3: "date",
    4: "timestamp",
    5: "json",
    6: "timestamptz",
    7: "timestamptz",
    8: "timestamp",
    9: "json",
    10: "json",
    11: "bytes",
    12: "time",
    13: "boolean",
}
_REFUSED: Mapping[int, str] = {14: "GEOGRAPHY", 15: "GEOMETRY", 16: "VECTOR", 17: "MAP", 18: "FILE"}


def sql_type(found: ColumnType | None) -> str:
    """Return the type of a column that is to hold values of a type.

    :param found: the type, None where it is unknown
    """
    found = found or TEXT
    if found.kind == "decimal" and found.precision is not None:
        scale = found.scale or 0
        if found.precision <= _MOST_DIGITS and scale <= _MOST_DIGITS - 1:
            return f"NUMBER({found.precision},{scale})"
    return _SQL.get(found.kind, _TEXT)


def result_type(column: Any, name: str) -> ColumnType:
    """Return the type of a result's column.

    :param column: what the connector says about it: name, type's number, ..., precision, scale
    :param name: what is read, for messages
    :raises InvalidArgument: for a type whose values have no text that keeps them
    """
    number = int(column[1])
    if number == _FIXED:
        return _number(int(column[4] or _MOST_DIGITS), int(column[5] or 0))
    if number in _KINDS:
        return ColumnType(_KINDS[number])
    kind = _REFUSED.get(number, f"the type with number {number}")
    raise InvalidArgument(
        f"{name}: column {column[0]!r} is {kind}, which does not travel: write it as a text or as JSON in a query, as "
        f'ST_ASGEOJSON("{column[0]}")::VARIANT or TO_JSON("{column[0]}"::VARIANT)'
    )


def _number(precision: int, scale: int) -> ColumnType:
    if scale == 0 and precision <= 4:
        return ColumnType("smallint")
    if scale == 0 and precision <= 9:
        return ColumnType("integer")
    if scale == 0 and precision <= 18:
        return ColumnType("bigint")
    return ColumnType("decimal", precision, scale)
