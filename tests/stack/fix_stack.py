"""``tradewind up --engine docker`` on a project of a test's own; nothing of it is left after the test."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.fix_up import Up, wait_for
from tradewind.local.s3 import ACCESS_KEY, REGION, SECRET_KEY
from tradewind.local.stack.engine import project_name
from tradewind.local.state import State
from tradewind.local.versions import VERSIONS

BASE = "TRADEWIND_BASE_IMAGE"
SWITCH = "TRADEWIND_STACK_AIRFLOW"
"""Which versions of Airflow the stack is tested on: some of them with commas between, or ``all``."""
USUAL = "3.3.1,2.10.3"
CONSTRAINTS = Path(os.environ.get("TRADEWIND_CONSTRAINTS_DIR") or Path(__file__).parents[3] / "shared" / "mwaa")


def chosen() -> list[str]:
    """Return the versions of Airflow that the tests of the stack run on, as the environment names them."""
    text = os.environ.get(SWITCH) or USUAL
    names = list(VERSIONS) if text == "all" else [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in VERSIONS]:
        raise pytest.UsageError(f"{SWITCH}: {', '.join(unknown)} is none of {', '.join(VERSIONS)}, all")
    return names


def each_airflow() -> list[Any]:
    """Return all versions as parameters, so that there are always as many tests; those not chosen are skipped."""
    left = pytest.mark.skip(reason=f"{SWITCH} leaves this version out")
    return [pytest.param(name, id=name, marks=[] if name in chosen() else [left]) for name in VERSIONS]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def sqs(endpoint_url: str) -> Any:
    """Return a client for an environment's SQS."""
    import boto3

    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    return session.client("sqs", endpoint_url=endpoint_url)


class Containers:
    """What Docker has of one environment."""

    def __init__(self, folder: Path) -> None:
        self.project = project_name(State(folder / ".tradewind"))
        self._label = f"label=com.docker.compose.project={self.project}"

    def ids(self, service: str | None = None) -> list[str]:
        filters = ["--filter", self._label]
        if service is not None:
            filters += ["--filter", f"label=com.docker.compose.service={service}"]
        return docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()

    def inspect(self) -> dict[str, dict[str, Any]]:
        """Return what Docker tells of each container, by service."""
        found = json.loads(docker("inspect", *self.ids()))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def left(self) -> list[str]:
        """Return the containers, networks and volumes that there are."""
        kinds = [docker(kind, "ls", "--quiet", "--filter", self._label).split() for kind in ("network", "volume")]
        return [*self.ids(), *(name for names in kinds for name in names)]


def require_docker() -> None:
    """Skip, or fail where every service is required, without a Docker that can be used."""
    if services.docker() is None:
        services.require(
            "docker", "there is no Docker with Compose and buildx that answers: .ci/stack makes the latter two"
        )


def stack_arguments(airflow: str) -> tuple[str, ...]:
    """Return the arguments of ``up`` for the engine docker, where it can be used."""
    if services.docker() is None:
        services.require(
            "docker", "there is no Docker with Compose and buildx that answers: .ci/stack makes the latter two"
        )
    constraints = CONSTRAINTS / airflow / "constraints.txt"
    if not constraints.is_file():
        services.require("constraints", f"there is no {constraints}: set TRADEWIND_CONSTRAINTS_DIR")
    base = os.environ.get(BASE) or f"tradewind-test/base:{VERSIONS[airflow].python}"
    if subprocess.run(["docker", "image", "inspect", base], capture_output=True, check=False).returncode != 0:
        services.require("base image", f"there is no image {base}: .ci/stack makes it, or set {BASE}")
    return "--engine", "docker", "--airflow", airflow, "--base-image", base, "--constraints", str(constraints)


@pytest.fixture
def containers(project: Path) -> Containers:
    return Containers(project)


@pytest.fixture
def stack(up: Callable[..., Up], containers: Containers, request: pytest.FixtureRequest) -> Iterator[Callable[..., Up]]:
    """Return a function that starts the stack on the project."""
    airflow = getattr(request, "param", "3.3.1")
    arguments = stack_arguments(airflow)
    started: list[Up] = []

    def start(*more: str) -> Up:
        started.append(up(*arguments, *more))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    wait_for(lambda: not containers.left(), 120, "the end of the containers")
