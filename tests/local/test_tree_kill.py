"""Tasks of a real Airflow that are killed, or marked failed by a person: what they have started ends with them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from tests.services import require
from tradewind.local.api import ApiError
from tradewind.local.environment import Environment
from tradewind.local.interpreter import running_version
from tradewind.local.versions import VERSIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Each first try starts a tree and waits; a second one succeeds at once.
MARK = uuid.uuid4().hex
DAG = """
import datetime as dt, multiprocessing, os, subprocess, time
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.operators.bash import BashOperator
from tradewind.operators.python import PythonOperator

TREE = '''
if [ {{ ti.try_number }} = 2 ]; then echo again; exit 0; fi
trap "" TERM
export TREE=MARK.{{ ti.task_id }}
setsid sleep 1000 &
nohup bash -c "sleep 1000; sleep 1000" &
(setsid setsid sleep 1000 &)
sleep 1000
'''

def tree(ti):
    if ti.try_number == 2:
        return "again"
    os.environ["TREE"] = "MARK." + ti.task_id
    subprocess.Popen(["setsid", "bash", "-c", "trap '' TERM; sleep 1000; sleep 1000"])
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if not multiprocessing.current_process().daemon:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(time.sleep, [1000, 1000])
    for _ in range(2):  # the LocalExecutor of Airflow 2 allows no pool
        if os.fork() == 0:
            time.sleep(1000)
    time.sleep(1000)

with DAG("trees", start_date=dt.datetime(2026, 1, 1), schedule=None, catchup=False, default_args={
    "retries": 1, "retry_delay": dt.timedelta(seconds=0)
}):
    for way in ("killed", "failed"):
        BashOperator(task_id="bash_" + way, bash_command=TREE)
        PythonOperator(task_id="python_" + way, python_callable=tree)
"""
SLEEPERS = {"bash": 4, "python": 2}
"""How many ``sleep 1000`` each tree holds."""


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.05)
    return found


def tree(task: str) -> list[psutil.Process]:
    """Return the processes of a task that carry its name in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TREE") == f"{MARK}.{task}" and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def grown(task: str) -> list[psutil.Process]:
    """Return the tree once it is complete, nothing before."""
    found = tree(task)
    sleepers = [process for process in found if process.is_running() and process.name() == "sleep"]
    return found if len(sleepers) >= SLEEPERS[task.partition("_")[0]] else []


def task_process(task: str, scheduler: int) -> psutil.Process:
    """Return the process in which Airflow runs a task: of those above its tree, the one that has started the guard."""
    above = {process for member in tree(task) for process in member.parents()}
    below = set(psutil.Process(scheduler).children(recursive=True))
    (found,) = [
        process
        for process in above & below
        if any("tradewind.operators.processes.guard" in " ".join(child.cmdline()) for child in process.children())
    ]
    return found


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


class Run:
    """A run of the DAG whose tasks have all started their trees."""

    def __init__(self, environment: Environment) -> None:
        self.api = environment.api()
        self.scheduler = scheduler(environment)
        wait_for(self._dag_is_there, 120, "the DAG in Airflow")
        self.api.unpause("trees")
        self.id = self.api.trigger("trees")

    def _dag_is_there(self) -> bool:
        try:
            return bool(self.api.get("/dags/trees"))
        except ApiError:
            return False

    def everything_of(self, task: str) -> tuple[psutil.Process, list[psutil.Process]]:
        """Wait for a task's tree.

        :return: the task's process, and all below it
        """
        wait_for(lambda: grown(task), 120, f"the tree of {task}")
        process = task_process(task, self.scheduler)
        return process, list({*process.children(recursive=True), *tree(task)})

    def fail(self, task: str) -> None:
        """Mark a running task failed, as a person does in the UI."""
        body: dict[str, Any] = {"new_state": "failed"} | ({"dry_run": False} if self.api.major == 2 else {})
        self.api.patch(f"/dags/trees/dagRuns/{quote(self.id, safe='')}/taskInstances/{task}", body)

    def states(self) -> dict[str, tuple[str, int]]:
        """Return each task's state and try."""
        return {
            found["task_id"]: (found["state"], found["try_number"])
            for found in self.api.task_instances("trees", self.id)
        }


def scheduler(environment: Environment) -> int:
    (found,) = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.parent() and "scheduler" in process.cmdline()[2:3] and "airflow" in process.cmdline()[1]
    ]
    return int(found.pid)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    version = running_version()
    if version not in VERSIONS:
        require("airflow", f"MWAA does not offer Airflow {version}")
    folder = tmp_path_factory.mktemp("project")
    (folder / "dags").mkdir()
    (folder / "dags" / "trees.py").write_text(DAG.replace("MARK", MARK))
    with Environment(folder, airflow=version) as environment:
        environment.wait_ready()
        yield Run(environment)


@pytest.mark.parametrize("kind", ["bash", "python"])
def test_a_killed_task_takes_its_tree_along_and_its_retry_succeeds(run: Run, kind: str) -> None:
    process, below = run.everything_of(f"{kind}_killed")
    assert len(below) >= 6

    process.kill()

    psutil.wait_procs(below, timeout=3)
    assert living(below) == []
    assert tree(f"{kind}_killed") == []
    wait_for(lambda: run.states()[f"{kind}_killed"] == ("success", 2), 90, "the retry's success")
    assert run.api.xcom("trees", run.id, f"{kind}_killed") == "again"


@pytest.mark.parametrize("kind", ["bash", "python"])
def test_a_task_that_a_person_marks_failed_takes_its_tree_along(run: Run, kind: str) -> None:
    process, below = run.everything_of(f"{kind}_failed")

    run.fail(f"{kind}_failed")

    # The task hears of it by its next heartbeat; SIGTERM, and where it goes on, SIGKILL after 5 seconds (Airflow 3).
    process.wait(60)
    psutil.wait_procs(below, timeout=3)
    assert living(below) == []
    assert tree(f"{kind}_failed") == []
    assert run.states()[f"{kind}_failed"][0] == "failed"
