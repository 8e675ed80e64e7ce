"""A DAG folder of a thousand files: all are in Airflow, and a saved one is within seconds beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.fix_up import Up, is_there, wait_for
from tests.stack.fix_stack import stack_arguments
from tradewind.local.api import Api, ApiError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

FILES = 1000
DAG = """
import datetime as dt
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.operators.bash import BashOperator

with DAG("NAME", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    BashOperator(task_id="say", bash_command="echo NAME") >> BashOperator(task_id="end", bash_command="true")
"""


def many(api: Api) -> int:
    try:
        return int(api.get("/dags", limit=1)["total_entries"])
    except (ApiError, OSError):
        return 0


@pytest.mark.parametrize("engine", ["embedded", "docker"])
def test_a_thousand_files(engine: str, up: Callable[..., Up], project: Path) -> None:
    for number in range(FILES - 1):
        (project / "dags" / f"dag_{number:04d}.py").write_text(DAG.replace("NAME", f"dag_{number:04d}"))
    arguments = stack_arguments("3.3.1") if engine == "docker" else ("--airflow", "3.3.1")
    began = time.monotonic()
    environment = up(*arguments)
    facts = environment.ready(900)
    print(f"{engine}: ready after {time.monotonic() - began:.0f} s")
    api = Api(facts["web"], 3, facts["user"], facts["password"])
    wait_for(lambda: many(api) == FILES, 1800, "a thousand DAGs in Airflow")
    print(f"{engine}: {FILES} DAGs after {time.monotonic() - began:.0f} s")

    (project / "dags" / "late.py").write_text(DAG.replace("NAME", "late"))
    began = time.monotonic()
    wait_for(lambda: is_there(api, "late"), 300, "a new DAG in Airflow")
    print(f"{engine}: one more after {time.monotonic() - began:.0f} s")
    api.unpause("late")
    assert api.wait_run("late", api.trigger("late"), timeout=180) == "success"
    (project / "dags" / "dag_0007.py").unlink()
    assert environment.process.poll() is None, environment.talk.read_text()

    used = psutil.Process(environment.process.pid).cpu_times()
    time.sleep(20)
    more = psutil.Process(environment.process.pid).cpu_times()
    print(f"{engine}: the command takes {(more.user + more.system - used.user - used.system) / 20:.2f} of a core")
    environment.look()
