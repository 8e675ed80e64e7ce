"""Updates of the real stack: new containers come up beside the old ones, and stay or go as a whole."""

from __future__ import annotations

import shutil
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fix_up import Up, is_there, wait_for
from tests.stack.fix_stack import Containers, stack_arguments
from tests.stack.test_stack import PATIENT
from tradewind.local.api import Api
from tradewind.local.s3 import client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

PATIENCE = 900.0
"""Seconds for an update: on a busy machine a scheduler alone was seen to take four minutes."""


class Told:
    """What the terminal showed since the last time."""

    def __init__(self, environment: Up) -> None:
        self._environment = environment
        self._seen = len(environment.talk.read_text())

    def new(self) -> str:
        return self._environment.talk.read_text()[self._seen :]

    def outcome(self) -> str:
        """Wait for the end of an update, and return what was told of it."""
        done = ("the update of", "updated ")
        wait_for(lambda: any(mark in self.new() for mark in done), PATIENCE, "the end of the update")
        said = self.new()
        self._seen += len(said)
        return said


def asked(api: Api, dag_id: str = "hello") -> Any:
    """Return the answer of a run that has to succeed."""
    run_id = api.trigger(dag_id)
    assert api.wait_run(dag_id, run_id, timeout=180) == "success"
    return api.xcom(dag_id, run_id, "answer")


def entered(facts: dict[str, Any], *dag_ids: str) -> Api:
    api = Api(facts["web"], int(facts["airflow"][0]), facts["user"], facts["password"])
    for dag_id in dag_ids:
        wait_for(lambda dag_id=dag_id: is_there(api, dag_id), 120, "the DAG in Airflow")  # type: ignore[misc]
        api.unpause(dag_id)
    return api


def start_task(facts: dict[str, Any], api: Api) -> tuple[str, str]:
    """Start a task that waits for an object ``go``; return its run and its worker."""
    run_id = api.trigger("patient")
    (first,) = wait_for(lambda: started(facts), 180, "the task")
    return run_id, first


def started(facts: dict[str, Any]) -> list[str]:
    listed: Any = client(facts["s3"]).list_objects_v2(Bucket="mwaa-local", Prefix="started/").get("Contents", [])
    return [entry["Key"].removeprefix("started/") for entry in listed]


def test_what_breaks_is_told_and_the_environment_works_on(
    stack: Callable[..., Up], project: Path, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_STARTUP_LIMIT", "10")
    environment = stack("--workers", "1")
    facts = environment.ready(600)
    api = entered(facts, "hello")
    assert asked(api)["mine"] == "yes"
    before, told = containers.ids(), Told(environment)
    startup, good = project / "startup.sh", (project / "startup.sh").read_text()

    (project / "requirements.txt").write_text("six==0.0.1\n")
    said = told.outcome()
    assert "the update of requirements.txt failed" in said
    assert "requirements.txt cannot be installed" in said
    assert "six==0.0.1" in said
    assert containers.ids() == before
    assert asked(api)["mine"] == "yes"
    (project / "requirements.txt").unlink()

    startup.write_text(f"{good}echo waiting for godot\nsleep 3600\n")
    said = told.outcome()
    assert "the update of startup.sh failed" in said
    assert "startup.sh did not end in 10 s" in said
    assert "waiting for godot" in said
    assert containers.ids() == before
    startup.write_text(good)

    (project / "plugins").mkdir()
    (project / "plugins" / "wrong.py").write_text('raise RuntimeError("the plugin of a test")\n')
    said = told.outcome()
    assert "the update of plugins failed" in said
    assert "wrong.py: the plugin of a test" in said
    assert containers.ids() == before
    assert asked(api)["mine"] == "yes"
    shutil.rmtree(project / "plugins")

    startup.write_text(good.replace("MINE=yes", "MINE=new"))
    said = told.outcome()
    assert "updated startup.sh" in said
    assert not set(containers.ids("worker")) & set(before)
    assert asked(api)["mine"] == "new"
    assert len(containers.ids()) == len(before)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--engine", "embedded", "--airflow", "3.3.1"),
        ("--engine", "docker", "--airflow", "2.10.3", "--workers", "1"),
        ("--engine", "docker", "--airflow", "3.3.1", "--class", "mw1.micro"),
    ],
    ids=["embedded", "2.10.3", "micro"],
)
def test_an_update_that_fails_and_one_that_works(
    arguments: tuple[str, ...], up: Callable[..., Up], project: Path, containers: Containers
) -> None:
    if "docker" in arguments:
        arguments = (*stack_arguments(arguments[3]), *arguments[4:])
    environment = up(*arguments)
    facts = environment.ready(900)
    api = entered(facts, "hello")
    assert asked(api)["mine"] == "yes"
    told, good = Told(environment), (project / "startup.sh").read_text()

    for name, text, reason in (
        ("requirements.txt", "six==0.0.1\n", "six==0.0.1"),
        ("startup.sh", f"{good}echo trouble\nfalse\n", "startup.sh ended with status 1, its last lines:\ntrouble"),
        ("plugins", 'raise RuntimeError("the plugin of a test")\n', "wrong.py: the plugin of a test"),
    ):
        changed = project / name if name != "plugins" else project / "plugins" / "wrong.py"
        changed.parent.mkdir(exist_ok=True)
        changed.write_text(text)
        said = told.outcome()
        assert f"the update of {name} failed, the environment works on with the files before it" in said
        assert reason in said
        assert asked(api)["mine"] == "yes"
        if name == "startup.sh":
            changed.write_text(good)
        else:
            changed.unlink()
    (project / "plugins").rmdir()

    (project / "startup.sh").write_text(good.replace("MINE=yes", "MINE=new"))
    (project / "requirements.txt").write_text("cowsay\n")
    text = (project / "dags" / "hello.py").read_text()
    (project / "dags" / "hello.py").write_text(
        text.replace("return {", 'import cowsay; return {"said": cowsay.__name__,')
    )
    assert "updated requirements.txt and startup.sh" in told.outcome()
    wait_for(lambda: "said" in asked(api), 120, "the saved DAG in a task")
    assert asked(api)["mine"] == "new"
    environment.look()


def test_nobody_is_without_a_web_server_during_an_update(stack: Callable[..., Up], project: Path) -> None:
    environment = stack("--workers", "1")
    facts = environment.ready(600)
    told, answers = Told(environment), []
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.wait(0.5):
            try:
                with urllib.request.urlopen(f"{facts['web']}/api/v2/monitor/health", timeout=60) as answer:
                    answers.append(answer.status)
            except OSError as error:
                answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    (project / "startup.sh").write_text("export MINE=new\n")
    said = told.outcome()
    stopping.set()
    thread.join(90)

    assert "updated startup.sh" in said
    assert len(answers) > 20
    assert {*answers} == {200}


def test_a_graceful_update_lets_tasks_end(
    stack: Callable[..., Up], project: Path, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_SCALE_IN_SECONDS", "5")
    (project / "dags" / "patient.py").write_text(PATIENT)
    environment = stack("--workers", "1", "--update", "graceful")
    facts = environment.ready(600)
    api = entered(facts, "hello", "patient")
    run_id, host = start_task(facts, api)
    old, told = containers.ids("worker"), Told(environment)
    assert [each[:12] for each in old] == [host]

    (project / "startup.sh").write_text("export MINE=new\n")
    assert "updated startup.sh" in told.outcome()

    assert asked(api)["mine"] == "new"  # by the new worker, while the old one is at work
    assert old[0] in containers.ids("worker")
    client(facts["s3"]).put_object(Bucket="mwaa-local", Key="go", Body=b"")
    assert api.wait_run("patient", run_id, timeout=120) == "success"
    (task,) = api.task_instances("patient", run_id)
    assert task["try_number"] == 1
    assert api.xcom("patient", run_id, "wait") == host
    wait_for(lambda: old[0] not in containers.ids("worker"), 120, "the end of the old worker")


def test_a_forced_update_ends_tasks_and_airflow_tries_them_again(
    stack: Callable[..., Up], project: Path, containers: Containers
) -> None:
    (project / "dags" / "patient.py").write_text(PATIENT)
    environment = stack(
        *("--workers", "1", "--option", "scheduler.task_instance_heartbeat_timeout=20"),
        *("--option", "scheduler.task_instance_heartbeat_detection_interval=2"),
    )
    facts = environment.ready(600)
    api = entered(facts, "hello", "patient")
    run_id, host = start_task(facts, api)
    told = Told(environment)

    (project / "startup.sh").write_text("export MINE=new\n")
    assert "updated startup.sh" in told.outcome()

    assert host not in [each[:12] for each in containers.ids("worker")]
    wait_for(lambda: len(started(facts)) == 2, 180, "the second try")
    client(facts["s3"]).put_object(Bucket="mwaa-local", Key="go", Body=b"")
    assert api.wait_run("patient", run_id, timeout=120) == "success"
    (task,) = api.task_instances("patient", run_id)
    assert task["try_number"] == 2
