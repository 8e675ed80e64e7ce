"""The table that expectations look at, in the transaction that has loaded it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.names import shown
from tradewind.operators.tables.columns import Table, find_column

if TYPE_CHECKING:
    from tradewind.operators.statements import Rules

T = TypeVar("T", bound=Table)

_KEY_COLUMNS = 3


class Queries(Protocol):
    """The load's connection."""

    def query(self, statement: str, parameters: Any = None, /) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""


class Name(Protocol):
    """A name in SQL, parsed."""

    @property
    def sql(self) -> str:
        """The name, quoted."""

    @property
    def schema(self) -> str | None:
        """What stands before the dot."""


class LoadedTable(ABC, Generic[T]):
    """A table within its load's transaction: what differs between databases is left to each.

    :param session: the load's connection
    :param table: what the catalog says about it
    :param sql: its name, quoted
    :param key: the merge's key, which names rows in messages; else that of the shortest unique index
    """

    rules: ClassVar[Rules]

    def __init__(self, session: Queries, table: T, sql: str, key: Sequence[str]) -> None:
        self._session = session
        self._table = table
        self.sql = sql
        self._given: tuple[str, ...] | None = None
        self.key = tuple(self.column(name) for name in key) or self._index() or self._first()

    def staged(self, stage: str, columns: Sequence[str] | None) -> Self:
        """Return the rows of this load alone, before they are written into the table.

        :param stage: the temporary table that holds them, quoted
        :param columns: its columns, None for no rows at all
        """
        rows = copy.copy(self)
        rows.sql = f"(SELECT * FROM {self.sql} WHERE FALSE)"  # noqa: S608 (quoted)
        if columns is not None:
            rows.sql = f"(SELECT {', '.join(map(self.quoted, columns))} FROM {stage})"  # noqa: S608 (quoted)
            rows.key = tuple(name for name in self.key if name in columns) or tuple(columns[:_KEY_COLUMNS])
            rows._given = tuple(columns)
        return rows

    @abstractmethod
    def parse(self, text: str) -> Name:
        """Read a name as the server does."""

    @abstractmethod
    def quoted(self, column: str) -> str:
        """Quote a column."""

    @abstractmethod
    def text(self, column: str) -> str:
        """Write a column as a text, for messages."""

    @abstractmethod
    def exact(self, column: str) -> str:
        """Write a column so that texts equal only themselves."""

    @abstractmethod
    def age(self, column: str) -> str:
        """Write the seconds since a column's newest value, by the server's clock.

        :raises InvalidArgument: where it holds no dates or times
        """

    @property
    def name(self) -> str:
        """Its name, for messages."""
        return str(self._table.name)

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query; a percent sign in it is doubled where there are values."""
        return self._session.query(statement, list(values) or None)

    def column(self, name: str) -> str:
        """Return a column as the table spells it: exactly, else whatever the case."""
        found = find_column(name, self._table)
        if self._given is not None and found not in self._given:
            raise InvalidArgument(f"this load gives column {found!r} no value: it has {shown(self._given)}")
        return found

    def reference(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Read ``schema.table(column, ...)``; return the table and its columns, quoted."""
        from tradewind.operators.expectations import split_reference

        table, columns = split_reference(text)
        parsed = [self.parse(column) for column in columns]
        for column, name in zip(columns, parsed, strict=True):
            if name.schema is not None:
                raise InvalidArgument(f"references: {column!r} is no column: write the table before the bracket")
        return self.parse(table).sql, tuple(name.sql for name in parsed)

    def is_unique(self, columns: Sequence[str]) -> bool:
        """Say whether an index keeps the columns unique."""
        return any(index <= frozenset(columns) for index in self._table.unique)

    def _index(self) -> tuple[str, ...]:
        shortest = min(self._table.unique, key=lambda index: (len(index), sorted(index)), default=frozenset())
        return tuple(column.name for column in self._table.columns if column.name in shortest)

    def _first(self) -> tuple[str, ...]:
        return tuple(column.name for column in self._table.columns[:_KEY_COLUMNS])
