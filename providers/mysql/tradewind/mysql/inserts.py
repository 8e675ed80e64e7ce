"""Rows of Python into a table, many to a statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.mysql.names import TableName, listed
from tradewind.mysql.values import literal

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

# How long a statement may get: far below the server's max_allowed_packet (16 MB or more), long enough to be fast.
_MOST_BYTES = 1 << 20
_MOST_ROWS = 10_000


@dataclass(frozen=True)
class InsertPlan:
    """How rows get into a table.

    :param table: the table
    :param columns: the columns the rows hold, none for all
    :param replace: whether a row replaces one of the same key
    """

    table: TableName
    columns: tuple[str, ...] = ()
    replace: bool = False

    @classmethod
    def make(cls, table: str, columns: Sequence[str] | None, replace: bool) -> InsertPlan:
        """Check the arguments of ``insert_rows``.

        :raises InvalidArgument: where the name of the table is none
        """
        if isinstance(columns, str):
            raise InvalidArgument(f"target_fields must be a list of columns, not the text {columns!r}")
        return cls(TableName.parse(table), tuple(columns or ()), replace)

    @property
    def head(self) -> str:
        """The statement up to its rows."""
        columns = f" ({listed(self.columns)})" if self.columns else ""
        return f"{'REPLACE' if self.replace else 'INSERT'} INTO {self.table.sql}{columns} VALUES "  # noqa: S608 (quoted)

    def insert(self, session: MySqlSession, rows: Iterable[Sequence[Any]], commit_every: int = 0) -> int:
        """Insert rows in the session's transaction.

        :param session: the session
        :param rows: the rows, read once
        :param commit_every: how many rows to a transaction, 0 for all of them
        :return: the rows written
        """
        total, head = 0, self.head
        for chunk in _chunks(_literals(session, rows, len(self.columns)), commit_every):
            try:
                session.execute(head + ",".join(chunk))
            except DataError as error:
                # The server counts the rows of a statement; a person counts those given.
                if error.line is None or not total:
                    raise
                where = f"row {error.line + total:,} of those given"
                raise DataError(
                    f"{where}: {error}", line=error.line + total, column=error.column, value=error.value
                ) from error
            total += len(chunk)
            if commit_every and total % commit_every == 0:
                session.commit()
        return total


def _literals(session: MySqlSession, rows: Iterable[Sequence[Any]], wanted: int) -> Iterator[str]:
    backslashes = session.backslashes
    for number, row in enumerate(rows, 1):
        wanted = wanted or len(row)
        if len(row) != wanted:
            raise DataError(f"row {number} has {len(row)} values, {wanted} are expected", line=number)
        try:
            values = ",".join(literal(value, backslashes=backslashes, nested=False) for value in row)
        except DataError as error:
            raise DataError(f"row {number}: {error}", line=number, value=error.value) from error
        yield f"({values})"


def _chunks(rows: Iterable[str], commit_every: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for number, row in enumerate(rows, 1):
        chunk.append(row)
        size += len(row)
        full = size >= _MOST_BYTES or len(chunk) >= _MOST_ROWS
        if full or (commit_every and number % commit_every == 0):
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
