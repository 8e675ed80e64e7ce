"""Two tries of the same work at the same time, as when a worker that was cut off runs on beside its retry."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proofs.job import Running, Try
from tests.proofs.scenes import Load, Unload

OWN = {"seconds", "loaded_before", "plan"}
"""The fields of a result that tell of one try and not of the work."""


@dataclass(frozen=True)
class Twins:
    """Two tries that overlapped.

    :param offset: seconds between their begins
    :param codes: their exit codes
    :param results: the rows that they reported
    :param overlap: seconds in which both ran
    """

    number: int
    offset: float
    overlap: float
    codes: tuple[int, int]
    results: tuple[str, str]
    problems: list[str] = field(default_factory=list)

    def row(self) -> str:
        """Return it as a row of a Markdown table."""
        outcome = "; ".join(self.problems) or "right, nothing left"
        codes = " and ".join("exit 0" if code == 0 else "gave way" for code in self.codes)
        return (
            f"| {self.number} | {self.offset:.3f} | {self.overlap:.3f} | {codes} | {' and '.join(self.results)} "
            f"| {outcome} |"
        )


HEAD = """\
| # | second begins after (s) | both ran for (s) | ended | rows reported | afterwards |
|--:|--:|--:|---|---|---|"""


class Twinner:
    """Runs one scene in two processes at a time.

    :param scene: what is copied
    :param folder: where logs go
    :param seed: makes the offsets
    """

    def __init__(self, scene: Load | Unload, folder: Path, seed: int) -> None:
        self.scene = scene
        self.folder = folder
        self.random = random.Random(seed)
        self.prefix = f"twin{seed}"
        # An object has no ledger: the newer try aborts the older one's upload.
        self.gives_way = isinstance(scene, Unload)
        self.duration = self._measure()

    def _try(self, run: str, number: int) -> Running:
        return Running(Try(self.scene.name, f"{self.prefix}-{run}", number, self.scene.stage, self.folder))

    def _measure(self) -> float:
        self.scene.reset()
        running = self._try("measure", 1)
        running.wait_started()
        started = time.monotonic()
        assert running.wait() == 0, f"the undisturbed run failed:\n{running.tail()}"
        self.scene.learn()
        return time.monotonic() - started

    def twins(self, number: int) -> Twins:
        """Run two tries of the same work with a random offset, and look.

        :param number: the number of this pair, from 1
        """
        self.scene.reset()
        offset = self.random.uniform(0, self.duration)
        first = self._try(str(number), 1)
        first.wait_started()
        begun = time.monotonic()
        time.sleep(offset)
        second = self._try(str(number), 2)
        second.wait_started()
        offset = time.monotonic() - begun
        codes, ended = self._wait(first, second)
        overlap = max(0.0, min(ended) - begun - offset)
        gave_way = [which for which in (first, second) if self.gives_way and which.failed_with("Superseded")]
        problems = [
            f"try {which.attempt.number} failed: {which.tail(300)!r}"
            for which, code in zip((first, second), codes, strict=True)
            if code and which not in gave_way
        ]
        if len(gave_way) == 2:
            problems.append("each gave way to the other")
        results = first.result() or {}, second.result() or {}
        if not gave_way and _shared(results[0]) != _shared(results[1]):
            problems.append(f"results differ: {results[0]} and {results[1]}")
        if wrong := self.scene.wrong():
            problems.append(wrong)
        problems += [f"left {thing}" for thing in self.scene.leftovers([first.pid, second.pid])]
        rows = f"{results[0].get('rows', 0):,}", f"{results[1].get('rows', 0):,}"
        return Twins(number, offset, overlap, codes, rows, problems)

    def _wait(self, first: Running, second: Running) -> tuple[tuple[int, int], tuple[float, float]]:
        from multiprocessing.connection import wait

        ended: dict[int, float] = {}
        waiting: dict[Any, int] = {first.process.sentinel: first.pid, second.process.sentinel: second.pid}
        while waiting:
            ready = wait(list(waiting), 120)
            assert ready, f"still running after 120 s:\n{first.tail()}\n{second.tail()}"
            for sentinel in ready:
                ended[waiting.pop(sentinel)] = time.monotonic()
        return (first.wait(), second.wait()), (ended[first.pid], ended[second.pid])


def _shared(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in OWN}
