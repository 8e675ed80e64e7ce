"""Which rights a load needs, and which of them the role has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradewind.hooks.libpq.names import TableName
from tradewind.operators.ends import CopyRequest, Mode
from tradewind.operators.plan import Right
from tradewind.postgres.catalog import Table

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession

_NEEDED: dict[Mode, tuple[str, ...]] = {
    "append": ("INSERT",),
    "replace": ("INSERT", "DELETE"),
    "merge": ("SELECT", "INSERT", "UPDATE"),
}
_BY_COLUMN = frozenset({"SELECT", "INSERT", "UPDATE"})
_HELD = "SELECT has_table_privilege(to_regclass(%s), %s)"
_HELD_BY_COLUMN = """
SELECT has_table_privilege(to_regclass(%(table)s), %(right)s)
    OR (SELECT bool_and(has_column_privilege(to_regclass(%(table)s), name, %(right)s)) FROM unnest(%(columns)s) name)
"""
_MAY_CREATE = """
SELECT coalesce(%(schema)s, current_schema()),
       has_schema_privilege(nullif(coalesce(%(schema)s, current_schema()), ''), 'CREATE')
"""


def table_rights(session: LibpqSession, table: Table, columns: Sequence[str], request: CopyRequest) -> list[Right]:
    """Return the rights that a load needs to its table.

    :param session: the load's connection
    :param table: the table
    :param columns: the columns of the input
    :param request: what is to be done
    """
    needed = list(_NEEDED[request.mode])
    if any(expectation.needs_table for expectation in request.expect) and "SELECT" not in needed:
        needed.append("SELECT")
    names = [column.name for column in table.columns] if "SELECT" in needed else columns
    found = [Right(what, str(table.name), _holds_all(session, table.name, what, names)) for what in needed]
    if request.staged:
        [(database, held)] = session.query(
            "SELECT current_database(), has_database_privilege(current_database(), 'TEMPORARY')"
        )
        found.append(Right("TEMPORARY", f"database {database}", held))
    return found


def holds(session: LibpqSession, name: TableName, right: str) -> bool:
    """Say whether the role has a right to a whole table.

    :param session: the connection
    :param name: the table
    :param right: the right, as SQL calls it
    """
    return bool(session.query(_HELD, [name.sql, right])[0][0])


def may_create(session: LibpqSession, name: TableName) -> Right:
    """Say whether the role may make a table.

    :param session: the connection
    :param name: the table
    """
    [(schema, held)] = session.query(_MAY_CREATE, {"schema": name.schema})
    return Right("CREATE", f"schema {schema}", bool(held))


def _holds_all(session: LibpqSession, name: TableName, right: str, columns: Sequence[str]) -> bool:
    if right not in _BY_COLUMN or not columns:
        return holds(session, name, right)
    values = {"table": name.sql, "right": right, "columns": list(columns)}
    return bool(session.query(_HELD_BY_COLUMN, values)[0][0])
