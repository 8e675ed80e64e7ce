"""Docker and Compose, driven by their command."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from tradewind.local.errors import InvalidInput, LocalError, OutOfSpace

TIMEOUT = 120.0
"""Seconds for one command; builds have their own."""
BUILD_TIMEOUT = 60 * 60.0
KEPT = "720h"
"""Age of an image that nobody uses, from which on it is not worth its gigabyte."""
SERVICES = ("postgres", "broker", "aws", "mariadb", "warehouse")
"""What Airflow is served by, where it is there."""
PUBLISHED = "TRADEWIND_PUBLISHED"
"""The variable with the web server's port where the Compose file is used by itself; the command takes any."""
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "MB": 1000**2, "GB": 1000**3}


@dataclass(frozen=True)
class Found:
    """One container of a project.

    :param id: its whole id
    :param service: the service it belongs to
    :param state: ``running``, ``exited`` ...
    :param status: the same in words, with its health and its exit status
    :param generation: which versions of the bucket's objects it has; empty of one that has none
    """

    id: str
    service: str
    state: str
    status: str
    generation: str = ""

    @property
    def running(self) -> bool:
        """Whether it runs, or is about to."""
        return self.state in ("created", "running", "restarting")

    @property
    def healthy(self) -> bool:
        """Whether its health check passed."""
        return "(healthy)" in self.status

    @property
    def exit_status(self) -> int:
        """The exit status of one that ended."""
        found = re.match(r"Exited \((\d+)\)", self.status)
        return int(found[1]) if found else -1


@dataclass(frozen=True)
class Machine:
    """Where Docker runs its containers.

    :param cpus: cores
    :param memory: bytes
    """

    cpus: int
    memory: int


def machine() -> Machine:
    """Return what the machine has on which Docker runs its containers."""
    cpus, memory = docker("info", "--format", "{{.NCPU}} {{.MemTotal}}").split()
    return Machine(int(cpus), int(memory))


def check() -> None:
    """Refuse a machine without Docker, Compose or BuildKit.

    :raises InvalidInput: with what is missing
    """
    if shutil.which("docker") is None:
        raise InvalidInput("there is no command docker: install Docker, or leave --engine docker out")
    for arguments, what in (
        (("version", "--format", "{{.Server.Version}}"), "the Docker daemon does not answer"),
        (("compose", "version", "--short"), "there is no Docker Compose 2"),
        (("buildx", "version"), "there is no Docker buildx, which builds the images"),
    ):
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [""])[0]
            raise InvalidInput(f"{what} ({reason}): --engine docker needs it")


def docker(*arguments: str, timeout: float = TIMEOUT) -> str:
    """Run a command of Docker.

    :param timeout: seconds
    :return: its standard output
    :raises LocalError: when it fails, with its reason
    """
    return _run(["docker", *arguments], timeout)


def image_exists(name: str) -> bool:
    """Say whether an image is on the machine."""
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", name], capture_output=True, timeout=TIMEOUT, check=False
    )
    return done.returncode == 0


def containers(project: str) -> list[Found]:
    """Return the containers of a project, those that ended included."""
    # The daemon's name for the words below, and not the label's: older ones know no other.
    format = (
        '{{.ID}}\t{{.Label "com.docker.compose.service"}}\t{{.State}}\t{{.Status}}\t{{.Label "tradewind.generation"}}'
    )
    text = docker("ps", "--all", "--no-trunc", "--filter", _label(project), "--format", format)
    return [Found(*line.split("\t")) for line in text.splitlines()]


def address(project: str, service: str) -> str | None:
    """Return the address of a running service's container in the private network, None where there is none."""
    found = [each for each in containers(project) if each.service == service and each.state == "running"]
    if not found:
        return None
    found.sort(key=lambda each: not each.healthy)  # the newest that is well: an update has two for a while
    networks = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", found[0].id))
    return next((each["IPAddress"] for name, each in networks.items() if name.endswith("_inside")), None) or None


def clear(project: str, *, grace: int = 10) -> None:
    """End and remove what there is of a project: containers, networks, volumes.

    :param grace: seconds for an orderly end
    """
    found = containers(project)
    airflow = [each.id for each in found if each.service not in SERVICES]  # what the others serve ends first
    for group in (airflow, [each.id for each in found if each.service in SERVICES]):
        if group:
            docker("stop", "--time", str(grace), *group, timeout=grace + TIMEOUT)
    if found:
        docker("rm", "--force", "--volumes", *(each.id for each in found))
    for kind in ("network", "volume"):
        if names := docker(kind, "ls", "--quiet", "--filter", _label(project)).split():
            docker(kind, "rm", *names)


def published(project: str, service: str, port: int) -> tuple[str, int]:
    """Return where the newest container of a service that is well, or else runs, publishes a port.

    :param port: the container's own
    :raises LocalError: when there is none
    """
    found = [each for each in containers(project) if each.service == service and each.state == "running"]
    for each in sorted(found, key=lambda each: not each.healthy):
        with contextlib.suppress(LocalError):  # one that an update tries has no port
            host, _, number = docker("port", each.id, str(port)).split()[0].rpartition(":")
            return host, int(number)
    raise LocalError(f"there is no {service} with a port")


def logs(container: str, lines: int) -> str:
    """Return the last lines of a container, both streams in the order of writing."""
    command = ["docker", "logs", "--tail", str(lines), container]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
    return done.stdout.decode(errors="replace")


def illness(container: str) -> str:
    """Return what the last health check of a container said."""
    health = json.loads(docker("inspect", "--format", "{{json .State.Health}}", container))
    return str(health["Log"][-1]["Output"]).strip() if health and health["Log"] else ""


def forget_old_images() -> None:
    """Remove our images that are as old as that and that no container has; other environments' are built again."""
    wanted = ("--filter", "label=tradewind.images", "--filter", f"until={KEPT}")
    with contextlib.suppress(LocalError):  # somebody else is just removing images
        docker("image", "prune", "--all", "--force", *wanted, timeout=5 * TIMEOUT)


def usage(project: str) -> list[dict[str, Any]]:
    """Return id, processes, bytes of memory, their limit and percent of a core of each running container."""
    running = {each.id: each.service for each in containers(project) if each.state == "running"}
    if not running:
        return []
    text = docker(
        "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}\t{{.MemUsage}}\t{{.PIDs}}\t{{.CPUPerc}}", *running
    )
    rows = [line.split("\t") for line in text.splitlines()]
    found = []
    for id, memory, count, cpu in sorted(rows, key=lambda row: running[row[0]]):
        taken, limit = (_bytes(text) for text in memory.split(" / "))
        facts = {"name": running[id], "id": id[:12], "processes": int(count), "bytes": taken, "limit": limit}
        found.append({**facts, "cpu": float(cpu.rstrip("%"))})
    return found


def _bytes(text: str) -> int:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return int(float(number) * UNITS[unit])


def _label(project: str) -> str:
    return f"label=com.docker.compose.project={project}"


def _run(command: Sequence[str], timeout: float, variables: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise LocalError(f"`{' '.join(command[:3])}` took longer than {timeout:.0f} s") from error
    if done.returncode != 0:
        _refuse(" ".join(command[:2]), done.stderr)
    return done.stdout


def _refuse(what: str, reason: str) -> None:
    if "no space left on device" in reason:
        raise OutOfSpace("no space left on Docker's disk: free some, by `docker system prune` perhaps")
    raise LocalError(f"`{what}` failed:\n{reason.strip()}")


class Compose:
    """One project of the stack's Compose file.

    :param project: its name
    :param file: where its variables are written
    :param web_private: whether the web server is published to nobody
    """

    def __init__(self, project: str, file: Path, *, web_private: bool = False) -> None:
        self.project = project
        self._variables = file
        self._files = ("compose.yaml", "compose.private.yaml")[: 1 + web_private]

    def write(self, variables: Mapping[str, str]) -> None:
        """Write the variables; no secret is among them."""
        self._variables.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))

    def build(self, progress: Callable[[str], None]) -> None:
        """Build the images.

        :param progress: called with each line that BuildKit writes
        :raises LocalError: with the last lines
        """
        with self._command() as begin:
            command = [*begin, "--progress", "plain", "build"]
            lines: list[str] = []
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
            ) as process:
                try:
                    for line in process.stdout or ():
                        lines.append(line.rstrip())
                        progress(line.rstrip())
                    status = process.wait(BUILD_TIMEOUT)
                except BaseException:
                    process.terminate()
                    raise
        if status != 0:
            _refuse("docker compose build", "\n".join(lines[-40:]))

    def up(self, *services: str, scale: int | None = None) -> None:
        """Start services, or those of them that ended.

        :param scale: how many containers the one service has then: there must not be more already
        """
        count = () if scale is None else ("--scale", f"{services[0]}={scale}")
        self._run("up", "--detach", "--no-build", "--no-deps", "--no-recreate", *count, *services)

    def run(self, service: str) -> None:
        """Start a container of a service beside the one there is: without a port, and found by nobody."""
        self._run("run", "--detach", "--no-deps", "--no-TTY", service)

    def _run(self, *arguments: str) -> str:
        with self._command() as begin:
            return _run([*begin, *arguments], TIMEOUT, {**os.environ, PUBLISHED: ""})

    @contextlib.contextmanager
    def _command(self) -> Iterator[list[str]]:
        with contextlib.ExitStack() as there:
            found = [there.enter_context(as_file(files("tradewind.local.stack") / name)) for name in self._files]
            named = [part for file in found for part in ("--file", str(file))]
            yield ["docker", "compose", "--project-name", self.project, *named, "--env-file", str(self._variables)]
