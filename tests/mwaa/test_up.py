"""``tradewind up`` on a real Airflow: runs a DAG, follows a saved file, tells of a crash, leaves no process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fix_up import DAG, Up, command, is_there, wait_for
from tests.services import require
from tradewind.local.api import Api
from tradewind.local.metadata import database
from tradewind.local.versions import VERSIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUNNING = version("apache-airflow")
CONSTRAINTS = Path(os.environ.get("TRADEWIND_CONSTRAINTS_DIR") or Path(__file__).parents[3] / "shared" / "mwaa")

PATIENT = """
import datetime as dt
import os
import time
from pathlib import Path
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow import DAG
    from airflow.operators.python import PythonOperator

def wait():
    folder = Path("FOLDER")
    (folder / f"started-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.1)

with DAG("patient", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    PythonOperator(task_id="wait", python_callable=wait, retries=0)
"""

DEFERRED = """
import datetime as dt
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
except ImportError:
    from airflow import DAG
    from airflow.sensors.date_time import DateTimeSensorAsync

with DAG("deferred", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    for number in range(24):
        DateTimeSensorAsync(task_id=f"wait{number}", target_time="2024-01-01T00:00:00+00:00", retries=0)
"""


def run(api: Api, dag_id: str = "hello") -> Any:
    """Run a DAG to its end and return what its task left."""
    run_id = api.trigger(dag_id)
    assert api.wait_run(dag_id, run_id, timeout=180) == "success"
    return api.xcom(dag_id, run_id, "answer")


@pytest.mark.skipif(RUNNING not in VERSIONS, reason=f"MWAA does not offer Airflow {RUNNING}")
def test_a_day_with_an_environment(up: Callable[..., Up], project: Path) -> None:
    environment = up("--airflow", RUNNING)
    facts = environment.ready()
    api = Api(facts["web"], VERSIONS[RUNNING].major, facts["user"], facts["password"])

    wait_for(lambda: is_there(api, "hello"), 120, "the DAG in Airflow")
    api.unpause("hello")
    environment.look()
    assert run(api) == {"schema": "warehouse", "mine": "yes", "read": True, "word": "WORD"}
    environment.look()

    (project / "dags" / "hello.py").write_text(DAG.replace("WORD", "other word"))
    (project / "dags" / "second.py").write_text(DAG.replace('"hello"', '"second"'))
    wait_for(lambda: is_there(api, "second"), 60, "the saved DAG in Airflow")
    assert run(api)["word"] == "other word"

    (project / "dags" / "broken.py").write_text(DAG.replace("import os", "import no_such_module"))
    wait_for(lambda: "dags/broken.py cannot be imported:" in environment.talk.read_text(), 60, "the broken DAG told")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in environment.talk.read_text()
    (project / "dags" / "broken.py").unlink()
    wait_for(lambda: "dags/broken.py is no longer broken" in environment.talk.read_text(), 120, "its end told")

    status = environment.status()
    assert status["running"]
    scheduler = next(row for row in status["components"] if row["name"] == "scheduler")
    assert scheduler["bytes"] > 50 << 20
    os.kill(scheduler["pid"], signal.SIGKILL)
    wait_for(lambda: "starting scheduler again (1 of 3)" in environment.talk.read_text(), 30, "the restart")
    assert "scheduler ended with SIGKILL, the last lines of" in environment.talk.read_text()
    assert run(api)["word"] == "other word"
    environment.look()

    environment.process.send_signal(signal.SIGINT)
    assert environment.process.wait(60) == 130
    assert environment.left() == []
    assert environment.status() == {"running": False, "state": str(project / ".tradewind")}


@pytest.mark.skipif(RUNNING not in VERSIONS, reason=f"MWAA does not offer Airflow {RUNNING}")
def test_deferred_tasks_that_resume_at_once_are_not_failed(up: Callable[..., Up], project: Path) -> None:
    """The LocalExecutor tells late that the first part ended: with Airflow's defaults, 11 of these 24 failed."""
    (project / "dags" / "deferred.py").write_text(DEFERRED)
    facts = up("--airflow", RUNNING).ready()
    api = Api(facts["web"], VERSIONS[RUNNING].major, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "deferred"), 120, "the DAG in Airflow")
    api.unpause("deferred")

    run_id = api.trigger("deferred")
    api.wait_run("deferred", run_id, timeout=180)

    assert {task["state"] for task in api.task_instances("deferred", run_id)} == {"success"}


def kill_within_its_transaction(pid: int, dsn: str) -> None:
    """Kill a scheduler while it holds the lock under which it queues tasks."""
    import psycopg2

    connection = psycopg2.connect(dsn)
    connection.autocommit = True

    def caught() -> bool:
        os.kill(pid, signal.SIGSTOP)
        with connection.cursor() as cursor:
            for _ in range(2):  # what it had sent before it stopped is done by the second look
                cursor.execute(
                    "select count(*) from pg_locks join pg_stat_activity using (pid) "
                    "where locktype = 'advisory' and state = 'idle in transaction'"
                )
                if not cursor.fetchone()[0]:  # type: ignore[index]
                    os.kill(pid, signal.SIGCONT)
                    return False
                time.sleep(0.05)
        return True

    try:
        wait_for(caught, 120, "the scheduler's lock")
        os.kill(pid, signal.SIGKILL)
    finally:
        connection.close()


@pytest.mark.skipif(RUNNING not in VERSIONS, reason=f"MWAA does not offer Airflow {RUNNING}")
def test_tasks_of_a_killed_scheduler_start_again_at_once_and_run_alone(
    up: Callable[..., Up], project: Path, tmp_path: Path
) -> None:
    """Airflow would leave them for 300 s and more, and lose its locks to the workers that survive."""
    (project / "dags" / "patient.py").write_text(PATIENT.replace("FOLDER", str(tmp_path)))
    environment = up("--airflow", RUNNING)
    facts = environment.ready()
    api = Api(facts["web"], VERSIONS[RUNNING].major, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "patient"), 120, "the DAG in Airflow")
    api.unpause("patient")
    run_id = api.trigger("patient")
    (first,) = wait_for(lambda: list(tmp_path.glob("started-*")), 120, "the task")
    environment.look()
    pids = {row["name"]: row["pid"] for row in environment.status()["components"]}

    metadata = facts["warehouse"].replace("/warehouse", "/" + database(VERSIONS[RUNNING]))
    kill_within_its_transaction(pids["scheduler"], metadata)

    wait_for(lambda: len(list(tmp_path.glob("started-*"))) == 2, 60, "the second try")
    assert not psutil.pid_exists(int(first.name.removeprefix("started-")))
    (tmp_path / "go").touch()
    assert api.wait_run("patient", run_id, timeout=60) == "success"
    assert len(list(tmp_path.glob("started-*"))) == 2
    environment.process.send_signal(signal.SIGINT)
    assert environment.process.wait(60) == 130
    assert environment.left() == []


@pytest.mark.skipif(RUNNING not in VERSIONS, reason=f"MWAA does not offer Airflow {RUNNING}")
def test_a_killed_command_leaves_no_process_and_the_next_one_starts(up: Callable[..., Up], project: Path) -> None:
    first = up("--airflow", RUNNING)
    wait_for(lambda: (project / ".tradewind" / "logs" / "triggerer.log").exists(), 120, "the start")
    first.look()
    assert len(first.seen) > 5

    first.process.kill()
    first.process.wait()
    second = up("--airflow", RUNNING)

    wait_for(lambda: not first.left(), 30, "the end of what it started")
    wait_for(lambda: second.status()["running"], 120, "the second start")
    second.look()
    done = subprocess.run(command("down", project), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, second.process.wait(10)) == (0, 0)
    assert second.left() == []


@pytest.mark.parametrize("airflow", ["2.10.3"])
def test_another_version_and_the_requirements_get_an_environment_of_their_own(
    up: Callable[..., Up], project: Path, airflow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = CONSTRAINTS / airflow / "constraints.txt"
    if not constraints.is_file():
        require("constraints", f"there is no {constraints}: set TRADEWIND_CONSTRAINTS_DIR")
    monkeypatch.setenv("TRADEWIND_CACHE_DIR", str(tmp_path / "cache"))
    (project / "requirements.txt").write_text("cowsay  # not pinned: the constraints may not know it\n")
    (project / "dags" / "hello.py").write_text(
        DAG.replace("return {", "import airflow, cowsay; return {'at': airflow.__version__, 'said': cowsay.__name__,")
    )
    environment = up("--airflow", airflow, "--constraints", str(constraints))
    facts = environment.ready(500)
    api = Api(facts["web"], VERSIONS[airflow].major, facts["user"], facts["password"])

    wait_for(lambda: is_there(api, "hello"), 120, "the DAG in Airflow")
    api.unpause("hello")
    environment.look()
    answer = run(api)
    assert (answer["at"], answer["said"]) == (airflow, "cowsay")
    environment.process.send_signal(signal.SIGTERM)
    assert environment.process.wait(60) == 0
    assert environment.left() == []


def test_requirements_that_cannot_be_installed_are_told_with_what_mwaa_would_do(
    up: Callable[..., Up], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = CONSTRAINTS / "3.3.1" / "constraints.txt"
    if not constraints.is_file():
        require("constraints", f"there is no {constraints}: set TRADEWIND_CONSTRAINTS_DIR")
    monkeypatch.setenv("TRADEWIND_CACHE_DIR", str(tmp_path / "cache"))
    (project / "requirements.txt").write_text("six==0.0.1\n")
    environment = up("--airflow", "3.3.1", "--constraints", str(constraints))
    wait_for(lambda: list((tmp_path / "cache").glob("environments/*/bin")), 120, "the installation")
    environment.look()

    assert environment.process.wait(400) == 1
    told = environment.talk.read_text()
    assert "requirements.txt cannot be installed" in told
    assert "six==0.0.1" in told
    assert "MWAA would install none of its lines" in told
    assert environment.left() == []
    assert not list((tmp_path / "cache").glob("environments/*/bin"))
