"""Making a table from the input of its first load."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError, NotFound
from tradewind.hooks.libpq.names import TableName, listed, quoted
from tradewind.operators.tables.creating import column_types, key_columns
from tradewind.operators.types import ColumnType
from tradewind.postgres.catalog import Column, Table, existing_table, find_table
from tradewind.postgres.column_types import sql_type

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession
    from tradewind.operators.ends import Part

log = logging.getLogger(__name__)

# NAMEDATALEN - 1: a longer name would be cut without a word.
_NAME_BYTES = 63


def ensure_table(session: LibpqSession, name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> Table:
    """Return the table, made from the input where it is not there.

    :param session: the load's transaction, in which the table is made
    :param name: the table
    :param parts: the input
    :param key: the columns that become the primary key
    :raises DataError: where the input names no columns
    """
    if table := find_table(session, name):
        return table
    session.execute("SELECT pg_advisory_xact_lock(hashtext(%s), 7217)", [name.sql])
    if table := find_table(session, name):
        return table
    if name.schema and not session.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name.schema]):
        raise NotFound(f"{session.describe}: there is no schema {name.schema}: create it first")
    statement = _statement(name, column_types(parts, f"table {name}"), key)
    session.execute(statement)
    log.info("created the table from the input: %s", statement)
    return existing_table(session, name)


def planned_table(name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> tuple[str, Table]:
    """Return the statement that would make the table from the input, and the table.

    :param name: the table
    :param parts: the input
    :param key: the columns that become the primary key
    """
    types = column_types(parts, str(name))
    columns = tuple(Column(column, sql_type(kind), "", base=sql_type(kind)) for column, kind in types.items())
    unique = frozenset([frozenset(key_columns(key, tuple(types)))]) if key else frozenset()
    return _statement(name, types, key), Table(name, "r", columns, unique)


def _statement(name: TableName, types: dict[str, ColumnType | None], key: tuple[str, ...]) -> str:
    found = key_columns(key, tuple(types))
    long = next((column for column in types if len(column.encode()) > _NAME_BYTES), None)
    if long:
        raise DataError(
            f"column name {long!r} is longer than the {_NAME_BYTES} bytes that PostgreSQL keeps", column=long
        )
    columns = [f"{quoted(column)} {sql_type(kind)}" for column, kind in types.items()]
    if found:
        columns.append(f"PRIMARY KEY ({listed(found)})")
    return f"CREATE TABLE {name.sql} ({', '.join(columns)})"
