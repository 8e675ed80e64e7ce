"""Making a table from the input of its first load."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError, NotFound, TradewindError
from tradewind.mysql.catalog import Column, Table, existing_table, find_table
from tradewind.mysql.column_types import sql_type
from tradewind.mysql.locks import lock, unlock
from tradewind.mysql.names import TableName, listed, quoted
from tradewind.operators.tables.creating import column_types, key_columns
from tradewind.operators.types import ColumnType

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession
    from tradewind.operators.ends import Part

log = logging.getLogger(__name__)

_NAME_CHARACTERS = 64


def ensure_table(session: MySqlSession, name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> bool:
    """Make the table from the input where it is not there; it would commit a transaction, so none may be open.

    :param session: the connection
    :param name: the table, with its database
    :param parts: the input
    :param key: the columns that become the primary key
    :return: whether it was made now
    :raises DataError: where the input names no columns
    """
    if find_table(session, name):
        return False
    what = f"create {name}"
    lock(session, what)
    try:
        if find_table(session, name):
            return False
        return _create(session, name, parts, key)
    finally:
        with contextlib.suppress(TradewindError):  # a lost connection has lost its locks
            unlock(session, what)


def _create(session: MySqlSession, name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> bool:
    if not session.query("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", [name.schema]):
        raise NotFound(f"{session.describe}: there is no database {name.schema}: create it first")
    statement = _statement(name, column_types(parts, f"table {name}"), key)
    session.execute(statement)
    existing_table(session, name)
    log.info("created the table from the input: %s", statement)
    return True


def planned_table(name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> tuple[str, Table]:
    """Return the statement that would make the table from the input, and the table.

    :param name: the table, with its database
    :param parts: the input
    :param key: the columns that become the primary key
    """
    types = column_types(parts, str(name))
    found = key_columns(key, tuple(types))
    written = {column: sql_type(kind, key=column in found) for column, kind in types.items()}
    columns = tuple(Column(column, text.partition("(")[0], text) for column, text in written.items())
    unique = frozenset([frozenset(found)]) if found else frozenset()
    return _statement(name, types, key), Table(name, columns, unique)


def _statement(name: TableName, types: dict[str, ColumnType | None], key: tuple[str, ...]) -> str:
    found = key_columns(key, tuple(types))
    long = next((column for column in types if len(column) > _NAME_CHARACTERS), None)
    if long:
        raise DataError(
            f"column name {long!r} is longer than the {_NAME_CHARACTERS} characters that MySQL takes", column=long
        )
    columns = [f"{quoted(column)} {sql_type(kind, key=column in found)}" for column, kind in types.items()]
    if found:
        columns.append(f"PRIMARY KEY ({listed(found)})")
    return f"CREATE TABLE {name.sql} ({', '.join(columns)}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


def drop_if_empty(session: MySqlSession, name: TableName) -> None:
    """Drop a table that a load made and did not fill; one that another load has filled meanwhile stays.

    :param session: the connection, its transaction rolled back
    :param name: the table, with its database
    """
    # The lock waits for whoever writes there: what is seen empty then is empty.
    session.execute("SET SESSION lock_wait_timeout = 10")
    session.execute(f"LOCK TABLES {name.sql} WRITE")
    try:
        if not session.query(f"SELECT 1 FROM {name.sql} LIMIT 1"):  # noqa: S608 (quoted)
            session.execute(f"DROP TABLE {name.sql}")
            log.info("dropped the table %s again, which this load had created", name)
    finally:
        session.execute("UNLOCK TABLES")
