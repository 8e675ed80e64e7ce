"""Expectations on a table in MySQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.mysql.catalog import Table
from tradewind.mysql.names import TableName, quoted
from tradewind.operators.tables.checked import LoadedTable

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession
    from tradewind.operators.statements import Rules


class Loaded(LoadedTable[Table]):
    """A table within its load's transaction.

    :param session: the load's connection
    :param table: the table
    :param key: the merge's key
    """

    rules: ClassVar[Rules] = "mysql"

    def __init__(self, session: MySqlSession, table: Table, key: Sequence[str]) -> None:
        super().__init__(session, table, table.name.sql, key)

    def parse(self, text: str) -> TableName:
        """Read a name as the server does."""
        return TableName.parse(text)

    def quoted(self, column: str) -> str:
        """Quote a column."""
        return quoted(column)

    def text(self, column: str) -> str:
        """Write a column as a text, for messages."""
        return f"t.{quoted(column)}"

    def exact(self, column: str) -> str:
        """Write a column so that texts equal only themselves: a collation may find others equal too."""
        of = f"t.{quoted(column)}"
        return f"CAST(CONVERT({of} USING utf8mb4) AS BINARY)" if self._table.column(column).text else of

    def age(self, column: str) -> str:
        """Write the seconds since a column's newest value, by the server's clock."""
        found = self._table.column(column)
        if found.type not in ("date", "datetime", "timestamp"):
            raise InvalidArgument(
                f"column {column!r} of {self.name} is {found.whole_type}: its age cannot be told, use dates or times"
            )
        # The session's time zone is UTC, so a TIMESTAMP reads as what UTC_TIMESTAMP() is.
        return f"TIMESTAMPDIFF(MICROSECOND, MAX(t.{quoted(column)}), UTC_TIMESTAMP(6)) / 1e6"
