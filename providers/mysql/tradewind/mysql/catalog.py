"""What the server's catalog says about a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tradewind.hooks.errors import InvalidArgument, NotFound
from tradewind.hooks.nearest import nearest
from tradewind.mysql.names import TableName

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

_NUMBERS = frozenset(["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit"])
_TIMES = frozenset(["date", "datetime", "timestamp", "time", "year"])
_TEXTS = frozenset(["char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"])
_BYTES = frozenset(["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"])
_LONG = frozenset(
    ["tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob", "json", "geometry"]
)


class Column(NamedTuple):
    """A column of a table.

    :param name: its name
    :param type: its type without length, as ``varchar``
    :param whole_type: its type, as ``varchar(10)``
    :param generated: whether it is computed from others
    """

    name: str
    type: str
    whole_type: str
    generated: bool = False

    @property
    def never_empty(self) -> bool:
        """Whether an empty text is no value of this type: a quoted empty field then stands for NULL."""
        return self.type in _NUMBERS or self.type in _TIMES or self.type == "uuid"

    @property
    def boolean(self) -> bool:
        """Whether the column is what BOOLEAN makes."""
        return self.whole_type.startswith("tinyint(1)")

    @property
    def moment(self) -> bool:
        """Whether the column holds dates with times."""
        return self.type in ("datetime", "timestamp")

    @property
    def text(self) -> bool:
        """Whether values are compared by a collation, which may find different ones equal."""
        return self.type in _TEXTS

    @property
    def bytes(self) -> bool:
        """Whether the column holds bytes, and no text."""
        return self.type in _BYTES

    @property
    def long(self) -> bool:
        """Whether an index can hold a prefix of it only."""
        return self.type in _LONG


class Table(NamedTuple):
    """A table that is there.

    :param name: its name, with its database
    :param columns: its columns in order
    :param unique: the column sets of its unique indexes
    """

    name: TableName
    columns: tuple[Column, ...]
    unique: frozenset[frozenset[str]] = frozenset()

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


_TABLES = ("BASE TABLE", "SYSTEM VERSIONED", "TEMPORARY")
_TABLE = """
SELECT t.table_schema, t.table_name, t.table_type, t.engine, e.transactions
FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine
WHERE t.table_schema = %s AND t.table_name = %s
"""
_COLUMNS = """
SELECT column_name, data_type, column_type, coalesce(generation_expression, '') <> ''
FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
_UNIQUE = """
SELECT index_name, column_name, sub_part
FROM information_schema.statistics WHERE table_schema = %s AND table_name = %s AND non_unique = 0
"""


def full_name(session: MySqlSession, name: TableName) -> TableName:
    """Return a name with its database.

    :param session: the connection
    :param name: the table
    :raises InvalidArgument: where neither the name nor the connection has one
    """
    if name.schema:
        return name
    [(database,)] = session.query("SELECT DATABASE()")
    if not database:
        raise InvalidArgument(f"{session.describe} names no database: write {name} as database.{name}")
    return TableName(name.table, database)


def find_table(session: MySqlSession, name: TableName) -> Table | None:
    """Read a table's columns and unique indexes; None where there is no such table.

    :param session: the connection
    :param name: the table, with its database
    :raises InvalidArgument: where it is none, or cannot roll back
    :raises AccessDenied: where the user has no right to it
    """
    found = session.query(_TABLE, [name.schema, name.table])
    if not found:
        return None
    schema, table, kind, engine, transactions = found[0]
    whole = TableName(table, schema)
    if "VIEW" in kind:
        raise InvalidArgument(f"{whole} is a view: load the table behind it")
    if kind not in _TABLES:
        raise InvalidArgument(f"{whole} is no table but a {kind.lower()}")
    refuse_engine(whole, engine, transactions)
    place = [schema, table]
    columns = tuple(
        Column(row[0], row[1].lower(), row[2].lower(), bool(row[3])) for row in session.query(_COLUMNS, place)
    )
    indexes: dict[str, set[str | None]] = {}
    for index, column, part in session.query(_UNIQUE, place):
        indexes.setdefault(index, set()).add(column if part is None else None)
    unique = frozenset(
        frozenset(column for column in found if column) for found in indexes.values() if None not in found
    )
    return Table(whole, columns, unique)


def refuse_engine(name: TableName, engine: str | None, transactions: str | None) -> None:
    """Refuse a table whose engine cannot roll back.

    :param name: the table
    :param engine: its engine
    :param transactions: what ``information_schema.engines`` says of it
    :raises InvalidArgument: where half a load would stay
    """
    if transactions != "YES":
        raise InvalidArgument(
            f"table {name} is of the engine {engine}, which has no transactions: a load that fails would leave its "
            f"rows there; make it one that has, as ALTER TABLE {name.sql} ENGINE=InnoDB"
        )


def existing_table(session: MySqlSession, name: TableName) -> Table:
    """Read a table's columns and unique indexes.

    :param session: the connection
    :param name: the table, with its database
    :raises NotFound: where it is not there, with the names that come near
    :raises AccessDenied: where the user has no right to it
    """
    table = find_table(session, name)
    if table is not None and table.columns:
        return table
    # The catalog shows nothing to a user without a right: the server's own words tell the two apart.
    try:
        session.query(f"SELECT 1 FROM {name.sql} LIMIT 0")  # noqa: S608 (quoted)
    except NotFound as error:
        raise NotFound(f"{session.describe}: there is no table {name}{_near(session, name)}") from error
    raise NotFound(f"{session.describe}: the catalog does not show the columns of {name}")


def _near(session: MySqlSession, name: TableName) -> str:
    if not session.query("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", [name.schema]):
        return f": there is no database {name.schema}"
    rows = session.query(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s LIMIT 10000", [name.schema]
    )
    near = nearest(name.table, [row[0] for row in rows])
    return f": did you mean {near[0]!r}?" if near else "; create=True makes it from the input"


def estimated_rows(session: MySqlSession, name: TableName) -> int | None:
    """Return how many rows a table has, about, as the server's statistics say; None where they say nothing.

    :param session: the connection
    :param name: the table
    """
    found = session.query(
        "SELECT table_rows FROM information_schema.tables "
        "WHERE table_schema = coalesce(%s, DATABASE()) AND table_name = %s",
        [name.schema, name.table],
    )
    return int(found[0][0]) if found and found[0][0] else None
