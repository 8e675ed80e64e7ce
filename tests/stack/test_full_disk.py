"""A task that fills its worker's disk fails with the cause; the worker and the environment work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_up import Up, is_there, wait_for
from tests.stack.fix_stack import Containers, docker
from tradewind.local.api import Api
from tradewind.local.s3 import client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DAG = """
import datetime as dt
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.amazon.s3.files import S3File
from tradewind.operators.bash import BashOperator
from tradewind.operators.copy import CopyOperator
from tradewind.operators.local_files import LocalFile

with DAG("full", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    fill = BashOperator(task_id="fill", bash_command="head -c 4G /dev/zero > /tmp/filled")
    copy = CopyOperator(
        task_id="copy",
        source=S3File("s3://mwaa-local/landing/large.csv"),
        target=LocalFile("/tmp/copied/large.csv"),
        mode="replace",
        retries=0,
        trigger_rule="all_done",
    )
    free = BashOperator(task_id="free", bash_command="ls -A /tmp/copied && rm /tmp/filled", trigger_rule="all_done")
    again = copy.__class__(
        task_id="again",
        source=S3File("s3://mwaa-local/landing/large.csv"),
        target=LocalFile("/tmp/copied/large.csv"),
        mode="replace",
    )
    fill >> copy >> free >> again
"""


def test_the_cause_is_told_and_the_worker_works_on(
    stack: Callable[..., Up], project: Path, containers: Containers
) -> None:
    (project / "dags" / "full.py").write_text(DAG)
    environment = stack("--workers", "1")
    facts = environment.ready(600)
    worker = containers.ids("worker")
    api = Api(facts["web"], 3, facts["user"], facts["password"])
    body = b"a,b\n" + b"1,2\n" * (5 << 20)
    client(facts["s3"]).put_object(Bucket="mwaa-local", Key="landing/large.csv", Body=body)
    for dag_id in ("full", "hello"):
        wait_for(lambda dag_id=dag_id: is_there(api, dag_id), 120, "the DAG in Airflow")  # type: ignore[misc]
        api.unpause(dag_id)

    run_id = api.trigger("full")
    api.wait_run("full", run_id, timeout=300)

    states = {each["task_id"]: each["state"] for each in api.task_instances("full", run_id)}
    assert states == {"fill": "failed", "copy": "failed", "free": "success", "again": "success"}
    logs = docker("exec", worker[0], "sh", "-c", "cat /usr/local/airflow/logs/dag_id=full/*/task_id=*/*.log")
    assert "head: error writing 'standard output': No space left on device" in logs
    assert "write /tmp/copied/large.csv: no space left in /tmp/copied, whose disk has 1,073.7 MB" in logs
    assert docker("exec", worker[0], "ls", "-A", "/tmp/copied").split() == ["large.csv"]
    assert containers.ids("worker") == worker
    run_id = api.trigger("hello")
    assert api.wait_run("hello", run_id, timeout=180) == "success"
    assert "is not well" not in environment.talk.read_text()
