"""The stack of containers: closed to others, whole after a kill, gone after its end, frank about a failure."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fix_up import Up, command, is_there, wait_for
from tests.stack.fix_stack import Containers, docker
from tradewind.local.api import Api
from tradewind.local.s3 import client
from tradewind.local.stack import layout
from tradewind.local.stack.forward import Forward

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENT = """
import datetime as dt
import socket
import time
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow import DAG
    from airflow.operators.python import PythonOperator

def wait():
    import boto3
    s3 = boto3.client("s3")
    s3.put_object(Bucket="mwaa-local", Key=f"started/{socket.gethostname()}", Body=b"")
    while "Contents" not in s3.list_objects_v2(Bucket="mwaa-local", Prefix="go"):
        time.sleep(0.2)
    return socket.gethostname()

with DAG("patient", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    PythonOperator(task_id="wait", python_callable=wait, retries=1, retry_delay=dt.timedelta(seconds=1))
"""

STOP = """
import os, signal
found = {pid: open(f"/proc/{pid}/cmdline").read() for pid in os.listdir("/proc") if pid.isdigit()}
stopped = [pid for pid, line in found.items() if "triggerer" in line and int(pid) != os.getpid()]
assert stopped, found
for pid in stopped:
    os.kill(int(pid), signal.SIGSTOP)
"""


def talked(environment: Up, text: str) -> Callable[[], bool]:
    return lambda: text in environment.talk.read_text()


def secrets_of(state: Path) -> dict[str, str]:
    """Return every secret of an environment by its name."""
    drawn = json.loads((state / "secrets.json").read_text()) | json.loads((state / "docker/passwords.json").read_text())
    return {name: value for name, value in drawn.items() if name != "user"}


def test_nobody_else_gets_in_and_user_code_does_not_get_out(
    stack: Callable[..., Up], project: Path, containers: Containers
) -> None:
    environment = stack("--workers", "2")
    facts = environment.ready(600)
    found = containers.inspect()
    state = project / ".tradewind"

    published = {name: each["HostConfig"]["PortBindings"] for name, each in found.items()}
    assert published.pop("webserver") == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    assert not any(published.values())
    networks = {name: set(each["NetworkSettings"]["Networks"]) for name, each in found.items()}
    inside = f"{containers.project}_inside"
    assert json.loads(docker("network", "inspect", inside))[0]["Internal"]
    assert all(networks[name] == {inside} for name in ("postgres", "broker", "aws"))

    for each in found.values():
        assert each["HostConfig"]["ReadonlyRootfs"]
        assert each["HostConfig"]["CapDrop"] == ["ALL"]
        assert each["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
        assert not each["HostConfig"]["Privileged"]
        assert "docker.sock" not in json.dumps(each["Mounts"])
        assert docker("exec", each["Id"], "id", "-u").strip() not in ("", "0")

    secrets = secrets_of(state)
    assert len(secrets) == 6
    for name, each in found.items():
        shown = json.dumps(each) + docker("logs", each["Id"])
        assert not [secret for secret, value in secrets.items() if value in shown], name
    shown = (state / "docker/compose.env").read_text() + docker("history", "--no-trunc", found["worker"]["Image"])
    assert not [secret for secret, value in secrets.items() if value in shown]
    given = set(docker("exec", found["worker"]["Id"], "ls", "/run/secrets").split())
    assert given == {"broker", "ca", "database", "fernet_key", "mariadb", "options", "user", "warehouse"}
    for path in (state / "docker/secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    import psycopg2

    # The command, and nobody's published port, leads to the bucket and to the warehouse.
    assert client(facts["s3"]).head_object(Bucket="mwaa-local", Key="dags/hello.py")["ContentLength"] > 0
    connection = psycopg2.connect(facts["warehouse"])
    with connection, connection.cursor() as cursor:
        cursor.execute("create table kept as select 1 as one")
    connection.close()

    # Straight where this machine reaches the container's address, through another container where it does not.
    for forward in (
        Forward(containers.project, *layout.POSTGRES, through="none"),
        Forward(containers.project, *layout.POSTGRES, direct=False),
    ):
        dsn = re.sub(r":\d+/", f":{forward.port}/", facts["warehouse"])
        connection = psycopg2.connect(dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute("select repeat('x', 3000000), one from kept")
            assert cursor.fetchone() == ("x" * 3_000_000, 1)
        forward.close()
        with pytest.raises(psycopg2.OperationalError, match="server closed the connection unexpectedly"):
            connection.cursor().execute("select 1")
        connection.close()
        with pytest.raises(psycopg2.OperationalError, match="refused"):
            psycopg2.connect(dsn)

    # A process that hangs is not well, though it runs; what the container's health says reaches the terminal.
    docker("exec", found["scheduler"]["Id"], "python3", "-c", STOP)
    wait_for(talked(environment, ") is not well: no sign of life for 30 s: TriggererJob"), 120, "the illness told")

    environment.look()
    environment.process.kill()
    environment.process.wait()
    wait_for(lambda: not containers.left(), 120, "the end of the containers of a killed command")
    wait_for(lambda: not environment.left(), 30, "the end of its processes")

    facts = stack().ready()
    connection = psycopg2.connect(facts["warehouse"])
    with connection, connection.cursor() as cursor:
        cursor.execute("select one from kept")
        assert cursor.fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize("stack", ["3.3.1"], indirect=True)
def test_the_retry_of_a_task_whose_worker_is_killed_runs_elsewhere(
    stack: Callable[..., Up], project: Path, containers: Containers
) -> None:
    (project / "dags" / "patient.py").write_text(PATIENT)
    facts = stack(
        *("--workers", "2", "--option", "scheduler.task_instance_heartbeat_timeout=20"),
        *("--option", "scheduler.task_instance_heartbeat_detection_interval=2"),
    ).ready(600)
    api = Api(facts["web"], 3, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "patient"), 120, "the DAG in Airflow")
    api.unpause("patient")
    s3 = client(facts["s3"])

    def started() -> list[str]:
        listed: Any = s3.list_objects_v2(Bucket="mwaa-local", Prefix="started/").get("Contents", [])
        return [entry["Key"].removeprefix("started/") for entry in listed]

    run_id = api.trigger("patient")
    (first,) = wait_for(started, 120, "the task")
    workers = containers.ids("worker")
    assert len(workers) == 2
    (killed,) = (each for each in workers if each.startswith(first))

    docker("kill", "--signal", "KILL", killed)

    wait_for(lambda: len(started()) == 2, 180, "the second try")
    s3.put_object(Bucket="mwaa-local", Key="go", Body=b"")
    assert api.wait_run("patient", run_id, timeout=60) == "success"
    (task,) = api.task_instances("patient", run_id)
    assert task["try_number"] == 2
    assert api.xcom("patient", run_id, "wait") != first
    now = wait_for(lambda: len(found := containers.ids("worker")) == 2 and found, 60, "another worker in its place")
    assert killed not in now


def test_requirements_that_cannot_be_installed_are_told(
    stack: Callable[..., Up], project: Path, containers: Containers
) -> None:
    (project / "requirements.txt").write_text("six==0.0.1\n")
    environment = stack()

    assert environment.process.wait(600) == 1
    told = environment.talk.read_text()
    assert "requirements.txt cannot be installed" in told
    assert "six==0.0.1" in told
    assert "MWAA would install none of its lines" in told
    assert containers.left() == []


def test_a_startup_script_that_hangs_is_told(
    stack: Callable[..., Up], project: Path, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_STARTUP_LIMIT", "5")
    (project / "startup.sh").write_text("echo waiting for godot\nsleep 3600\n")
    environment = stack()

    assert environment.process.wait(600) == 1
    told = environment.talk.read_text()
    assert "startup.sh did not end in 5 s" in told
    assert "waiting for godot" in told
    assert containers.left() == []


def test_requirements_are_installed_beside_airflow(stack: Callable[..., Up], project: Path) -> None:
    (project / "requirements.txt").write_text("cowsay\n")
    text = (project / "dags" / "hello.py").read_text()
    (project / "dags" / "hello.py").write_text(
        text.replace("return {", "import cowsay; return {'said': cowsay.__file__,")
    )
    environment = stack()
    facts = environment.ready(600)
    api = Api(facts["web"], 3, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "hello"), 120, "the DAG in Airflow")
    api.unpause("hello")

    run_id = api.trigger("hello")

    assert api.wait_run("hello", run_id, timeout=120) == "success"
    assert api.xcom("hello", run_id, "answer")["said"].startswith("/usr/local/airflow/.local/lib/")


@pytest.mark.parametrize("stack", ["2.10.3"], indirect=True)
def test_the_oldest_airflow_gives_the_same_result(stack: Callable[..., Up]) -> None:
    facts = stack().ready(600)
    api = Api(facts["web"], 2, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "hello"), 120, "the DAG in Airflow")
    api.unpause("hello")

    run_id = api.trigger("hello")

    assert api.wait_run("hello", run_id, timeout=120) == "success"
    assert api.xcom("hello", run_id, "answer") == {"schema": "warehouse", "mine": "yes", "read": True, "word": "WORD"}


def test_down_ends_it_from_another_terminal(stack: Callable[..., Up], project: Path, containers: Containers) -> None:
    environment = stack()
    wait_for(lambda: len(containers.ids()) == 6, 600, "the containers")

    assert os.spawnv(os.P_WAIT, command()[0], command("down", project)) == 0

    assert environment.process.wait(60) == 0
    assert containers.left() == []
