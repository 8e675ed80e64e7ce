"""What must hold after a load, checked within its transaction: nothing is committed where one of them fails.

An expectation is declared in a DAG (templated, cheap), and looks at the whole target table once the rows are in it, the
rows of other loads included::

    CopyOperator(..., expect=[RowCount(min=1), Unique("carrier", "flight"), NotNull("time_hour")])

One that was loaded before is not checked again: it held when it was committed. What other transactions commit at the
same time is seen only as far as READ COMMITTED goes: against them, nothing but an index keeps keys unique.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.expecting import CheckedTable, Expectation
from tradewind.operators.statements import split
from tradewind.operators.templates import templated

EXAMPLES = 3
_LONGEST = 60


class RowCount(Expectation):
    """So many rows: those of this load, or all of the table.

    :param min: how many at least
    :param max: how many at most
    :param of: ``load`` counts the records that were written or found equal, ``table`` all rows of the target
    """

    template_fields = ("min", "max")

    def __init__(
        self, *, min: int | str | None = None, max: int | str | None = None, of: Literal["load", "table"] = "load"
    ) -> None:
        self.min = min
        self.max = max
        self.of = of

    @property
    def needs_table(self) -> bool:
        """Whether it counts the table's rows."""
        return self.of == "table"

    def describe(self) -> str:
        """Name the bounds."""
        given = {"min": self.min, "max": self.max, "of": None if self.of == "load" else self.of}
        return f"RowCount({', '.join(f'{name}={value!r}' for name, value in given.items() if value is not None)})"

    def check(self) -> None:
        """Refuse bounds that are none."""
        if self.of not in ("load", "table"):
            raise InvalidArgument(f"{self!r}: of must be 'load' or 'table', not {self.of!r}")
        if self.min is None and self.max is None:
            raise InvalidArgument("RowCount() bounds nothing: give min= or max=")
        low, high = (_number(self, name) for name in ("min", "max"))
        if low is not None and high is not None and low > high:
            raise InvalidArgument(f"{self!r}: min is more than max")

    def check_result(self, rows: int) -> str | None:
        """Compare the rows of the load."""
        return None if self.needs_table else self._wrong(rows, "loaded")

    def check_table(self, table: CheckedTable) -> str | None:
        """Count the table's rows."""
        if not self.needs_table:
            return None
        return self._wrong(table.query(f"SELECT COUNT(*) FROM {table.sql}")[0][0], "in the table")  # noqa: S608

    def _wrong(self, rows: int, where: str) -> str | None:
        low, high = (_number(self, name) for name in ("min", "max"))
        if (low is None or rows >= low) and (high is None or rows <= high):
            return None
        return f"{rows:,} rows are {where}"


class _OnColumns(Expectation):
    """What is said of columns of the table."""

    def columns_of(self) -> tuple[str, ...]:
        """Return the columns, as they were written."""
        return tuple(self.columns)  # type: ignore[attr-defined]

    def check(self) -> None:
        """Refuse what is no column."""
        _check_names(self, self.columns_of())

    def prepare(self, table: CheckedTable) -> None:
        """Find the columns."""
        _found(self, table)

    def check_table(self, table: CheckedTable) -> str | None:
        """Look at the rows."""
        return self._wrong(table, _found(self, table))

    @abstractmethod
    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        """Say what is wrong, the columns being as the table spells them."""


class Unique(_OnColumns):
    """No two rows have the same values in these columns; rows with a NULL there do not count, as in a unique index.

    :param columns: the columns
    """

    template_fields = ("columns",)

    def __init__(self, *columns: str) -> None:
        self.columns = columns

    def describe(self) -> str:
        """Name the columns."""
        return f"Unique({', '.join(map(repr, self.columns))})"

    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        if table.is_unique(columns):
            return None
        given, texts = _listed(table, columns), ", ".join(table.text(name) for name in columns)
        rows = table.query(
            f"SELECT {texts}, COUNT(*), COUNT(*) OVER () FROM {table.sql} AS t WHERE {_not_null(table, columns)} "  # noqa: S608
            f"GROUP BY {given} HAVING COUNT(*) > 1 LIMIT {EXAMPLES}"
        )
        if not rows:
            return None
        examples = "; ".join(f"{_shown(row[:-2])} {row[-2]} times" for row in rows)
        return f"{rows[0][-1]:,} of them stand more than once: {examples}"


class NotNull(_OnColumns):
    """These columns have a value in every row.

    :param columns: the columns
    """

    template_fields = ("columns",)

    def __init__(self, *columns: str) -> None:
        self.columns = columns

    def describe(self) -> str:
        """Name the columns."""
        return f"NotNull({', '.join(map(repr, self.columns))})"

    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        counts = ", ".join(f"COUNT(*) - COUNT({_of(table, name)})" for name in columns)
        [found] = table.query(f"SELECT {counts} FROM {table.sql} AS t")  # noqa: S608
        wrong = [
            f"{name} is NULL in {count:,} rows{_examples(table, f'{_of(table, name)} IS NULL')}"
            for name, count in zip(columns, found, strict=True)
            if count
        ]
        return ", ".join(wrong) or None


class ForeignKey(_OnColumns):
    """What stands in these columns stands in another table too; rows with a NULL there do not count.

    :param columns: the columns
    :param references: where the values must be, as ``staging.carriers(code)``
    """

    template_fields = ("columns", "references")

    def __init__(self, columns: str | Sequence[str], *, references: str) -> None:
        self.columns = columns
        self.references = references

    def describe(self) -> str:
        """Name both sides."""
        return f"ForeignKey({self.columns!r}, references={self.references!r})"

    def columns_of(self) -> tuple[str, ...]:
        """Return the columns, as they were written."""
        return (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)

    def check(self) -> None:
        """Refuse what is no pair of columns."""
        super().check()
        if not isinstance(self.references, str):
            raise InvalidArgument(f"{self!r}: references must be a text, as 'staging.carriers(code)'")
        if templated(self.references):
            return
        _, columns = split_reference(self.references)
        if len(columns) != len(self.columns_of()):
            raise InvalidArgument(
                f"{self!r}: {len(self.columns_of())} columns cannot reference {len(columns)}: name one for each"
            )

    def names(self) -> tuple[str, ...]:
        """Return the names of what is referenced."""
        if templated(self.references):
            return ()
        table, columns = split_reference(self.references)
        return (table, *columns)

    def prepare(self, table: CheckedTable) -> None:
        """Find both sides."""
        super().prepare(table)
        other, theirs = table.reference(self.references)
        table.query(f"SELECT {', '.join(theirs)} FROM {other} LIMIT 0")  # noqa: S608

    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        other, theirs = table.reference(self.references)
        same = " AND ".join(f"r.{their} = {_of(table, our)}" for our, their in zip(columns, theirs, strict=True))
        texts = ", ".join(table.text(name) for name in columns)
        rows = table.query(
            f"SELECT {texts}, COUNT(*), SUM(COUNT(*)) OVER () FROM {table.sql} AS t WHERE {_not_null(table, columns)} "  # noqa: S608
            f"AND NOT EXISTS (SELECT 1 FROM {other} AS r WHERE {same}) "
            f"GROUP BY {_listed(table, columns)} LIMIT {EXAMPLES}"
        )
        if not rows:
            return None
        examples = "; ".join(f"{_shown(row[:-2])} in {row[-2]:,} rows" for row in rows)
        return f"{int(rows[0][-1]):,} rows reference nothing: {examples}"


class Freshness(_OnColumns):
    """The newest value of a column is at most so old.

    It is compared with the clock of the database's server. Times without a zone are taken for UTC, and a date begins at
    its midnight in UTC. A column without any value is not fresh.

    :param column: dates or times
    :param within: how old it may be
    """

    template_fields = ("column",)

    def __init__(self, column: str, *, within: timedelta) -> None:
        self.column = column
        self.within = within

    def describe(self) -> str:
        """Name the column and its age."""
        return f"Freshness({self.column!r}, within={self.within!r})"

    def columns_of(self) -> tuple[str, ...]:
        """Return the column."""
        return (self.column,)

    def check(self) -> None:
        """Refuse what is no column, or no duration."""
        super().check()
        if not isinstance(self.within, timedelta) or self.within <= timedelta():
            raise InvalidArgument(f"{self!r}: within must be a timedelta of more than nothing")

    def prepare(self, table: CheckedTable) -> None:
        """Find the column, and see that it holds times."""
        [column] = _found(self, table)
        table.age(column)

    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        [(seconds,)] = table.query(f"SELECT {table.age(columns[0])} FROM {table.sql} AS t")  # noqa: S608
        if seconds is None:
            return "no row has a value there"
        age = timedelta(seconds=float(seconds))
        return None if age <= self.within else f"the newest value is {age} old"


class Values(_OnColumns):
    """A column holds no other values than these; NULL does not count.

    :param column: the column
    :param in_: the values that it may hold
    """

    template_fields = ("column", "in_")

    def __init__(self, column: str, *, in_: Sequence[object] | str) -> None:
        self.column = column
        self.in_ = in_

    def describe(self) -> str:
        """Name the column and the values."""
        shown = repr(self.in_)
        return f"Values({self.column!r}, in_={shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...'})"

    def columns_of(self) -> tuple[str, ...]:
        """Return the column."""
        return (self.column,)

    def check(self) -> None:
        """Refuse what is no list of values."""
        super().check()
        if templated(self.in_):
            return
        if isinstance(self.in_, str) or not isinstance(self.in_, Sequence) or not self.in_ or None in self.in_:
            raise InvalidArgument(f"{self!r}: in_ must be a list of values, one at least and no None: see NotNull")

    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        of, text = _of(table, columns[0]), table.text(columns[0])
        outside = f"{table.exact(columns[0])} NOT IN "
        statement = (
            f"SELECT {text}, COUNT(*), SUM(COUNT(*)) OVER () FROM {table.sql} AS t WHERE {of} IS NOT NULL AND {outside}"  # noqa: S608
        )
        marks = ", ".join(["%s"] * len(self.in_))
        rows = table.query(f"{statement.replace('%', '%%')}({marks}) GROUP BY 1 LIMIT {EXAMPLES}", list(self.in_))
        if not rows:
            return None
        examples = "; ".join(f"{_shown(row[:1])} in {row[1]:,} rows" for row in rows)
        return f"{int(rows[0][-1]):,} rows hold something else: {examples}"


class Check(Expectation):
    """A query of your own, which gives the rows that should not be there: none, where all is well.

    It runs as a part of another query, so that it can write nothing and end nothing.

    :param sql: one SELECT, its columns' names all different
    :param name: what it is about, for the message
    """

    template_fields = ("sql", "name")

    def __init__(self, sql: str, *, name: str | None = None) -> None:
        self.sql = sql
        self.name = name

    def describe(self) -> str:
        """Name the query."""
        return f"Check({self.name or ' '.join(str(self.sql).split())[:_LONGEST]!r})"

    def check(self) -> None:
        """Refuse what is no query."""
        if not isinstance(self.sql, str) or not self._query():
            raise InvalidArgument(f"Check needs a query, as Check('SELECT ...'), not {self.sql!r}")

    def prepare(self, table: CheckedTable) -> None:
        """Have the server read the query."""
        if len(split(self.sql, table.rules)) != 1:
            raise InvalidArgument(f"{self!r} must be one SELECT, not several statements")
        table.query(f"SELECT * FROM (\n{self._query()}\n) AS q LIMIT 0")  # noqa: S608

    def check_table(self, table: CheckedTable) -> str | None:
        """Run the query."""
        rows = table.query(f"SELECT q.*, COUNT(*) OVER () FROM (\n{self._query()}\n) AS q LIMIT {EXAMPLES}")  # noqa: S608
        if not rows:
            return None
        return f"{rows[0][-1]:,} rows should not be there: {'; '.join(_shown(row[:-1]) for row in rows)}"

    def _query(self) -> str:
        return self.sql.strip().rstrip(";").rstrip()


def split_reference(text: str) -> tuple[str, list[str]]:
    """Cut ``schema.table(column, ...)`` in two; the names stay as they are written.

    :param text: what is referenced
    :raises InvalidArgument: where it is no such text
    """
    table, bracket, rest = text.rpartition("(")
    columns = [part.strip() for part in rest.rstrip().removesuffix(")").split(",")]
    if not bracket or not rest.rstrip().endswith(")") or not table.strip() or not all(columns):
        raise InvalidArgument(f"references must be a table and its columns, as 'staging.carriers(code)', not {text!r}")
    return table.strip(), columns


def _found(expectation: _OnColumns, table: CheckedTable) -> tuple[str, ...]:
    try:
        return tuple(table.column(name) for name in expectation.columns_of())
    except InvalidArgument as error:
        raise InvalidArgument(f"{expectation!r}: {error}") from None


def _of(table: CheckedTable, column: str) -> str:
    return f"t.{table.quoted(column)}"


def _listed(table: CheckedTable, columns: Sequence[str]) -> str:
    return ", ".join(_of(table, name) for name in columns)


def _not_null(table: CheckedTable, columns: Sequence[str]) -> str:
    return " AND ".join(f"{_of(table, name)} IS NOT NULL" for name in columns)


def _examples(table: CheckedTable, condition: str) -> str:
    if not table.key:
        return ""
    texts = ", ".join(table.text(name) for name in table.key)
    rows = table.query(f"SELECT {texts} FROM {table.sql} AS t WHERE {condition} LIMIT {EXAMPLES}")  # noqa: S608
    return f", as where ({', '.join(table.key)}) is {', '.join(_shown(row) for row in rows)}" if rows else ""


def _shown(values: Sequence[object]) -> str:
    texts = ["NULL" if value is None else str(value) for value in values]
    return f"({', '.join(text if len(text) <= _LONGEST else text[:_LONGEST] + '...' for text in texts)})"


def _number(expectation: RowCount, name: str) -> int | None:
    value = getattr(expectation, name)
    if value is None or templated(value):
        return None
    try:
        number = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else -1
    except ValueError:
        number = -1
    if number < 0:
        raise InvalidArgument(f"{expectation!r}: {name} must be a whole number from 0 on, not {value!r}")
    return number


def _check_names(expectation: Expectation, names: Sequence[str]) -> None:
    if not names:
        raise InvalidArgument(f"{expectation!r} names no column: name one at least")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InvalidArgument(f"{expectation!r}: a column must be a text, not {name!r}")
    if len(set(names)) < len(names):
        raise InvalidArgument(f"{expectation!r} names a column twice")
