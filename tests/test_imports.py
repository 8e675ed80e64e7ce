"""What importing costs: no driver, and at most 30 ms of CPU over Airflow itself."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tradewind

DRIVERS = {
    "boto3", "botocore", "duckdb", "moto", "MySQLdb", "pandas", "psycopg2", "pyarrow", "pyhive", "pymysql",
    "smart_open", "snowflake", "zstandard",
}  # fmt: skip
LIMIT = 0.030
"""Seconds of user and system time."""
COMMAND_LIMIT = 0.250
"""Seconds of user and system time that ``tradewind --help`` may cost over a bare interpreter."""
BATCH, MOST = 4, 100
"""Measurements: noise only adds, so the least counts, and more are made where it is over the limit."""

DB_API = "airflow.providers.common.sql.hooks.sql"
TRIGGER = "airflow.triggers.base"
BASE = {
    "tradewind.mysql.hooks": DB_API,  # a SQL hook has to extend DbApiHook,
    "tradewind.postgres.hooks": DB_API,
    "tradewind.snowflake.hooks": DB_API,
    "tradewind.hooks.libpq.hooks": DB_API,
    "tradewind.amazon.redshift.hooks": DB_API,
    "tradewind.sensors.triggers": TRIGGER,  # a trigger BaseTrigger: their cost is Airflow's own
    "tradewind.amazon.s3.triggers": TRIGGER,
}

# Airflow is loaded once, as for any DAG file; each line names a module to import first and one to measure, and both
# are imported in a forked process. Compiled code is kept as it is where the environment does not forbid it.
MEASURE = """
import gc, importlib, json, os, sys, time
try:
    from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator
    from airflow.sdk.exceptions import AirflowException
except ImportError:
    from airflow import DAG
    from airflow.hooks.base import BaseHook
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.connection import Connection
    from airflow.operators.python import PythonOperator
    from airflow.sensors.base import BaseSensorOperator
gc.freeze()  # else a collection in a child pays for all that Airflow made
sys.dont_write_bytecode, sys.pycache_prefix = False, sys.argv[1]
for line in sys.stdin:
    base, name = json.loads(line)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        if base:
            importlib.import_module(base)
        before, start = set(sys.modules), time.process_time()
        importlib.import_module(name)
        seconds = time.process_time() - start
        print("RESULT" + json.dumps([seconds, sorted(set(sys.modules) - before)]), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print("RESULT" + json.dumps([0, ["cannot import " + name]]), flush=True)
"""


def names() -> list[str]:
    """List our modules, wherever they are installed."""
    return sorted(module.name for module in pkgutil.walk_packages(tradewind.__path__, "tradewind."))


WITHIN_CELERY = tuple(f"tradewind.local.stack.{name}" for name in ("celery_sqs", "intake", "sqs"))
"""What nobody but Celery loads, where it talks to SQS: it is in the images alone, and brings SQS's driver."""
TOOLS = [name for name in names() if name.split(".")[1] in ("local", "mwaa") and name not in WITHIN_CELERY]
IN_DAGS = [name for name in names() if name not in (*TOOLS, *WITHIN_CELERY)]


class Meter:
    """A process that has loaded Airflow and measures imports on top of it."""

    def __init__(self, cache: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", MEASURE, str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, name: str) -> tuple[float, set[str]]:
        """Import a module once.

        :return: the seconds of CPU, and the modules that came with it
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([BASE.get(name), name]) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("RESULT"):
                seconds, added = json.loads(line.removeprefix("RESULT"))
                return seconds, set(added)
        raise AssertionError("the measuring process has ended")


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meter]:
    meter = Meter(tmp_path_factory.mktemp("compiled"))
    with meter.process:
        yield meter


@pytest.mark.parametrize("name", IN_DAGS)
def test_an_import_is_cheap(meter: Meter, name: str) -> None:
    seconds, added = meter.measure(name)
    for number in range(MOST):
        if number >= BATCH and seconds <= LIMIT:
            break
        seconds = min(seconds, meter.measure(name)[0])

    assert f"cannot import {name}" not in added
    assert not {module.split(".")[0] for module in added} & DRIVERS
    assert seconds <= LIMIT, f"importing {name} costs {seconds * 1000:.0f} ms of CPU over airflow"


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_loads_no_driver(meter: Meter, name: str) -> None:
    _, added = meter.measure(name)

    assert f"cannot import {name}" not in added
    assert not {module.split(".")[0] for module in added} & DRIVERS


COMMAND = """
import sys, time
start = time.process_time()
from tradewind.mwaa.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
print("RESULT", time.process_time() - start, *{name.split(".")[0] for name in sys.modules})
"""


def test_help_of_the_command_comes_at_once(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    least = float("inf")
    for _ in range(BATCH):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND], capture_output=True, text=True, timeout=60, check=True, env=env
        )
        _, seconds, *loaded = done.stdout.splitlines()[-1].split()
        least = min(least, float(seconds))

        assert not {"airflow", "sqlalchemy", *DRIVERS} & set(loaded)
    assert least <= COMMAND_LIMIT, f"tradewind --help costs {least * 1000:.0f} ms of CPU"


def test_the_meter_sees_what_it_should(meter: Meter) -> None:
    seconds, added = meter.measure("asyncio.windows_utils")

    assert added == {"cannot import asyncio.windows_utils"}
    assert seconds == 0
    assert {"boto3", "botocore"} <= {module.split(".")[0] for module in meter.measure("boto3")[1]}
