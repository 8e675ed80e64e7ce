"""Workers of the real stack: they come and go with the load, within the limits of their class."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fix_up import Up, command, is_there, wait_for
from tests.stack import scale
from tests.stack.fix_stack import Containers, stack_arguments
from tradewind.local.api import Api
from tradewind.local.stack import compose
from tradewind.local.stack.channel import Channel
from tradewind.local.stack.compose import Compose
from tradewind.local.stack.engine import project_name
from tradewind.local.stack.scaling import Work, Worker
from tradewind.local.stack.services import BROKERS
from tradewind.local.stack.workers import Containers as Workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(params=[("3.3.1", broker) for broker in BROKERS], ids=lambda param: "-".join(param))
def scaled(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[scale.Stack]:
    airflow, broker = request.param
    stack_arguments(airflow)  # skips where there is no Docker
    monkeypatch.setenv("TRADEWIND_SCALE_IN_SECONDS", str(scale.QUIET))
    with closing(scale.Stack(tmp_path, airflow, scale.MOST, broker)) as stack:
        yield stack


def test_workers_come_and_go_and_no_task_is_ended(scaled: scale.Stack) -> None:
    outcome = scale.cycle(scaled, random.Random(), 1)

    assert outcome.problems == []
    assert outcome.most > 1
    assert outcome.ended >= 1
    folder = scaled.state.logs
    assert len(list(folder.glob("worker-*.log"))) == outcome.ended
    assert (
        "workers  1 of 1 to 3"
        in subprocess.run(
            command("status", folder.parents[1]), capture_output=True, text=True, timeout=60, check=True
        ).stdout
    )


def test_a_paused_worker_takes_nothing_and_says_what_it_holds(scaled: scale.Stack) -> None:
    project = project_name(scaled.state)
    with closing(Channel(project)) as channel:
        workers = Workers(
            Compose(project, scaled.state.folder / "docker/compose.env"), channel, lambda host, text: None
        )
        (only,) = workers.present()
        wait_for(lambda: workers.ask(only) == Work(0, ["default"]), 60, "the answer of a worker")
        assert workers.ask(Worker("0" * 64, True)) is None
        assert not workers.pause(Worker("0" * 64, True))

        wait_for(lambda: workers.pause(only), 60, "the pause")
        run_id = scaled.burst(random.Random(1), 3, 1, 2)
        wait_for(lambda: workers.load().queued == 3, 60, "three tasks in the queue")
        wait_for(lambda: workers.ask(only) == Work(0, []), 60, "the answer of a paused worker")
        assert workers.load().running == 0

        wait_for(lambda: workers.resume(only), 60, "the way back")
        scaled.wait_run(3, run_id)
        assert scaled.problems(3, run_id) == []


@pytest.mark.parametrize("scaled", [("2.10.3", "redis")], ids="-".join, indirect=True)
def test_workers_whose_broker_was_killed_go_when_their_tasks_have_ended(scaled: scale.Stack) -> None:
    """Celery 5.4, that of Airflow 2.10.3, has the tasks that ran then among its active ones for ever; 5.6 has not."""
    run_id = scaled.burst(random.Random(2), 11, 20, 25)

    def busy() -> bool:
        ((hosts, running),) = scaled.query(
            "select count(distinct host), count(*) from works where run = %s and ended is null", run_id
        )
        return (hosts, running) == (3, 11)

    wait_for(busy, 120, "eleven tasks on three workers")
    (broker,) = scaled.found("broker")
    compose.docker("kill", "--signal", "KILL", broker.id)

    scaled.wait_run(11, run_id)
    assert scaled.problems(11, run_id) == []
    wait_for(lambda: scaled.workers() == 1 and not scaled.draining, 120, "one worker again")


@pytest.mark.parametrize("broker", ["redis", "sqs"])
def test_the_smallest_class_is_one_container_for_scheduler_and_worker(
    stack: Callable[..., Up], project: Path, containers: Containers, broker: str
) -> None:
    facts = stack("--class", "micro", "--broker", broker).ready(600)

    found = containers.inspect()
    assert set(found) == {"webserver", "hybrid", "postgres", "aws"} | ({"broker"} if broker == "redis" else set())
    limits = {name: (each["HostConfig"]["NanoCpus"], each["HostConfig"]["Memory"]) for name, each in found.items()}
    assert limits["hybrid"] == limits["webserver"] == (1_000_000_000, 3 << 30)
    assert found["hybrid"]["HostConfig"]["MemorySwap"] == 3 << 30
    api = Api(facts["web"], 3, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "hello"), 120, "the DAG in Airflow")
    api.unpause("hello")
    run_id = api.trigger("hello")
    assert api.wait_run("hello", run_id, timeout=120) == "success"
    (task,) = api.task_instances("hello", run_id)
    assert found["hybrid"]["Id"].startswith(task["hostname"])
