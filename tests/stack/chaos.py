"""Show that nothing is lost and nothing done twice while everything ends: ``python -m tests.stack.chaos --seed 1``.

One run of 200 tasks and 100 sensors in the environment of containers. While it is under way its workers, scheduler,
triggerer, databases, broker, web server and S3 are killed or ended, one after the other, a worker is cut off from
the network, and workers go from four to one and come again. Each event is drawn from the seed and counts only where
it hits something that is under way.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fix_up import is_there, wait_for
from tests.stack import chaos_dag
from tests.stack.chaos_dag import BUCKET, PAUSE, ROWS, kind, name, payload, sign
from tests.stack.chaos_events import KINDS, Events, Hit, course, outlasting
from tests.stack.chaos_proof import Proof, airflow_dsn
from tests.stack.environment import Environment
from tradewind.local.api import DONE
from tradewind.local.s3 import client
from tradewind.local.stack import compose
from tradewind.local.stack.services import BROKERS
from tradewind.local.versions import VERSIONS

MOST = 4
"""Workers at most."""
QUIET = 5.0
"""Seconds without intake before a worker is ended, a quarter of what is usual."""
HEARTBEAT = 30
"""Seconds without a sign of life after which a task's try is given up, a tenth of what is usual."""
PATIENCE = 900.0
"""Seconds for the end of the run after the last event."""
OPTIONS_2 = {"scheduler.scheduler_zombie_task_threshold": HEARTBEAT, "scheduler.zombie_detection_interval": 2}
OPTIONS_3 = {
    "scheduler.task_instance_heartbeat_timeout": HEARTBEAT,
    "scheduler.task_instance_heartbeat_detection_interval": 2,
}
AGAIN = 3
"""How often an event is tried that finds nothing to hit."""
QUEUED = {"scheduler.task_queued_timeout": 60, "scheduler.task_queued_timeout_check_interval": 10}
"""Seconds after which a task that no worker has begun is sent again, a tenth of what is usual."""
HEAD = "| # | event | under way | back after (s) | tasks done then |\n|--:|---|---|--:|--:|"


class Stack(Environment):
    """The environment with the DAG, its tables and its bucket."""

    def __init__(self, folder: Path, airflow: str, tasks: int, sensors: int, broker: str) -> None:
        self.tasks, self.sensors = tasks, sensors
        files = {
            "chaos.py": Path(chaos_dag.__file__).read_text(),
            "chaos.json": json.dumps({"tasks": tasks, "sensors": sensors}),
        }
        beats = OPTIONS_3 if VERSIONS[airflow].major == 3 else OPTIONS_2
        options = [part for key, value in (beats | QUEUED).items() for part in ("--option", f"{key}={value}")]
        super().__init__(folder, airflow, files, MOST, *options, broker=broker)

    def prepare(self) -> None:
        self.s3 = client(self.facts["s3"])
        self.s3.create_bucket(Bucket=BUCKET)
        columns = "(task text not null, n int not null, payload text"
        for table in ("appended", "sql_rows"):
            self.query(f"create table {table} {columns})")
        for table in ("merged", "python_rows"):
            self.query(f"create table {table} {columns}, primary key (task, n))")
        # Each row takes its time, so that a load is under way for seconds.
        self.query(
            "create function pause() returns trigger language plpgsql as $$ begin "
            f"perform pg_sleep({PAUSE}); return new; end $$"
        )
        for table in ("appended", "merged"):
            self.query(f"create trigger pause before insert on {table} for each row execute function pause()")
        for number in range(self.tasks):
            if kind(number) in ("append", "merge"):
                self._lay_out(number)
        wait_for(lambda: is_there(self.api, "chaos"), 120, "the DAG in Airflow")

    def _lay_out(self, number: int) -> None:
        """Put a load's file into the bucket, and before a merge every other row, unlike it, into its table."""
        rows = [f"{name(number)},{n},{payload(number, n)}" for n in range(1, ROWS + 1)]
        body = "\n".join(("task,n,payload", *rows, "")).encode()
        self.s3.put_object(Bucket=BUCKET, Key=f"in/{name(number)}.csv", Body=body)
        if kind(number) == "merge":
            self.query(
                "set session_replication_role = replica; "
                "insert into merged select %s, n, 'before' from generate_series(1, %s, 2) n",
                name(number),
                ROWS,
            )

    def arrive(self, numbers: Iterable[int]) -> None:
        """Put the files into the bucket that sensors wait for."""
        for key in map(sign, numbers):
            outlasting(lambda key=key: self.s3.put_object(Bucket=BUCKET, Key=key, Body=b"here"))  # type: ignore[misc]

    def done(self, run_id: str) -> int:
        """Return how many tasks ended in success."""
        (row,) = self.query(
            "select count(*) from task_instance where run_id = %s and state = 'success'",
            run_id,
            dsn=airflow_dsn(self),
        )
        return int(row[0])


@contextmanager
def open_stack(airflow: str, tasks: int, sensors: int, broker: str) -> Iterator[Stack]:
    """Run the environment for the block."""
    with tempfile.TemporaryDirectory(prefix="tradewind-chaos-", ignore_cleanup_errors=True) as folder:
        os.environ["TRADEWIND_SCALE_IN_SECONDS"] = str(QUIET)
        with closing(Stack(Path(folder), airflow, tasks, sensors, broker)) as stack:
            yield stack


@dataclass
class Outcome:
    """What a run came to."""

    hits: list[Hit]
    problems: list[str]
    text: str


def run(stack: Stack, rng: random.Random, course: list[str], show: Callable[[str], None]) -> Outcome:
    """Have everything end while a run is under way, and look at what is there afterwards.

    :param course: the events' kinds, in order
    :param show: called with each line of the table
    """
    began, run_id = time.monotonic(), f"run_{rng.randrange(10**12)}"
    stack.begin("chaos", run_id)
    events = Events(stack, rng)
    waiting = list(range(stack.sensors))
    rng.shuffle(waiting)
    share = -(-len(waiting) // (len(course) + 1))
    hits: list[Hit] = []
    show(HEAD)
    for what in course:
        for _ in range(AGAIN):  # one that found nothing to hit is not counted: more arrives, another takes its place
            stack.arrive(waiting[:share])
            del waiting[:share]
            if (hit := events.hit(what)).under_way:
                break
        hits.append(hit)
        done = outlasting(lambda: stack.done(run_id))
        show(f"| {len(hits)} | {hit.what} | {hit.under_way} | {hit.seconds:.0f} | {done} |")
    stack.arrive(waiting)
    problems = [f"the {hit.what} hit nothing that was under way" for hit in hits if not hit.under_way]
    try:
        wait_for(lambda: outlasting(lambda: stack.api.run("chaos", run_id)["state"]) in DONE, PATIENCE, "the run's end")
    except AssertionError as error:
        problems.append(str(error))
    proof = Proof(stack, stack.s3, stack.tasks, stack.sensors, run_id)
    problems += proof.problems()
    try:
        wait_for(lambda: stack.workers() == 1 and not stack.draining, 180, "one worker again")
    except AssertionError as error:
        problems.append(str(error))
    tries = ", ".join(f"{count} at try {number}" for number, count in sorted(proof.tries.items()))
    text = (
        f"{stack.tasks} tasks, {stack.sensors} sensors, {len(hits)} events in {time.monotonic() - began:.0f} s; "
        f"{tries}; {proof.rows:,} of {stack.tasks * ROWS:,} rows there once; Airflow noted {proof.reasons()}"
    )
    return Outcome(hits, problems, text)


def prove(
    seed: int,
    airflow: str,
    tasks: int,
    sensors: int,
    events: list[str] | int,
    keep: Path | None = None,
    broker: str = BROKERS[0],
) -> list[str]:
    """Run once and print what happened, and return what is wrong.

    :param events: their kinds in order, or how many are drawn
    :param keep: where the logs go when something is wrong
    :param broker: what tasks come by
    """
    rng = random.Random(seed)
    kinds = course(rng, events) if isinstance(events, int) else events
    of = f"seed {seed}, Airflow {airflow}, {broker}"
    print(f"### {tasks} tasks and {sensors} sensors, {len(kinds)} events ({of})\n", flush=True)
    with open_stack(airflow, tasks, sensors, broker) as stack:
        try:
            outcome = run(stack, rng, kinds, lambda line: print(line, flush=True))
            problems = outcome.problems
            print(f"\n{outcome.text}\n" + "\n".join(problems[:50] or ["all right"]), flush=True)
        finally:
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                keep_logs(stack, keep)
    return problems


def keep_logs(stack: Stack, folder: Path) -> None:
    """Copy what the command, the containers and the tasks wrote."""
    shutil.copy(stack.up.talk, folder / "talk")
    for service in ("scheduler", "worker", "webserver", "postgres", "broker", "aws"):
        for each in stack.found(service):
            (folder / f"{service}-{each.id[:12]}.log").write_text(compose.logs(each.id, 100_000))
    for path in stack.state.logs.glob("*.log"):
        shutil.copy(path, folder)
    (scheduler,) = stack.found("scheduler")
    compose.docker("cp", f"{scheduler.id}:/usr/local/airflow/logs", str(folder / "tasks"))


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--airflow", choices=VERSIONS, default="3.3.1")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--sensors", type=int, default=100)
    parser.add_argument("--events", type=int, default=15, help="how many (default: 15)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="just these, in this order")
    parser.add_argument("--broker", choices=BROKERS, default=BROKERS[0], help="what tasks come by (default: redis)")
    parser.add_argument("--keep", type=Path, help="a folder for the logs")
    asked = parser.parse_args()
    events = asked.kinds or asked.events
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the environment ends with it
    of = asked.seed, asked.airflow, asked.tasks, asked.sensors
    return min(1, len(prove(*of, events, asked.keep, asked.broker)))


if __name__ == "__main__":
    sys.exit(main())
