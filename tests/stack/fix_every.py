"""One stack for all that is run on it: every operator, the examples, and the services that the stack has not."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fix_up import Up, is_there, wait_for
from tests.stack.fix_stack import Containers, each_airflow, stack_arguments
from tests.stack.standins.running import Standins, startup
from tradewind.local.api import DONE, Api
from tradewind.local.s3 import client
from tradewind.local.versions import VERSIONS

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parent / "every" / "dags"
EXAMPLES = ROOT / "examples"
BUCKET = "mwaa-local"
LOGS = "/usr/local/airflow/logs"


class Every:
    """The environment, driven through its REST API.

    :param folder: where its files lie
    :param airflow: the version of Airflow
    """

    def __init__(self, folder: Path, airflow: str) -> None:
        self.airflow = airflow
        self.project = folder / "project"
        shutil.copytree(EXAMPLES, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        for path in DAGS.glob("*.py"):
            shutil.copy(path, self.project / "dags")
        (self.project / "startup.sh").write_text(startup())
        self.containers = Containers(self.project)
        self._runs: dict[str, str] = {}
        size = ("--class", "mw1.medium", "--workers", "1", "--with", "mariadb")
        self._up = Up(self.project, *stack_arguments(airflow), *size)
        try:
            self.facts = self._up.ready(900)
            self.api = Api(
                self.facts["web"], VERSIONS[airflow].major, self.facts["user"], self.facts["password"], timeout=60
            )
            self.s3 = client(self.facts["s3"])
            self.standins = Standins(self.containers.project, self.facts["warehouse"])
            self.standins.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything."""
        if self._up.process.poll() is None:
            self._up.process.terminate()
            self._up.process.wait(180)

    def begin(self, dag_id: str) -> str:
        """Start a DAG's one run, by the REST API; a second call finds it.

        :return: the run's id
        """
        if dag_id not in self._runs:
            wait_for(lambda: is_there(self.api, dag_id), 120, f"{dag_id} in Airflow")
            self.api.unpause(dag_id)
            # Airflow 3 gives a run no date by itself, and with none there is no {{ ds }}.
            date = {"logical_date": datetime.now(UTC).isoformat()} if VERSIONS[self.airflow].major == 3 else {}
            self._runs[dag_id] = str(self.api.post(f"/dags/{dag_id}/dagRuns", {"conf": {}, **date})["dag_run_id"])
        return self._runs[dag_id]

    def finish(self, dag_id: str, seconds: float = 900) -> list[dict[str, Any]]:
        """Wait for the end of a DAG's run, which must be a success.

        :return: its task instances
        """
        run_id = self.begin(dag_id)
        wait_for(lambda: self.api.run(dag_id, run_id)["state"] in DONE, seconds, f"the end of {dag_id}")
        found = self.api.task_instances(dag_id, run_id)
        failed = [f"{each['task_id']} is {each['state']}" for each in found if each["state"] != "success"]
        assert failed == [], "\n".join([*failed, *self.last_lines(dag_id, failed)])
        assert self.api.run(dag_id, run_id)["state"] == "success"
        return found

    def value(self, task_id: str, dag_id: str = "every_operator") -> Any:
        """Return a task's XCom."""
        return self.api.xcom(dag_id, self._runs[dag_id], task_id)

    def logs_of(self, dag_id: str) -> dict[str, str]:
        """Return what the tasks of a DAG's run wrote, by their ids: all tries, triggers included."""
        found: dict[str, str] = {}
        for path, text in self.task_logs().items():
            parts = dict(part.split("=", 1) for part in path.split("/") if "=" in part)
            if parts.get("dag_id") == dag_id and parts.get("run_id") == self._runs[dag_id]:
                found[parts["task_id"]] = found.get(parts["task_id"], "") + text
        return found

    def last_lines(self, dag_id: str, tasks: list[str]) -> list[str]:
        """Return the ends of the logs of tasks, for who reads of their failure."""
        logs = self.task_logs()
        names = [f"task_id={text.split()[0]}/" for text in tasks]
        return [
            f"{path}:\n{text[-3000:]}"
            for path, text in logs.items()
            if f"dag_id={dag_id}/" in path and any(name in path for name in names)
        ]

    def text(self, key: str) -> str:
        """Return an object of the bucket as text."""
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()

    def named(self, manifest: str) -> list[str]:
        """List the keys that a manifest names."""
        return re.findall(rf'"url": "s3://{BUCKET}/([^"]+)"', self.text(manifest))

    def keys(self, prefix: str) -> list[str]:
        """List the bucket."""
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for each in listed.get("Contents", [])]

    def task_logs(self) -> dict[str, str]:
        """Return what tasks and the processing of DAG files wrote, by file."""
        worker = self.containers.ids("worker")[0]
        packed = subprocess.run(
            ["docker", "exec", worker, "tar", "-C", LOGS, "-cf", "-", "."], capture_output=True, timeout=120, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            files = [(member.name, archive.extractfile(member)) for member in archive if member.isfile()]
            return {name: file.read().decode(errors="replace") for name, file in files if file is not None}

    def container_logs(self) -> dict[str, str]:
        """Return what the containers wrote, by service."""
        found = {}
        for service, told in self.containers.inspect().items():
            command = ["docker", "logs", told["Id"]]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=True)
            found[service] = done.stdout.decode(errors="replace")
        return found


@pytest.fixture(scope="module", params=each_airflow())
def every(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Every]:
    """Start the stack of a version once for a module; nothing of it is left afterwards."""
    running = Every(tmp_path_factory.mktemp("every"), request.param)
    yield running
    running.close()
    wait_for(lambda: not running.containers.left(), 120, "the end of the containers")
