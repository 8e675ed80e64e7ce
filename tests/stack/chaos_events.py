"""What happens to an environment: each event waits for something to hit, hits it, and waits until it is well again."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tests.fix_up import wait_for
from tests.stack.chaos_proof import airflow_dsn
from tradewind.local.errors import LocalError
from tradewind.local.stack import compose

if TYPE_CHECKING:
    from tests.stack.chaos import Stack

Result = TypeVar("Result")

KINDS = ("worker", "scale", "scheduler", "triggerer", "postgres", "broker", "webserver", "aws", "network")
USUAL = ("worker", "scheduler", "triggerer", "postgres", "broker", "worker")
"""What comes again once each kind was there."""
LULL = (2.0, 12.0)
"""Seconds between two events."""
TARGET = 120.0
"""Seconds to wait for what there must be."""
CHANCE = 60.0
"""Seconds to wait for something that an event can hit."""
PATIENCE = 240.0
"""Seconds for what was hit to be well again."""
GRACE = 20
"""Seconds from SIGTERM to SIGKILL where a container is ended in good order."""
KILL = """
import os, signal
mine = os.getpid()
for pid in (int(each) for each in os.listdir("/proc") if each.isdigit() and int(each) != mine):
    try:
        line = open(f"/proc/{pid}/cmdline").read().replace(chr(0), " ")
    except OSError:
        continue
    if "triggerer" in line and "tradewind" not in line:
        os.kill(pid, signal.SIGKILL)
        print(pid)
"""


@dataclass(frozen=True)
class Hit:
    """One event.

    :param what: what was done
    :param under_way: what it hit; empty where there was nothing
    :param seconds: until what was hit was well again
    """

    what: str
    under_way: str
    seconds: float


def outlasting(call: Callable[[], Result], seconds: float = PATIENCE) -> Result:
    """Call until there is an answer: what was asked may be what was just ended."""
    import psycopg2
    from botocore.exceptions import BotoCoreError, ClientError

    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except (OSError, LocalError, psycopg2.Error, BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


class Events:
    """Makes them happen.

    :param stack: to what
    :param rng: decides what, how and when
    """

    def __init__(self, stack: Stack, rng: random.Random) -> None:
        self._stack = stack
        self._rng = rng

    def hit(self, kind: str) -> Hit:
        """Make one happen.

        :param kind: one of :data:`KINDS`
        """
        time.sleep(self._rng.uniform(*LULL))
        return {
            "worker": self._worker,
            "network": self._network,
            "scale": self._scale,
            "triggerer": self._triggerer,
        }.get(kind, lambda: self._service(kind))()

    def _service(self, kind: str) -> Hit:
        service = "aws" if kind == "broker" and self._stack.broker == "sqs" else kind
        # moto has its objects in memory and writes them down every few seconds: S3 loses none at such an end.
        how = "ended" if service == "aws" else self._rng.choice(("killed", "ended"))
        under_way = self._await(TARGETS[kind])
        if not under_way:
            return Hit(f"{service} left alone", "", 0)
        (found,) = self._stack.found(service)
        self._end(found.id, how)
        return self._back(f"{service} {how}", under_way, lambda: self._replaced(service, found.id))

    def _worker(self) -> Hit:
        found, count = self._busy()
        self._end(found.id, "killed")
        return self._back("worker killed", f"{count} tasks on it", lambda: self._well("worker", found.id))

    def _triggerer(self) -> Hit:
        under_way = self._await(TARGETS["triggerer"])
        if not under_way:
            return Hit("triggerer left alone", "", 0)
        (found,) = self._stack.found("scheduler")
        (before,) = self._airflow("select coalesce(max(id), 0) from job where job_type = 'TriggererJob'")
        killed = compose.docker("exec", found.id, "python3", "-c", KILL).split()
        under_way = under_way if killed else ""

        def back() -> bool:
            statement = (
                "select 1 from job where job_type = 'TriggererJob' and state = 'running' and id > %s "
                "and latest_heartbeat > now() - interval '10 s'"
            )
            return bool(self._airflow(statement, before[0]))

        return self._back("triggerer killed", under_way, back)

    def _network(self) -> Hit:
        """Cut a worker off for longer than its tasks' signs of life are waited for, and let it come back."""
        from tests.stack.chaos import HEARTBEAT

        found, count = self._busy()
        network, seconds = f"{self._stack.project}_inside", HEARTBEAT + self._rng.uniform(8, 20)
        compose.docker("network", "disconnect", network, found.id)
        before = self._tries(found)
        time.sleep(seconds)
        elsewhere = len(before - self._tries(found))
        compose.docker("network", "connect", network, found.id)
        what = f"worker cut off from the network for {seconds:.0f} s"
        under_way = f"{count} tasks on it, {elsewhere} given up before it was back"
        return self._back(
            what, under_way if elsewhere else "", lambda: self._well("worker") or not self._stack.found("worker")
        )

    def _scale(self) -> Hit:
        """Leave so little to do that one worker is enough, then much."""
        wait_for(lambda: self._stack.workers() == self._stack.most, TARGET, f"{self._stack.most} workers")
        before = wait_for(self._running, TARGET, "a task that runs")
        self._slots(3)
        began = time.monotonic()
        wait_for(lambda: self._stack.workers() == 1, PATIENCE, "one worker")
        down, least = time.monotonic() - began, wait_for(self._running, TARGET, "a task on the one worker")
        self._slots(500)
        wait_for(lambda: self._stack.workers() == self._stack.most, TARGET, f"{self._stack.most} workers again")
        under_way = f"{before} tasks, {least} when one worker was left after {down:.0f} s"
        most = self._stack.most
        return Hit(f"workers {most} to 1 to {most}", under_way, time.monotonic() - began)

    def _slots(self, count: int) -> None:
        outlasting(
            lambda: self._stack.query(
                "update slot_pool set slots = %s where pool = 'default_pool'", count, dsn=airflow_dsn(self._stack)
            )
        )

    def _busy(self) -> tuple[compose.Found, int]:
        """Wait for a worker with tasks on it, and return one of those and how many there are."""
        statement = "select hostname, count(*) from task_instance where state = 'running' group by 1"

        def found() -> list[tuple[compose.Found, int]]:
            tasks = dict(outlasting(lambda: self._airflow(statement)))
            there = sorted(self._stack.found("worker"), key=lambda each: each.id)
            return [(each, tasks[each.id[:12]]) for each in there if each.healthy and each.id[:12] in tasks]

        busy: list[tuple[compose.Found, int]] = wait_for(found, TARGET, "a worker with tasks")
        return self._rng.choice(busy)

    def _tries(self, worker: compose.Found) -> set[tuple[str, int]]:
        """Return the tries that Airflow takes for running on a worker."""
        statement = "select task_id, try_number from task_instance where state = 'running' and hostname = %s"
        return {(task, number) for task, number in outlasting(lambda: self._airflow(statement, worker.id[:12]))}

    def _await(self, target: tuple[str, str, bool]) -> str:
        """Wait for something to hit, and say how much of it there is; nothing where it does not come."""
        statement, what, warehouse = target
        deadline = time.monotonic() + CHANCE
        while time.monotonic() < deadline:
            ask = self._stack.query if warehouse else self._airflow
            ((count,),) = outlasting(lambda ask=ask: ask(statement))  # type: ignore[misc]
            if count:
                return f"{count} {what}"
            time.sleep(0.3)
        return ""

    def _end(self, container: str, how: str) -> None:
        arguments = ("kill", "--signal", "KILL") if how == "killed" else ("stop", "--time", str(GRACE))
        # The environment may have removed it before Docker's command has looked at it again.
        subprocess.run(["docker", *arguments, container], capture_output=True, timeout=120, check=False)

    def _back(self, what: str, under_way: str, is_back: Callable[[], bool]) -> Hit:
        began = time.monotonic()
        wait_for(lambda: outlasting(is_back), PATIENCE, f"the way back after: {what}")
        return Hit(what, under_way, time.monotonic() - began)

    def _replaced(self, service: str, before: str) -> bool:
        return any(each.healthy and each.id != before for each in self._stack.found(service))

    def _well(self, service: str, gone: str = "") -> bool:
        found = self._stack.found(service)
        return bool(found) and all(each.healthy and each.id != gone for each in found)

    def _running(self) -> int:
        ((count,),) = outlasting(lambda: self._airflow("select count(*) from task_instance where state = 'running'"))
        return int(count)

    def _airflow(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._stack.query(statement, *values, dsn=airflow_dsn(self._stack))


TARGETS = {
    "scheduler": ("select count(*) from task_instance where state in ('queued', 'running')", "tasks", False),
    "triggerer": ("select count(*) from trigger where triggerer_id is not null", "sensors", False),
    "postgres": (
        "select count(*) from pg_stat_activity where datname = 'warehouse' and pid <> pg_backend_pid() "
        "and xact_start is not null",
        "transactions in the warehouse",
        True,
    ),
    "broker": ("select count(*) from task_instance where state = 'queued'", "tasks in the queue", False),
    "webserver": ("select count(*) from task_instance where state = 'running'", "tasks that run", False),
    "aws": (
        "select count(*) from task_instance where state = 'running' and operator = 'CopyOperator'",
        "copies",
        False,
    ),
}
"""How much there is that an event can hit: a statement, what it counts, and whether it is for the warehouse."""


def course(rng: random.Random, count: int) -> list[str]:
    """Draw the kinds of so many events: each kind once, and the usual ones more often.

    :param count: how many; where they are too few for each kind, there may not be enough work for all workers either
    """
    kinds = [kind for kind in KINDS if kind != "scale" or count >= len(KINDS)]
    rng.shuffle(kinds)
    kinds = kinds[:count] + rng.choices(USUAL, k=max(0, count - len(kinds)))
    rng.shuffle(kinds)
    if "scale" in kinds:  # while there is enough to do for all workers
        kinds.remove("scale")
        kinds.insert(rng.randrange(0, max(1, len(kinds) // 3)), "scale")
    return kinds
