"""SQL submitted to a service by tasks that die at random moments: it runs once for each run, and none runs on.

A run is played as Airflow plays it: a worker executes, a triggerer waits, a worker resumes, each a process of its own.
SIGKILL of a worker is followed by the next try, SIGKILL of a triggerer by another one with the same trigger. A person's
kill is SIGTERM, on which Airflow calls ``on_kill``; the run is cleared then, and begins anew.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

from tests.proofs import submit_rivals
from tests.proofs.job import START
from tests.proofs.submit_snowflake import SnowflakeService
from tests.redshift.data_api import DataApi, DataApiServer

Phase = Literal["execute", "trigger", "resume"]
SECONDS = 0.6
"""How long the SQL of a run takes."""
TRIES = 12
"""More than a run can need: after its kills it is left alone, but for the service's faults."""


@dataclass(frozen=True)
class Step:
    """One process of one run.

    :param run: the run
    :param number: which try it is
    :param clears: how often a person has cleared the task
    :param phase: what the process does
    :param handed: what the step before has handed on
    """

    run: str
    number: int = 1
    clears: int = 0
    phase: Phase = "execute"
    handed: dict[str, Any] = field(default_factory=dict)


def operator(run: str, what: str) -> Any:
    """Make the operator of a run, ours or the official one."""
    arguments: dict[str, Any] = {
        "task_id": "submit",
        "sql": [f"SELECT pg_sleep({SECONDS})", f"INSERT INTO runs VALUES ('{run}')"],
        "cluster_identifier": "sales",
        "database": "dev",
        "db_user": "etl",
        "deferrable": what == "ours",  # the official one would need aiobotocore
    }
    if what == "snowflake":
        from tests.proofs.submit_snowflake import operator as of_snowflake

        return of_snowflake(run, SECONDS)
    if what in submit_rivals.RIVALS:
        from tests.proofs.submit_snowflake import statements

        return submit_rivals.operator(what, statements(run, SECONDS))
    if what == "official":
        from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator as Official

        return Official(**arguments, poll_interval=1)
    from tradewind.amazon.redshift.operators import RedshiftDataOperator

    return RedshiftDataOperator(**arguments, poll_interval=0.1, defer_after=0.2)


class Store:
    """Airflow 3.3's task state store, of one task instance, in a file: the official operator remembers by it.

    :param path: the file
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str) -> Any:
        return json.loads(self.path.read_text()).get(key) if self.path.exists() else None

    def set(self, key: str, value: Any, **_: Any) -> None:
        self.path.with_suffix(".new").write_text(json.dumps({key: value}))
        self.path.with_suffix(".new").replace(self.path)


class Service(Protocol):
    """What plays the service, and tells what it executed.

    ``connections`` are those of the tasks, as Airflow's environment has them; ``seconds`` is how long a process may
    live before it is killed.
    """

    connections: dict[str, str]
    seconds: float

    def statuses(self, run: str) -> list[str]:
        """Return how each submission of a run ended: ``done``, ``ended`` otherwise, or ``running``."""

    def rows(self, run: str) -> int:
        """Count what the SQL of a run has left."""

    def calls(self) -> int:
        """Count the calls of the service."""


class RedshiftService:
    """Redshift's Data API, on a PostgreSQL.

    :param api: its inside
    :param url: where it listens
    :param query: runs SQL past everything
    """

    seconds = SECONDS

    def __init__(self, api: DataApi, url: str, query: Callable[[str], Any]) -> None:
        extra = {"endpoint_url": url, "region_name": "eu-west-1"}
        connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": extra}
        self.connections = {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)}
        self.api, self.query = api, query
        query("CREATE TABLE IF NOT EXISTS runs (run text)")

    def statuses(self, run: str) -> list[str]:
        known = {"FINISHED": "done", "FAILED": "ended", "ABORTED": "ended"}
        mine = [each for each in self.api.journal() if f"'{run}'" in each["sqls"][-1]]
        return [known.get(each["status"], "running") for each in mine]

    def rows(self, run: str) -> int:
        return int(self.query(f"SELECT count(*) FROM runs WHERE run = '{run}'")[0][0])

    def calls(self) -> int:
        return self.api.calls.total()


def work(step: Step, what: str, connections: dict[str, str], log: Path, sender: Connection) -> None:
    """Do one step, in a process of its own, and send what it hands on."""
    sys.stdout = sys.stderr = log.open("a", buffering=1)
    for descriptor in (1, 2):
        os.dup2(sys.stderr.fileno(), descriptor)
    os.environ |= connections
    from tests.fix_airflow import make_context
    from tradewind.hooks.compat import TaskDeferred

    if what in submit_rivals.RIVALS:
        submit_rivals.prepare()
    if step.phase == "trigger":
        sender.send("begun")
        sender.send({**step.handed, "event": asyncio.run(_event(step.handed))})
        return
    task = operator(step.run, what)

    def killed(*_: object) -> None:
        task.on_kill()
        os._exit(143)

    signal.signal(signal.SIGTERM, killed)
    context = make_context(task, run_id=step.run, try_number=step.number, max_tries=step.clears)
    if what.startswith("official"):
        context |= {"task_state_store": Store(log.with_name(f"{step.run}.json"))}  # type: ignore[typeddict-item]
    sender.send("begun")
    try:
        if step.phase == "execute":
            task.execute(context)
        else:
            task.resume_execution(
                step.handed["method"], step.handed["kwargs"] | {"event": step.handed["event"]}, context
            )
    except TaskDeferred as deferred:
        path, kwargs = deferred.trigger.serialize()
        sender.send({"path": path, "trigger": kwargs, "method": deferred.method_name, "kwargs": deferred.kwargs or {}})
    else:
        sender.send({})


async def _event(handed: dict[str, Any]) -> Any:
    from importlib import import_module

    module, _, name = handed["path"].rpartition(".")
    trigger = getattr(import_module(module), name)(**handed["trigger"])
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


@dataclass(frozen=True)
class Submitted:
    """One run, however many processes it took.

    :param kills: the phases in which a process was killed, each with what killed it
    :param tries: how many tries it took
    :param executed: how often the SQL was executed
    """

    number: int
    kills: list[str]
    tries: int
    executed: int
    problems: list[str]

    def row(self) -> str:
        """Return it as a row of a Markdown table."""
        outcome = "; ".join(self.problems) or "right, nothing runs"
        return f"| {self.number} | {', '.join(self.kills)} | {self.tries} | {self.executed} | {outcome} |"


HEAD = """\
| # | killed | tries | executed | at the end |
|--:|---|--:|--:|---|"""


class Submitter:
    """Plays runs against one service.

    :param service: the service
    :param folder: where logs go
    :param seed: makes the moments
    :param what: ours or the official operator
    """

    def __init__(self, service: Service, folder: Path, seed: int, what: str = "ours") -> None:
        self.service = service
        self.log = folder / f"submit-{what}.log"
        self.random = random.Random(seed)
        self.what = what
        self.killed: Counter[str] = Counter()
        self.ran_on = 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.proofs.preload"])

    def run(self, number: int) -> Submitted:
        """Play one run, with one to three kills, and look at what is there."""
        step = Step(f"run-{self.random.randrange(10**9)}")
        kills: list[str] = []
        wanted = self.random.randint(1, 3)
        while step.number <= TRIES:
            how = self._choose(step) if len(kills) < wanted else None
            after, told = self._play(step, how)
            if told:
                kills.append(f"{step.phase} ({told})")
                self.killed[kills[-1]] += 1
            if after is None:
                break
            step = after
        return self._judge(number, step, kills)

    def _choose(self, step: Step) -> signal.Signals | None:
        if self.random.random() < (0.5 if step.phase == "execute" else 0.1):
            return None
        # Whether a person's clear leaves what Airflow's store holds is not known: those that remember meet none.
        persons = self.what not in ("official", "official-snowflake")
        by_person = step.phase != "trigger" and persons and self.random.random() < 0.25
        return signal.SIGTERM if by_person else signal.SIGKILL

    def _play(self, step: Step, how: signal.Signals | None) -> tuple[Step | None, str]:
        """Run a step, perhaps killed, and return the one that follows, and what killed it."""
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(step, self.what, self.service.connections, self.log, sender))
        process.start()
        sender.close()
        assert receiver.poll(START), "the process did not begin"
        handed = self._receive(receiver, process, how)
        process.join(60)
        if handed is not None and process.exitcode == 0:
            if step.phase == "execute" and handed:
                return replace(step, phase="trigger", handed=handed), ""
            return (replace(step, phase="resume", handed=handed), "") if step.phase == "trigger" else (None, "")
        if process.exitcode == 143:
            self.ran_on += "running" in self.service.statuses(step.run)
            again = replace(step, number=step.number + 1, clears=step.clears + 1, phase="execute", handed={})
            return again, "by a person"
        told = "SIGKILL" if process.exitcode == -signal.SIGKILL else ""
        if step.phase == "trigger" and told:
            return step, told
        return replace(step, number=step.number + 1, phase="execute", handed={}), told

    def _receive(self, receiver: Connection, process: Any, how: signal.Signals | None) -> dict[str, Any] | None:
        try:
            receiver.recv()
            if how is not None:
                until = time.monotonic() + self.random.uniform(0, self.service.seconds)
                if not receiver.poll(max(0.0, until - time.monotonic())):
                    os.kill(process.pid, how)
            handed: dict[str, Any] = receiver.recv()
        except EOFError:
            return None
        return handed

    def _judge(self, number: int, step: Step, kills: list[str]) -> Submitted:
        statuses, rows = self.service.statuses(step.run), self.service.rows(step.run)
        done, running = statuses.count("done"), statuses.count("running")
        problems = [f"{running} run on"] if running else []
        if step.number > TRIES:
            problems.append("it did not end well")
        # What a person killed after its end, and cleared, is to run again.
        if rows != done or not 1 <= rows <= step.clears + 1:
            problems.append(f"executed {done} times, {rows} rows")
        return Submitted(number, kills, step.number, done, problems)


@contextmanager
def open_submitter(folder: Path, seed: int, what: str = "ours", faults: float = 0.05) -> Iterator[Submitter]:
    """Start a service that executes, with faults, and what plays runs against it."""
    if what == "snowflake" or what in submit_rivals.RIVALS:
        with SnowflakeService(folder, seed, faults) as service:
            yield Submitter(service, folder, seed, what)
        return
    import psycopg2

    from tradewind.local.postgres import PostgresServer

    with PostgresServer(folder / "warehouse") as server:
        dsn = server.dsn()

        def query(sql: str) -> Any:
            connection = psycopg2.connect(dsn)
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(sql)
                    return cursor.fetchall() if cursor.description else []
            finally:
                connection.close()

        api = DataApi(dsn, seed=seed, faults=faults)
        with DataApiServer(api) as listening:
            yield Submitter(RedshiftService(api, listening.url, query), folder, seed, what)
