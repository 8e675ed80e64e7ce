"""PostgresOperator, as a DAG author uses it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.fix_postgres import Database, postgres_child
from tests.postgres.sessions import once_it_sleeps, until
from tradewind.hooks.compat import Context
from tradewind.hooks.errors import DataError, InvalidArgument, TimedOut
from tradewind.hooks.libpq.errors import QueryCancelled
from tradewind.postgres.operators import PostgresOperator

MakeContext = Callable[..., Context]


@pytest.fixture
def run(database: Database, context: MakeContext) -> Callable[..., Any]:
    """Return a function that makes an operator, renders it and runs it."""

    def execute(**arguments: Any) -> Any:
        task = PostgresOperator(task_id="t", conn_id=database.conn_id, **arguments)
        return task.execute(context(task, render=True))

    return execute


def test_the_last_statement_is_the_result(run: Callable[..., Any]) -> None:
    assert run(sql="CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT * FROM t") == [(1,), (2,)]
    assert run(sql="INSERT INTO t VALUES (3)") is None
    assert run(sql=["SELECT 1", "SELECT 2"]) == [[(1,)], [(2,)]]
    assert run(sql="SELECT 1; SELECT 2", return_last=False) == [[(1,)], [(2,)]]
    assert run(sql="SELECT 1", do_xcom_push=False) is None
    assert run(sql="SELECT 5 AS x", handler=lambda cursor: cursor.fetchone()[0]) == 5


def test_parameters_are_bound(run: Callable[..., Any]) -> None:
    assert run(sql="SELECT %(a)s; SELECT %(b)s", parameters={"a": "x'; --", "b": 2}) == [(2,)]
    assert run(sql="SELECT %s; SELECT %s", parameters=["x", "y'"]) == [("y'",)]
    assert run(sql="SELECT '100%'") == [("100%",)]


def test_arguments_are_templates(database: Database, context: MakeContext) -> None:
    task = PostgresOperator(
        task_id="t",
        conn_id="{{ '" + database.conn_id + "' }}",
        sql="SELECT '{{ ds }}', %(x)s",
        parameters={"x": "{{ dag.dag_id }}"},
        database="{{ 'template1' }}",
        runtime_parameters={"work_mem": "{{ 7 }}MB"},
    )
    assert task.execute(context(task, render=True)) == [("2026-01-02", "test_dag")]
    assert set(PostgresOperator.template_fields) >= {"sql", "conn_id", "database", "parameters", "hook_params"}
    assert ".sql" in PostgresOperator.template_ext


def test_the_old_argument_names(database: Database, context: MakeContext) -> None:
    task = PostgresOperator(
        task_id="t", postgres_conn_id=database.conn_id, sql="SHOW work_mem", runtime_parameters={"work_mem": "9MB"}
    )
    assert task.execute(context(task)) == [("9MB",)]


def test_it_is_one_transaction_unless_autocommit(run: Callable[..., Any], database: Database) -> None:
    for sql in ("CREATE TABLE t (a int); SELECT 1 / 0", ["CREATE TABLE t (a int)", "SELECT 1 / 0"]):
        with pytest.raises(DataError, match="division by zero"):
            run(sql=sql)
        assert not database.query("SELECT to_regclass('t')")[0][0]
    with pytest.raises(DataError, match="division by zero"):
        run(sql="CREATE TABLE t (a int); VACUUM t; SELECT 1 / 0", autocommit=True)
    assert database.query("SELECT to_regclass('t')")[0][0]


def test_too_many_rows_for_an_xcom(run: Callable[..., Any], database: Database) -> None:
    assert len(run(sql="SELECT generate_series(1, 10000)")) == 10_000
    with pytest.raises(InvalidArgument, match=r"more than max_rows=10,000 rows.*CopyOperator"):
        run(sql="CREATE TABLE t (a int); SELECT generate_series(1, 10001)")
    assert not database.query("SELECT to_regclass('t')")[0][0]
    assert len(run(sql="SELECT generate_series(1, 10001)", max_rows=20_000)) == 10_001
    assert run(sql="SELECT generate_series(1, 10001)", do_xcom_push=False) is None


def test_the_log_tells_what_was_done(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("INFO"):
        run(
            sql="CREATE TABLE t (a text); INSERT INTO t SELECT generate_series(1, 1234); DROP TABLE IF EXISTS gone;"
            "UPDATE t SET a = %(secret)s WHERE a = 'literal secret'",
            parameters={"secret": "bound secret"},
        )
    told = caplog.text + capfd.readouterr().out
    assert "statement 2: INSERT INTO t SELECT generate_series(1, 1234)" in told
    assert "statement 2: 1,234 rows" in told
    assert 'NOTICE:  table "gone" does not exist, skipping' in told
    assert "UPDATE t SET a = %(secret)s WHERE a = '...'" in told
    assert "bound secret" not in told
    assert "literal secret" not in told


def test_the_result_is_logged_when_asked(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("INFO"):
        run(sql="SELECT 4711")
        assert "(4711,)" not in caplog.text + capfd.readouterr().out
        run(sql="SELECT 4711", show_return_value_in_logs=True)
    assert "(4711,)" in caplog.text + capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sql": ""}, "sql is empty"),
        ({"sql": []}, "sql is empty"),
        ({"sql": "SELECT 1", "max_rows": 0}, "max_rows must be at least 1"),
        ({"sql": "SELECT 1", "conn_id": "a", "postgres_conn_id": "b"}, "differ: give one"),
    ],
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        PostgresOperator(task_id="t", **arguments)


@pytest.mark.parametrize("sql", ["{{ '' }}", "-- {{ ds }}", ["{{ '' }}"]])
def test_sql_that_renders_to_nothing(run: Callable[..., Any], sql: Any) -> None:
    with pytest.raises(InvalidArgument, match="no statement"):
        run(sql=sql)


def test_time_outs(run: Callable[..., Any]) -> None:
    with pytest.raises(TimedOut, match="statement timeout"):
        run(sql="SELECT pg_sleep(30)", statement_timeout=0.2)
    with pytest.raises(TimedOut, match="statement timeout"):
        run(
            sql="SELECT pg_sleep(30)", hook_params={"idle_in_transaction_session_timeout": 9}, statement_timeout="200ms"
        )


def test_on_kill_cancels(database: Database, context: MakeContext) -> None:
    task = PostgresOperator(task_id="t", conn_id=database.conn_id, sql="CREATE TABLE t (a int); SELECT pg_sleep(30)")
    task.on_kill()  # before it began: nothing to stop
    with once_it_sleeps(database, task.on_kill), pytest.raises(QueryCancelled):
        task.execute(context(task))
    assert not database.query("SELECT to_regclass('t')")[0][0]


KILLED = """
from tradewind.postgres.operators import PostgresOperator
from tradewind.hooks.work import Work
task = PostgresOperator(task_id="t", conn_id=hook.postgres_conn_id, sql="CREATE TABLE t (a int); SELECT pg_sleep(60)")
def kill(signum, frame):
    task.on_kill()
    raise SystemExit(143)
signal.signal(signal.SIGTERM, kill)
from types import SimpleNamespace
ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, max_tries=0)
print("ready", flush=True)
task.execute({"ti": ti})
"""


def test_sigterm_to_a_task_ends_its_statement(database: Database) -> None:
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'tradewind d.t try 1' AND wait_event = 'PgSleep'"
    )
    with postgres_child(database, KILLED) as child:
        until(lambda: database.query(sleeping) == [(1,)], 30)
        child.send_signal(signal.SIGTERM)
        until(lambda: database.query(sleeping) == [(0,)], 2)
        assert child.wait(10) == 143
    assert not database.query("SELECT to_regclass('t')")[0][0]


@pytest.mark.skipif(find_spec("openlineage") is None, reason="the openlineage provider is not installed")
def test_openlineage_names_the_tables(database: Database, context: MakeContext) -> None:
    database.query("CREATE TABLE read (a int); CREATE TABLE written (a int)")
    sql = "INSERT INTO written SELECT a FROM read"
    task = PostgresOperator(task_id="t", conn_id=database.conn_id, sql=sql)
    task.execute(context(task))
    lineage = task.get_openlineage_facets_on_complete(None)
    assert lineage is not None
    namespace = f"postgres://{database.host}:{database.port}"
    found = [[(item.namespace, item.name) for item in end] for end in (lineage.inputs, lineage.outputs)]
    assert found == [
        [(namespace, f"{database.name}.public.read")],
        [(namespace, f"{database.name}.public.written")],
    ]


def test_importing_the_operator_loads_neither_driver_nor_hook() -> None:
    """What it costs is measured in tests/test_imports.py; Airflow 3.0 loads psycopg2 by itself."""
    program = (
        "import sys, tradewind.hooks.compat; before = set(sys.modules); import tradewind.postgres.operators;"
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    added = set(done.stdout.splitlines()[-1].split())
    assert "tradewind.postgres.operators" in added
    assert not added & {"psycopg2", "boto3", "botocore", "tradewind.postgres.hooks"}


def test_a_sql_file_is_read(database: Database, tmp_path: Path, context: MakeContext) -> None:
    from tradewind.hooks.compat import AIRFLOW_3

    if AIRFLOW_3:
        from airflow.sdk import DAG
    else:
        from airflow import DAG
    (tmp_path / "delays.sql").write_text("SELECT '{{ ds }}'; SELECT '{{ dag.dag_id }}' -- that's; all\n")
    with DAG("files", schedule=None, template_searchpath=str(tmp_path)) as dag:
        task = PostgresOperator(task_id="t", conn_id=database.conn_id, sql="delays.sql")
    assert task.dag is dag
    made = context(task)
    task.resolve_template_files()
    task.render_template_fields(made)
    assert task.execute(made) == [("files",)]
