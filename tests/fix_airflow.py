"""An Airflow of the test run's own: home, connections, contexts, a migrated database.

The environment is set when this module is imported, before anything imports ``airflow``.
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.services import REQUIRE, found

if TYPE_CHECKING:
    from tradewind.hooks.compat import BaseOperator, Context

LOGICAL_DATE = datetime(2026, 1, 2, 3, tzinfo=UTC)


PREPARED = "TRADEWIND_TESTS_HOME"
"""Tells processes that a test starts that the environment is prepared, and where Airflow's home is."""
OWNER = "TRADEWIND_TESTS_OWNER"
"""Whose the home is: each worker of pytest-xdist has one of its own."""


def _prepare() -> Path:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    if PREPARED in os.environ and os.environ.get(OWNER) == worker:
        return Path(os.environ[PREPARED])
    if "airflow" in sys.modules:
        raise pytest.UsageError("airflow was imported before the tests could give it a home of its own")
    home = Path(tempfile.mkdtemp(prefix="tradewind-tests-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a forked child
            shutil.rmtree(home, ignore_errors=True)

    atexit.register(remove)
    for name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"))]:
        del os.environ[name]
    (home / "dags").mkdir()
    (home / "plugins").mkdir()
    os.environ |= {
        PREPARED: str(home),
        OWNER: worker,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor" if version("apache-airflow") >= "3" else "SequentialExecutor",
        "AIRFLOW__CORE__FERNET_KEY": "8wfCfx2oPEn1oBo_ZTqpnhFoMEC4lhq7Oms4xnXAFHo=",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN": ".*",  # as an administrator may
        "SCARF_ANALYTICS": "false",
    }
    return home


AIRFLOW_HOME = _prepare()


def pytest_report_header() -> list[str]:
    services = ", ".join(f"{name}: {where or 'none'}" for name, where in found().items())
    required = os.environ.get(REQUIRE) or "none"
    return [
        f"airflow: {version('apache-airflow')}, python: {platform.python_version()}, home: {AIRFLOW_HOME}",
        f"services: {services} (required: {required})",
    ]


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Return Airflow's home of this run."""
    return AIRFLOW_HOME


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | Mapping[str, Any]], str]:
    """Return a function that defines a connection for the test, as a URI, JSON text or a mapping."""

    def define(conn_id: str, uri_or_json: str | Mapping[str, Any]) -> str:
        value = uri_or_json if isinstance(uri_or_json, str) else json.dumps(uri_or_json)
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)
        return conn_id

    return define


@pytest.fixture
def context() -> Callable[..., Context]:
    """Return a function that makes the context in which Airflow would call ``task.execute``."""
    return make_context


@dataclass(frozen=True)
class _Run:
    """What a context says of its run, whichever classes it is made of."""

    run_id: str
    try_number: int
    max_tries: int
    map_index: int
    logical_date: datetime
    interval: tuple[datetime, datetime]
    conf: dict[str, Any]


def make_context(
    task: BaseOperator,
    *,
    run_id: str = "manual__2026-01-02T03:00:00+00:00",
    try_number: int = 1,
    max_tries: int | None = None,
    map_index: int = -1,
    logical_date: datetime = LOGICAL_DATE,
    conf: Mapping[str, Any] | None = None,
    render: bool = False,
) -> Context:
    """Make a task's context out of Airflow's own classes; nothing touches a database.

    :param task: the operator; it joins a DAG named ``test_dag`` unless it has one
    :param max_tries: the task's retries by default; a person's clear raises it
    :param conf: the run's configuration
    :param render: whether to render the task's templates in place, as Airflow does before ``execute``
    :return: the context; ``context["ti"]`` remembers what is pushed by ``xcom_push`` and gives it back
    """
    from tradewind.hooks.compat import AIRFLOW_3

    if not task.has_dag():  # type: ignore[no-untyped-call]
        _join_dag(task)
    object.__setattr__(task, "_lock_for_execution", True)  # as prepare_for_execution does before a run
    retries = task.retries or 0
    run = _Run(
        run_id=run_id,
        try_number=try_number,
        max_tries=retries if max_tries is None else max_tries,
        map_index=map_index,
        logical_date=logical_date,
        interval=(logical_date - timedelta(days=1), logical_date),
        conf=dict(conf or {}),
    )
    made: Context = (_runtime_context if AIRFLOW_3 else _orm_context)(task, run)
    _remember_xcoms(made["ti"])
    if render:
        task.render_template_fields(made)
    return made


def _join_dag(task: BaseOperator) -> None:
    from tradewind.hooks.compat import AIRFLOW_3

    if AIRFLOW_3:
        from airflow.sdk import DAG
    else:
        from airflow import DAG
    task.dag = DAG(dag_id="test_dag", schedule=None, start_date=LOGICAL_DATE)


def _runtime_context(task: BaseOperator, asked: _Run) -> Any:
    from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    fields = {
        "dag_id": task.dag_id,
        "run_id": asked.run_id,
        "logical_date": asked.logical_date,
        "data_interval_start": asked.interval[0],
        "data_interval_end": asked.interval[1],
        "run_after": asked.logical_date,
        "start_date": asked.logical_date,
        "end_date": None,
        "run_type": "manual",
        "state": "running",
        "conf": asked.conf,
        "consumed_asset_events": [],
        "partition_key": None,
    }
    run = DagRun.model_validate({name: value for name, value in fields.items() if name in DagRun.model_fields})
    ti = RuntimeTaskInstance.model_construct(
        id=uuid.uuid4(),
        task_id=task.task_id,
        dag_id=task.dag_id,
        run_id=asked.run_id,
        try_number=asked.try_number,
        map_index=asked.map_index,
        max_tries=asked.max_tries,
        start_date=datetime.now(UTC),
        task=task,
        _ti_context_from_server=TIRunContext(dag_run=run, max_tries=asked.max_tries),
    )
    return ti.get_template_context()


def _orm_context(task: BaseOperator, asked: _Run) -> Any:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.types import DagRunType

    orm_run: Any = DagRun  # the signatures are those of Airflow 2
    orm_ti: Any = TaskInstance
    run = orm_run(
        dag_id=task.dag_id,
        run_id=asked.run_id,
        execution_date=asked.logical_date,
        start_date=asked.logical_date,
        run_type=DagRunType.MANUAL,
        data_interval=asked.interval,
        conf=asked.conf,
    )
    ti = orm_ti(task, run_id=asked.run_id, map_index=asked.map_index)
    ti.dag_run = run
    ti.try_number = asked.try_number
    ti.max_tries = asked.max_tries
    ti.start_date = datetime.now(UTC)
    object.__setattr__(ti, "get_previous_dagrun", lambda *_, **__: None)  # it would ask a database
    return ti.get_template_context()


def _remember_xcoms(ti: Any) -> None:
    pushed: dict[str, Any] = {}

    def push(key: str, value: Any, **_: Any) -> None:
        pushed[key] = value

    def pull(task_ids: Any = None, key: str = "return_value", default: Any = None, **_: Any) -> Any:
        return pushed.get(key, default)

    # Past pydantic's and SQLAlchemy's own attributes; the real ones need a server or a database.
    object.__setattr__(ti, "xcom_push", push)
    object.__setattr__(ti, "xcom_pull", pull)


@pytest.fixture(scope="session")
def migrated_airflow(airflow_home: Path) -> Path:
    """Create Airflow's database once, for tests that run a whole DAG; return Airflow's home."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"airflow db migrate failed:\n{done.stdout[-4000:]}", pytrace=False)
    return airflow_home
