"""Expectations on a table in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.libpq.names import TableName, quoted
from tradewind.operators.tables.checked import LoadedTable
from tradewind.postgres.catalog import Table

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession
    from tradewind.operators.statements import Rules


class Loaded(LoadedTable[Table]):
    """A table within its load's transaction.

    :param session: the load's connection
    :param table: the table
    :param key: the merge's key
    """

    rules: ClassVar[Rules] = "postgres"

    def __init__(self, session: LibpqSession, table: Table, key: Sequence[str]) -> None:
        super().__init__(session, table, table.name.sql, key)

    def parse(self, text: str) -> TableName:
        """Read a name as the server does."""
        return TableName.parse(text)

    def quoted(self, column: str) -> str:
        """Quote a column."""
        return quoted(column)

    def text(self, column: str) -> str:
        """Write a column as a text, for messages."""
        return f"t.{quoted(column)}::text"

    def exact(self, column: str) -> str:
        """Write a column so that texts equal only themselves."""
        return f"t.{quoted(column)}"

    def age(self, column: str) -> str:
        """Write the seconds since a column's newest value, by the server's clock."""
        kind, of = self._table.column(column).type, f"t.{quoted(column)}"
        newest = f"max({of}) FILTER (WHERE isfinite({of}))"
        if kind.startswith("timestamp") and kind.endswith("with time zone"):
            return f"extract(epoch FROM clock_timestamp() - {newest})"
        if kind.startswith("timestamp") or kind == "date":
            return f"extract(epoch FROM clock_timestamp() AT TIME ZONE 'UTC' - {newest})"
        raise InvalidArgument(f"column {column!r} of {self.name} is {kind}: its age cannot be told, use dates or times")
