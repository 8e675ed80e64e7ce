"""Checks of what is in a database, as tasks, over the hook of any SQL service."""

from tradewind.operators.checks.operators import (
    SQLCheckOperator,
    SqlCheckOperator,
    SQLIntervalCheckOperator,
    SqlIntervalCheckOperator,
    SqlRowCountCheckOperator,
    SQLThresholdCheckOperator,
    SqlThresholdCheckOperator,
    SQLValueCheckOperator,
    SqlValueCheckOperator,
)
from tradewind.operators.checks.tables import (
    SQLColumnCheckOperator,
    SqlColumnCheckOperator,
    SQLTableCheckOperator,
    SqlTableCheckOperator,
)

__all__ = [
    "SQLCheckOperator",
    "SQLColumnCheckOperator",
    "SQLIntervalCheckOperator",
    "SQLTableCheckOperator",
    "SQLThresholdCheckOperator",
    "SQLValueCheckOperator",
    "SqlCheckOperator",
    "SqlColumnCheckOperator",
    "SqlIntervalCheckOperator",
    "SqlRowCountCheckOperator",
    "SqlTableCheckOperator",
    "SqlThresholdCheckOperator",
    "SqlValueCheckOperator",
]
