"""What an expectation is, what it sees of a table, and how a load runs those that it was given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from tradewind.hooks.errors import DataError, InvalidArgument

if TYPE_CHECKING:
    from tradewind.operators.statements import Rules

Of = Literal["load", "table"]
"""Which rows are looked at: those of this load, or all of the target."""


class CheckedTable(Protocol):
    """A table that was loaded, as the load's own transaction sees it."""

    @property
    def name(self) -> str:
        """Its name, for messages."""

    @property
    def sql(self) -> str:
        """What stands for its rows after FROM: its name, quoted, or a query in brackets."""

    @property
    def rules(self) -> Rules:
        """Whose rules its SQL is written by."""

    @property
    def key(self) -> Sequence[str]:
        """The columns that name a row in a message."""

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query; a percent sign in it is doubled where there are values."""

    def column(self, name: str) -> str:
        """Return a column as the table spells it."""

    def quoted(self, column: str) -> str:
        """Quote a column."""

    def text(self, column: str) -> str:
        """Write a column as a text, for messages."""

    def exact(self, column: str) -> str:
        """Write a column so that texts equal only themselves."""

    def age(self, column: str) -> str:
        """Write the seconds since a column's newest value, by the server's clock.

        :raises InvalidArgument: where it holds no dates or times
        """

    def reference(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Read ``schema.table(column, ...)``; return the table and its columns, quoted."""

    def is_unique(self, columns: Sequence[str]) -> bool:
        """Say whether an index keeps the columns unique."""


class Expectation(ABC):
    """Something that must hold before a load is committed."""

    template_fields: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def describe(self) -> str:
        """Name the expectation as it is written."""

    @abstractmethod
    def check(self) -> None:
        """Refuse what cannot work; templates may not be rendered yet.

        :raises InvalidArgument: with what, which and what instead
        """

    def check_result(self, rows: int) -> str | None:
        """Say what is wrong with a load by its count alone, None where nothing is."""
        return None

    def prepare(self, table: CheckedTable) -> None:  # noqa: B027 (a count needs nothing)
        """Find the columns, before the load has taken its time.

        :raises InvalidArgument: where the table has none of that name
        """

    def check_table(self, table: CheckedTable) -> str | None:
        """Say what is wrong with the table, None where nothing is."""
        return None

    def names(self) -> tuple[str, ...]:
        """Return names that must be good SQL."""
        return ()

    @property
    def of_load(self) -> bool:
        """Whether it looks at the rows of this load, and at no others."""
        return False

    @property
    def needs_table(self) -> bool:
        """Whether it looks at a table: a file has none."""
        return True

    def __repr__(self) -> str:
        return self.describe()

    def serialize(self) -> str:
        """Show this expectation in Airflow's UI, where rendered templates are listed."""
        return self.describe()


def check_of(expectation: Expectation, of: object) -> None:
    """Refuse what says of no rows.

    :param expectation: what says it
    :param of: what it says
    :raises InvalidArgument: where it is neither ``load`` nor ``table``
    """
    if of not in ("load", "table"):
        raise InvalidArgument(f"{expectation!r}: of must be 'load' or 'table', not {of!r}")


def shown_of(of: object) -> str:
    """Write the argument ``of`` where it is not left out.

    :param of: which rows
    """
    return "" if of == "table" else f", of={of!r}"


def verify(
    expectations: Sequence[Expectation],
    rows: int,
    table: CheckedTable | None,
    name: str,
    looked_at: str | None = None,
) -> None:
    """Look at each expectation, before the commit.

    :param expectations: what must hold
    :param rows: the rows of the load
    :param table: the table, None for a file
    :param name: the target, for messages
    :param looked_at: what they look at, where it is not all of the target
    :raises DataError: which names every one that fails
    """
    found = []
    for expectation in expectations:
        wrong = expectation.check_result(rows)
        if wrong is None and table is not None:
            wrong = expectation.check_table(table)
        if wrong is not None:
            found.append(f"{expectation!r}: {wrong}")
    if found:
        raise DataError(
            f"{len(found)} of {len(expectations)} expectations on {looked_at or name} fail, nothing is committed: "
            + " | ".join(found),
            source=name,
        )


def as_expectations(given: Expectation | Sequence[Expectation] | None) -> tuple[Expectation, ...]:
    """Return what an author gave as a tuple.

    :param given: an expectation, or several
    :raises InvalidArgument: where one is none
    """
    if given is None:
        return ()
    found = (given,) if isinstance(given, Expectation) else tuple(given)
    for one in found:
        if not isinstance(one, Expectation):
            raise InvalidArgument(f"expect must hold expectations, as RowCount(min=1), not {one!r}")
    return found
