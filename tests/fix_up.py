"""``tradewind up`` on a project of a test's own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tradewind.local.api import Api, ApiError

DAG = """
import datetime as dt
import os
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow import DAG
    from airflow.operators.python import PythonOperator
from tradewind.hooks.compat import AIRFLOW_VERSION, BaseHook

def answer():
    import boto3
    connection = BaseHook.get_connection("warehouse")
    body = boto3.client("s3").get_object(Bucket="mwaa-local", Key="dags/hello.py")["Body"].read()
    account = boto3.client("sts").get_caller_identity()["Account"]  # of the local server, like S3's
    read = "DAG(" in body.decode() and account == "123456789012"
    return {"schema": connection.schema, "mine": os.environ.get("MINE"), "read": read, "word": "WORD"}

with DAG("hello", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    PythonOperator(task_id="answer", python_callable=answer)
"""


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "tradewind.mwaa.cli", *map(str, arguments)]


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.1)
    return found


def is_there(api: Api, dag_id: str) -> bool:
    try:
        return bool(api.get(f"/dags/{dag_id}"))
    except ApiError:
        return False


class Up:
    """A running ``tradewind up``."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.talk = folder.parent / "talk"
        self.out = folder.parent / "out"
        with self.talk.open("w") as talk, self.out.open("w") as out:
            self.process = subprocess.Popen(
                command("up", folder, "--json", *arguments), stdout=out, stderr=talk, start_new_session=True
            )
        self.seen: dict[int, float] = {}

    def ready(self, seconds: float = 300.0) -> dict[str, Any]:
        wait_for(lambda: self.out.read_text().endswith("}\n") or self.process.poll() is not None, seconds, "ready")
        assert self.process.poll() is None, self.talk.read_text()
        facts: dict[str, Any] = json.loads(self.out.read_text())
        return facts

    def look(self) -> None:
        """Remember every process below this one."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                self.seen[process.pid] = process.create_time()
            except psutil.Error:
                continue

    def left(self) -> list[str]:
        """Return those of the remembered processes that still live."""
        found = []
        for pid, started in self.seen.items():
            try:
                process = psutil.Process(pid)
                if process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{pid} {process.cmdline()}")
            except psutil.Error:
                continue
        return found

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            command("status", self.folder, "--json"), capture_output=True, text=True, timeout=60, check=False
        )
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with a DAG, hello, and a startup.sh."""
    (tmp_path / "project" / "dags").mkdir(parents=True)
    (tmp_path / "project" / "dags" / "hello.py").write_text(DAG)
    (tmp_path / "project" / "startup.sh").write_text("export MINE=yes\nexport AIRFLOW__CORE__EXECUTOR=Wrong\n")
    return tmp_path / "project"


@pytest.fixture
def up(project: Path) -> Iterator[Callable[..., Up]]:
    """Return a function that starts ``tradewind up`` on the project; what it starts ends with the test."""
    started: list[Up] = []

    def start(*arguments: str) -> Up:
        started.append(Up(project, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        wait_for(lambda one=one: not one.left(), 30, "the end")  # type: ignore[misc]
