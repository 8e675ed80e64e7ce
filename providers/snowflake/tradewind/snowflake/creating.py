"""Making a table from the input of its first load."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.operators.tables.creating import column_types, key_columns
from tradewind.snowflake.catalog import Table, column_of
from tradewind.snowflake.column_types import sql_type
from tradewind.snowflake.names import TableName, listed, quoted

if TYPE_CHECKING:
    from tradewind.operators.ends import Part

log = logging.getLogger(__name__)

_LONGEST = 255


def planned_table(name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> tuple[str, Table]:
    """Return the statement that would make the table from the input, and the table.

    Names that are plain words in small letters become upper case, as unquoted names do: SQL finds them either way.

    :param name: the table, with its schema and database
    :param parts: the input
    :param key: the columns that become the primary key, which Snowflake keeps for information alone
    :raises DataError: where the input names no columns, or two that become one
    """
    types = column_types(parts, f"table {name}")
    made = {column: folded(column) for column in types}
    _refuse_names(list(made.values()))
    written = {made[column]: sql_type(kind) for column, kind in types.items()}
    texts = [f"{quoted(column)} {kind}" for column, kind in written.items()]
    if key:
        texts.append(f"PRIMARY KEY ({listed([made[column] for column in key_columns(key, tuple(types))])})")
    statement = f"CREATE TABLE IF NOT EXISTS {name.sql} ({', '.join(texts)})"
    return statement, Table(name, tuple(column_of(column, kind) for column, kind in written.items()))


def folded(column: str) -> str:
    """Return the name that a column gets in a table that is made.

    :param column: its name in the input
    """
    plain = column.isascii() and column.replace("$", "_").isidentifier() and column == column.lower()
    return column.upper() if plain else column


def _refuse_names(columns: list[str]) -> None:
    for column in columns:
        if len(column) > _LONGEST:
            raise DataError(
                f"column name {column[:60]!r}... is longer than the {_LONGEST} characters that Snowflake takes",
                column=column,
            )
        if columns.count(column) > 1:
            raise DataError(f"two columns of the input become {column!r}: name them by columns=", column=column)
