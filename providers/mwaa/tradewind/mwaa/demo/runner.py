"""The course of the demo: start, let the files arrive, watch, count."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from tradewind.local.api import DONE, Api, ApiError
from tradewind.local.environment import Environment
from tradewind.local.errors import LocalError
from tradewind.mwaa.demo import dataset
from tradewind.mwaa.demo.show import Board
from tradewind.mwaa.demo.summary import ENDED, Summary, Task, check, lines
from tradewind.mwaa.terminal import Terminal

DAG_ID = "flights"
REPORT = "reports/flights-2013.html"
RESULT = "results/daily_delays.csv.gz"
LANDING = "landing/"
ORDER = (
    "tables",
    "months.arrived",
    "months.load",
    *(f"small.{table}" for table in dataset.SMALL),
    "daily_delays",
    "report",
    "unload",
    "close",
)
"""The tasks from the first to the last."""

COPIES = ("months.load", "small.", "unload")
MONTHS = 12
PACE = 0.5
"""Seconds between two files."""

RUN_TIMEOUT = 600.0
SAMPLE = 4.0
"""Seconds between two measurements of the memory: each reads the page tables of some twenty processes."""

POLL = 0.6
"""Seconds between two looks at the run."""


class Demo:
    """One run of the demo.

    :param folder: where all of it lies
    :param airflow: the Airflow version
    :param port: the web UI's port
    :param terminal: where to talk
    """

    def __init__(self, folder: Path, airflow: str, port: int | None, terminal: Terminal) -> None:
        self.folder = folder.absolute()
        self.terminal = terminal
        self._airflow = airflow
        self._port = port
        self._environment: Environment | None = None
        self._began = time.monotonic()
        self._timeline: dict[str, float] = {}
        self._memory = 0
        self._over = threading.Event()
        self._waiting = threading.Event()
        self._arrived = 0
        self._trouble: list[str] = []
        self._results: dict[tuple[str, int], Any] = {}

    @property
    def environment(self) -> Environment:
        """The environment, once it is started."""
        if self._environment is None:
            raise LocalError("the demo is not started")
        return self._environment

    @property
    def login(self) -> tuple[str, str]:
        """User and password of Airflow's UI."""
        return self.environment.login

    def run(self) -> Summary:
        """Start the environment, run the DAG, count.

        :raises LocalError: when it cannot be started, or the run does not end
        """
        lay_out(self.folder)
        self._environment = Environment(
            self.folder,
            None,
            self._airflow,
            port=self._port,
            tell=self.terminal.warn,
            progress=self.terminal.update,
        )
        with self.terminal.busy("starting PostgreSQL and S3"):
            self.environment.start()
            threading.Thread(target=self._measure, name="demo-memory", daemon=True).start()
            self._empty_landing()
            self.environment.wait_ready()
            self._mark("ready")
            self.terminal.update("waiting for the DAG")
            run_id = self._trigger()
        self._mark("triggered")
        self.terminal.tell(f"Airflow {self._airflow} is ready, the DAG {DAG_ID} runs: {self.environment.web_url}")
        with Board(self._began) as board:
            arrivals = threading.Thread(target=self._arrive, args=(board,), name="demo-arrivals", daemon=True)
            arrivals.start()
            state, tasks = self._watch(run_id, board)
            self._over.set()
            arrivals.join(30)
        self._mark("end of the DAG")
        return self._sum_up(run_id, state, tasks)

    def stop(self) -> None:
        """Stop everything."""
        self._over.set()
        if self._environment is not None:
            self._environment.stop()

    def _mark(self, event: str) -> None:
        self._timeline.setdefault(event, time.monotonic() - self._began)

    def _measure(self) -> None:
        """Remember the peak of the memory of all processes."""
        while not self._over.wait(SAMPLE):
            with contextlib.suppress(LocalError, OSError):
                self._memory = max(self._memory, sum(used.bytes for used in self.environment.processes().values()))

    def _empty_landing(self) -> None:
        """Take away what an earlier run let arrive, and bring the small tables."""
        client, bucket = self.environment.s3_client(), self.environment.bucket
        listing = client.list_objects_v2(Bucket=bucket, Prefix=LANDING).get("Contents", [])
        for there in listing:
            client.delete_object(Bucket=bucket, Key=there["Key"])
        for table in dataset.SMALL:
            file = dataset.small_table(table)
            client.put_object(Bucket=bucket, Key=LANDING + file.name, Body=file.body)

    def _trigger(self) -> str:
        """Wait until Airflow knows the DAG, and start a run."""
        api, deadline = self.environment.api(), time.monotonic() + 120
        while True:
            try:
                api.unpause(DAG_ID)
                return api.trigger(DAG_ID, {"bucket": self.environment.bucket})
            except ApiError as error:
                if error.status != 404 or time.monotonic() > deadline:
                    raise
            for broken in api.import_errors():
                raise LocalError(f"Airflow cannot import {broken['filename']}:\n{broken['stack_trace']}")
            self._still_there()
            time.sleep(0.2)

    def _still_there(self) -> None:
        if self.environment.failure:
            raise LocalError(self.environment.failure)

    def _arrive(self, board: Board) -> None:
        """Let one month after the other arrive, from when on the DAG waits."""
        try:
            client, bucket = self.environment.s3_client(), self.environment.bucket
            months = list(dataset.months())
            self._waiting.wait(60)
            for month in months:
                client.put_object(Bucket=bucket, Key=LANDING + month.name, Body=month.body)
                self._arrived += 1
                board.arrived(month.name)
                if self._over.wait(PACE):
                    return
            self._mark("last file")
        except Exception as error:  # told in the summary: a thread's exception would be lost
            self._trouble.append(f"the files did not arrive: {error}")

    def _watch(self, run_id: str, board: Board) -> tuple[str, list[Task]]:
        """Follow the run to its end."""
        api, deadline = self.environment.api(), time.monotonic() + RUN_TIMEOUT
        while True:
            tasks = self._tasks(api, run_id)
            through = all(task.state in ENDED for task in tasks)
            state = str(api.run(DAG_ID, run_id)["state"]) if through else "running"
            if any(task.state == "success" for task in tasks):
                self._mark("first task")
            board.show(lines(tasks), self._arrived, MONTHS)
            if any(task.state == "deferred" for task in tasks):
                self._waiting.set()
            if state in DONE:
                return state, tasks
            self._still_there()
            if time.monotonic() > deadline:
                raise LocalError(f"the run {run_id} is still {state} after {RUN_TIMEOUT:.0f} s: see {self._logs}")
            time.sleep(POLL)

    @property
    def _logs(self) -> Path:
        return self.environment.state.logs

    def _tasks(self, api: Api, run_id: str) -> list[Task]:
        """Return the task instances in their order, with what the copies left."""
        tasks = sorted(map(Task.from_api, api.task_instances(DAG_ID, run_id)), key=_place)
        for task in tasks:
            if task.state != "success" or not task.task_id.startswith(COPIES):
                continue
            name = (task.task_id, task.map_index)
            if name not in self._results:
                self._results[name] = api.xcom(DAG_ID, run_id, task.task_id, map_index=task.map_index) or {}
            task.result = self._results[name]
        return tasks

    def _sum_up(self, run_id: str, state: str, tasks: Sequence[Task]) -> Summary:
        tables, days = self._count()
        bucket = self.environment.bucket
        summary = Summary(
            airflow=self._airflow,
            run_id=run_id,
            state=state,
            tasks=list(tasks),
            tables=tables,
            days=days,
            report=str(self.folder / Path(REPORT).name),
            result=str(self.folder / Path(RESULT).name),
            report_url=f"s3://{bucket}/{REPORT}",
            result_url=f"s3://{bucket}/{RESULT}",
            web=self.environment.web_url,
            folder=str(self.folder),
            timeline=self._timeline,
            peak_memory=self._memory,
        )
        summary.problems = [*check(summary), *self._trouble, *self._fetch(days)]
        return summary

    def _count(self) -> tuple[dict[str, int], int]:
        """Count the rows in the warehouse; a table that is not there has none."""
        import psycopg2

        connection = psycopg2.connect(self.environment.warehouse_dsn, connect_timeout=10)
        try:
            with connection.cursor() as cursor:
                counts = dict(_counts(cursor, [*(f"staging.{name}" for name in dataset.ROWS), "reports.daily_delays"]))
        finally:
            connection.close()
        days = counts.pop("daily_delays")
        return counts, days

    def _fetch(self, days: int) -> Iterator[str]:
        """Copy report and result to this machine, and check that both are whole."""
        client, bucket = self.environment.s3_client(), self.environment.bucket
        for key in (REPORT, RESULT):
            try:
                body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            except client.exceptions.NoSuchKey:
                yield f"s3://{bucket}/{key} is not there"
                continue
            (self.folder / Path(key).name).write_bytes(body)
            yield from _report_problems(body) if key == REPORT else _result_problems(body, days)


def lay_out(folder: Path) -> None:
    """Write the demo's files into a folder, as a person would upload them to the bucket of an MWAA environment."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    with as_file(files(__package__)) as package:
        shutil.copytree(
            package / "dags", folder / "dags", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copyfile(package / "requirements.txt", folder / "requirements.txt")


def _place(task: Task) -> tuple[int, str, int]:
    known = ORDER.index(task.task_id) if task.task_id in ORDER else len(ORDER)
    return known, task.task_id, task.map_index


def _counts(cursor: Any, tables: Sequence[str]) -> Iterator[tuple[str, int]]:
    for table in tables:
        cursor.execute("select to_regclass(%s)", (table,))
        name = table.partition(".")[2]
        if cursor.fetchone()[0] is None:
            yield name, 0
            continue
        cursor.execute(f"select count(*) from {table}")  # noqa: S608 - our own names
        yield name, cursor.fetchone()[0]


def _report_problems(body: bytes) -> Iterator[str]:
    text = body.decode()
    if f"{dataset.ROWS['flights']:,}" not in text or not text.rstrip().endswith("</html>"):
        yield "the report does not tell of all flights"


def _result_problems(body: bytes, days: int) -> Iterator[str]:
    try:
        found = len(gzip.decompress(body).splitlines()) - 1
    except (OSError, EOFError, zlib.error) as error:
        yield f"the result is no whole gzip file: {error}"
        return
    if found != days:
        yield f"the result has {found:,} rows, reports.daily_delays {days:,}"
