"""SQL in Snowflake: what it gives back, how values are bound, and what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tradewind.hooks.compat import AirflowTaskTimeout
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, TransientError
from tradewind.operators.checks import SqlColumnCheckOperator, SqlRowCountCheckOperator, SqlValueCheckOperator
from tradewind.snowflake.operators import SnowflakeOperator

Make = Callable[..., SnowflakeOperator]
MakeContext = Callable[..., Any]


def mine(database: SnowflakeDatabase, text: str) -> list[dict[str, Any]]:
    return [each for each in database.server.jobs() if text in each["sql"]]


def test_rows_come_with_their_types(operator: Make, context: MakeContext) -> None:
    task = operator("SELECT 1 AS i, 0.125::NUMBER(10,3) AS n, 'x' AS t, '2026-01-02'::DATE AS d, NULL AS none")

    assert task.execute(context(task)) == [(1, Decimal("0.125"), "x", dt.date(2026, 1, 2), None)]


def test_a_text_of_several_is_one_request_in_one_session(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase
) -> None:
    task = operator("CREATE TEMPORARY TABLE one (i INT); INSERT INTO one VALUES (1), (2); SELECT SUM(i) FROM one -- ;")

    made = context(task)
    assert task.execute(made) == [(3,)]
    [job] = mine(snowflake_database, "CREATE TEMPORARY TABLE one")
    assert (job["type"], len(job["children"])) == ("MULTI_STATEMENT", 3)
    assert made["ti"].xcom_pull(key="query_ids") == job["children"]


def test_which_results_there_are(operator: Make, context: MakeContext) -> None:
    text = "SELECT 1; SELECT 2"
    cases: list[tuple[Any, dict[str, Any], Any]] = [
        (text, {}, [(2,)]),
        (text, {"return_last": False}, [[(1,)], [(2,)]]),
        (text, {"return_last": False, "split_statements": False}, [(2,)]),
        ([text, "SELECT 3"], {}, [[(2,)], [(3,)]]),
        (["SELECT 1"], {}, [[(1,)]]),
        ("SELECT 5", {"return_last": False}, [(5,)]),
        (text, {"handler": lambda cursor: [column[0] for column in cursor.description]}, ["2"]),
        (text, {"do_xcom_push": False}, None),
    ]
    for sql, given, wanted in cases:
        task = operator(sql, **given)
        assert task.execute(context(task, run_id=str((sql, given)))) == wanted, (sql, given)


def test_without_autocommit_several_are_one_transaction(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase
) -> None:
    snowflake_database.query("CREATE TABLE t (i INT)")
    task = operator(["INSERT INTO t VALUES (1)", "INSERT INTO nowhere VALUES (1)"], autocommit=False)
    with pytest.raises(NotFound, match="NOWHERE does not exist"):
        task.execute(context(task))
    assert snowflake_database.query("SELECT * FROM t") == []
    assert not any(job["left_open"] for job in mine(snowflake_database, "INSERT INTO nowhere"))

    task = operator("INSERT INTO t VALUES (1); SELECT COUNT(*) FROM t", autocommit=False)
    assert task.execute(context(task)) == [(1,)]
    assert snowflake_database.query("SELECT * FROM t") == [(1,)]


def test_values_are_bound_by_the_service(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase
) -> None:
    hostile = "x'); DROP TABLE t; -- \\'"
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)
    values = {"t": hostile, "d": moment.date(), "n": 42, "p": Decimal("1.50"), "yes": True, "at": moment, "none": None}
    task = operator(
        "SELECT %(t)s AS t, %(d)s AS d, %(n)s + 1 AS n, %(p)s AS p, %(yes)s AS y, CAST(%(at)s AS TIMESTAMP_NTZ) AS a,"
        " %(none)s AS none, 'as 100 %% %(t)s' AS plain",
        parameters=values,
    )

    [row] = task.execute(context(task))
    assert row == (hostile, moment.date(), 43, Decimal("1.50"), True, moment, None, "as 100 % %(t)s")
    assert not any("DROP" in job["sql"] for job in snowflake_database.server.jobs())


def test_values_go_through_several_statements(operator: Make, context: MakeContext) -> None:
    task = operator("SELECT %s, %s; SELECT 7; SELECT %s || %s", parameters=["a", "b"], return_last=False)
    assert task.execute(context(task)) == [[("a", "b")], [(7,)], [("ab",)]]

    task = operator("SELECT 1 WHERE 2 IN %(some)s", parameters={"some": [1, 2, 3]})
    assert task.execute(context(task)) == [(1,)]

    bindings = {"1": {"type": "FIXED", "value": "4"}, "2": {"type": "TEXT", "value": "z"}}
    task = operator("SELECT ? + 1; SELECT ?", bindings=bindings, return_last=False)
    assert task.execute(context(task)) == [[(5,)], [("z",)]]


def test_templates_and_files(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase, tmp_path: Path
) -> None:
    task = operator("SELECT '{{ ds }}', CURRENT_WAREHOUSE()", warehouse="w_{{ ds_nodash }}")
    assert task.execute(context(task, render=True)) == [("2026-01-02", "W_20260102")]


def test_where_it_runs_and_what_people_read(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase
) -> None:
    given = {"warehouse": "big", "role": "analyst", "query_tag": "nightly", "session_parameters": {"TIMEZONE": "UTC"}}
    task = operator("SELECT CURRENT_WAREHOUSE(), CURRENT_ROLE(), 'where'", **given)

    assert task.execute(context(task)) == [("BIG", "ANALYST", "where")]
    [job] = mine(snowflake_database, "'where'")
    name, _, label = job["tag"].partition(" ")
    assert name.startswith("tradewind-")
    assert label == "nightly"


def test_the_sql_api_s_count_and_time_out(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase
) -> None:
    task = operator("SELECT 1; SELECT 'counted'", statement_count=2, timeout=61)
    assert task.execute(context(task)) == [("counted",)]
    [job] = mine(snowflake_database, "'counted'")
    [session] = [each for each in snowflake_database.server.sessions() if each["id"] == job["session"]]
    assert int(session["parameters"]["STATEMENT_TIMEOUT_IN_SECONDS"]) == 61

    task = operator("SELECT 1; SELECT 2", statement_count=3)
    with pytest.raises(InvalidArgument, match="sql has 2 statements, statement_count is 3"):
        task.execute(context(task))


def test_the_old_names_of_the_connection(operator: Make, context: MakeContext) -> None:
    assert operator("SELECT 1", conn_id="snowflake_default").snowflake_conn_id == "snowflake_default"
    with pytest.raises(InvalidArgument, match="differ: give one"):
        operator("SELECT 1", conn_id="a", snowflake_conn_id="b")


def test_too_many_rows_are_no_xcom(operator: Make, context: MakeContext) -> None:
    task = operator("SELECT seq4() FROM TABLE(GENERATOR(ROWCOUNT => 11))", max_rows=10)
    with pytest.raises(InvalidArgument, match=r"more than max_rows=10 rows"):
        task.execute(context(task))


def test_errors_tell_whether_a_retry_helps(operator: Make, context: MakeContext) -> None:
    task = operator("SELECT 'abc'::INT")
    with pytest.raises(DataError, match=r"statement .* failed: .*abc"):
        task.execute(context(task))
    task = operator("SELECT 1; SELEKT 'hidden'; SELECT 3")
    with pytest.raises(InvalidArgument, match="failed: syntax error") as caught:
        task.execute(context(task))
    assert "hidden" not in str(caught.value)


def test_what_takes_too_long_is_stopped(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase
) -> None:
    task = operator("SELECT SYSTEM$WAIT(70)", execution_timeout=dt.timedelta(seconds=2))
    with pytest.raises(AirflowTaskTimeout, match="took longer than 2 s, and was stopped"):
        task.execute(context(task))
    assert [job["status"] for job in mine(snowflake_database, "SYSTEM$WAIT(70)")] == ["ABORTED"]


def test_somebody_else_s_cancel_is_tried_again(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    task = operator("SELECT SYSTEM$WAIT(71)", wait_for_completion=False)
    id = task.execute(context(task))
    with ThreadPoolExecutor(1) as pool:
        again = operator("SELECT SYSTEM$WAIT(71)")
        from inspect import unwrap

        waiting = pool.submit(unwrap(type(again).execute), again, context(again, try_number=2))
        snowflake_database.server.wait_for(lambda: again._job is not None)
        snowflake_database.hook().get_records(f"SELECT SYSTEM$CANCEL_QUERY('{id}')")
        with pytest.raises(TransientError, match="was cancelled in the service, not by this task"):
            waiting.result()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no SQL": ({"sql": " "}, "sql is empty"),
    "no rows at all": ({"max_rows": 0}, "max_rows must be at least 1"),
    "no pause": ({"poll_interval": 0}, "poll_interval must be above 0"),
    "both kinds of values": (
        {"parameters": [1], "bindings": {"1": {"type": "TEXT", "value": "x"}}},
        "give one of them",
    ),
    "bindings from 2 on": ({"bindings": {"2": {"type": "TEXT", "value": "x"}}}, "as the SQL API has them"),
    "an unknown type": ({"bindings": {"1": {"type": "INT", "value": "1"}}}, "'INT' is no type"),
    "no time": ({"timeout": 0}, "timeout 1 second or more"),
    "a secret": ({"hook_params": {"token": "x"}}, "token belongs into the connection"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(operator: Make, case: str) -> None:
    given, says = REFUSED[case]
    with pytest.raises(InvalidArgument, match=says):
        operator(**{"sql": "SELECT 1", **given})


@pytest.mark.parametrize(
    ("sql", "parameters", "says"),
    [
        ("-- nothing", None, "holds no statement"),
        ("PUT file:///tmp/a.csv @st", None, "PUT moves a file of this very machine"),
        ("SELECT %s, %s", [1], "more places than the 1 values"),
        ("SELECT %s", [1, 2], "has 1 places for values, and parameters has 2"),
        ("SELECT %(a)s", {"b": 1}, "no value named 'a'"),
        ("SELECT %(a)s", [1], "write %s for parameters by position"),
        ("SELECT %s", {"a": 1}, r"write %\(name\)s"),
        ("SELECT %s", [object()], "a object cannot be bound"),
        ("SELECT 1 IN %s", [[]], "an empty list has no place"),
    ],
)
def test_what_the_service_cannot_take_is_refused_before_it_is_asked(
    operator: Make, context: MakeContext, snowflake_database: SnowflakeDatabase, sql: str, parameters: Any, says: str
) -> None:
    before = len(snowflake_database.server.journal())
    task = operator(sql, parameters=parameters)
    with pytest.raises(InvalidArgument, match=says):
        task.execute(context(task))
    assert len(snowflake_database.server.journal()) == before


def test_checks_run_on_this_hook(snowflake_database: SnowflakeDatabase, context: MakeContext) -> None:
    snowflake_database.query("CREATE TABLE sales (id INT, amount NUMBER(12,2), name VARCHAR)")
    snowflake_database.query("INSERT INTO sales VALUES (1, 10.10, 'a'), (2, 20.20, NULL)")
    mapping = {"id": {"unique_check": {"equal_to": 0}, "min": {"geq_to": 1}}, "name": {"null_check": {"equal_to": 1}}}
    checks: list[Any] = [
        SqlValueCheckOperator(
            task_id="v", conn_id="snowflake_default", sql="SELECT MAX(amount) FROM sales", pass_value=20.2
        ),
        SqlRowCountCheckOperator(task_id="r", conn_id="snowflake_default", table="sales", min_rows=2, max_rows=2),
        SqlColumnCheckOperator(task_id="c", conn_id="snowflake_default", table="sales", column_mapping=mapping),
    ]
    for check in checks:
        check.execute(context(check))
    failing = SqlRowCountCheckOperator(task_id="f", conn_id="snowflake_default", table="sales", min_rows=3)
    with pytest.raises(TransientError, match="sales has 2 rows, not 3 or more"):
        failing.execute(context(failing))
