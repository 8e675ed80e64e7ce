"""MySQL's types: those of a result's columns, and those of a table that is made from columns of given types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tradewind.operators.types import TEXT, ColumnType, TypeKind

if TYPE_CHECKING:
    from tradewind.mysql.packets import Column

# https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html; all others are texts here.
_DECIMALS = frozenset({0, 246})
_TINY, _BIT, _YEAR = 1, 16, 13
# The type of a signed integer, and of one without a sign.
_INTEGERS: Mapping[int, tuple[TypeKind, TypeKind]] = {
    1: ("smallint", "smallint"),
    2: ("smallint", "integer"),
    9: ("integer", "integer"),
    3: ("integer", "bigint"),
    8: ("bigint", "decimal"),
    13: ("smallint", "smallint"),
}
_KINDS: Mapping[int, TypeKind] = {
    4: "real",
    5: "double",
    7: "timestamptz",
    10: "date",
    11: "time",
    12: "timestamp",
    245: "json",
}
_LARGEST = ColumnType("decimal", 20, 0)  # of BIGINT UNSIGNED and BIT(64)

# DECIMAL rounds without a word: 65 digits, 30 of them after the point, are all it has. DATETIME knows no zone, the
# session's is UTC.
_SQL: Mapping[TypeKind, str] = {
    "boolean": "boolean",
    "smallint": "smallint",
    "integer": "int",
    "bigint": "bigint",
    "decimal": "decimal(65,30)",
    "real": "float",
    "double": "double",
    "date": "date",
    "time": "time(6)",
    "timestamp": "datetime(6)",
    "timestamptz": "datetime(6)",
    "bytes": "longblob",
    "json": "json",
    "array": "json",
    "uuid": "char(36)",
}
_KEY_SQL: Mapping[TypeKind, str] = {"bytes": "varbinary(255)"}
_TEXT, _KEY_TEXT = "longtext", "varchar(255)"


def result_type(column: Column) -> ColumnType:
    """Return the type of a result's column."""
    if column.binary:
        return ColumnType("bytes")
    if column.is_bit:
        return ColumnType("bigint") if column.length < 64 else _LARGEST
    if column.kind in _DECIMALS:
        # What the server states is the room for the sign and the point too.
        precision = column.length - (column.scale > 0) - (not column.unsigned)
        return ColumnType("decimal", precision, column.scale)
    if column.kind in _INTEGERS:
        if column.kind == _TINY and column.length == 1 and not column.unsigned:
            return ColumnType("boolean")
        kind = _INTEGERS[column.kind][column.unsigned]
        return ColumnType(kind) if kind != "decimal" else _LARGEST
    return ColumnType(_KINDS.get(column.kind, "text"))


def sql_type(found: ColumnType | None, *, key: bool) -> str:
    """Return the type of a column that is to hold values of a type.

    :param found: the type, None where it is unknown
    :param key: whether the column is part of the primary key, which holds no long texts
    """
    found = found or TEXT
    if key and found.kind in _KEY_SQL:
        return _KEY_SQL[found.kind]
    if found.kind == "decimal" and found.precision is not None:
        scale = found.scale or 0
        if found.precision <= 65 and scale <= 30:
            return f"decimal({found.precision},{scale})"
    return _SQL.get(found.kind, _KEY_TEXT if key else _TEXT)
