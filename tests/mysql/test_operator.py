"""MySqlOperator, as a DAG author uses it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.fix_mysql import MySqlDatabase, mysql_child
from tests.mysql.test_hook_interrupts import gone_after
from tradewind.hooks.compat import Context
from tradewind.hooks.errors import DataError, InvalidArgument, TimedOut
from tradewind.mysql.errors import QueryCancelled
from tradewind.mysql.operators import MySqlOperator

MakeContext = Callable[..., Context]
BUSY = "SELECT BENCHMARK(100000000000, MD5('x'))"
NUMBERS = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"


@pytest.fixture
def run(mysql_database: MySqlDatabase, context: MakeContext) -> Callable[..., Any]:
    """Return a function that makes an operator, renders it and runs it."""

    def execute(**arguments: Any) -> Any:
        task = MySqlOperator(task_id="t", conn_id=mysql_database.conn_id, **arguments)
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
    assert run(sql="SELECT %s", parameters=["y'"]) == [("y'",)]
    assert run(sql="SELECT '100%'") == [("100%",)]


def test_arguments_are_templates(mysql_database: MySqlDatabase, context: MakeContext) -> None:
    task = MySqlOperator(
        task_id="t",
        conn_id="{{ '" + mysql_database.conn_id + "' }}",
        sql="SELECT '{{ ds }}', %(x)s, DATABASE(), @@wait_timeout",
        parameters={"x": "{{ dag.dag_id }}"},
        database="{{ 'mysql' }}",
        runtime_parameters={"wait_timeout": "{{ 7 }}0"},
    )
    assert task.execute(context(task, render=True)) == [("2026-01-02", "test_dag", "mysql", 70)]
    assert set(MySqlOperator.template_fields) >= {"sql", "conn_id", "database", "parameters", "hook_params"}
    assert ".sql" in MySqlOperator.template_ext


def test_the_old_argument_names(mysql_database: MySqlDatabase, context: MakeContext) -> None:
    task = MySqlOperator(
        task_id="t",
        mysql_conn_id=mysql_database.conn_id,
        sql="SELECT %s, DATABASE(), @@autocommit",
        parameters=(1,),
        autocommit=True,
        database="mysql",
    )
    assert task.execute(context(task)) == [(1, "mysql", 1)]


def test_it_is_one_transaction_unless_autocommit(run: Callable[..., Any], mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int)")
    for sql in ("INSERT INTO t VALUES (1); INSERT INTO t VALUES ('x')", ["INSERT INTO t VALUES (1)", "DO 1 / (SELECT"]):
        with pytest.raises((DataError, InvalidArgument)):
            run(sql=sql)
        assert mysql_database.query("SELECT * FROM t") == []
    with pytest.raises(DataError, match="Incorrect integer value: 'x' for column"):
        run(sql="INSERT INTO t VALUES (1); INSERT INTO t VALUES ('x')", autocommit=True)
    assert mysql_database.query("SELECT * FROM t") == [(1,)]


def test_too_many_rows_for_an_xcom(run: Callable[..., Any], mysql_database: MySqlDatabase) -> None:
    many = {"runtime_parameters": {"max_recursive_iterations": 4294967295}}
    assert len(run(sql=NUMBERS.format(10_000), **many)) == 10_000
    mysql_database.query("CREATE TABLE t (a int)")
    with pytest.raises(InvalidArgument, match=r"more than max_rows=10,000 rows.*CopyOperator"):
        run(sql="INSERT INTO t VALUES (1); " + NUMBERS.format(10_001), **many)
    assert mysql_database.query("SELECT * FROM t") == []
    assert len(run(sql=NUMBERS.format(10_001), max_rows=20_000, **many)) == 10_001
    assert run(sql=NUMBERS.format(100_000), do_xcom_push=False, **many) is None


def test_a_file_of_the_clients_kind(run: Callable[..., Any]) -> None:
    sql = (
        "/*!40101 SET NAMES utf8mb4 */;\n# a comment; of MySQL's\n-- another; one\n"
        "CREATE PROCEDURE p() BEGIN SELECT 'a\\';b'; END;\nCALL p(); "
    )
    assert run(sql=sql) == [("a';b",)]
    with pytest.raises(InvalidArgument, match="DELIMITER is a command of the mysql client"):
        run(sql="DELIMITER //\nCREATE PROCEDURE q() SELECT 1 //\nDELIMITER ;")


def test_the_log_tells_what_was_done(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("INFO"):
        run(
            sql="CREATE TABLE t (a text); INSERT INTO t VALUES ('x'), ('y'); DROP TABLE IF EXISTS gone;"
            "UPDATE t SET a = %(secret)s WHERE a = 'literal secret'",
            parameters={"secret": "bound secret"},
        )
    told = caplog.text + capfd.readouterr().out
    assert "statement 2: INSERT INTO t VALUES ('...'), ('...')" in told
    assert "statement 2: 2 rows" in told
    assert "[1051]" in told
    assert "UPDATE t SET a = %(secret)s WHERE a = '...'" in told
    assert "bound secret" not in told
    assert "literal secret" not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sql": ""}, "sql is empty"),
        ({"sql": "  \n "}, "sql is empty"),
        ({"sql": []}, "sql is empty"),
        ({"sql": "SELECT 1", "max_rows": 0}, "max_rows must be at least 1"),
        ({"sql": "SELECT 1", "conn_id": "a", "mysql_conn_id": "b"}, "differ: give one"),
    ],
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        MySqlOperator(task_id="t", **arguments)


@pytest.mark.parametrize("sql", ["{{ '' }}", "# {{ ds }}", "-- {{ ds }}", "/* {{ ds }} */ ;", ["{{ '' }}"]])
def test_sql_that_renders_to_nothing(run: Callable[..., Any], sql: Any) -> None:
    with pytest.raises(InvalidArgument, match="no statement"):
        run(sql=sql)


def test_time_outs(run: Callable[..., Any]) -> None:
    with pytest.raises(TimedOut):
        run(sql=BUSY, statement_timeout=0.2)
    with pytest.raises(TimedOut):
        run(sql="SELECT SLEEP(30)", hook_params={"connect_timeout": 9}, statement_timeout="200ms")


def test_on_kill_cancels_and_says_so(
    mysql_database: MySqlDatabase,
    context: MakeContext,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    mysql_database.query("CREATE TABLE t (a int)")
    task = MySqlOperator(task_id="t", conn_id=mysql_database.conn_id, sql=f"INSERT INTO t VALUES (1); {BUSY}")
    task.on_kill()  # before it began: nothing to stop

    def kill() -> None:
        while BUSY not in [row[2] for row in mysql_database.running()]:
            time.sleep(0.02)
        task.on_kill()

    other = threading.Thread(target=kill)
    other.start()
    with caplog.at_level("INFO"):
        with pytest.raises(QueryCancelled):
            task.execute(context(task))
        other.join()
    assert "the server has ended the statement" in caplog.text + capfd.readouterr().out
    gone_after(mysql_database, 10)
    assert mysql_database.query("SELECT * FROM t") == []


KILLED = f"""
from tradewind.mysql.operators import MySqlOperator
task = MySqlOperator(task_id="t", conn_id=hook.mysql_conn_id, sql="INSERT INTO t VALUES (1); {BUSY}")
def kill(signum, frame):
    task.on_kill()
    raise SystemExit(143)
signal.signal(signal.SIGTERM, kill)
from types import SimpleNamespace
ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, max_tries=0)
print("ready", flush=True)
task.execute({{"ti": ti}})
"""


def test_sigterm_to_a_task_ends_its_statement(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int)")
    with mysql_child(mysql_database, KILLED) as child:
        deadline = time.monotonic() + 30
        while BUSY not in [row[2] for row in mysql_database.running()]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 2
        while mysql_database.running():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert child.wait(10) == 143
    assert mysql_database.query("SELECT * FROM t") == []


@pytest.mark.skipif(find_spec("openlineage") is None, reason="the openlineage provider is not installed")
def test_openlineage_names_the_tables(mysql_database: MySqlDatabase, context: MakeContext) -> None:
    mysql_database.query("CREATE TABLE origin (a int); CREATE TABLE written (a int)")
    task = MySqlOperator(task_id="t", conn_id=mysql_database.conn_id, sql="INSERT INTO written SELECT a FROM origin")
    task.execute(context(task))
    lineage = task.get_openlineage_facets_on_complete(None)
    assert lineage is not None
    namespace = f"mysql://{mysql_database.address.host}:{mysql_database.address.port}"
    found = [[(item.namespace, item.name) for item in end] for end in (lineage.inputs, lineage.outputs)]
    assert found == [
        [(namespace, f"{mysql_database.name}.origin")],
        [(namespace, f"{mysql_database.name}.written")],
    ]


def test_importing_the_operator_costs_no_driver() -> None:
    program = (
        "import sys, time, tradewind.hooks.compat; start = time.process_time(); import tradewind.mysql.operators;"
        "print((time.process_time() - start) * 1000); print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    milliseconds, modules = done.stdout.split("\n")[:2]
    assert "'tradewind.mysql.operators'" in modules
    assert "'pymysql'" not in modules
    assert "'tradewind.mysql.hooks'" not in modules
    assert float(milliseconds) < 30


def test_a_sql_file_is_read(mysql_database: MySqlDatabase, tmp_path: Path, context: MakeContext) -> None:
    from tradewind.hooks.compat import AIRFLOW_3

    if AIRFLOW_3:
        from airflow.sdk import DAG
    else:
        from airflow import DAG
    (tmp_path / "delays.sql").write_text("SELECT '{{ ds }}'; SELECT '{{ dag.dag_id }}' -- that's; all\n")
    with DAG("files", schedule=None, template_searchpath=str(tmp_path)) as dag:
        task = MySqlOperator(task_id="t", conn_id=mysql_database.conn_id, sql="delays.sql")
    assert task.dag is dag
    made = context(task)
    task.resolve_template_files()
    task.render_template_fields(made)
    assert task.execute(made) == [("files",)]
