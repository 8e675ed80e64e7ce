"""Every operator, every sensor and every example on the stack, through Airflow's REST API; and what the logs say."""

from __future__ import annotations

import gzip
import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module, util
from importlib.metadata import entry_points
from pkgutil import walk_packages
from typing import Any

import pytest

from tests.stack.fix_every import BUCKET, DAGS, EXAMPLES, Every
from tradewind.hooks.compat import BaseOperator
from tradewind.operators.copy import CopyOperator
from tradewind.operators.files.ends import FileEnd
from tradewind.operators.tables.ends import SqlTable
from tradewind.operators.tables.queries import SqlQuery

BASES = {
    "tradewind.amazon.redshift.operators.ClusterChange",
    "tradewind.amazon.sensors.AwsSensor",
    "tradewind.operators.checks.base.SqlCheck",
    "tradewind.operators.jobs.operators.JobOperator",
    "tradewind.operators.sql.SqlOperator",
    "tradewind.sensors.waiting.WaitingSensor",
}
"""What is there to be inherited from: each must be a base of something that the DAG uses."""
KNOWN = {
    # Airflow forks in processes that have threads, which Python 3.12 tells of: an affair of what starts its tasks.
    r"airflow/task/task_runner/standard_task_runner\.py:\d+: DeprecationWarning: .* multi-threaded, use of fork",
    r"airflow/sdk/execution_time/supervisor\.py:\d+ DeprecationWarning: .* multi-threaded, use of fork",
    r"multi-threaded, use of fork.*category=DeprecationWarning filename=\S+/airflow/sdk/execution_time/supervisor\.py",
    # Celery tells of an option of its own that Airflow 2.10 leaves as it is.
    r"site-packages/celery/\S+ CPendingDeprecationWarning: The broker_connection_retry configuration setting",
}
"""Lines that are no trouble of ours, each with its reason."""
ANY_HOOK = re.compile(r"task_id=checks\.|dag_id=check_data/")
"""The logs of checks, which ask the hook of their connection's type: its own lookup is deprecated on Airflow 3.0."""
LOOKUP = "Using Connection.get_connection_from_secrets from `airflow.models` is deprecated"
TROUBLE = re.compile(r"\b(ERROR|CRITICAL)\b|Traceback|DeprecationWarning|\"level\": ?\"(error|critical)\"")
DEFERRED = "Pausing task as DEFERRED"
AT_ONCE = {"clusters.pause_deferred", "clusters.resume_deferred"}
"""What could defer and has nothing to wait for: moto's clusters are paused and resumed at once."""
ORDERS = [(1, 1, 19.9), (2, 2, 250.0), (3, 1, 8.5), (4, 3, 99.0), (5, 2, 12.25)]
TOTALS = [(1, 28.4), (2, 262.25), (3, 99.0)]
PEOPLE = [(1, "Ada"), (2, "Grace, Admiral"), (3, "Zoë")]


def troubles(text: str) -> Iterator[str]:
    """Find the lines that tell of trouble."""
    for line in text.splitlines():
        if TROUBLE.search(line) and not any(re.search(known, line) for known in KNOWN):
            yield line[:500]


def name_of(found: type) -> str:
    return f"{found.__module__}.{found.__qualname__}"


def classes(of: type | tuple[type, ...]) -> Iterator[type]:
    """Find the classes of a kind in all packages that Airflow knows as providers, and in the core."""
    points = [each.value for each in entry_points(group="apache_airflow_provider")]
    packages = {value.rpartition(".")[0] for value in points if value.startswith("tradewind.")}
    for package in sorted(packages | {"tradewind.operators", "tradewind.sensors"}):
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            for found in vars(import_module(module.name)).values():
                if inspect.isclass(found) and issubclass(found, of) and found.__module__ == module.name:
                    yield found


@pytest.fixture(scope="module")
def tasks() -> list[Any]:
    """Return the tasks of the DAG with everything."""
    spec = util.spec_from_file_location("every_operator", DAGS / "every_operator.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.people.dag.tasks)


def test_the_dag_has_every_operator_and_sensor(tasks: list[Any]) -> None:
    used = {name_of(type(task)) for task in tasks}
    there = {name_of(found): found for found in classes(BaseOperator)}

    assert sorted(there.keys() - BASES - used) == []
    for base in BASES:
        assert any(issubclass(type(task), there[base]) for task in tasks)


def test_the_dag_waits_in_both_ways(tasks: list[Any]) -> None:
    ways: dict[str, set[bool]] = {}
    for task in tasks:
        if hasattr(task, "deferrable"):
            ways.setdefault(name_of(type(task)), set()).add(task.deferrable)

    assert len(ways) >= 6
    assert [name for name, seen in ways.items() if seen != {True, False}] == []


def test_the_dag_has_every_end_of_a_copy(tasks: list[Any]) -> None:
    copies = [task for task in tasks if isinstance(task, CopyOperator)]
    used = {name_of(type(end)) for task in copies for end in (task.source, task.target)}
    there = {name_of(found) for found in classes((SqlTable, SqlQuery, FileEnd)) if "operators.tables" not in str(found)}

    assert sorted(there - used - {"tradewind.operators.files.ends.FileEnd"}) == []
    assert {task.mode for task in copies} == {"append", "replace", "merge"}


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_operator_succeeds(every: Every, tasks: list[Any]) -> None:
    ended = every.finish("every_operator")

    assert {each["task_id"] for each in ended} == {task.task_id for task in tasks}
    for name in ("from_disk", "people", "added", "from_parquet", "from_redshift"):
        assert every.standins.query(f"SELECT id::int, name FROM {name} ORDER BY 1") == PEOPLE, name
    # Snowflake's names are in capitals.
    assert every.standins.query('SELECT "ID"::int, "NAME" FROM from_snowflake ORDER BY 1') == PEOPLE
    upper = [(id, name.upper()) for id, name in PEOPLE]
    assert every.standins.query("SELECT id::int, name FROM from_mysql ORDER BY 1") == upper
    assert every.standins.query("SELECT id::int, name FROM people ORDER BY 1", "shift") == PEOPLE
    csv = 'id,name,joined\n1,Ada,2026-01-01\n2,"Grace, Admiral",2026-01-02\n3,Zoë,\n'
    assert every.text("every/mysql.csv") == csv
    some = gzip.decompress(every.s3.get_object(Bucket=BUCKET, Key="every/some.csv.gz")["Body"].read()).decode()
    assert some == 'name,id\n"Grace, Admiral",2\nZoë,3\n'
    for warehouse in ("redshift", "snowflake"):
        lines = [
            line for key in every.named(f"every/{warehouse}/_manifest.json") for line in every.text(key).split("\n")
        ]
        rows = sorted(line.replace('"', "") for line in lines if line and not line.lower().startswith(("id", '"id')))
        assert rows == [line.replace('"', "") for line in csv.splitlines()[1:]]
    assert every.keys("every/staging/") == []  # what lay in between is gone
    assert every.value("redshift.data_deferred")[0][0] == every.value("redshift.data_on_worker")[0][0] == 3
    counted = every.value("snowflake.sql_on_worker")
    assert every.value("snowflake.sql_deferred") == counted
    assert "[3]" in json.dumps(counted)  # a tuple, as each version of Airflow writes it


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_what_defers_did_wait_without_a_worker(every: Every, tasks: list[Any]) -> None:
    every.finish("every_operator")
    deferring = {task.task_id for task in tasks if getattr(task, "deferrable", False)}
    told = every.logs_of("every_operator")

    assert {name for name, text in told.items() if DEFERRED in text} == deferring - AT_ONCE


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_examples_do_what_they_say(every: Every) -> None:
    every.finish("load_files")
    others = sorted({path.stem for path in EXAMPLES.glob("dags/*.py")} - {"load_files"})
    for dag_id in others:
        every.begin(dag_id)
    for dag_id in others:
        every.finish(dag_id)

    query = every.standins.query
    assert query("SELECT id::int, customer_id::int, amount::float FROM shop.orders ORDER BY id") == ORDERS
    assert query("SELECT count(*) FROM shop.visits") == [(3,)]
    assert query("SELECT name FROM shop.customers ORDER BY id") == [("Ada",), ("Grace, Admiral",), ("Zoë",)]
    assert query("SELECT count(*) FROM arrived_orders") == [(5,)]
    assert query("SELECT order_id::int, price::float FROM shop.prices ORDER BY 1") == [(id, a) for id, _, a in ORDERS]
    assert query("SELECT customer_id::int, amount::float FROM shop.totals ORDER BY 1") == TOTALS
    assert query("SELECT id::int, customer_id::int, amount::float FROM orders ORDER BY id", "shift") == ORDERS
    whole = gzip.decompress(every.s3.get_object(Bucket=BUCKET, Key="exports/orders.csv.gz")["Body"].read()).decode()
    assert len(whole.splitlines()) == 6
    some = [json.loads(line) for line in every.text("exports/orders-GB.jsonl").splitlines()]
    assert [each["id"] for each in some] == [1, 3]
    (report, *_) = every.keys("reports/")
    assert every.text(report).splitlines() == [
        "customer;country;orders;amount",
        "Grace, Admiral;US;2;262.25",
        "Zoë;NL;1;99.00",
        "Ada;GB;2;28.40",
    ]
    for warehouse in ("redshift", "snowflake"):
        assert every.named(f"exports/{warehouse}/_manifest.json")
    assert every.logs_of("sql_bash_python")["tell"].count("5 days, best 2026-01-10: 250") > 0


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_logs_are_clean(every: Every) -> None:
    for dag_id in ("every_operator", "load_files", "wait_for_files"):
        every.finish(dag_id)
    logs = every.container_logs() | every.task_logs()

    assert {"postgres", "broker", "aws", "webserver", "scheduler", "worker"} <= logs.keys()
    assert any("dag_id=every_operator" in name for name in logs)
    found = [
        f"{name}: {line}"
        for name, text in logs.items()
        for line in troubles(text)
        if not (LOOKUP in line and ANY_HOOK.search(name))
    ]
    assert found == [], "\n".join(found)
