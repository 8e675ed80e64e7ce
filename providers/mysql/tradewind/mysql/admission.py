"""Tables on which a load could not keep its promises: refused by name, before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.mysql.catalog import Table
from tradewind.operators.ends import Mode

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

_CHILD = """
SELECT MIN(CONCAT(constraint_schema, '.', table_name)) FROM information_schema.referential_constraints
WHERE unique_constraint_schema = %s AND referenced_table_name = %s AND delete_rule IN ('CASCADE', 'SET NULL')
  AND NOT (constraint_schema = unique_constraint_schema AND table_name = referenced_table_name)
"""


def admit(session: MySqlSession, table: Table, mode: Mode) -> None:
    """Refuse a replace that would change other tables; views and engines without transactions never come this far.

    :param session: the load's transaction
    :param table: the target
    :param mode: what the load does
    :raises InvalidArgument: with what is in the way, and what to do instead
    """
    if mode != "replace":
        return
    [(child,)] = session.query(_CHILD, [table.name.schema, table.name.table])
    if child:
        raise InvalidArgument(
            f"table {child} references {table.name} with ON DELETE: a replace, which deletes the rows before it loads, "
            f'would delete or change rows of {child}; use mode "merge"'
        )


def referenced(error: DataError, table: Table) -> DataError:
    """Return an error of a DELETE with what can be done about it.

    :param error: what the server said
    :param table: the target
    """
    made = DataError(
        f'{error}: a replace deletes the rows of {table.name} before it loads; use mode "merge"',
        column=error.column,
        value=error.value,
    )
    made.__cause__ = error
    return made
