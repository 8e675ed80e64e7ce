"""PostgreSQL's types: those of a result's columns, and those of a table that is made from columns of given types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradewind.operators.types import TEXT, ColumnType, TypeKind, array_of

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession

# pg_type.dat: the numbers of the server's own types, and of their arrays. All others are texts here.
_KINDS: dict[int, TypeKind] = {
    16: "boolean",
    17: "bytes",
    20: "bigint",
    21: "smallint",
    23: "integer",
    26: "bigint",
    114: "json",
    700: "real",
    701: "double",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1186: "interval",
    1700: "decimal",
    2950: "uuid",
    3802: "json",
}
_ARRAYS = {
    1000: 16,
    1001: 17,
    1016: 20,
    1005: 21,
    1007: 23,
    1028: 26,
    199: 114,
    1021: 700,
    1022: 701,
    1182: 1082,
    1183: 1083,
    1115: 1114,
    1185: 1184,
    1187: 1186,
    1231: 1700,
    2951: 2950,
    3807: 3802,
    1009: 25,
    1015: 1043,
    1014: 1042,
}
_FIRST_OWN = 16384  # FirstNormalObjectId: from here on types are the user's

_SQL: dict[TypeKind, str] = {
    "decimal": "numeric",
    "double": "double precision",
    "bytes": "bytea",
    "json": "jsonb",
}
# numeric(p, s): what the server takes.
_MOST_DIGITS = 1000


def result_types(session: LibpqSession, description: Sequence[Any]) -> tuple[ColumnType, ...]:
    """Return the types of a result's columns.

    :param session: the connection, to look up types of the user's own
    :param description: the cursor's
    """
    own = sorted({column.type_code for column in description if column.type_code >= _FIRST_OWN})
    arrays = dict(_ARRAYS)
    if own:
        # A domain comes as what it is made of, an array of one does not.
        arrays |= session.query(
            "SELECT t.oid::bigint, coalesce(nullif(e.typbasetype, 0), e.oid)::bigint FROM pg_type t "
            "JOIN pg_type e ON e.oid = t.typelem WHERE t.typcategory = 'A' AND t.oid = ANY (%s::oid[])",
            [own],
        )
    return tuple(_type(column, arrays) for column in description)


def _type(column: Any, arrays: dict[int, int]) -> ColumnType:
    if column.type_code in arrays:
        return array_of(ColumnType(_KINDS.get(arrays[column.type_code], "text")))
    kind = _KINDS.get(column.type_code, "text")
    if kind == "decimal" and column.precision not in (None, 65535) and 0 <= column.scale <= column.precision:
        return ColumnType("decimal", column.precision, column.scale)
    return ColumnType(kind)


def sql_type(found: ColumnType | None) -> str:
    """Return the type of a column that is to hold values of a type.

    :param found: the type, None where it is unknown
    """
    found = found or TEXT
    if found.kind == "array":
        return f"{sql_type(found.item).removesuffix('[]')}[]"  # an array of the server has any dimensions
    if found.kind == "decimal" and found.precision is not None and found.precision <= _MOST_DIGITS:
        return f"numeric({found.precision}, {found.scale or 0})"
    return _SQL.get(found.kind, found.kind)
