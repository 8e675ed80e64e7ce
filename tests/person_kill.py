"""A person ends a deferred task on a real Airflow: what it waits for stops. A triggerer that dies stops nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from tests.fix_up import Up, wait_for
from tradewind.local.api import Api
from tradewind.local.versions import VERSIONS

RUNNING = version("apache-airflow")

DAG = """
import datetime as dt
from tradewind.hooks.compat import AIRFLOW_3
if AIRFLOW_3:
    from airflow.sdk import DAG
else:
    from airflow import DAG
{imports}

with DAG("warehouse", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    {operator}
"""


class Service(Protocol):
    """What the task waits for."""

    def looks(self) -> int:
        """Count how often it was asked how far the statement is."""

    def statuses(self) -> list[str]:
        """Return the states of what was submitted: ``running`` or ``stopped``."""


def end_a_deferred_task(
    up: Callable[..., Up],
    project: Path,
    service: Service,
    *,
    connection: Mapping[str, Any],
    imports: str,
    operator: str,
) -> None:
    """Play it: the task is deferred, the triggerer is restarted, a person marks the task as failed.

    :param up: starts ``tradewind up``
    :param project: its folder
    :param service: what the task waits for
    :param connection: of Airflow's, named ``warehouse``
    :param imports: of the DAG file
    :param operator: makes the task ``slow``
    """
    text = shlex.quote(json.dumps(connection))
    (project / "startup.sh").write_text(f"export AIRFLOW_CONN_WAREHOUSE={text}\n")
    (project / "dags" / "warehouse.py").write_text(DAG.format(imports=imports, operator=operator))
    environment = up("--airflow", RUNNING)
    facts = environment.ready()
    airflow = Api(facts["web"], VERSIONS[RUNNING].major, facts["user"], facts["password"])
    wait_for(lambda: any(dag["dag_id"] == "warehouse" for dag in airflow.get("/dags")["dags"]), 120, "the DAG")
    airflow.unpause("warehouse")
    run_id = airflow.trigger("warehouse")
    wait_for(lambda: _state(airflow, run_id) == "deferred", 120, "the deferral")
    if RUNNING >= "3.3":
        place = f"/dags/warehouse/dagRuns/{run_id}/taskInstances/slow/state-store"
        [kept] = airflow.get(place)["task_state_store"]
        assert (kept["key"], kept["value"]["state"]) == ("tradewind_job", "waiting")
    looked = service.looks()
    wait_for(lambda: service.looks() > looked, 60, "the triggerer's first look")

    triggerer = next(row for row in environment.status()["components"] if row["name"] == "triggerer")
    os.kill(triggerer["pid"], signal.SIGTERM)
    wait_for(lambda: "starting triggerer again" in environment.talk.read_text(), 60, "the restart")
    looked = service.looks()
    wait_for(lambda: service.looks() > looked + 2, 120, "the next triggerer's looks")
    assert service.statuses() == ["running"]

    task = f"/dags/warehouse/dagRuns/{run_id}/taskInstances/slow"
    airflow.patch(task, {"new_state": "failed", **({"dry_run": False} if VERSIONS[RUNNING].major == 2 else {})})
    wait_for(lambda: service.statuses() == ["stopped"], 60, "the statement's end")
    assert _state(airflow, run_id) == "failed"


def _state(airflow: Api, run_id: str) -> Any:
    return airflow.task_instances("warehouse", run_id)[0]["state"]
