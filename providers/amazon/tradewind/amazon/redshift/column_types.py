"""Redshift's types: those of a result's columns, and those of a table that is made from columns of given types.

Source: "Data types" of the Amazon Redshift Database Developer Guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.types import TEXT, ColumnType, TypeKind

LONGEST_TEXT = 65535
"""Bytes that a varchar may have."""
MOST_DIGITS = 38
MADE_SCALE = 18
"""Digits after the point of a column that is made for decimals of which nobody knows how many they have."""

_KINDS: dict[str, TypeKind] = {
    "bool": "boolean",
    "boolean": "boolean",
    "int2": "smallint",
    "smallint": "smallint",
    "int4": "integer",
    "integer": "integer",
    "int8": "bigint",
    "bigint": "bigint",
    "oid": "bigint",
    "numeric": "decimal",
    "float4": "real",
    "real": "real",
    "float8": "double",
    "double precision": "double",
    "date": "date",
    "time": "time",
    "time without time zone": "time",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "super": "json",
}
# The numbers of the types in a result over the wire; those of Redshift's own are from its drivers.
_NAMES = {
    16: "bool",
    20: "int8",
    21: "int2",
    23: "int4",
    26: "oid",
    700: "float4",
    701: "float8",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1700: "numeric",
    2935: "hllsketch",
    3000: "geometry",
    3001: "geography",
    4000: "super",
    3802: "super",  # jsonb: what stands for SUPER where a PostgreSQL stands for Redshift
    6551: "varbyte",
    17: "varbyte",
}
TEXTS = (*_NAMES, 114, 1186, 1266)
"""The numbers of all types that a driver may make values of."""
REFUSED = {
    "geometry": "ST_AsEWKT(column)",
    "geography": "ST_AsEWKT(column)",
    "hllsketch": "HLL_CARDINALITY(column)",
    "varbyte": "FROM_VARBYTE(column, 'hex')",
    "binary varying": "FROM_VARBYTE(column, 'hex')",
}
"""Types whose values travel in no file that both sides read alike, and what to select instead."""

_SQL: dict[TypeKind, str] = {
    "double": "double precision",
    "json": f"varchar({LONGEST_TEXT})",
    "text": f"varchar({LONGEST_TEXT})",
    "interval": "varchar(64)",
    "uuid": "char(36)",
    "array": f"varchar({LONGEST_TEXT})",
}


class Described(NamedTuple):
    """A column of a result.

    :param name: its name
    :param type: its type
    """

    name: str
    type: ColumnType


def of_description(description: Sequence[Any]) -> list[Described]:
    """Read a cursor's description.

    :param description: as psycopg2 has it
    :raises InvalidArgument: for a type that does not travel
    """
    return [
        _described(column.name, _NAMES.get(column.type_code, "varchar"), column.precision, column.scale)
        for column in description
    ]


def of_metadata(metadata: Sequence[Mapping[str, Any]]) -> list[Described]:
    """Read the Data API's description of a result.

    :param metadata: ``ColumnMetadata`` of GetStatementResult
    :raises InvalidArgument: for a type that does not travel
    """
    return [
        _described(column["name"], str(column["typeName"]).lower(), column.get("precision"), column.get("scale"))
        for column in metadata
    ]


def _described(name: str, type_name: str, precision: int | None, scale: int | None) -> Described:
    if type_name in REFUSED:
        raise InvalidArgument(
            f"column {name!r} is {type_name}, whose values no file holds as they are: select {REFUSED[type_name]}"
        )
    kind = _KINDS.get(type_name, "text")
    if (
        kind == "decimal"
        and precision
        and 0 < precision <= MOST_DIGITS
        and scale is not None
        and 0 <= scale <= precision
    ):
        return Described(name, ColumnType("decimal", precision, scale))
    return Described(name, ColumnType(kind))


def sql_type(column: str, found: ColumnType | None) -> str:
    """Return the type of a column that is to hold values of a type.

    :param column: its name, for the message
    :param found: the type, None where it is unknown
    :raises DataError: where Redshift has none
    """
    found = found or TEXT
    if found.kind == "bytes":
        raise DataError(
            f"column {column!r} holds bytes, which a COPY of CSV does not load: leave it out", column=column
        )
    if found.kind == "decimal":
        if found.precision is None:
            return f"numeric({MOST_DIGITS}, {MADE_SCALE})"
        if found.precision > MOST_DIGITS:
            raise DataError(
                f"column {column!r} has {found.precision} digits, Redshift's numeric has {MOST_DIGITS}: make it a text",
                column=column,
            )
        return f"numeric({found.precision}, {found.scale or 0})"
    return _SQL.get(found.kind, found.kind)
