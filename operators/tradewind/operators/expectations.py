"""What must hold after a load, checked within its transaction: nothing is committed where one of them fails.

An expectation is declared in a DAG (templated, cheap), and looks at the whole target table once the rows are in it, the
rows of other loads included::

    CopyOperator(..., expect=[RowCount(min=1), Unique("carrier", "flight"), NotNull("time_hour")])

``of="load"`` looks at the rows of this load alone, and costs as much as they do. An append then goes by a temporary
table, as a merge always does: the rows are looked at there, before they are written (and before the table's triggers
and defaults), all files must have the same columns, and no bad record can be set aside. A replace leaves no other rows
in the table, which is looked at itself. ::

    CopyOperator(..., expect=[NotNull("code", of="load"), Check("SELECT * FROM loaded WHERE delay < -60", of="load")])

One that was loaded before is not checked again: it held when it was committed. What other transactions commit at the
same time is seen only as far as READ COMMITTED goes: against them, nothing but an index keeps keys unique.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.expected_columns import (
    EXAMPLES,
    LONGEST,
    OnColumns,
    all_valued,
    column_of,
    columns_listed,
    example_rows,
    found_columns,
    shown_row,
)
from tradewind.operators.expecting import CheckedTable, Expectation, Of, check_of, shown_of
from tradewind.operators.statements import split
from tradewind.operators.templates import templated


class RowCount(Expectation):
    """So many rows: those of this load, or all of the table.

    :param min: how many at least
    :param max: how many at most
    :param of: ``load`` counts the records that were written or found equal, ``table`` all rows of the target
    """

    template_fields = ("min", "max")

    def __init__(self, *, min: int | str | None = None, max: int | str | None = None, of: Of = "load") -> None:
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
        check_of(self, self.of)
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


class Unique(OnColumns):
    """No two rows have the same values in these columns; rows with a NULL there do not count, as in a unique index.

    :param columns: the columns
    :param of: ``table`` looks at all rows of the target, ``load`` at those of this load alone
    """

    template_fields = ("columns",)

    def __init__(self, *columns: str, of: Of = "table") -> None:
        self.columns = columns
        self.of = of

    def describe(self) -> str:
        """Name the columns."""
        return f"Unique({', '.join(map(repr, self.columns))}{shown_of(self.of)})"

    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        if table.is_unique(columns):
            return None
        given, texts = columns_listed(table, columns), ", ".join(table.text(name) for name in columns)
        rows = table.query(
            f"SELECT {texts}, COUNT(*), COUNT(*) OVER () FROM {table.sql} AS t WHERE {all_valued(table, columns)} "  # noqa: S608
            f"GROUP BY {given} HAVING COUNT(*) > 1 LIMIT {EXAMPLES}"
        )
        if not rows:
            return None
        examples = "; ".join(f"{shown_row(row[:-2])} {row[-2]} times" for row in rows)
        return f"{rows[0][-1]:,} of them stand more than once: {examples}"


class NotNull(OnColumns):
    """These columns have a value in every row.

    :param columns: the columns
    :param of: ``table`` looks at all rows of the target, ``load`` at those of this load alone
    """

    template_fields = ("columns",)

    def __init__(self, *columns: str, of: Of = "table") -> None:
        self.columns = columns
        self.of = of

    def describe(self) -> str:
        """Name the columns."""
        return f"NotNull({', '.join(map(repr, self.columns))}{shown_of(self.of)})"

    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        counts = ", ".join(f"COUNT(*) - COUNT({column_of(table, name)})" for name in columns)
        [found] = table.query(f"SELECT {counts} FROM {table.sql} AS t")  # noqa: S608
        wrong = [
            f"{name} is NULL in {count:,} rows{example_rows(table, f'{column_of(table, name)} IS NULL')}"
            for name, count in zip(columns, found, strict=True)
            if count
        ]
        return ", ".join(wrong) or None


class ForeignKey(OnColumns):
    """What stands in these columns stands in another table too; rows with a NULL there do not count.

    :param columns: the columns
    :param references: where the values must be, as ``staging.carriers(code)``
    :param of: ``table`` looks at all rows of the target, ``load`` at those of this load alone
    """

    template_fields = ("columns", "references")

    def __init__(self, columns: str | Sequence[str], *, references: str, of: Of = "table") -> None:
        self.columns = columns
        self.references = references
        self.of = of

    def describe(self) -> str:
        """Name both sides."""
        return f"ForeignKey({self.columns!r}, references={self.references!r}{shown_of(self.of)})"

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
        same = " AND ".join(f"r.{their} = {column_of(table, our)}" for our, their in zip(columns, theirs, strict=True))
        texts = ", ".join(table.text(name) for name in columns)
        rows = table.query(
            f"SELECT {texts}, COUNT(*), SUM(COUNT(*)) OVER () FROM {table.sql} AS t WHERE {all_valued(table, columns)} "  # noqa: S608
            f"AND NOT EXISTS (SELECT 1 FROM {other} AS r WHERE {same}) "
            f"GROUP BY {columns_listed(table, columns)} LIMIT {EXAMPLES}"
        )
        if not rows:
            return None
        examples = "; ".join(f"{shown_row(row[:-2])} in {row[-2]:,} rows" for row in rows)
        return f"{int(rows[0][-1]):,} rows reference nothing: {examples}"


class Freshness(OnColumns):
    """The newest value of a column is at most so old.

    It is compared with the clock of the database's server. Times without a zone are taken for UTC, and a date begins at
    its midnight in UTC. A column without any value is not fresh.

    :param column: dates or times
    :param within: how old it may be
    :param of: ``table`` looks at all rows of the target, ``load`` at those of this load alone
    """

    template_fields = ("column",)

    def __init__(self, column: str, *, within: timedelta, of: Of = "table") -> None:
        self.column = column
        self.within = within
        self.of = of

    def describe(self) -> str:
        """Name the column and its age."""
        return f"Freshness({self.column!r}, within={self.within!r}{shown_of(self.of)})"

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
        [column] = found_columns(self, table)
        table.age(column)

    def _wrong(self, table: CheckedTable, columns: tuple[str, ...]) -> str | None:
        [(seconds,)] = table.query(f"SELECT {table.age(columns[0])} FROM {table.sql} AS t")  # noqa: S608
        if seconds is None:
            return "no row has a value there"
        age = timedelta(seconds=float(seconds))
        return None if age <= self.within else f"the newest value is {age} old"


class Values(OnColumns):
    """A column holds no other values than these; NULL does not count.

    :param column: the column
    :param in_: the values that it may hold
    :param of: ``table`` looks at all rows of the target, ``load`` at those of this load alone
    """

    template_fields = ("column", "in_")

    def __init__(self, column: str, *, in_: Sequence[object] | str, of: Of = "table") -> None:
        self.column = column
        self.in_ = in_
        self.of = of

    def describe(self) -> str:
        """Name the column and the values."""
        shown = repr(self.in_)
        shown = shown if len(shown) <= LONGEST else shown[:LONGEST] + "..."
        return f"Values({self.column!r}, in_={shown}{shown_of(self.of)})"

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
        of, text = column_of(table, columns[0]), table.text(columns[0])
        outside = f"{table.exact(columns[0])} NOT IN "
        statement = (
            f"SELECT {text}, COUNT(*), SUM(COUNT(*)) OVER () FROM {table.sql} AS t WHERE {of} IS NOT NULL AND {outside}"  # noqa: S608
        )
        marks = ", ".join(["%s"] * len(self.in_))
        rows = table.query(f"{statement.replace('%', '%%')}({marks}) GROUP BY 1 LIMIT {EXAMPLES}", list(self.in_))
        if not rows:
            return None
        examples = "; ".join(f"{shown_row(row[:1])} in {row[1]:,} rows" for row in rows)
        return f"{int(rows[0][-1]):,} rows hold something else: {examples}"


class Check(Expectation):
    """A query of your own, which gives the rows that should not be there: none, where all is well.

    It runs as a part of another query, so that it can write nothing and end nothing.

    :param sql: one SELECT, its columns' names all different
    :param name: what it is about, for the message
    :param of: with ``load`` the query finds the rows of this load, and no others, in a table ``loaded``; the target's
        own table is then as it was before them, but for a replace
    """

    template_fields = ("sql", "name")

    def __init__(self, sql: str, *, name: str | None = None, of: Of = "table") -> None:
        self.sql = sql
        self.name = name
        self.of = of

    @property
    def of_load(self) -> bool:
        """Whether it looks at the rows of this load, and at no others."""
        return self.of == "load"

    def describe(self) -> str:
        """Name the query."""
        return f"Check({self.name or ' '.join(str(self.sql).split())[:LONGEST]!r}{shown_of(self.of)})"

    def check(self) -> None:
        """Refuse what is no query."""
        check_of(self, self.of)
        if not isinstance(self.sql, str) or not self._query():
            raise InvalidArgument(f"Check needs a query, as Check('SELECT ...'), not {self.sql!r}")

    def prepare(self, table: CheckedTable) -> None:
        """Have the server read the query."""
        if len(split(self.sql, table.rules)) != 1:
            raise InvalidArgument(f"{self!r} must be one SELECT, not several statements")
        table.query(f"{self._loaded(table)}SELECT * FROM (\n{self._query()}\n) AS q LIMIT 0")  # noqa: S608

    def check_table(self, table: CheckedTable) -> str | None:
        """Run the query."""
        rows = table.query(
            f"{self._loaded(table)}SELECT q.*, COUNT(*) OVER () FROM (\n{self._query()}\n) AS q LIMIT {EXAMPLES}"  # noqa: S608
        )
        if not rows:
            return None
        return f"{rows[0][-1]:,} rows should not be there: {'; '.join(shown_row(row[:-1]) for row in rows)}"

    def _loaded(self, table: CheckedTable) -> str:
        return f"WITH loaded AS (SELECT * FROM {table.sql} AS t) " if self.of_load else ""  # noqa: S608

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
