"""What the warehouse's catalog says about a table, and which rights a user has.

Sources: SVV_COLUMNS, SVV_TABLES, HAS_TABLE_PRIVILEGE, HAS_SCHEMA_PRIVILEGE and HAS_DATABASE_PRIVILEGE of the Amazon
Redshift Database Developer Guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tradewind.hooks.errors import InvalidArgument, NotFound
from tradewind.hooks.libpq.names import TableName
from tradewind.hooks.nearest import nearest
from tradewind.operators.plan import Right

if TYPE_CHECKING:
    from tradewind.amazon.redshift.sessions import Session

_COLUMNS = """
SELECT table_schema, table_name, column_name, data_type, character_maximum_length, numeric_precision, numeric_scale,
       column_default
FROM svv_columns
WHERE lower(table_name) = lower(%s) AND lower(table_schema) = lower(%s)
ORDER BY ordinal_position
"""
_KIND = "SELECT table_type FROM svv_tables WHERE lower(table_name) = lower(%s) AND lower(table_schema) = lower(%s)"
_LENGTHS = ("character varying", "character", "binary varying")


class Column(NamedTuple):
    """A column of a table.

    :param name: its name
    :param type: its type, as SQL writes it
    :param base: its type without length or precision
    :param generated: whether it counts by itself, and takes no values
    """

    name: str
    type: str
    base: str
    generated: bool = False

    @property
    def comparable(self) -> bool:
        """Whether two values of the type can be told equal."""
        return self.base not in ("super", "geometry", "geography", "hllsketch")


class Table(NamedTuple):
    """A table that is there.

    :param name: its name, with its schema
    :param columns: its columns in order
    :param kind: what the catalog calls it: ``BASE TABLE``, ``VIEW``
    :param unique: no column set: Redshift enforces none
    """

    name: TableName
    columns: tuple[Column, ...]
    kind: str = "BASE TABLE"
    unique: frozenset[frozenset[str]] = frozenset()

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


def full_name(session: Session, name: TableName) -> TableName:
    """Return a table's name with its schema.

    :param session: the connection
    :param name: the table
    """
    return name if name.schema else TableName(name.table, str(session.query("SELECT current_schema()")[0][0]))


def find_table(session: Session, name: TableName) -> Table | None:
    """Read a table's columns; None where there is no such table.

    :param session: the connection
    :param name: the table, with its schema
    """
    rows = session.query(_COLUMNS, [name.table, name.schema])
    if not rows:
        return None
    kinds = session.query(_KIND, [name.table, name.schema])
    columns = tuple(_column(*row[2:]) for row in rows)
    return Table(TableName(str(rows[0][1]), str(rows[0][0])), columns, str(kinds[0][0]) if kinds else "BASE TABLE")


def existing_table(session: Session, name: TableName) -> Table:
    """Read a table's columns.

    :param session: the connection
    :param name: the table, with its schema
    :raises NotFound: where it is not there, with the names that come near
    """
    table = find_table(session, name)
    if table is None:
        raise NotFound(f"{session.describe}: there is no table {name}{_near(session, name)}")
    return table


def admit(table: Table) -> None:
    """Refuse what is no table of the warehouse's own.

    :raises InvalidArgument: with what it is
    """
    if table.kind != "BASE TABLE":
        raise InvalidArgument(
            f"{table.name} is a {table.kind.lower()}, which COPY does not load: load the table behind it"
        )


def holds(session: Session, name: TableName, right: str) -> bool:
    """Say whether the user has a right to a table.

    :param session: the connection
    :param name: the table
    :param right: the right, as SQL calls it
    """
    return bool(session.query("SELECT has_table_privilege(%s, %s)", [name.sql, right])[0][0])


def may_create(session: Session, name: TableName) -> Right:
    """Say whether the user may make a table.

    :param session: the connection
    :param name: the table, with its schema
    """
    held = session.query("SELECT has_schema_privilege(%s, 'CREATE')", [name.schema])[0][0]
    return Right("CREATE", f"schema {name.schema}", bool(held))


def _column(
    name: str, base: str, length: int | None, precision: int | None, scale: int | None, default: str | None
) -> Column:
    kind = base
    if base in _LENGTHS and length:
        kind = f"{base}({length})"
    elif base == "numeric" and precision:
        kind = f"numeric({precision},{scale or 0})"
    return Column(name, kind, base, str(default or "").startswith('"identity"'))


def _near(session: Session, name: TableName) -> str:
    names = session.query("SELECT table_name FROM svv_tables WHERE lower(table_schema) = lower(%s)", [name.schema])
    near = nearest(name.table, [str(row[0]) for row in names])
    return f": did you mean {near[0]!r}?" if near else "; create=True makes it from the input"
