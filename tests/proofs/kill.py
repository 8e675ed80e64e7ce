"""Kill a try at a random moment, let Airflow's retry follow, and look at what is there."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.proofs.job import Running, Try
from tests.proofs.scenes import Load, Unload

MARGIN = 1.03
"""Moments go a little past the end of an undisturbed run."""

ENDED = "ended before the kill"
SHRINK = 0.97
"""A machine that has become quieter is faster than the undisturbed run was: each miss shortens the time to aim at."""


@dataclass(frozen=True)
class Killed:
    """One kill and the retry after it.

    :param moment: seconds between the begin of ``execute`` and SIGKILL
    :param phase: how far the try was, seen from outside
    :param state: whether the copy was visible after the kill
    :param problems: what was wrong, at the end or in between
    """

    number: int
    moment: float
    phase: str
    state: str
    retry: str
    problems: list[str] = field(default_factory=list)

    def row(self) -> str:
        """Return it as a row of a Markdown table."""
        outcome = "; ".join(self.problems) or "right, nothing left"
        return f"| {self.number} | {self.moment:.3f} | {self.phase} | {self.state} | {self.retry} | {outcome} |"


HEAD = """\
| # | killed at (s) | phase reached | after the kill | retry | after the retry |
|--:|--:|---|---|---|---|"""


class Killer:
    """Runs one scene again and again.

    :param scene: what is copied
    :param folder: where logs go
    :param seed: makes the moments
    """

    def __init__(self, scene: Load | Unload, folder: Path, seed: int) -> None:
        self.scene = scene
        self.folder = folder
        self.random = random.Random(seed)
        self.prefix = f"seed{seed}"
        self.duration = self._measure()

    def _try(self, run: str, number: int) -> Running:
        return Running(Try(self.scene.name, f"{self.prefix}-{run}", number, self.scene.stage, self.folder))

    def _measure(self) -> float:
        """Run it undisturbed twice, the first time to warm up, and return the seconds of the second."""
        for run in ("warm", "measure"):
            self.scene.reset()
            running = self._try(run, 1)
            running.wait_started()
            started = time.monotonic()
            code = running.wait()
            seconds = time.monotonic() - started
            assert code == 0, f"the undisturbed run failed:\n{running.tail()}"
            assert self.scene.wrong() is None, f"the undisturbed run: {self.scene.wrong()}"
        self.scene.learn()
        left = self.scene.leftovers([running.pid])
        assert not left, f"the undisturbed run left {left}"
        return seconds

    def kill(self, number: int) -> Killed:
        """Kill a try that runs, run its retry and look.

        A try that ended before its moment is looked at too; if all is right, another one is begun in its place.

        :param number: the number of this kill, from 1
        """
        attempts = itertools.count(1)
        while True:
            killed = self._once(number, f"{number}.{next(attempts)}")
            if killed.phase != ENDED or killed.problems:
                return killed
            self.duration *= SHRINK

    def _once(self, number: int, run: str) -> Killed:
        self.scene.reset()
        moment = self.random.uniform(0, self.duration * MARGIN)
        first = self._try(run, 1)
        first.wait_started()
        started = time.monotonic()
        time.sleep(max(0.0, moment - 0.01))
        phase = self.scene.phase()
        time.sleep(max(0.0, started + moment - time.monotonic()))
        code = first.kill()
        moment = time.monotonic() - started
        committed = self.scene.committed()
        halfway = self.scene.halfway()
        problems = [f"after the kill: {halfway}"] if halfway else []
        second = self._try(run, 2)
        retry = second.wait()
        if retry:
            problems.append(f"the retry failed: {second.tail(300)!r}")
        if wrong := self.scene.wrong():
            problems.append(wrong)
        problems += [f"left {thing}" for thing in self.scene.leftovers([first.pid, second.pid])]
        if code == 0:
            phase = ENDED
        state = "half of it" if halfway else "the copy is there" if committed else "as before"
        return Killed(number, moment, phase, state, "exit 0" if retry == 0 else f"exit {retry}", problems)
