"""The kill matrix: every pair of ends in every mode, broken in four ways at random moments, then retried.

A set of files as a target, and many files as a source, meet a twin besides.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance import ends
from tests.conformance.rows import Row, plain
from tests.conformance.tables import Table
from tests.proofs.ends import DIRECT, ENDS, WAREHOUSES, S3Many, S3Set
from tests.proofs.job import Running, Try, pair_name, pair_of
from tests.proofs.kill import MARGIN
from tests.proofs.scenes import processes
from tests.proofs.servers import Servers

ROWS = 20_000
"""Rows of a source: about 10 MB, so that a file takes more than one part of an upload."""

MISSES = 100
"""How often a moment may come too late to break anything."""

SHRINK = 0.9
"""How much earlier the next moments are after one that came too late."""

TRIES = 6
"""How many tries Airflow would make in all."""

KINDS = {
    "process": "SIGKILL of the task's process",
    "database": "its sessions in a database are ended",
    "s3": "its connections to S3 are cut",
    "restart": "a database's server crashes and starts again",
    "twin": "a second try of the same work begins while it runs, as when a worker was cut off from the network",
}
CYCLE = ("process", "database", "s3", "process", "restart", "database", "process", "s3")
"""How often each kind comes, where the pair has such an end."""

FILES_CYCLE = ("process", "s3", "twin", "database", "process", "s3", "twin", "restart")
"""The same for a set of files and for many of them."""

RESTARTED = {"postgres", "mysql"}
"""The ends whose server can crash and start again."""

STATES = {
    "before": "left as before",
    "absent": "no manifest",
    "after": "there already",
    "on": "went on by itself",
}
"""What may be visible after a try was broken; a set of files alone may be absent."""


@dataclass(frozen=True)
class Broken:
    """One try that was broken, and the tries after it.

    :param kind: how, one of :data:`KINDS`
    :param state: what was visible then, one of :data:`STATES`: ``on`` where the try, or its twin, succeeded by itself
    :param tries: how many tries it took in all
    """

    kind: str
    moment: float
    state: str
    tries: int
    problems: list[str] = field(default_factory=list)


class Cell:
    """One pair in one mode.

    :param servers: the servers
    :param what: the pair's name, see :func:`tests.proofs.job.pair_name`
    :param folder: where logs go
    :param seed: makes the moments
    :param rows: how many rows the source has, :data:`ROWS` by default, for a set twice as many: several parts
    """

    def __init__(self, servers: Servers, what: str, folder: Path, seed: int, rows: int | None = None) -> None:
        self.servers = servers
        self.what = what
        self.folder = folder
        self.random = random.Random(f"{seed} {what}")
        self.mode = what.split("-")[2]
        self.source, self.target = pair_of(servers.stage, what)
        self.known: set[str] = set()
        self._prepare(rows or (2 * ROWS if isinstance(self.target, S3Set) else ROWS))
        self.durations = dict.fromkeys(KINDS, self._measure())

    @property
    def kinds(self) -> Iterator[str]:
        """The kinds that this pair can meet, for ever."""
        kinds = {self.source.kind, self.target.kind}
        tables = any(isinstance(end, Table) for end in (self.source, self.target))
        files = any(kind.startswith(("s3", "redshift")) for kind in kinds)  # what goes to Redshift is staged in S3
        can = {"process", "twin"} | ({"database"} if tables else set()) | ({"s3"} if files else set())
        can |= {"restart"} if kinds & RESTARTED else set()
        sets = isinstance(self.target, S3Set) or isinstance(self.source, S3Many)
        cycle = FILES_CYCLE if sets or kinds & {*WAREHOUSES, *DIRECT} else CYCLE
        return itertools.cycle(kind for kind in cycle if kind in can)

    def close(self) -> None:
        """Remove both ends."""
        self.source.remove()
        self.target.remove()

    def _prepare(self, rows: int) -> None:
        self.wanted = plain(rows)
        self.source.make()
        self.source.fill(self.wanted)
        self.target.make()
        there = plain(500, start=10**6)
        if self.mode == "merge":
            there += [row._replace(name="changed") for row in self.wanted[: rows // 3]]
        self.there = there
        self.target.fill(there)
        self.target.keep()
        self.before = self.target.sum()

    @property
    def expected(self) -> list[Row]:
        """The rows of the target after the copy."""
        if self.mode == "replace" or not self.target.keeps_ledger:
            return self.wanted
        return sorted([*self.wanted, *self.there[:500]], key=lambda row: row.id)

    def _measure(self) -> float:
        """Run it undisturbed twice, the first time to warm up, and return the seconds of the second."""
        for run in ("warm", "measure"):
            self.target.reset()
            running = self._try(run, 1)
            running.wait_started()
            started = time.monotonic()
            code = running.wait()
            seconds = time.monotonic() - started
            assert code == 0, f"the undisturbed run failed:\n{running.tail()}"
        assert self.target.rows() == self.expected, f"{self.what}: the undisturbed run copied other rows"
        self.after = self.target.sum()
        self.known = self._things()
        left = self._leftovers([running.pid])
        assert not left, f"{self.what}: the undisturbed run left {left}"
        return seconds

    def _try(self, run: str, number: int) -> Running:
        return Running(Try(self.what, run, number, self.servers.through, self.folder))

    def broken(self, kind: str, number: int) -> Broken:
        """Break a try that runs in one way, let the retries follow, and look.

        It breaks at its moment, or as soon after as there is anything to break. A try that had ended before is looked
        at too; if all is right, another one is begun in its place.
        """
        for attempt in range(1, MISSES + 1):
            done = self._once(kind, f"{kind}{number}.{attempt}")
            if done.state != "missed" or done.problems:
                return done
            self.durations[kind] *= SHRINK
        raise AssertionError(f"{self.what}: {MISSES} tries had nothing to break ({KINDS[kind]})")

    def _once(self, kind: str, run: str) -> Broken:
        self.target.reset()
        moment = self.random.uniform(0, self.durations[kind] * MARGIN)
        first = self._try(run, 1)
        if kind != "twin":  # a twin takes as long to begin, which may be longer than the copy
            first.wait_started()
        started = time.monotonic()
        time.sleep(moment)
        running, hit = [first], False
        if kind == "twin":
            running.append(self._try(run, 2))
            for each in running:
                each.wait_started()
            hit = first.process.is_alive()
        while not hit and first.process.is_alive():
            hit = self._break(kind, first)
        moment = time.monotonic() - started
        codes = [each.wait() for each in running]
        problems = [text for each in running for text in self._verdict(each, each.wait(), kind)]
        self.servers.proxy.settle()
        state = self._state(min(codes, key=abs))
        if state == "half":
            problems.append("half of it was visible")
        problems += self._retry(running, run, done=0 in codes)
        problems += self._wrong()
        problems += [f"left {thing}" for thing in self._leftovers([each.pid for each in running])]
        return Broken(kind, moment, state if hit else "missed", len(running), problems)

    def _retry(self, running: list[Running], run: str, *, done: bool) -> list[str]:
        """Run the tries that Airflow would begin, until one ends well; say what is wrong."""
        while not done and len(running) < TRIES:
            running.append(self._try(run, len(running) + 1))
            done = running[-1].wait() == 0
        return [] if done else [f"no success in {TRIES} tries: {running[-1].tail(300)!r}"]

    def _break(self, kind: str, running: Running) -> bool:
        """Break something; say whether there was anything to break."""
        if kind == "process":
            running.process.kill()
            return True
        if kind == "s3":
            return self.servers.proxy.cut() > 0
        tables = [end for end in (self.source, self.target) if isinstance(end, Table)]
        if kind == "database":
            return sum(end.cut() for end in {end.kind: end for end in tables}.values()) > 0
        self.servers.restart(self.random.choice([end.kind for end in tables if end.kind in RESTARTED]))
        return True

    def _verdict(self, running: Running, code: int, kind: str) -> list[str]:
        """Say what is wrong with how a try ended: nothing, where it succeeded, was killed or Airflow would retry it."""
        if code == 0 or kind == "process" or running.failed_with("TransientError"):
            return []
        return [f"a try failed for good: {running.tail(300)!r}"]

    def _state(self, code: int) -> str:
        if code == 0:
            return "on"
        found = self.target.sum()
        if found is None:
            return "absent"
        return "before" if found == self.before else "after" if found == self.after else "half"

    def _wrong(self) -> list[str]:
        if self.target.sum() == self.after:
            return []
        found = self.target.rows()
        return [] if found == self.expected else [f"{len(found):,} rows, {len(self.expected):,} expected"]

    def _things(self) -> set[str]:
        return self.source.things() | self.target.things()

    def _leftovers(self, sessions: list[int]) -> list[str]:
        return [
            *self.source.leftovers(),
            *self.target.leftovers(),
            *sorted(self._things() - self.known),
            *(f"process {text}" for text in processes(set(sessions))),
        ]


def head(name: str) -> str:
    """Return the head of a Markdown table.

    :param name: a cell that stands in it
    """
    columns = ["pair", "mode", "kind", "kills", *(STATES[state] for state in states(name)), "tries at most", "right"]
    return f"| {' | '.join(columns)} |\n|---|---|---|{'--:|' * (len(columns) - 3)}"


def states(name: str) -> list[str]:
    """List what may be visible after a try of a cell was broken.

    :param name: the pair and its mode
    """
    return [state for state in STATES if state != "absent" or ENDS[name.split("-")[1]] is S3Set]


def summary(what: str, done: list[Broken]) -> list[str]:
    """Return a row of a Markdown table for each kind.

    :param what: the pair and its mode
    :param done: its kills
    """
    source, target, mode = what.split("-")
    rows = []
    for kind in KINDS:
        some = [each for each in done if each.kind == kind]
        if some:
            seen = [sum(each.state == state for each in some) for state in states(what)]
            right = sum(not each.problems for each in some)
            cells = [len(some), *seen, max(each.tries for each in some), right]
            rows.append(f"| {source} → {target} | {mode} | {kind} | {' | '.join(map(str, cells))} |")
    return rows


def cells(sources: list[str], targets: list[str]) -> list[str]:
    """Name each pair in each mode; a file is always written whole, whatever the mode."""
    return [
        pair_name(source, target, mode)
        for source in sources
        for target in targets
        for mode in (("append", "replace", "merge") if ENDS[target].keeps_ledger else ("replace",))
    ]


def warehouses(names: list[str]) -> set[str]:
    """Say which stand-ins some cells need."""
    kinds = {kind for name in names for kind in name.split("-")[:2]}
    return {service for service in ("redshift", "snowflake") for kind in kinds if kind.startswith(service)}


PAIRS = cells(list(ends.ENDS), list(ends.ENDS))
SETS = cells(list(ends.ENDS), [S3Set.kind])
MANY = cells([S3Many.kind], [kind for kind, end in ends.ENDS.items() if end.keeps_ledger])
HOUSES = [
    *(name for house in WAREHOUSES for name in cells(list(ends.ENDS), [house])),
    *(name for house in WAREHOUSES for name in cells([house], [*ends.ENDS, *WAREHOUSES])),
    *cells(["s3csv", S3Many.kind], list(DIRECT)),
]
