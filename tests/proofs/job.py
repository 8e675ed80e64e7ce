"""One try of one task in a real process of its own, which can be killed.

The processes are forked from a server that has imported all of it once, as Airflow's own supervisor forks its task
runners, so that a hundred of them cost a hundred tries and not a hundred imports.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.flights import COLUMNS, KEY, NULL, TABLE
from tests.stage import LAKE, WAREHOUSE, Stage

if TYPE_CHECKING:
    from tests.conformance.end import End
    from tradewind.hooks.compat import BaseOperator

SOURCE_KEY = "in/flights.csv"
RESULT_KEY = "out/flights.csv"
IDLE = 2
"""Seconds for which the Data API keeps an idle session here, in place of a minute: a retry waits for its locks."""
START = 60.0
"""Seconds that a process may take until its task begins: the first one starts the fork server."""


@dataclass(frozen=True)
class Try:
    """One try of one task.

    :param what: a name in :data:`OPERATORS`, or a pair of ends and a mode, see :func:`pair_name`
    :param run_id: the run: tries of the same run are the same work
    :param number: which try it is
    :param stage: the servers
    :param folder: where its log and its result go
    """

    what: str
    run_id: str
    number: int
    stage: Stage
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / f"{self.what}-{self.run_id}-{self.number}.log"

    @property
    def result(self) -> Path:
        return self.log.with_suffix(".json")

    @property
    def error(self) -> Path:
        return self.log.with_suffix(".error")


def _load(attempt: Try, mode: str, **arguments: Any) -> BaseOperator:
    from tradewind.amazon.s3.files import S3File
    from tradewind.operators.copy import CopyOperator
    from tradewind.postgres.tables import PostgresTable

    return CopyOperator(
        task_id="load",
        source=S3File(f"s3://{attempt.stage.bucket}/{SOURCE_KEY}", conn_id=LAKE, null=NULL),
        target=PostgresTable(f"public.{TABLE}", conn_id=WAREHOUSE),
        mode=mode,  # type: ignore[arg-type]
        **arguments,
    )


def _unload(attempt: Try) -> BaseOperator:
    from tradewind.amazon.s3.files import S3File
    from tradewind.operators.copy import CopyOperator
    from tradewind.postgres.tables import PostgresTable

    return CopyOperator(
        task_id="unload",
        source=PostgresTable(f"public.{TABLE}", conn_id=WAREHOUSE),
        target=S3File(f"s3://{attempt.stage.bucket}/{RESULT_KEY}", conn_id=LAKE),
    )


def _official_load(attempt: Try) -> BaseOperator:
    from airflow.providers.amazon.aws.transfers.s3_to_sql import S3ToSqlOperator

    operator: BaseOperator = S3ToSqlOperator(
        task_id="load",
        s3_bucket=attempt.stage.bucket,
        s3_key=SOURCE_KEY,
        table=TABLE,
        column_list=list(COLUMNS),
        parser=parse_csv,
        sql_conn_id=WAREHOUSE,
        aws_conn_id=LAKE,
    )
    return operator


def _official_unload(attempt: Try) -> BaseOperator:
    from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator

    operator: BaseOperator = SqlToS3Operator(
        task_id="unload",
        query=f"select * from {TABLE}",
        s3_bucket=attempt.stage.bucket,
        s3_key=RESULT_KEY,
        sql_conn_id=WAREHOUSE,
        aws_conn_id=LAKE,
        df_kwargs={"index": False},
        replace=True,
    )
    return operator


def parse_csv(path: str) -> Any:
    """Read rows as the official operator's documentation shows, with its mark for NULL."""
    import csv

    with open(path, newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            yield [None if field == NULL else field for field in row]


def pair_name(source: str, target: str, mode: str) -> str:
    """Name a copy between two ends.

    :param source: the kind of the one
    :param target: the kind of the other
    """
    return f"{source}-{target}-{mode}"


def pair_of(stage: Stage, what: str) -> tuple[End, End]:
    """Return the two ends of a copy that :func:`pair_name` named."""
    from tests.proofs.ends import ENDS

    source, target, _ = what.split("-")
    return ENDS[source](stage, f"source_{what.replace('-', '_')}"), ENDS[target](
        stage, f"target_{what.replace('-', '_')}"
    )


def _paired(attempt: Try) -> BaseOperator:
    from tradewind.amazon.redshift import sessions
    from tradewind.operators.copy import CopyOperator

    sessions.KEEP_ALIVE, sessions.FIRST_PAUSE = IDLE, 0.02
    source, target = pair_of(attempt.stage, attempt.what)
    mode: Any = attempt.what.split("-")[2]
    key = "id" if mode == "merge" else None
    return CopyOperator(task_id="copy", source=source.source(), target=target.target(), mode=mode, key=key)


OPERATORS: dict[str, Callable[[Try], BaseOperator]] = {
    "append": lambda attempt: _load(attempt, "append"),
    "replace": lambda attempt: _load(attempt, "replace"),
    "merge": lambda attempt: _load(attempt, "merge", key=KEY),
    "unload": _unload,
    "official-load": _official_load,
    "official-unload": _official_unload,
}


def run(attempt: Try, started: Connection) -> None:
    """Be the process: run the operator's ``execute`` and write its result to a file.

    :param started: told when ``execute`` is about to begin
    """
    from tests.fix_airflow import make_context

    os.setsid()  # whatever it starts can be found by its session
    output = os.open(attempt.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ |= attempt.stage.connections()
    operator = OPERATORS.get(attempt.what, _paired)(attempt)
    context = make_context(operator, run_id=attempt.run_id, try_number=attempt.number, max_tries=3)
    started.send(True)
    try:
        result = operator.execute(context)
    except Exception as error:
        attempt.error.write_text(" ".join(kind.__name__ for kind in type(error).__mro__))
        raise
    new = attempt.result.with_suffix(".new")
    new.write_text(json.dumps(result))
    new.rename(attempt.result)


class Running:
    """A process that runs a try."""

    def __init__(self, attempt: Try) -> None:
        self.attempt = attempt
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.proofs.preload"])
        self._receiver, sender = self._context.Pipe(duplex=False)
        self.process = self._context.Process(target=run, args=(attempt, sender))
        self.process.start()
        sender.close()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def wait_started(self) -> None:
        """Wait until ``execute`` begins.

        :raises AssertionError: where the process died before
        """
        try:
            assert self._receiver.poll(START), f"no start within {START} s"
            self._receiver.recv()
        except EOFError:
            raise AssertionError(f"the try did not begin:\n{self.tail()}") from None

    def wait(self, seconds: float = 120.0) -> int:
        """Wait for the end, and return the exit code."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.tail()}")
        return code

    def kill(self) -> int:
        """Send SIGKILL, and return the exit code."""
        self.process.kill()
        self.process.join()
        return self.process.exitcode or 0

    def result(self) -> Any:
        """Return what ``execute`` returned, None where it did not."""
        return json.loads(self.attempt.result.read_text()) if self.attempt.result.exists() else None

    def failed_with(self, kind: str) -> bool:
        """Say whether it failed with an error of a class, or of one that derives from it."""
        error = self.attempt.error
        return error.exists() and kind in error.read_text().split()

    def tail(self, size: int = 3000) -> str:
        """Return the end of its log."""
        return self.attempt.log.read_text()[-size:] if self.attempt.log.exists() else ""
