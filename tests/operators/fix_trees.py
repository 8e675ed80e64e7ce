"""Process trees that are killed, and the search for what is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewind.operators.processes.kernel import look, marked, processes

AIRFLOW_WAITS = 5.0
"""Seconds that Airflow 3 leaves a task between SIGTERM and SIGKILL (2: 60 seconds by default)."""


class Tree:
    """A task process and everything below it."""

    def __init__(self, worker: subprocess.Popen[str], name: str, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.pids = folder / f"{self.mark}.pids"
        self.pids.touch()
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps({"tree": name, "mark": self.mark, "pids": str(self.pids)}) + "\n")
        worker.stdin.flush()
        self.pid = int(worker.stdout.readline())

    def alive(self) -> dict[int, str]:
        """List what lives: by the mark in its environment, or because it has noted its pid."""
        noted = {int(line) for line in self.pids.read_text().split()} | {self.pid}
        found = {pid for pid in processes() if marked(pid, f"MARK={self.mark}".encode())}
        return {pid: _command(pid) for pid in found | noted if look(pid)}

    def wait_for(self, count: int, seconds: float = 20) -> None:
        """Wait until that many processes live."""
        deadline = time.monotonic() + seconds
        while len(self.alive()) < count:
            assert time.monotonic() < deadline, f"only {self.alive()} came up"
            time.sleep(0.01)

    def gone_within(self, seconds: float) -> dict[int, str]:
        """Wait for the end of all; return what is left when the time is over."""
        deadline = time.monotonic() + seconds
        empty = 0
        while empty < 3:  # one look can miss a process that is being replaced
            left = self.alive()
            empty = 0 if left else empty + 1
            if left and time.monotonic() > deadline:
                return left
            time.sleep(0.02)
        return {}

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def end_as_airflow_does(self) -> float:
        """End the task as the supervisor of Airflow does: SIGTERM to its group, 5 seconds, then SIGKILL.

        :return: the seconds until the task's process was gone
        """
        started = time.monotonic()
        os.killpg(self.pid, signal.SIGTERM)
        while look(self.pid):
            if time.monotonic() - started > AIRFLOW_WAITS:
                os.killpg(self.pid, signal.SIGKILL)
                break
            time.sleep(0.02)
        return time.monotonic() - started


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
    except OSError:
        return "?"


@pytest.fixture(scope="session")
def worker() -> Iterator[subprocess.Popen[str]]:
    """Start one process that has Airflow loaded and forks a task for each order."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.operators.victim"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    with process:
        yield process
        process.kill()
