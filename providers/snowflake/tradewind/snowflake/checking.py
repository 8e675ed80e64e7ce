"""Expectations on a table in Snowflake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.tables.checked import LoadedTable
from tradewind.snowflake.catalog import Table
from tradewind.snowflake.names import TableName, quoted

if TYPE_CHECKING:
    from tradewind.operators.statements import Rules
    from tradewind.snowflake.session import SnowflakeSession


class Loaded(LoadedTable[Table]):
    """A table within its load's transaction.

    :param session: the load's connection
    :param table: the table
    :param key: the merge's key
    """

    rules: ClassVar[Rules] = "snowflake"

    def __init__(self, session: SnowflakeSession, table: Table, key: Sequence[str]) -> None:
        super().__init__(session, table, table.name.sql, key)

    def parse(self, text: str) -> TableName:
        """Read a name as the service does."""
        return TableName.parse(text)

    def quoted(self, column: str) -> str:
        """Quote a column."""
        return quoted(column)

    def text(self, column: str) -> str:
        """Write a column as a text, for messages."""
        return f"t.{quoted(column)}::VARCHAR"

    def exact(self, column: str) -> str:
        """Write a column so that texts equal only themselves: a collation may find others equal too."""
        of = f"t.{quoted(column)}"
        return f"TO_BINARY({of}, 'UTF-8')" if "COLLATE" in self._table.column(column).whole_type else of

    def age(self, column: str) -> str:
        """Write the seconds since a column's newest value, by the service's clock."""
        found, of = self._table.column(column), f"MAX(t.{quoted(column)})"
        if found.type in ("TIMESTAMP_LTZ", "TIMESTAMP_TZ"):
            return f"TIMESTAMPDIFF(MICROSECOND, {of}, CURRENT_TIMESTAMP()) / 1e6"
        if found.type in ("TIMESTAMP_NTZ", "DATE"):
            return f"TIMESTAMPDIFF(MICROSECOND, {of}::TIMESTAMP_NTZ, SYSDATE()) / 1e6"
        raise InvalidArgument(
            f"column {column!r} of {self.name} is {found.whole_type}: its age cannot be told, use dates or times"
        )
