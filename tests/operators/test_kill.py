"""What a killed task leaves behind: nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.operators.fix_trees import AIRFLOW_WAITS, Tree
from tradewind.operators.processes.children import Command, GuardProcess
from tradewind.operators.processes.kernel import children, descendants, look, send

TREES = [
    "sessions", "deaf", "pipeline", "daemon", "baton", "nested",
    "pool", "spawned_pool", "programs", "py_daemon",
]  # fmt: skip
# A pool goes on replacing its workers, a function that sleeps sleeps on, for as long as their task lives.
GOES_ON = {"pool", "spawned_pool", "py_daemon"}
LEAST = {"py_daemon": 3, "baton": 5}  # a daemon's process in between ends at once
SEED = int(os.environ.get("TRADEWIND_SEED") or random.randrange(2**32))
KILLS = int(os.environ.get("TRADEWIND_KILLS") or 6)
"""How many kills at random moments: a sample, unless the environment asks for more (docs/proofs.md)."""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's prctl and /proc")


@pytest.mark.parametrize("name", TREES)
def test_sigkill_of_a_grown_tree(worker: subprocess.Popen[str], tmp_path: Path, name: str) -> None:
    tree = Tree(worker, name, tmp_path)
    tree.wait_for(LEAST.get(name, 4))
    time.sleep(0.25)  # past the guard's next look

    tree.kill(signal.SIGKILL)

    assert tree.gone_within(3) == {}


@pytest.mark.timeout(30 + 10 * KILLS)
def test_sigkill_at_random_moments(worker: subprocess.Popen[str], tmp_path: Path) -> None:
    print(f"TRADEWIND_SEED={SEED} TRADEWIND_KILLS={KILLS}")
    chance = random.Random(SEED)
    for number in range(KILLS):
        name, delay = chance.choice(TREES), chance.uniform(0, 0.5)
        tree = Tree(worker, name, tmp_path)
        tree.wait_for(1)
        time.sleep(delay)

        tree.kill(signal.SIGKILL)

        assert tree.gone_within(3) == {}, f"kill {number} of {name} after {delay:.3f} s, TRADEWIND_SEED={SEED}"


@pytest.mark.parametrize("name", TREES)
def test_a_task_that_is_told_to_end(worker: subprocess.Popen[str], tmp_path: Path, name: str) -> None:
    tree = Tree(worker, name, tmp_path)
    tree.wait_for(LEAST.get(name, 4))
    time.sleep(0.25)

    seconds = tree.end_as_airflow_does()

    assert name in GOES_ON or seconds < AIRFLOW_WAITS
    assert tree.gone_within(2) == {}


@pytest.mark.parametrize("name", ["sessions", "programs"])
def test_guard_that_is_killed_itself(worker: subprocess.Popen[str], tmp_path: Path, name: str) -> None:
    tree = Tree(worker, name, tmp_path)
    tree.wait_for(4)
    (guard,) = [pid for pid in children(tree.pid) if b"tradewind.operators.processes.guard" in command(pid)]

    os.kill(guard, signal.SIGKILL)
    tree.end_as_airflow_does()

    assert tree.gone_within(2) == {}


@pytest.mark.timeout(20)
def test_a_signal_in_the_middle_of_a_wait_for_the_guard(tmp_path: Path) -> None:
    """A kill that comes while the task waits for its guard finds Popen's lock held, by the very thread it runs in."""
    bash = Command(["/bin/bash", "-c", "sleep 300; :"], env={"PATH": "/usr/bin:/bin"}, cwd=str(tmp_path))
    try:
        guard = bash.guard.process
        while not (started := descendants(guard.pid)):
            time.sleep(0.01)
        os.kill(guard.pid, signal.SIGKILL)
        with guard._waitpid_lock:  # type: ignore[attr-defined]
            bash.stop()
        assert not any(look(pid) for pid in started)
    finally:
        bash.close()


EARLY = """
import os, signal, sys, time
from tradewind.operators.processes.children import Watch
watch = Watch()
os.kill(watch.guard.process.pid, signal.SIGSTOP)
if os.fork() == 0:
    os.setsid()
    print(watch.guard.process.pid, os.getpid(), flush=True)
    time.sleep(300)
time.sleep(300)
"""


def test_a_task_that_is_killed_before_its_guard_looks() -> None:
    """What the function has forked by then is known by its own word alone, which lies in the pipe with the order."""
    with subprocess.Popen([sys.executable, "-c", EARLY], stdout=subprocess.PIPE, text=True) as task:
        assert task.stdout is not None
        guard, daemon = map(int, task.stdout.readline().split())
        task.kill()
        task.wait()
        try:
            assert look(daemon)
            os.kill(guard, signal.SIGCONT)
            assert gone(daemon, 5)
        finally:
            send(daemon, signal.SIGKILL)


def test_half_a_word_names_no_process() -> None:
    begun = subprocess.run(
        ["setsid", "-f", "sh", "-c", "echo $$; exec sleep 300 >&-"], stdout=subprocess.PIPE, check=True
    )
    other = int(begun.stdout)  # its number is the first half of a longer one
    spared = [found.key for pid in children(os.getpid()) if (found := look(pid))]
    order = {"grace": 3.0, "mark": "none", "leader": False, "spared": spared}
    watch = GuardProcess("watch", order, subprocess.DEVNULL)
    try:
        watch.say(b"+%d" % other)
        time.sleep(0.5)
        watch.say(b"0000000;k")
        assert watch.wait(10) == (None, 0)
        assert look(other)
    finally:
        watch.close()
        send(other, signal.SIGKILL)


def gone(pid: int, seconds: float) -> bool:
    """Wait for the end of a process."""
    deadline = time.monotonic() + seconds
    while look(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return look(pid) is None


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
