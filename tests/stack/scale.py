"""Show that workers come and go by the rule and that no task is ended by it: ``python -m tests.stack.scale cycles``.

``cycles``: a burst brings workers, its end takes them away; meanwhile, at a random moment of the way down, tasks come
late. Each task writes down its beginning and its end in the warehouse: what was ended in between shows there, whatever
Airflow says. ``burst``: a hundred tasks at once, and a picture of the workers over time beside the rule.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fix_up import is_there, wait_for
from tests.stack.environment import Environment, patiently
from tests.stack.plot import Sample, draw
from tradewind.local.api import DONE
from tradewind.local.errors import LocalError
from tradewind.local.stack.scaling import STEADY
from tradewind.local.stack.services import BROKERS
from tradewind.local.versions import VERSIONS

SLOTS = 5
QUIET = 5.0
"""Seconds without intake before a worker is ended: a quarter of what is usual, so that a mistake shows sooner."""
SIZES = (3, 6, 8, 11, 100)
MOST = 3
PICTURE = Path(__file__).parents[2] / "docs/pictures/workers.svg"
HEAD = (
    "| cycle | tasks | workers at most | late tasks | they came | workers paused then "
    "| ended | kept | seconds | right |\n"
    "|--:|--:|--:|--:|---|--:|--:|--:|--:|---|"
)

DAG = f"""
import datetime as dt
import socket
import time
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow import DAG
    from airflow.operators.python import PythonOperator

def write(statement, *values):
    import psycopg2
    from tradewind.hooks.compat import BaseHook
    found = BaseHook.get_connection("warehouse")
    connection = psycopg2.connect(
        host=found.host, port=found.port, user=found.login, password=found.password, dbname=found.schema
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
    connection.close()

def work(number, dag_run, ti):
    key = (dag_run.run_id, ti.task_id, ti.try_number)
    write("insert into works values (%s, %s, %s, %s)", *key, socket.gethostname())
    time.sleep(dag_run.conf["seconds"][number])
    write("update works set ended = now() where run = %s and task = %s and try = %s", *key)

for size in {SIZES}:
    with DAG(
        f"burst_{{size}}", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False,
        max_active_tasks=500, is_paused_upon_creation=False,
    ):
        for number in range(size):
            PythonOperator(task_id=f"work_{{number}}", python_callable=work, op_args=[number])
"""


class Stack(Environment):
    """The environment of containers with the bursts' DAGs, its load watched."""

    def __init__(self, folder: Path, airflow: str, most: int, broker: str) -> None:
        self.samples: list[Sample] = []
        self._stopping = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        super().__init__(folder, airflow, {"burst.py": DAG}, most, broker=broker)

    def prepare(self) -> None:
        self.query(
            "create table works (run text, task text, try int, host text, began timestamptz default now(), "
            "ended timestamptz)"
        )
        wait_for(lambda: all(is_there(self.api, f"burst_{size}") for size in SIZES), 120, "the DAGs in Airflow")
        self._sampler.start()

    def close(self) -> None:
        self._stopping.set()
        if self._sampler.ident is not None:
            self._sampler.join(60)
        super().close()

    def burst(self, rng: random.Random, size: int, least: float, most: float) -> str:
        """Start a run of a DAG of so many tasks, each of a random length.

        :return: the run's id
        """
        seconds = [round(rng.uniform(least, most), 1) for _ in range(size)]
        run_id = f"run_{rng.randrange(10**12)}"

        self.begin(f"burst_{size}", run_id, {"seconds": seconds})
        return run_id

    def wait_run(self, size: int, run_id: str) -> None:
        """Wait for the end of a run."""
        wait_for(lambda: patiently(lambda: self.api.run(f"burst_{size}", run_id)["state"]) in DONE, 600, "its end")

    def problems(self, size: int, run_id: str) -> list[str]:
        """Return what is wrong with the tasks of a run, in Airflow and in what they wrote themselves."""
        found = patiently(lambda: self.api.task_instances(f"burst_{size}", run_id))
        wrong = [
            f"{each['task_id']} ended in {each['state']} at try {each['try_number']}"
            for each in found
            if (each["state"], each["try_number"]) != ("success", 1)
        ]
        rows = self.query("select task, count(*), count(ended) from works where run = %s group by 1", run_id)
        wrong += [
            f"{task} began {began} times and ended {ended} times"
            for task, began, ended in rows
            if (began, ended) != (1, 1)
        ]
        if len(rows) != size:
            wrong.append(f"{len(rows)} of {size} tasks wrote down their beginning")
        return wrong

    def _sample(self) -> None:
        began = time.monotonic()
        while not self._stopping.wait(0.5):
            try:
                load = self.channel.ask("load")
                found = self.found("worker")
            except LocalError:
                continue
            ready = sum(each.healthy for each in found)
            tasks = load["running"] + load["queued"]
            self.samples.append(Sample(time.monotonic() - began, tasks, len(found), ready))


@contextmanager
def open_stack(airflow: str, most: int, quiet: float | None, broker: str = "redis") -> Iterator[Stack]:
    """Run the stack for the block."""
    with tempfile.TemporaryDirectory(prefix="tradewind-scale-", ignore_cleanup_errors=True) as folder:
        if quiet is not None:
            os.environ["TRADEWIND_SCALE_IN_SECONDS"] = str(quiet)
        with closing(Stack(Path(folder), airflow, most, broker)) as stack:
            yield stack


@dataclass
class Outcome:
    """One way up and down."""

    number: int
    tasks: int
    most: int
    late: int
    when: str
    paused: int
    ended: int
    kept: int
    seconds: float
    problems: list[str] = field(default_factory=list)

    def row(self) -> str:
        """Return it as a row of a Markdown table."""
        right = "; ".join(self.problems) or "yes"
        return (
            f"| {self.number} | {self.tasks} | {self.most} | {self.late} | {self.when} | {self.paused} | {self.ended} "
            f"| {self.kept} | {self.seconds:.0f} | {right} |"
        )


def counted(said: str, pattern: str) -> int:
    """Return how many workers the command told of: "a worker" or "3 workers"."""
    return sum(1 if many == "a" else int(many) for many in re.findall(pattern, said))


def cycle(stack: Stack, rng: random.Random, number: int) -> Outcome:
    """Go up by a burst and down again, with tasks that come late at a random moment of the way down."""
    began, first, told = time.monotonic(), len(stack.samples), len(stack.talk)
    size, late = rng.choice(SIZES[1:4]), rng.choice(SIZES[:2])
    run_id = stack.burst(rng, size, 1, 5)
    stack.wait_run(size, run_id)
    problems = stack.problems(size, run_id)
    after = rng.uniform(0, STEADY + QUIET + 4)
    time.sleep(after)
    paused = len(stack.draining)
    late_id = stack.burst(rng, late, 1, 9)
    stack.wait_run(late, late_id)
    problems += stack.problems(late, late_id)
    try:
        wait_for(lambda: stack.workers() == 1 and not stack.draining, 180, "one worker again")
    except AssertionError as error:
        problems.append(str(error))
    most = max((each.workers for each in stack.samples[first:]), default=0)
    if most < 2:
        problems.append("no workers were added")
    if most > stack.most:
        problems.append(f"{most} workers, and {stack.most} are allowed")
    said = stack.talk[told:]
    problems += [line for line in said.splitlines() if "ended with" in line]
    ended, kept = counted(said, r"ended (\w+) workers? without"), counted(said, r"keeping (\w+) workers? that")
    return Outcome(
        number,
        size,
        most,
        late,
        f"{after:.1f} s after the end",
        paused,
        ended,
        kept,
        time.monotonic() - began,
        problems,
    )


def cycles(seed: int, count: int, airflow: str, broker: str = "redis") -> int:
    """Go up and down so often, print a row for each, and return how many went wrong."""
    of = f"seed {seed}, Airflow {airflow}, {broker}"
    head = f"up to {MOST} workers of {SLOTS} tasks and down to one, {count} times ({of})"
    print(f"### {head}\n\n{HEAD}", flush=True)
    rng, bad, tasks, ended = random.Random(seed), 0, 0, 0
    with open_stack(airflow, MOST, QUIET, broker) as stack:
        for number in range(1, count + 1):
            outcome = cycle(stack, rng, number)
            bad += bool(outcome.problems)
            tasks += outcome.tasks + outcome.late
            ended += outcome.ended
            print(outcome.row(), flush=True)
    print(f"\n{count - bad} of {count} right: {tasks} tasks, {ended} workers ended", flush=True)
    return bad


def burst(seed: int, airflow: str, most: int, picture: Path) -> int:
    """Run a hundred tasks at once, print and draw the workers over time, and return how many went wrong."""
    with open_stack(airflow, most, None) as stack:
        begun = stack.samples[-1].at if stack.samples else 0.0
        rng = random.Random(seed)
        run_id = stack.burst(rng, 100, 5, 15)
        stack.wait_run(100, run_id)
        problems = stack.problems(100, run_id)
        wait_for(lambda: stack.workers() == 1, 300, "one worker again")
        time.sleep(3)
        samples = [Sample(each.at - begun, each.tasks, each.workers, each.ready) for each in stack.samples]
    samples = [each for each in samples if each.at >= 0]
    picture.write_text(draw(samples, SLOTS, most))
    done = max((each.at for each in samples if each.tasks), default=0.0)
    highest = max(each.workers for each in samples)
    reached = next(each.at for each in samples if each.workers == highest)
    serving = next((each.at for each in samples if each.ready == highest), 0.0)
    alone = next(each.at for each in reversed(samples) if each.workers > 1)
    print(
        f"100 tasks of 5 to 15 s (seed {seed}, Airflow {airflow}): {highest} workers after {reached:.1f} s, all "
        f"of them well after {serving:.0f} s; the last task ended after {done:.0f} s, "
        f"one worker again after {alone:.0f} s"
    )
    print(
        "\n".join(problems) or "all 100 ended in success at the first try, and wrote down their beginning and end once"
    )
    return len(problems)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.scale", description=__doc__)
    parser.add_argument("what", choices=("cycles", "burst"))
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--count", type=int, default=20, help="cycles (default: 20)")
    parser.add_argument("--airflow", choices=VERSIONS, default="3.3.1")
    parser.add_argument("--broker", choices=BROKERS, default=BROKERS[0], help="of the cycles (default: redis)")
    parser.add_argument("--most", type=int, default=8, help="workers of the burst (default: 8)")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    asked = parser.parse_args()
    if asked.what == "cycles":
        return min(1, cycles(asked.seed, asked.count, asked.airflow, asked.broker))
    return min(1, burst(asked.seed, asked.airflow, asked.most, asked.picture))


if __name__ == "__main__":
    sys.exit(main())
