"""What importing costs: no driver, and at most 30 ms of CPU over Airflow itself."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.test_layout import MODULES, ROOT

DRIVERS = ["boto3", "botocore", "psycopg2", "pandas", "pyarrow", "smart_open", "zstandard"]
LIMIT = 0.030
"""Seconds of user and system time."""
RUNS = 5

# Airflow is loaded once, as for any DAG file; each module is imported in a forked process, and the least time counts.
MEASURE = """
import importlib, json, os, resource, sys
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
try:
    from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator
    from airflow.sdk.exceptions import AirflowException
except ImportError:
    from airflow import DAG
    from airflow.hooks.base import BaseHook
    from airflow.models.baseoperator import BaseOperator
    from airflow.operators.python import PythonOperator
    from airflow.sensors.base import BaseSensorOperator
runs, *names = sys.argv[1:]
for name in names * int(runs):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        before, start = set(sys.modules), cpu()
        importlib.import_module(name)
        seconds = cpu() - start
        added = sorted({module.split(".")[0] for module in set(sys.modules) - before})
        print("RESULT" + json.dumps([name, seconds, added]), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("cannot import " + name)
"""


def _name(path: Any) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[parts.index("tradewind") :])


PUBLIC = sorted(
    _name(path)
    for path in MODULES
    if not path.stem.startswith("_") and not {"local", "mwaa"} & set(path.relative_to(ROOT).parts)
)


@pytest.fixture(scope="module")
def costs() -> dict[str, tuple[float, set[str]]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(RUNS), *PUBLIC],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, tuple[float, set[str]]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("RESULT"):
            name, seconds, added = json.loads(line.removeprefix("RESULT"))
            found[name] = (min(seconds, found[name][0] if name in found else seconds), set(added))
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_an_import_is_cheap(costs: dict[str, tuple[float, set[str]]], name: str) -> None:
    seconds, added = costs[name]

    assert not added & set(DRIVERS)
    assert seconds <= LIMIT, f"importing {name} costs {seconds * 1000:.0f} ms of CPU over airflow"
