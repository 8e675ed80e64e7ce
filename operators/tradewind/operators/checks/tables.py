"""Checks of a table's columns and of conditions on its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tradewind.hooks.compat import Context
from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.checks.base import SqlCheck, checked_name
from tradewind.operators.checks.comparing import Bounds

COLUMN_CHECKS = {
    "null_check": "SUM(CASE WHEN {column} IS NULL THEN 1 ELSE 0 END)",
    "distinct_check": "COUNT(DISTINCT {column})",
    "unique_check": "COUNT({column}) - COUNT(DISTINCT {column})",
    "min": "MIN({column})",
    "max": "MAX({column})",
}


class SqlColumnCheckOperator(SqlCheck):
    """Check columns of a table, all those of the same rows in one scan.

    :param table: the table
    :param column_mapping: what is checked of each column: ``{"id": {"null_check": {"equal_to": 0}, "min":
        {"geq_to": 1, "tolerance": 0.1}}}``. The checks are null_check, distinct_check, unique_check (how many values
        are there too often), min and max, each with ``equal_to``, ``greater_than``, ``geq_to``, ``less_than``,
        ``leq_to``, ``tolerance`` and a ``partition_clause`` of its own
    :param partition_clause: which rows count, as SQL for WHERE
    :param accept_none: whether NULL, which every check gives of no rows, counts as 0
    :param kwargs: see :class:`~tradewind.operators.checks.base.SqlCheck`
    """

    template_fields: Sequence[str] = ("table", "partition_clause", *SqlCheck.template_fields)

    def __init__(
        self,
        *,
        table: str,
        column_mapping: Mapping[str, Mapping[str, Mapping[str, Any]]],
        partition_clause: str | None = None,
        accept_none: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not column_mapping:
            raise InvalidArgument("column_mapping is empty: name a column and what is checked of it")
        self.table = table
        self.column_mapping = column_mapping
        self.partition_clause = partition_clause
        self.accept_none = accept_none
        for column, check, options in self._checks():
            checked_name(column, "column_mapping")
            if check not in COLUMN_CHECKS:
                raise InvalidArgument(f"column {column}: {check!r} is none of {', '.join(COLUMN_CHECKS)}")
            Bounds(options).check(f"column {column}, {check}")

    def execute(self, context: Context) -> None:
        """Ask once for each set of rows, and compare."""
        name = checked_name(self.table, "table")
        by_rows: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
        for column, check, options in self._checks():
            where = _where(self.partition_clause, options.get("partition_clause"))
            by_rows.setdefault(where, []).append((column, check, options))
        failures = []
        for where, checks in by_rows.items():
            wanted = ", ".join(COLUMN_CHECKS[check].format(column=column) for column, check, _ in checks)
            row = self.the_first(f"SELECT {wanted} FROM {name}{where}")  # noqa: S608 (names, and the author's own SQL)
            for (column, check, options), value in zip(checks, row, strict=True):
                seen = 0 if value is None and self.accept_none else value
                if not Bounds(options).hold(seen):
                    failures.append(f"{check} of {self.table}.{column} is {value}, not {Bounds(options)}{where}")
        if failures:
            self.fail(failures)

    def _checks(self) -> list[tuple[str, str, Mapping[str, Any]]]:
        return [
            (column, check, options)
            for column, checks in self.column_mapping.items()
            for check, options in checks.items()
        ]


class SqlTableCheckOperator(SqlCheck):
    """Check conditions on a table: of each row, or of an aggregate of all of them.

    A condition that is NULL does not hold, and where there are no rows none on a row does, unless ``accept_none``.

    :param table: the table
    :param checks: conditions by their names: ``{"whole": {"check_statement": "total = part_a + part_b"},
        "some": {"check_statement": "COUNT(*) >= 1000", "partition_clause": "day = '{{ ds }}'"}}``
    :param partition_clause: which rows count, as SQL for WHERE
    :param accept_none: whether a condition on a row holds where there are no rows
    :param kwargs: see :class:`~tradewind.operators.checks.base.SqlCheck`
    """

    template_fields: Sequence[str] = ("table", "checks", "partition_clause", *SqlCheck.template_fields)

    def __init__(
        self,
        *,
        table: str,
        checks: Mapping[str, Mapping[str, Any]],
        partition_clause: str | None = None,
        accept_none: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not checks:
            raise InvalidArgument("checks is empty: name a condition")
        for check, options in checks.items():
            if not options.get("check_statement"):
                raise InvalidArgument(f"check {check} has no check_statement: give its condition")
        self.table = table
        self.checks = checks
        self.partition_clause = partition_clause
        self.accept_none = accept_none

    def execute(self, context: Context) -> None:
        """Ask for each condition, and fail with all that do not hold."""
        name = checked_name(self.table, "table")
        failures = []
        for check, options in self.checks.items():
            condition, where = (
                options["check_statement"],
                _where(self.partition_clause, options.get("partition_clause")),
            )
            # A condition is of one row or of all: MIN takes an aggregate from below, in a query of one row.
            sql = (
                f"SELECT MIN(holds) FROM (SELECT CASE WHEN {condition} THEN 1 ELSE 0 END AS holds"  # noqa: S608 (the author's own SQL)
                f" FROM {name}{where}) AS checked"
            )
            held = self.the_first(sql)[0]
            if held is None and not self.accept_none:
                failures.append(
                    f"{check} has no row to look at in {self.table}{where}: accept_none=True lets that pass"
                )
            elif held is not None and not held:
                failures.append(f"{check} does not hold in {self.table}{where}: {condition}")
        if failures:
            self.fail(failures)


def _where(*clauses: str | None) -> str:
    given = [clause for clause in clauses if clause]
    if not given:
        return ""
    return " WHERE " + (given[0] if len(given) == 1 else " AND ".join(f"({clause})" for clause in given))


SQLColumnCheckOperator = SqlColumnCheckOperator
SQLTableCheckOperator = SqlTableCheckOperator
