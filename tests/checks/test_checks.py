"""Checks over the hooks of real servers: what passes, what fails, on empty tables, NULLs and Decimals too."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.fix_mysql import Address, MySqlDatabase
from tests.stage import WAREHOUSE, Stage
from tradewind.hooks.errors import DataError, InvalidArgument, TransientError
from tradewind.operators.checks import (
    SqlCheckOperator,
    SqlColumnCheckOperator,
    SqlIntervalCheckOperator,
    SqlRowCountCheckOperator,
    SqlTableCheckOperator,
    SqlThresholdCheckOperator,
    SqlValueCheckOperator,
)
from tradewind.operators.checks.comparing import Bounds, within

Check = Callable[..., Any]

TABLE = """
CREATE TABLE sales (id int, day date, amount numeric(12,2), name varchar(20));
INSERT INTO sales VALUES (1, '2025-12-26', 10.10, 'a'), (2, '2026-01-02', 20.20, 'b'), (3, '2026-01-02', NULL, NULL);
CREATE TABLE nothing (id int, day date, amount numeric(12,2), name varchar(20))
"""


@pytest.fixture(scope="module", params=["postgres", "mysql"])
def conn_id(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a connection to a database with a table of three rows and one without any; checks only read."""
    with pytest.MonkeyPatch.context() as environment:
        yield from (
            _on_postgres(request, environment) if request.param == "postgres" else _on_mysql(request, environment)
        )


def _on_postgres(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> Iterator[str]:
    stage: Stage = request.getfixturevalue("stage")
    connection = stage.connect()
    connection.cursor().execute(TABLE)
    connection.close()
    for name, value in stage.connections().items():
        environment.setenv(name, value)
    yield WAREHOUSE


def _on_mysql(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> Iterator[str]:
    address: Address = request.getfixturevalue("mysql_address")
    database = MySqlDatabase(address, f"test_{secrets.token_hex(6)}", "checked")
    address.query(f"CREATE DATABASE {database.name}")
    for statement in TABLE.split(";"):
        database.query(statement)
    environment.setenv("AIRFLOW_CONN_CHECKED", json.dumps(database.connection()))
    yield database.conn_id
    address.query(f"DROP DATABASE {database.name}")


@pytest.fixture
def check(conn_id: str, context: Callable[..., Any]) -> Check:
    """Return a function that runs a check."""

    def run(kind: type[Any], **given: Any) -> Any:
        operator = kind(task_id="check", conn_id=conn_id, **given)
        made = context(operator)
        operator.render_template_fields(made)
        return operator.execute(made)

    return run


PASSING: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "true values": (SqlCheckOperator, {"sql": "SELECT COUNT(*), MAX(name), MAX(amount) FROM sales"}),
    "a bound value": (SqlCheckOperator, {"sql": "SELECT id FROM sales WHERE name = %s", "parameters": ("a",)}),
    "a decimal": (SqlValueCheckOperator, {"sql": "SELECT SUM(amount) FROM sales", "pass_value": 30.3}),
    "a decimal, roughly": (
        SqlValueCheckOperator,
        {"sql": "SELECT SUM(amount) FROM sales", "pass_value": "30", "tolerance": 0.01},
    ),
    "below zero, roughly": (SqlValueCheckOperator, {"sql": "SELECT -10.5", "pass_value": -10, "tolerance": 0.1}),
    "a text": (SqlValueCheckOperator, {"sql": "SELECT MIN(name) FROM sales", "pass_value": "a"}),
    "between numbers": (
        SqlThresholdCheckOperator,
        {"sql": "SELECT SUM(amount) FROM sales", "min_threshold": 30.3, "max_threshold": "40"},
    ),
    "between queries": (
        SqlThresholdCheckOperator,
        {
            "sql": "SELECT COUNT(*) FROM sales",
            "min_threshold": "SELECT 1.5",
            "max_threshold": "SELECT COUNT(*) FROM sales",
        },
    ),
    "a week before": (
        SqlIntervalCheckOperator,
        {"table": "sales", "date_filter_column": "day", "metrics_thresholds": {"COUNT(*)": 2.1, "SUM(amount)": 2.1}},
    ),
    "a week before, of nothing": (
        SqlIntervalCheckOperator,
        {"table": "nothing", "date_filter_column": "day", "metrics_thresholds": {"COUNT(*)": 2, "SUM(amount)": 2}},
    ),
    "rows": (SqlRowCountCheckOperator, {"table": "sales", "min_rows": 2, "max_rows": 3}),
    "rows of a day": (
        SqlRowCountCheckOperator,
        {"table": "sales", "partition_clause": "day = '{{ ds }}'", "min_rows": 2, "max_rows": 2},
    ),
    "no rows": (SqlRowCountCheckOperator, {"table": "nothing", "min_rows": 0, "max_rows": 0}),
    "columns": (
        SqlColumnCheckOperator,
        {
            "table": "sales",
            "column_mapping": {
                "id": {
                    "null_check": {"equal_to": 0},
                    "unique_check": {"equal_to": 0},
                    "distinct_check": {"geq_to": 3},
                    "min": {"geq_to": 1, "leq_to": 2},
                },
                "amount": {"max": {"less_than": 20.3, "greater_than": 20}, "null_check": {"equal_to": 1}},
                "day": {"max": {"equal_to": "2026-01-02"}, "min": {"geq_to": date(2025, 12, 26)}},
            },
        },
    ),
    "columns of some rows": (
        SqlColumnCheckOperator,
        {
            "table": "sales",
            "partition_clause": "id > 1",
            "column_mapping": {
                "amount": {
                    "null_check": {"equal_to": 0, "partition_clause": "name IS NOT NULL"},
                    "min": {"geq_to": 22, "tolerance": 0.1},
                }
            },
        },
    ),
    "columns of no rows": (
        SqlColumnCheckOperator,
        {"table": "nothing", "column_mapping": {"id": {"null_check": {"equal_to": 0}, "max": {"leq_to": 0}}}},
    ),
    "conditions": (
        SqlTableCheckOperator,
        {
            "table": "sales",
            "checks": {
                "each": {"check_statement": "id > 0"},
                "all": {"check_statement": "COUNT(*) = 2", "partition_clause": "day = '{{ ds }}'"},
            },
        },
    ),
    "conditions of no rows": (
        SqlTableCheckOperator,
        {"table": "nothing", "accept_none": True, "checks": {"x": {"check_statement": "id > 0"}}},
    ),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_is_as_expected_passes(check: Check, name: str) -> None:
    kind, given = PASSING[name]
    check(kind, **given)


FAILING: dict[str, tuple[type[Any], dict[str, Any], str]] = {
    "no row": (SqlCheckOperator, {"sql": "SELECT id FROM nothing"}, "no row came of: SELECT id FROM nothing"),
    "NULL": (SqlCheckOperator, {"sql": "SELECT 1, MAX(id) FROM nothing"}, "value 2 is None"),
    "a zero": (SqlCheckOperator, {"sql": "SELECT COUNT(*) FROM nothing"}, "value 1 is 0"),
    "a sum of nothing": (
        SqlValueCheckOperator,
        {"sql": "SELECT SUM(amount) FROM nothing", "pass_value": 0, "tolerance": 0.1},
        r"None is not 0 \(tolerance 0.1\)",
    ),
    "a decimal": (SqlValueCheckOperator, {"sql": "SELECT SUM(amount) FROM sales", "pass_value": 30}, "is not 30"),
    "too far": (
        SqlValueCheckOperator,
        {"sql": "SELECT -12", "pass_value": -10, "tolerance": 0.1},
        r"-12 is not -10 \(tolerance 0.1\)",
    ),
    "above": (
        SqlThresholdCheckOperator,
        {"sql": "SELECT SUM(amount) FROM sales", "min_threshold": 0, "max_threshold": 30.2},
        "is not between 0 and 30.2",
    ),
    "no value": (
        SqlThresholdCheckOperator,
        {"sql": "SELECT MAX(id) FROM nothing", "min_threshold": 0, "max_threshold": 1},
        "None is not between 0 and 1",
    ),
    "no threshold": (
        SqlThresholdCheckOperator,
        {"sql": "SELECT 1", "min_threshold": "SELECT MAX(id) FROM nothing", "max_threshold": 1},
        "the threshold is None, no number",
    ),
    "twice as many": (
        SqlIntervalCheckOperator,
        {"table": "sales", "date_filter_column": "day", "metrics_thresholds": {"COUNT(*)": 1.5}},
        r"COUNT\(\*\) went from 1 to 2: max_over_min is 2, not below 1.5",
    ),
    "the difference": (
        SqlIntervalCheckOperator,
        {
            "table": "sales",
            "date_filter_column": "day",
            "metrics_thresholds": {"SUM(amount)": 0.9},
            "ratio_formula": "relative_diff",
        },
        r"SUM\(amount\) went from 10.10 to 20.20: relative_diff is 1, not below 0.9",
    ),
    "nothing, not ignored": (
        SqlIntervalCheckOperator,
        {
            "table": "nothing",
            "date_filter_column": "day",
            "metrics_thresholds": {"SUM(amount)": 2},
            "ignore_zero": False,
        },
        "one of them is 0 or NULL",
    ),
    "too few": (SqlRowCountCheckOperator, {"table": "nothing"}, "nothing has 0 rows, not 1 or more"),
    "two columns": (
        SqlColumnCheckOperator,
        {
            "table": "sales",
            "column_mapping": {"name": {"null_check": {"equal_to": 0}}, "id": {"max": {"less_than": 3}}},
        },
        "2 checks failed: null_check of sales.name is 1, not = 0; max of sales.id is 3, not < 3",
    ),
    "columns of no rows": (
        SqlColumnCheckOperator,
        {"table": "nothing", "accept_none": False, "column_mapping": {"id": {"max": {"leq_to": 0}}}},
        "max of nothing.id is None, not <= 0",
    ),
    "a condition that is NULL": (
        SqlTableCheckOperator,
        {"table": "sales", "checks": {"paid": {"check_statement": "amount > 0"}}},
        "paid does not hold in sales: amount > 0",
    ),
    "a condition on rows that are not there": (
        SqlTableCheckOperator,
        {"table": "nothing", "checks": {"x": {"check_statement": "id > 0"}}},
        "x has no row to look at in nothing: accept_none=True lets that pass",
    ),
    "an aggregate": (
        SqlTableCheckOperator,
        {"table": "nothing", "checks": {"some": {"check_statement": "COUNT(*) > 0"}}},
        "some does not hold in nothing",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_is_not_as_expected_fails(check: Check, name: str) -> None:
    kind, given, says = FAILING[name]
    with pytest.raises(TransientError, match=says):
        check(kind, **given)
    with pytest.raises(DataError, match=says):
        check(kind, retry_on_failure=False, **given)


def test_a_name_that_would_be_sql_is_refused(check: Check) -> None:
    with pytest.raises(InvalidArgument, match="is no name"):
        check(SqlRowCountCheckOperator, table="sales; DROP TABLE sales")


def test_a_count_is_the_result(check: Check) -> None:
    assert check(SqlRowCountCheckOperator, table="sales") == 3


REFUSED: dict[str, tuple[type[Any], dict[str, Any], str]] = {
    "no connection": (SqlCheckOperator, {"sql": "SELECT 1", "conn_id": None}, "conn_id is missing"),
    "an unknown check": (
        SqlColumnCheckOperator,
        {"table": "t", "column_mapping": {"a": {"mean": {"equal_to": 1}}}},
        "'mean' is none of null_check",
    ),
    "no bounds": (SqlColumnCheckOperator, {"table": "t", "column_mapping": {"a": {"min": {}}}}, "give one of equal_to"),
    "two lower bounds": (
        SqlColumnCheckOperator,
        {"table": "t", "column_mapping": {"a": {"min": {"geq_to": 1, "greater_than": 1}}}},
        "give greater_than or geq_to, not both",
    ),
    "an equal beside": (
        SqlColumnCheckOperator,
        {"table": "t", "column_mapping": {"a": {"min": {"equal_to": 1, "leq_to": 1}}}},
        "equal_to stands alone",
    ),
    "nothing between": (
        SqlColumnCheckOperator,
        {"table": "t", "column_mapping": {"a": {"min": {"geq_to": 1, "less_than": 1}}}},
        "nothing is >= 1 and < 1",
    ),
    "a column that is SQL": (
        SqlColumnCheckOperator,
        {"table": "t", "column_mapping": {"a) FROM t; --": {"min": {"equal_to": 1}}}},
        "is no name",
    ),
    "no condition": (SqlTableCheckOperator, {"table": "t", "checks": {"a": {}}}, "has no check_statement"),
    "a wrong formula": (
        SqlIntervalCheckOperator,
        {"table": "t", "metrics_thresholds": {"a": 1}, "ratio_formula": "x"},
        "max_over_min or relative_diff",
    ),
    "rows below none": (SqlRowCountCheckOperator, {"table": "t", "min_rows": 2, "max_rows": 1}, "nothing has 2 to 1"),
    "a tolerance below none": (
        SqlValueCheckOperator,
        {"sql": "SELECT 1", "pass_value": 1, "tolerance": -0.1},
        "tolerance must be 0 or more",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(name: str) -> None:
    kind, given, says = REFUSED[name]
    with pytest.raises(InvalidArgument, match=says):
        kind(**{"task_id": "check", "conn_id": "c", **given})


@pytest.mark.parametrize(
    ("value", "expected", "tolerance", "is_within"),
    [
        (Decimal("0.3"), 0.3, None, True),
        (0.1 + 0.2, 0.3, None, False),
        (Decimal("110"), "100", "0.1", True),
        (Decimal("110.0001"), "100", "0.1", False),
        (float("nan"), 1, 10, False),
        (None, 0, 1, False),
        (None, "None", None, False),
        (True, 1, None, True),
        ("x", "x", None, True),
    ],
)
def test_numbers_are_compared_exactly(value: Any, expected: Any, tolerance: Any, is_within: bool) -> None:
    assert within(value, expected, tolerance) is is_within


def test_bounds_that_are_days_are_compared_as_days() -> None:
    assert Bounds({"geq_to": "2026-01-01"}).hold(date(2026, 1, 1))
    assert not Bounds({"greater_than": date(2026, 1, 1)}).hold(date(2026, 1, 1))
    with pytest.raises(InvalidArgument, match="cannot be compared"):
        Bounds({"geq_to": 1}).hold(object())
