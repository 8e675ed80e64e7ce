"""How many workers there are: MWAA's rule, and a way down that ends no task."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tradewind.local.load import Load

STEADY = 5.0
"""Seconds that there must have been too many workers before one is taken away."""
QUIET = 20.0
"""Seconds that a worker takes no tasks before it is asked whether it is idle, as on MWAA.

Far longer than a request for a task may still be on its way from a worker that was told to take none (1 s).
"""


@dataclass(frozen=True)
class Worker:
    """One worker.

    :param id: its container's whole id
    :param ready: whether it was found well: one that is just starting answers no questions
    """

    id: str
    ready: bool

    @property
    def host(self) -> str:
        """Its host name, which Airflow and Celery know it by."""
        return self.id[:12]


@dataclass(frozen=True)
class Work:
    """What a worker says of itself.

    :param tasks: how many it holds, those included that it has taken and not begun
    :param queues: those it takes tasks from
    """

    tasks: int
    queues: list[str]


class Workers(Protocol):
    """The workers there are, and what can be done with them."""

    def load(self) -> Load:
        """Return the load of the environment."""

    def present(self) -> list[Worker]:
        """Return the workers, the oldest first."""

    def add(self, count: int) -> None:
        """Start so many more."""

    def pause(self, worker: Worker) -> bool:
        """Have a worker take no tasks; say whether it answered."""

    def resume(self, worker: Worker) -> bool:
        """Have a worker take tasks again; say whether it answered."""

    def ask(self, worker: Worker) -> Work | None:
        """Return what a worker does, None when it does not answer."""

    def end(self, workers: list[Worker]) -> None:
        """End workers: their containers, and no others."""


def needed(tasks: int, slots: int, minimum: int, maximum: int) -> int:
    """Return how many workers MWAA's rule asks for.

    :param tasks: running and queued
    :param slots: tasks that a worker runs at once
    :param minimum: workers at least
    :param maximum: workers at most
    """
    return max(minimum, min(maximum, -(-tasks // slots)))


class Scaler:
    """Brings the number of workers to what the rule asks for, one look after the other.

    :param workers: the workers
    :param slots: tasks that a worker runs at once
    :param minimum: workers at least
    :param maximum: workers at most
    :param tell: called with one line for each change
    :param quiet: seconds that a worker takes no tasks before it is ended
    :param clock: seconds, monotonic
    """

    def __init__(
        self,
        workers: Workers,
        slots: int,
        minimum: int,
        maximum: int,
        *,
        tell: Callable[[str], None] = lambda line: None,
        quiet: float = QUIET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._bounds = slots, minimum, maximum
        self._tell = tell
        self._quiet = quiet
        self._clock = clock
        self._paused: dict[str, float] = {}
        self._resumed: set[str] = set()
        self._retired: dict[str, float] = {}
        self._made_sure = clock()
        self._surplus_since: float | None = None

    @property
    def draining(self) -> list[str]:
        """The ids of the workers that take no tasks and will be ended."""
        return list(self._paused)

    def retire(self, ids: list[str], seconds: float) -> None:
        """Have workers end their tasks and go, whatever the load.

        :param ids: their ids
        :param seconds: how long they have: then they are ended with their tasks
        """
        self._retired |= dict.fromkeys(ids, self._clock() + seconds)

    def look(self) -> None:
        """Take one look, and do what it asks for.

        :raises LocalError: when Docker or the database does not answer: nothing was ended then
        """
        load, found = self._workers.load(), self._workers.present()
        ids = {each.id for each in found}
        self._paused = {id: since for id, since in self._paused.items() if id in ids}
        self._retired = {id: until for id, until in self._retired.items() if id in ids}
        serving = [each for each in found if each.id not in self._paused and each.id not in self._retired]
        wanted = needed(load.tasks, *self._bounds)
        if len(serving) < wanted:
            self._surplus_since = None
            self._more(wanted - len(serving), found, load)
        elif len(serving) > wanted:
            self._fewer(wanted, serving, load)
        else:
            self._surplus_since = None
        self._pause_retired(found)
        idle = [each for each in found if each.id in self._paused and self._is_idle(each, load)]
        if idle:
            self._workers.end(idle)
            for worker in idle:
                del self._paused[worker.id]
            self._tell(f"{_tasks(load)}: ended {_workers(len(idle))} without work")
        if overdue := [each for each in found if each not in idle and self._is_overdue(each)]:
            self._workers.end(overdue)
            self._tell(f"ended {_workers(len(overdue))} whose tasks took longer than an update waits")
        self._resumed &= ids - {each.id for each in idle}
        if load.queued and self._clock() - self._made_sure > self._quiet / 2:
            self._made_sure = self._clock()
            self._make_sure([each for each in found if each.id in self._resumed and each.id not in self._paused])

    def _more(self, count: int, found: list[Worker], load: Load) -> None:
        """Have those take tasks again that are still there, then start others."""
        resumed = 0
        for worker in [each for each in found if each.id in self._paused and each.id not in self._retired][:count]:
            if self._workers.resume(worker):
                del self._paused[worker.id]
                self._resumed.add(worker.id)
                resumed += 1
        if resumed:
            self._tell(f"{_tasks(load)}: keeping {_workers(resumed)} that had no work")
        if count > resumed:
            self._tell(f"{_tasks(load)}: starting {_workers(count - resumed)}")
            self._workers.add(count - resumed)

    def _pause_retired(self, found: list[Worker]) -> None:
        for worker in found:
            if worker.id in self._retired and worker.id not in self._paused and self._workers.pause(worker):
                self._paused[worker.id] = self._clock()

    def _is_overdue(self, worker: Worker) -> bool:
        return self._clock() > self._retired.get(worker.id, float("inf"))

    def _make_sure(self, workers: list[Worker]) -> None:
        """Have those take tasks again that once did so: Celery forgets it when it connects to the broker anew."""
        for worker in workers:
            work = self._workers.ask(worker)
            if work is not None and not work.queues:
                self._workers.resume(worker)

    def _fewer(self, wanted: int, serving: list[Worker], load: Load) -> None:
        """Have those take no more tasks that are too many, those with the fewest first."""
        now = self._clock()
        if self._surplus_since is None:
            self._surplus_since = now
        if now - self._surplus_since < STEADY:
            return
        ready = [each for each in reversed(serving) if each.ready]  # of equals the youngest goes
        ready.sort(key=lambda each: load.hosts.get(each.host, 0))
        for worker in ready[: max(0, len(ready) - wanted)]:
            if self._workers.pause(worker):
                self._paused[worker.id] = now

    def _is_idle(self, worker: Worker, load: Load) -> bool:
        """Say whether a paused worker has been quiet long enough, and holds nothing."""
        if self._clock() - self._paused[worker.id] < self._quiet:
            return False
        work = self._workers.ask(worker)
        if work is None:  # who does not answer may be at work
            return False
        if work.queues:  # it came back to its queues
            self._workers.pause(worker)
        if work.queues or work.tasks or load.hosts.get(worker.host):
            self._paused[worker.id] = self._clock()
            return False
        return True


def _tasks(load: Load) -> str:
    return f"{load.running} running, {load.queued} queued"


def _workers(count: int) -> str:
    return "a worker" if count == 1 else f"{count} workers"
