"""On a real Airflow, a person ends a deferred task: the statement is stopped. A triggerer that dies stops nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.fix_s3 import AWS
from tests.fix_up import Up, wait_for
from tests.redshift.data_api import DataApi, DataApiServer
from tradewind.local.api import Api
from tradewind.local.versions import VERSIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUNNING = version("apache-airflow")

DAG = """
import datetime as dt
from tradewind.hooks.compat import AIRFLOW_3
from tradewind.amazon.redshift.operators import RedshiftDataOperator
if AIRFLOW_3:
    from airflow.sdk import DAG
else:
    from airflow import DAG

with DAG("warehouse", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    RedshiftDataOperator(
        task_id="slow", sql="SELECT pg_sleep(300)", cluster_identifier="sales", database="dev", db_user="etl",
        aws_conn_id="redshift", deferrable=True, defer_after=0, poll_interval=1,
    )
"""


def state(api: Api, run_id: str) -> Any:
    return api.task_instances("warehouse", run_id)[0]["state"]


@pytest.mark.skipif(RUNNING not in VERSIONS, reason=f"MWAA does not offer Airflow {RUNNING}")
def test_a_person_s_end_of_a_deferred_task_stops_the_statement(
    up: Callable[..., Up], project: Path, api: DataApi, data_api: DataApiServer
) -> None:
    extra = {"endpoint_url": data_api.url, "region_name": "eu-west-1"}
    connection = shlex.quote(json.dumps({**AWS, "extra": extra}))
    (project / "startup.sh").write_text(f"export AIRFLOW_CONN_REDSHIFT={connection}\n")
    (project / "dags" / "warehouse.py").write_text(DAG)
    environment = up("--airflow", RUNNING)
    facts = environment.ready()
    airflow = Api(facts["web"], VERSIONS[RUNNING].major, facts["user"], facts["password"])
    wait_for(lambda: any(dag["dag_id"] == "warehouse" for dag in airflow.get("/dags")["dags"]), 120, "the DAG")
    airflow.unpause("warehouse")
    run_id = airflow.trigger("warehouse")
    wait_for(lambda: state(airflow, run_id) == "deferred", 120, "the deferral")
    looked = api.calls["DescribeStatement"]
    wait_for(lambda: api.calls["DescribeStatement"] > looked, 60, "the triggerer's first look")

    triggerer = next(row for row in environment.status()["components"] if row["name"] == "triggerer")
    os.kill(triggerer["pid"], signal.SIGTERM)
    wait_for(lambda: "starting triggerer again" in environment.talk.read_text(), 60, "the restart")
    looked = api.calls["DescribeStatement"]
    wait_for(lambda: api.calls["DescribeStatement"] > looked + 2, 120, "the next triggerer's looks")
    assert [each["status"] for each in api.journal()] == ["STARTED"]

    task = f"/dags/warehouse/dagRuns/{run_id}/taskInstances/slow"
    airflow.patch(task, {"new_state": "failed", **({"dry_run": False} if VERSIONS[RUNNING].major == 2 else {})})
    wait_for(lambda: api.journal()[0]["status"] == "ABORTED", 60, "the statement's end")
    assert len(api.journal()) == 1
    assert state(airflow, run_id) == "failed"
