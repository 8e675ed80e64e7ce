"""SQS as the broker, as on MWAA: tasks come by it, and what a worker does is known without Celery's remote control."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_up import Up, is_there, wait_for
from tests.stack.fix_stack import Containers, docker, each_airflow, sqs
from tests.stack.test_stack import STOP
from tradewind.local.api import Api
from tradewind.local.errors import InvalidInput
from tradewind.local.stack.engine import Stack
from tradewind.local.versions import VERSIONS

HANG = STOP.replace("triggerer", "MainProcess")


SLEEPY = """
import datetime as dt
import time
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow import DAG
    from airflow.operators.python import PythonOperator

def work():
    time.sleep(20)

with DAG("sleepy", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False, is_paused_upon_creation=False):
    for number in range(8):
        PythonOperator(task_id=f"sleep_{number}", python_callable=work)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stack", each_airflow(), indirect=True)
def test_a_day_with_sqs(
    stack: Callable[..., Up], project: Path, containers: Containers, request: pytest.FixtureRequest
) -> None:
    airflow = request.node.callspec.params["stack"]
    (project / "dags" / "sleepy.py").write_text(SLEEPY)
    environment = stack("--broker", "sqs", "--workers", "1")
    facts = environment.ready(600)
    assert facts["broker"] == "sqs"
    assert set(containers.inspect()) == {"webserver", "scheduler", "worker", "postgres", "aws"}
    queues = sqs(facts["s3"])
    (url,) = queues.list_queues()["QueueUrls"]
    assert url.endswith("/default")
    attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "43200"

    api = Api(facts["web"], VERSIONS[airflow].major, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "hello"), 120, "the DAG in Airflow")
    api.unpause("hello")
    run_id = api.trigger("hello")
    assert api.wait_run("hello", run_id, timeout=240) == "success"
    assert api.xcom("hello", run_id, "answer") == {"schema": "warehouse", "mine": "yes", "read": True, "word": "WORD"}

    def held() -> list[int]:
        found = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return [int(found[f"ApproximateNumberOfMessages{which}"]) for which in ("", "NotVisible")]

    wait_for(lambda: held() == [0, 0], 60, "an empty queue")
    (worker,), (aws,) = containers.ids("worker"), containers.ids("aws")
    wait_for(lambda: is_there(api, "sleepy"), 120, "the DAG in Airflow")
    run_id = api.trigger("sleepy")
    wait_for(lambda: held() == [3, 5], 120, "five tasks in the worker and three in the queue")
    docker("kill", "--signal", "KILL", aws)
    assert api.wait_run("sleepy", run_id, timeout=400) == "success"
    tasks = api.task_instances("sleepy", run_id)
    assert [(task["state"], task["try_number"]) for task in tasks] == [("success", 1)] * 8
    wait_for(lambda: held() == [0, 0], 60, "the end of the messages")
    assert aws not in containers.ids("aws")

    docker("exec", worker, "python3", "-c", HANG)
    wait_for(
        lambda: f"celery@{worker[:12]} does not answer" in environment.talk.read_text(), 180, "the worker that hangs"
    )
    docker("exec", worker, "python3", "-c", HANG.replace("SIGSTOP", "SIGCONT"))
    wait_for(lambda: f"worker ({worker[:12]}) is well again" in environment.talk.read_text(), 180, "its recovery")


def test_a_broker_that_there_is_not_is_refused(project: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no broker 'rabbitmq': choose of redis, sqs"):
        Stack(project, broker="rabbitmq")
