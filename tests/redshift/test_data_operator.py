"""SQL through the Data API: what it gives back, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.fix_postgres import Database
from tests.redshift.data_api import DataApi
from tradewind.amazon.redshift.data import RedshiftDataHook
from tradewind.amazon.redshift.operators import RedshiftDataOperator
from tradewind.hooks.compat import AirflowTaskTimeout, defers_by_default
from tradewind.hooks.errors import AccessDenied, ConnectionFailed, InvalidArgument, PermanentError, TransientError

Make = Callable[..., RedshiftDataOperator]
MakeContext = Callable[..., Any]


@pytest.mark.parametrize(("option", "expected"), [(None, True), ("True", True), ("False", False)])
def test_it_defers_unless_somebody_has_said_no(
    option: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", raising=False)
    if option is not None:
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", option)
    given: dict[str, Any] = {"sql": "SELECT 1", "cluster_identifier": "sales", "database": "dev"}
    defers_by_default.cache_clear()
    try:
        assert RedshiftDataOperator(task_id="by_default", **given).deferrable is expected
        assert RedshiftDataOperator(task_id="said", deferrable=not expected, **given).deferrable is not expected
    finally:
        defers_by_default.cache_clear()


def test_the_ids_are_the_result_unless_rows_are_asked_for(operator: Make, context: MakeContext, api: DataApi) -> None:
    task = operator("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); SELECT count(*) FROM t")
    ids = task.execute(context(task))

    assert [each["sqls"] for each in api.journal()] == [
        ["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (2)", "SELECT count(*) FROM t"]
    ]
    assert ids == [f"{api.journal()[0]['id']}:{number}" for number in (1, 2, 3)]


def test_rows_come_with_their_types_and_from_all_pages(operator: Make, context: MakeContext) -> None:
    task = operator(
        "SELECT n, n / 8.0::numeric(10,3) AS part, date '2026-01-01' + n, timestamp '2026-01-01 10:00:00.5',"
        " timestamptz '2026-01-01 10:00:00+00', n > 1, n::float8, CASE WHEN n > 1 THEN 'x' END,"
        " '{\"a\": [1]}'::jsonb FROM generate_series(1, 250) AS g(n) ORDER BY g.n",
        return_sql_result=True,
    )
    rows = task.execute(context(task))

    assert [row[0] for row in rows] == list(range(1, 251))
    assert rows[0][1:] == [
        Decimal("0.12500000000000000000"),
        date(2026, 1, 2),
        datetime(2026, 1, 1, 10, 0, 0, 500_000),
        datetime(2026, 1, 1, 10, tzinfo=UTC),
        False,
        1.0,
        None,
        {"a": [1]},
    ]


def test_values_are_bound(operator: Make, context: MakeContext) -> None:
    hostile = "x'; DROP TABLE t; --"
    task = operator(
        "SELECT :text::text, :day::date + 1, :number::int * 2, :yes::boolean",
        parameters={"text": hostile, "day": date(2026, 1, 1), "number": 21, "yes": True},
        return_sql_result=True,
    )
    assert task.execute(context(task)) == [[hostile, date(2026, 1, 2), 42, True]]
    task = operator("SELECT :a::int", parameters=[{"name": "a", "value": "7"}], return_sql_result=True)
    assert task.execute(context(task)) == [[7]]


def test_several_statements_are_one_transaction(operator: Make, context: MakeContext, database: Database) -> None:
    task = operator(["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)", "INSERT INTO nowhere VALUES (1)"])
    with pytest.raises(PermanentError, match='failed: relation "nowhere" does not exist'):
        task.execute(context(task))

    assert database.query("SELECT to_regclass('t')") == [(None,)]


def test_a_list_gives_a_list_of_results(operator: Make, context: MakeContext) -> None:
    task = operator(["SELECT 1", "CREATE TABLE t (id int)", "SELECT 2"], return_sql_result=True)

    assert task.execute(context(task)) == [[[1]], None, [[2]]]


def test_too_many_rows_are_no_xcom(operator: Make, context: MakeContext) -> None:
    task = operator("SELECT generate_series(1, 11)", return_sql_result=True, max_rows=10)
    with pytest.raises(InvalidArgument, match=r"the result has 11 rows, more than max_rows=10"):
        task.execute(context(task))


def test_what_passes_is_tried_again(operator: Make, context: MakeContext, database: Database) -> None:
    task = operator("DO $$ BEGIN RAISE 'Serializable isolation violation on table - 1023'; END $$")
    with pytest.raises(ConnectionFailed, match="Serializable isolation violation"):
        task.execute(context(task))


def test_a_right_that_is_missing_is_named(operator: Make, context: MakeContext, api: DataApi) -> None:
    api.denied.add("ListStatements")
    task = operator("SELECT 1")
    with pytest.raises(AccessDenied, match="redshift-data:ListStatements"):
        task.execute(context(task))
    assert api.journal() == []


def test_the_session_is_an_xcom(operator: Make, context: MakeContext, api: DataApi) -> None:
    task = operator("SELECT 1", session_keep_alive_seconds=60)
    made = context(task)
    task.execute(made)
    session = made["ti"].xcom_pull(key="session_id")
    later = operator("SELECT 2", session_id=session, return_sql_result=True)

    assert later.execute(context(later)) == [[2]]
    assert api.statements[api.journal()[1]["id"]].request["SessionId"] == session


def test_a_statement_that_takes_too_long_is_stopped(operator: Make, context: MakeContext, api: DataApi) -> None:
    from datetime import timedelta

    task = operator("SELECT pg_sleep(60)", execution_timeout=timedelta(seconds=1))
    with pytest.raises(AirflowTaskTimeout, match="took longer than 1 s, and was stopped"):
        task.execute(context(task))
    assert [each["status"] for each in api.journal()] == ["ABORTED"]


def test_somebody_else_s_cancel_is_tried_again(
    operator: Make, context: MakeContext, api: DataApi, hook: RedshiftDataHook
) -> None:
    def cancel(operation: str, request: Any) -> None:
        if operation == "DescribeStatement":
            running = api.statements[request["Id"]]
            if not running.ended:
                api.cancel({"Id": running.id})

    api.before = cancel
    task = operator("SELECT pg_sleep(60)")
    with pytest.raises(TransientError, match="was cancelled in the service, not by this task"):
        task.execute(context(task))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no SQL": ({"sql": " "}, "sql is empty"),
    "no warehouse": ({"cluster_identifier": None}, "none of them"),
    "two warehouses": ({"workgroup_name": "w"}, "not cluster_identifier and workgroup_name"),
    "no database": ({"database": None}, "database is missing"),
    "two users": ({"secret_arn": "arn:x"}, "db_user or secret_arn, not both"),
    "no pause": ({"poll_interval": 0}, "poll_interval must be above 0"),
    "a session of two days": ({"session_keep_alive_seconds": 172_800}, "must be 0 to 86400"),
    "no rows at all": ({"max_rows": 0}, "max_rows must be at least 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(operator: Make, case: str) -> None:
    given, says = REFUSED[case]
    with pytest.raises(InvalidArgument, match=says):
        operator(**{"sql": "SELECT 1", **given})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sql": "SELECT :a", "parameters": {"a": None}}, "cannot bind NULL"),
        ({"sql": "SELECT :a", "parameters": {"a": ""}}, "cannot bind an empty text"),
        ({"sql": "SELECT :a", "parameters": [{"a": 1}]}, "give a dict of values"),
        ({"sql": "-- nothing"}, "holds no statement"),
        ({"sql": ["SELECT 1"] * 41}, "41 statements, the Data API takes 40"),
        ({"sql": "SELECT '" + "x" * 100_000 + "'"}, "has 100,009 bytes, the Data API takes 100,000"),
    ],
)
def test_what_the_service_cannot_take_is_refused_before_it_is_asked(
    operator: Make, context: MakeContext, api: DataApi, given: dict[str, Any], says: str
) -> None:
    task = operator(**given)
    with pytest.raises(InvalidArgument, match=says):
        task.execute(context(task))
    assert api.journal() == []
