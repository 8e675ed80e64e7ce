# ruff: noqa: S608 (names are parsed and quoted)
"""Which rights a load needs, and which of them the user has.

The catalog does not tell what a user has through roles. EXPLAIN and PREPARE do: they need the rights of the statement
that they look at, and run nothing (https://dev.mysql.com/doc/refman/8.4/en/explain.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradewind.hooks.errors import AccessDenied
from tradewind.mysql.catalog import Table
from tradewind.mysql.names import TableName, listed, quoted
from tradewind.mysql.values import text_literal
from tradewind.operators.ends import CopyRequest, Mode
from tradewind.operators.plan import Right

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

_NEEDED: dict[Mode, tuple[str, ...]] = {
    "append": ("INSERT",),
    "replace": ("INSERT", "DELETE"),
    "merge": ("SELECT", "INSERT", "UPDATE"),
}


def table_rights(session: MySqlSession, table: Table, columns: Sequence[str], request: CopyRequest) -> list[Right]:
    """Return the rights that a load needs to its table.

    :param session: the load's connection
    :param table: the table
    :param columns: the columns of the input
    :param request: what is to be done
    """
    needed = list(_NEEDED[request.mode])
    if any(expectation.needs_table for expectation in request.expect) and "SELECT" not in needed:
        needed.append("SELECT")
    every = [column.name for column in table.columns]
    found = [Right(what, str(table.name), holds(session, table.name, what, columns or every)) for what in needed]
    if request.staged:
        found.append(may_stage(session, table.name))
    return found


def holds(session: MySqlSession, name: TableName, right: str, columns: Sequence[str]) -> bool:
    """Say whether the user has a right to columns of a table.

    :param session: the connection
    :param name: the table
    :param right: the right, as SQL calls it
    :param columns: the columns, one at least
    """
    nulls = ", ".join(["NULL"] * len(columns))
    statements = {
        "SELECT": f"SELECT {listed(list(columns))} FROM {name.sql}",
        "INSERT": f"INSERT INTO {name.sql} ({listed(list(columns))}) SELECT {nulls} FROM DUAL WHERE FALSE",
        "UPDATE": f"UPDATE {name.sql} SET {', '.join(f'{quoted(column)} = NULL' for column in columns)} WHERE FALSE",
        "DELETE": f"DELETE FROM {name.sql} WHERE FALSE",
    }
    return _allowed(session, f"EXPLAIN {statements[right]}")


def may_create(session: MySqlSession, name: TableName, statement: str) -> Right:
    """Say whether the user may make a table.

    :param session: the connection
    :param name: the table
    :param statement: what makes it
    """
    return Right("CREATE", str(name), _prepares(session, statement))


def may_stage(session: MySqlSession, name: TableName) -> Right:
    """Say whether the user may make temporary tables, in the database of a table.

    :param session: the connection
    :param name: the table
    """
    stage = TableName("tradewind_stage", name.schema)
    held = _prepares(session, f"CREATE TEMPORARY TABLE {stage.sql} (id int)")
    return Right("CREATE TEMPORARY TABLES", f"database {name.schema}", held)


def _prepares(session: MySqlSession, statement: str) -> bool:
    if not _allowed(session, f"PREPARE tradewind_plan FROM {text_literal(statement, backslashes=session.backslashes)}"):
        return False
    session.execute("DEALLOCATE PREPARE tradewind_plan")
    return True


def _allowed(session: MySqlSession, statement: str) -> bool:
    try:
        session.query(statement)
    except AccessDenied:
        return False
    return True
