"""Making a table from the input of its first load."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradewind.amazon.redshift.catalog import Column, Table, existing_table
from tradewind.amazon.redshift.column_types import sql_type
from tradewind.amazon.redshift.ledger import LONGEST_NAME
from tradewind.hooks.errors import DataError
from tradewind.hooks.libpq.names import TableName, quoted
from tradewind.operators.tables.creating import column_types, key_columns

if TYPE_CHECKING:
    from tradewind.amazon.redshift.sessions import Session
    from tradewind.operators.ends import Part

log = logging.getLogger(__name__)


def make_table(session: Session, name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> Table:
    """Make a table from the input, within the load's transaction.

    :param session: the load's transaction
    :param name: the table
    :param parts: the input
    :param key: the columns of a merge's key
    :raises DataError: where the input names no columns, or has values for which there is no type
    """
    statement, _ = planned_table(name, parts, key)
    session.execute(statement)
    log.info("created the table from the input: %s", statement)
    return existing_table(session, name)


def planned_table(name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> tuple[str, Table]:
    """Return the statement that would make the table from the input, and the table.

    :param name: the table
    :param parts: the input
    :param key: the columns of a merge's key; no key is declared, for Redshift would believe it and not keep it
    """
    types = column_types(parts, f"table {name}")
    key_columns(key, tuple(types))
    long = next((column for column in types if len(column.encode()) > LONGEST_NAME), None)
    if long:
        raise DataError(
            f"column name {long!r} is longer than the {LONGEST_NAME} bytes that Redshift keeps", column=long
        )
    made = {column: sql_type(column, kind) for column, kind in types.items()}
    columns = ", ".join(f"{quoted(column)} {kind}" for column, kind in made.items())
    found = tuple(Column(column, kind, kind.partition("(")[0]) for column, kind in made.items())
    return f"CREATE TABLE {name.sql} ({columns})", Table(name, found)
