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
from tests.operators.fix_trees import Tree

TREES = [
    "sessions", "deaf", "pipeline", "daemon", "nested",
    "pool", "spawned_pool", "programs", "py_daemon",
]  # fmt: skip
LEAST = {"py_daemon": 3}  # the process in between ends at once
SEED = int(os.environ.get("TRADEWIND_SEED") or random.randrange(2**32))
KILLS = 20

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's prctl and /proc")


@pytest.mark.parametrize("name", TREES)
def test_sigkill_of_a_grown_tree(worker: subprocess.Popen[str], tmp_path: Path, name: str) -> None:
    tree = Tree(worker, name, tmp_path)
    tree.wait_for(LEAST.get(name, 4))
    time.sleep(0.25)  # past the guard's next look

    tree.kill(signal.SIGKILL)

    assert tree.gone_within(2) == {}


def test_sigkill_at_random_moments(worker: subprocess.Popen[str], tmp_path: Path) -> None:
    print(f"TRADEWIND_SEED={SEED}")
    chance = random.Random(SEED)
    for number in range(KILLS):
        name = TREES[number % len(TREES)]
        delay = chance.uniform(0, 0.5)
        tree = Tree(worker, name, tmp_path)
        tree.wait_for(1)
        time.sleep(delay)

        tree.kill(signal.SIGKILL)

        assert tree.gone_within(2) == {}, f"kill {number} of {name} after {delay:.3f} s, TRADEWIND_SEED={SEED}"


@pytest.mark.parametrize("name", TREES)
def test_sigterm_ends_the_tree_before_the_task(worker: subprocess.Popen[str], tmp_path: Path, name: str) -> None:
    tree = Tree(worker, name, tmp_path)
    tree.wait_for(LEAST.get(name, 4))

    tree.kill(signal.SIGTERM)

    if tree.gone_within(5) and "pool" in name:
        tree.kill(signal.SIGKILL)  # Airflow, too, waits no longer for a pool that replaces its workers
    assert tree.gone_within(2) == {}
