"""The checks, with the arguments that Airflow's SQL checks have had since 1.10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from tradewind.hooks.compat import Context
from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.checks.base import SqlCheck, checked_name
from tradewind.operators.checks.comparing import Bounds, number, within
from tradewind.operators.templates import templated

Sql = str | int | float | Decimal


class SqlCheckOperator(SqlCheck):
    """Fail unless the first row of a query is there and each of its values is true: no NULL, 0, false or empty text.

    :param sql: a query, or the name of a ``.sql`` file
    :param parameters: values to bind
    :param kwargs: see :class:`~tradewind.operators.checks.base.SqlCheck`
    """

    template_fields: Sequence[str] = ("sql", "parameters", *SqlCheck.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}

    def __init__(self, *, sql: str, parameters: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.parameters = parameters

    def execute(self, context: Context) -> None:
        """Ask, and fail where a value is not true."""
        row = self.the_first(self.sql)
        wrong = [f"value {place} is {value!r}" for place, value in enumerate(row, 1) if not value]
        if wrong:
            self.fail([f"{', '.join(wrong)}: {' '.join(self.sql.split())}"])


class SqlValueCheckOperator(SqlCheckOperator):
    """Fail unless each value of the first row is the expected one.

    :param pass_value: a number or a text
    :param tolerance: the share of ``pass_value`` by which numbers may differ, as 0.1
    :param kwargs: see :class:`SqlCheckOperator`
    """

    template_fields: Sequence[str] = ("pass_value", *SqlCheckOperator.template_fields)

    def __init__(self, *, pass_value: Any, tolerance: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pass_value = pass_value
        self.tolerance = tolerance
        if tolerance is not None:
            Bounds({"equal_to": pass_value, "tolerance": tolerance}).check("pass_value")

    def execute(self, context: Context) -> None:
        """Ask, and compare."""
        row = self.the_first(self.sql)
        expected = f"{self.pass_value}" + (f" (tolerance {self.tolerance})" if self.tolerance else "")
        if self.tolerance and number(self.pass_value) is None:
            raise InvalidArgument(f"pass_value {self.pass_value!r} is no number, so tolerance means nothing to it")
        wrong = [value for value in row if not within(value, self.pass_value, self.tolerance)]
        if wrong:
            self.fail([f"{wrong[0]!r} is not {expected}: {' '.join(self.sql.split())}"])


class SqlThresholdCheckOperator(SqlCheckOperator):
    """Fail unless the first value of a query lies between two thresholds, themselves included.

    :param min_threshold: a number, or a query for one
    :param max_threshold: likewise
    :param kwargs: see :class:`SqlCheckOperator`
    """

    template_fields: Sequence[str] = ("min_threshold", "max_threshold", *SqlCheckOperator.template_fields)

    def __init__(self, *, min_threshold: Sql, max_threshold: Sql, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_threshold = min_threshold
        self.max_threshold = max_threshold

    def execute(self, context: Context) -> None:
        """Ask for the value and the thresholds, and compare."""
        value = self.the_first(self.sql)[0]
        low, high = self._threshold(self.min_threshold), self._threshold(self.max_threshold)
        seen = number(value)
        if seen is None or not low <= seen <= high:
            self.fail([f"{value!r} is not between {low} and {high}: {' '.join(self.sql.split())}"])

    def _threshold(self, given: Sql) -> Decimal:
        found = number(given)
        if found is None:
            answer = self.the_first(str(given))[0]
            found = number(answer)
            if found is None:
                self.fail([f"the threshold is {answer!r}, no number: {' '.join(str(given).split())}"])
        return found


class SqlIntervalCheckOperator(SqlCheck):
    """Fail where a metric of a day differs too much from the one some days before.

    :param table: the table
    :param metrics_thresholds: SQL expressions, each with the ratio that its two values may have at most
    :param date_filter_column: the column with the days
    :param days_back: how many days lie between the two, in either sign
    :param ratio_formula: ``max_over_min``, or ``relative_diff``: the difference over the older one
    :param ignore_zero: whether a metric that is 0, or NULL for want of rows, on one of the days is let pass
    :param kwargs: see :class:`~tradewind.operators.checks.base.SqlCheck`
    """

    template_fields: Sequence[str] = ("table", "sql1", "sql2", *SqlCheck.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql1": "sql", "sql2": "sql"}

    def __init__(
        self,
        *,
        table: str,
        metrics_thresholds: Mapping[str, Any],
        date_filter_column: str = "ds",
        days_back: int = -7,
        ratio_formula: str = "max_over_min",
        ignore_zero: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if ratio_formula not in ("max_over_min", "relative_diff"):
            raise InvalidArgument(f"ratio_formula must be max_over_min or relative_diff, not {ratio_formula!r}")
        if not metrics_thresholds:
            raise InvalidArgument("metrics_thresholds is empty: name a metric and the ratio that it may reach")
        self.table = table
        self.metrics_thresholds = dict(sorted(metrics_thresholds.items()))
        self.date_filter_column = checked_name(date_filter_column, "date_filter_column")
        self.days_back = -abs(days_back)
        self.ratio_formula = ratio_formula
        self.ignore_zero = ignore_zero
        if not templated(table):
            checked_name(table, "table")
        query = f"SELECT {', '.join(self.metrics_thresholds)} FROM {table} WHERE {self.date_filter_column}"  # noqa: S608 (the author's own SQL)
        self.sql1 = f"{query} = '{{{{ ds }}}}'"
        self.sql2 = f"{query} = '{{{{ macros.ds_add(ds, {self.days_back}) }}}}'"

    def execute(self, context: Context) -> None:
        """Ask for both days, and compare."""
        before, now = self.the_first(self.sql2), self.the_first(self.sql1)
        failures = []
        for (metric, limit), old, new in zip(self.metrics_thresholds.items(), before, now, strict=True):
            told = self._compare(number(new), number(old), number(limit))
            if told:
                failures.append(f"{metric} went from {old} to {new}: {told}")
        if failures:
            self.fail(failures)

    def _compare(self, new: Decimal | None, old: Decimal | None, limit: Decimal | None) -> str:
        """Return what is wrong, nothing where all is right."""
        if not new or not old:
            return "" if self.ignore_zero else "one of them is 0 or NULL"
        if self.ratio_formula == "relative_diff":
            ratio = abs(new - old) / abs(old)
        else:
            low, high = sorted((abs(new), abs(old)))
            ratio = high / low if (new > 0) == (old > 0) else Decimal("inf")
        return "" if limit is not None and ratio < limit else f"{self.ratio_formula} is {ratio:.4g}, not below {limit}"


class SqlRowCountCheckOperator(SqlCheck):
    """Fail unless a table has so many rows.

    :param table: the table
    :param min_rows: how many at least
    :param max_rows: how many at most, None for no bound
    :param partition_clause: which rows count, as SQL for WHERE
    :param kwargs: see :class:`~tradewind.operators.checks.base.SqlCheck`
    """

    template_fields: Sequence[str] = ("table", "partition_clause", *SqlCheck.template_fields)

    def __init__(
        self,
        *,
        table: str,
        min_rows: int = 1,
        max_rows: int | None = None,
        partition_clause: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min_rows < 0 or (max_rows is not None and max_rows < min_rows):
            raise InvalidArgument(f"min_rows and max_rows: nothing has {min_rows} to {max_rows} rows")
        self.table = table
        self.min_rows = min_rows
        self.max_rows = max_rows
        self.partition_clause = partition_clause

    def execute(self, context: Context) -> int:
        """Count, and return how many there are."""
        where = f" WHERE {self.partition_clause}" if self.partition_clause else ""
        name = checked_name(self.table, "table")
        found = int(self.the_first(f"SELECT COUNT(*) FROM {name}{where}")[0])  # noqa: S608 (a name, and the author's own SQL)
        if found < self.min_rows or (self.max_rows is not None and found > self.max_rows):
            most = f" to {self.max_rows:,}" if self.max_rows is not None else " or more"
            self.fail([f"{self.table}{where} has {found:,} rows, not {self.min_rows:,}{most}"])
        return found


# As Airflow's users know them: moving a DAG changes its import lines and nothing else.
SQLCheckOperator = SqlCheckOperator
SQLValueCheckOperator = SqlValueCheckOperator
SQLThresholdCheckOperator = SqlThresholdCheckOperator
SQLIntervalCheckOperator = SqlIntervalCheckOperator
