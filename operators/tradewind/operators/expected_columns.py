"""What is expected of columns: they are found in the table, and rows that are wrong are shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.expecting import CheckedTable, Expectation, Of, check_of

EXAMPLES = 3
"""How many wrong rows a message shows."""

LONGEST = 60
"""Characters of a value in a message."""


class OnColumns(Expectation):
    """What is said of columns of the table, or of the rows of a load."""

    of: Of

    @property
    def of_load(self) -> bool:
        """Whether it looks at the rows of this load, and at no others."""
        return self.of == "load"

    def columns_of(self) -> tuple[str, ...]:
        """Return the columns, as they were written."""
        return tuple(self.columns)  # type: ignore[attr-defined]

    def check(self) -> None:
        """Refuse what is no column."""
        check_of(self, self.of)
        check_names(self, self.columns_of())

    def prepare(self, table: CheckedTable) -> None:
        """Find the columns."""
        found_columns(self, table)

    def check_table(self, table: CheckedTable) -> str | None:
        """Look at the rows."""
        return self._wrong(table, found_columns(self, table))

    @abstractmethod
    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        """Say what is wrong, the columns being as the table spells them."""


def found_columns(expectation: OnColumns, table: CheckedTable) -> tuple[str, ...]:
    """Return the columns of an expectation as the table spells them.

    :param expectation: what names them
    :param table: the table
    :raises InvalidArgument: where one is not there
    """
    try:
        return tuple(table.column(name) for name in expectation.columns_of())
    except InvalidArgument as error:
        raise InvalidArgument(f"{expectation!r}: {error}") from None


def column_of(table: CheckedTable, column: str) -> str:
    """Write a column of the rows that are looked at.

    :param table: the table
    :param column: the column as the table spells it
    """
    return f"t.{table.quoted(column)}"


def columns_listed(table: CheckedTable, columns: Sequence[str]) -> str:
    """Write columns with commas between them.

    :param table: the table
    :param columns: the columns as the table spells them
    """
    return ", ".join(column_of(table, name) for name in columns)


def all_valued(table: CheckedTable, columns: Sequence[str]) -> str:
    """Write the condition that none of the columns is NULL.

    :param table: the table
    :param columns: the columns as the table spells them
    """
    return " AND ".join(f"{column_of(table, name)} IS NOT NULL" for name in columns)


def example_rows(table: CheckedTable, condition: str) -> str:
    """Name some rows by the table's key, for a message.

    :param table: the table
    :param condition: what is wrong with them
    """
    if not table.key:
        return ""
    texts = ", ".join(table.text(name) for name in table.key)
    rows = table.query(f"SELECT {texts} FROM {table.sql} AS t WHERE {condition} LIMIT {EXAMPLES}")  # noqa: S608
    return f", as where ({', '.join(table.key)}) is {', '.join(shown_row(row) for row in rows)}" if rows else ""


def shown_row(values: Sequence[object]) -> str:
    """Show values in brackets, long ones cut.

    :param values: the values
    """
    texts = ["NULL" if value is None else str(value) for value in values]
    return f"({', '.join(text if len(text) <= LONGEST else text[:LONGEST] + '...' for text in texts)})"


def check_names(expectation: Expectation, names: Sequence[str]) -> None:
    """Refuse what names no columns.

    :param expectation: what names them
    :param names: the columns, as they were written
    :raises InvalidArgument: where there is none, one twice, or something else
    """
    if not names:
        raise InvalidArgument(f"{expectation!r} names no column: name one at least")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InvalidArgument(f"{expectation!r}: a column must be a text, not {name!r}")
    if len(set(names)) < len(names):
        raise InvalidArgument(f"{expectation!r} names a column twice")
