"""What the service's catalog says about a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradewind.hooks.errors import InvalidArgument, NotFound
from tradewind.hooks.nearest import nearest
from tradewind.snowflake.names import TableName, literal, quoted

if TYPE_CHECKING:
    from tradewind.snowflake.session import SnowflakeSession

_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:\s*,\s*(\d+))?\))?.*", re.DOTALL)
_MOMENTS = ("TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ")
_NEVER_EMPTY = frozenset(("NUMBER", "FLOAT", "REAL", "DECFLOAT", "BOOLEAN", "DATE", "TIME", *_MOMENTS))
_SEMI_STRUCTURED = frozenset(("VARIANT", "OBJECT", "ARRAY", "MAP"))


@dataclass(frozen=True)
class Column:
    """A column of a table.

    :param name: its name
    :param type: its type without digits, in upper case: ``NUMBER``
    :param whole_type: its type as the service writes it: ``NUMBER(38,0)``
    :param generated: whether it is computed from others
    :param scale: the digits after the point of a NUMBER
    """

    name: str
    type: str
    whole_type: str
    generated: bool = False
    scale: int = 0

    @property
    def never_empty(self) -> bool:
        """Whether an empty text is no value of this type: a quoted empty field then stands for NULL."""
        return self.type in _NEVER_EMPTY

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers alone: the service would round others without a word."""
        return self.type == "NUMBER" and self.scale == 0

    @property
    def semi_structured(self) -> bool:
        """Whether its values are JSON."""
        return self.type in _SEMI_STRUCTURED

    @property
    def moment(self) -> bool:
        """Whether it holds dates with times."""
        return self.type in _MOMENTS


@dataclass(frozen=True)
class Table:
    """A table that is there.

    :param name: its name, with its schema and database
    :param columns: its columns in order
    :param unique: the column sets that the service keeps unique: it keeps none, whatever constraints a table names
    """

    name: TableName
    columns: tuple[Column, ...]
    unique: frozenset[frozenset[str]] = frozenset()

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


def column_of(name: str, whole_type: str, *, generated: bool = False) -> Column:
    """Describe a column.

    :param name: its name
    :param whole_type: its type, as the service writes it
    :param generated: whether it is computed from others
    """
    match = _TYPE.fullmatch(whole_type.strip().upper())
    kind, _, scale = match.groups() if match else (whole_type.upper(), None, None)
    return Column(name, kind, whole_type.upper(), generated, int(scale or 0) if kind == "NUMBER" else 0)


def full_name(session: SnowflakeSession, name: TableName) -> TableName:
    """Return a name with its schema and database.

    :param session: the connection
    :param name: the table
    :raises InvalidArgument: where neither the name nor the session has one
    """
    if name.database and name.schema:
        return name
    [(database, schema)] = session.query("SELECT CURRENT_DATABASE(), CURRENT_SCHEMA()")
    found = TableName(name.table, name.schema or schema, name.database or database)
    if not found.database or not found.schema:
        lacks = "database" if not found.database else "schema"
        raise InvalidArgument(
            f"{session.describe} names no {lacks}: write {name} as database.schema.{name.table}, or set {lacks} in the "
            "connection's extra"
        )
    return found


def find_table(session: SnowflakeSession, name: TableName) -> Table | None:
    """Read a table's columns; None where there is no such table, or none that this role may see.

    :param session: the connection
    :param name: the table, with its schema and database
    """
    try:
        rows = session.run(f"DESCRIBE TABLE {name.sql}", None, _described)
    except NotFound:
        return None
    columns = tuple(
        column_of(str(row["name"]), str(row["type"]), generated=str(row.get("kind", "COLUMN")).upper() == "VIRTUAL")
        for row in rows
    )
    return Table(name, columns)


def _described(cursor: object) -> list[dict[str, object]]:
    names = [column[0].lower() for column in cursor.description]  # type: ignore[attr-defined]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]  # type: ignore[attr-defined]


def existing_table(session: SnowflakeSession, name: TableName) -> Table:
    """Read a table's columns.

    :param session: the connection
    :param name: the table, with its schema and database
    :raises NotFound: where it is not there, with the names that come near
    """
    table = find_table(session, name)
    if table is None:
        raise NotFound(
            f"{session.describe}: there is no table {name}, or none that this role may see{_near(session, name)}"
        )
    return table


def _near(session: SnowflakeSession, name: TableName) -> str:
    catalog = f"{quoted(name.database or '')}.INFORMATION_SCHEMA.TABLES"
    try:
        rows = session.query(
            f"SELECT table_name FROM {catalog} WHERE table_schema = {literal(name.schema or '')} LIMIT 10000"  # noqa: S608
        )
    except NotFound:
        return f": there is no database {name.database}"
    near = nearest(name.table, [str(row[0]) for row in rows])
    return f": did you mean {near[0]!r}?" if near else "; create=True makes it from the input"
