"""Statements that run by themselves: submitted under a name, found by it, looked at, cancelled, and fetched.

A job's name is its ``QUERY_TAG``, and the id of its request is derived from it. Sources: the reference of
``INFORMATION_SCHEMA.QUERY_HISTORY`` (seven days; what still runs comes first; 10,000 rows at most), of ``QUERY_TAG``
(2,000 characters), and of the SQL API (a request id that is sent again executes nothing again).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tradewind.hooks.errors import ConnectionFailed, NotFound, TransientError
from tradewind.operators.jobs.job import Job, Jobs, State
from tradewind.snowflake import driver
from tradewind.snowflake.errors import CANCELLED, translated
from tradewind.snowflake.interrupting import interruptible

if TYPE_CHECKING:
    from tradewind.snowflake.hooks import SnowflakeHook

T = TypeVar("T")

HISTORY_DAYS = 6
HISTORY_ROWS = 10_000
HISTORY_PAGES = 20
LONGEST_TAG = 2000
UNKNOWN_SECONDS = 60.0
"""How long a statement that was just submitted may be unknown to those who ask for it."""

_STATES: dict[str, State] = {
    "RUNNING": "running",
    "RESUMING_WAREHOUSE": "running",
    "RESTARTED": "running",
    "BLOCKED": "running",
    "ABORTING": "running",
    "QUEUED": "waiting",
    "QUEUED_REPARING_WAREHOUSE": "waiting",
    "SUCCESS": "succeeded",
    "ABORTED": "cancelled",
    "DISCONNECTED": "failed",
}
_HISTORY = """\
WITH seen AS (
  SELECT query_id, query_tag, execution_status, error_code, error_message, start_time, end_time
  FROM TABLE({place}INFORMATION_SCHEMA.QUERY_HISTORY_BY_USER(
    RESULT_LIMIT => {rows:d}, END_TIME_RANGE_START => DATEADD('day', -{days:d}, CURRENT_TIMESTAMP()){until}))
), total AS (SELECT COUNT(*) AS found, MIN(end_time) AS oldest FROM seen)
SELECT total.found, total.oldest, seen.query_id, seen.query_tag, seen.execution_status, seen.error_code,
  seen.error_message, seen.start_time
FROM total LEFT JOIN seen ON STARTSWITH(seen.query_tag, '{prefix}')"""
_NAME = re.compile(r"[\w-]+")


def request_id(name: str) -> str:
    """Derive the id of a job's request from its name.

    :param name: the job's name
    :return: a UUID of version 4, which the connector insists on
    """
    return str(uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4))


class SnowflakeJobs(Jobs):
    """The service's statements that run by themselves. Several threads may ask: they share a session.

    :param hook: how to connect
    :param timeout: seconds for the login and for each call, in place of the connection's
    """

    def __init__(self, hook: SnowflakeHook, timeout: int | None = None) -> None:
        self.hook = hook
        self.timeout = timeout
        self._connection: Any = None
        self._connecting = threading.Lock()
        self._unknown: dict[str, float] = {}

    def submit(
        self,
        sql: str,
        name: str,
        *,
        several: bool = False,
        label: str = "",
        bindings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Job:
        """Submit a request; the same name again submits nothing.

        :param sql: one statement, or several
        :param name: the job's name
        :param several: whether it may be several
        :param label: what people are to read in the history beside the name
        :param bindings: values for ``?``, by position
        """
        parameters: dict[str, Any] = {"QUERY_TAG": f"{name} {label}".strip()[:LONGEST_TAG]}
        if several:
            parameters["MULTI_STATEMENT_COUNT"] = 0

        def send() -> str:
            # Its own connection: the session must outlive it. A transaction that fails half way holds no locks there.
            connection = self.hook.connect(
                keep_session=True, autocommit=True, session_parameters={"TRANSACTION_ABORT_ON_ERROR": True}
            )
            try:
                return driver.submit(connection, sql, request_id(name), parameters, bindings)
            finally:
                driver.close(connection)

        with translated(f"{self.hook.describe()}: submitting SQL", self.hook.secrets()):
            return Job(interruptible(send), name, "waiting")

    def named(self, prefix: str) -> list[Job]:
        """Return the jobs whose name begins like this, in any state, of the last days.

        What a job starts itself (the statements of several, those of a procedure) bears its tag too: the first one to
        begin is the job.
        """
        if not _NAME.fullmatch(prefix):
            raise ValueError(f"a job's name has letters, digits, '_' and '-' alone, not {prefix!r}")
        rows = self._call("reading the history of queries", lambda connection: self._history(connection, prefix))
        jobs: dict[str, Job] = {}
        for id, tag, status, code, message, _ in sorted(rows, key=lambda row: (row[5], row[0])):
            name = str(tag).partition(" ")[0]
            if name not in jobs:
                jobs[name] = _job(str(id), name, str(status), code, message)
        return list(jobs.values())

    def look(self, id: str) -> Job:
        """Return how far a job is."""
        answer = self._call(
            f"statement {id}", lambda connection: driver.call(connection, "get", f"/monitoring/queries/{id}")
        )
        queries = (answer.get("data") or {}).get("queries") or []
        if queries:
            self._unknown.pop(id, None)
            found = queries[0]
            return _job(id, "", str(found.get("status")), found.get("errorCode"), found.get("errorMessage"))
        if time.monotonic() - self._unknown.setdefault(id, time.monotonic()) < UNKNOWN_SECONDS:
            return Job(id, "", "waiting")
        raise NotFound(f"{self.hook.describe()} knows no statement {id}: the service forgets them after 14 days")

    def cancel(self, id: str) -> None:
        """Ask the service to stop a job; one that has ended is left as it is."""
        self._call(
            f"cancelling statement {id}",
            lambda connection: driver.call(connection, "post", f"/queries/{id}/abort-request"),
        )

    def describe(self, job: Job) -> str:
        """Name a job in a message."""
        return f"statement {job.id}"

    def ids(self, id: str) -> list[str]:
        """Return the ids that have results: those of a request's several statements, or its own."""
        answer = self._call(
            f"result of statement {id}", lambda connection: driver.call(connection, "get", f"/queries/{id}/result")
        )
        several = (answer.get("data") or {}).get("resultIds")
        return str(several).split(",") if several else [id]

    def fetch(self, id: str, handler: Callable[[Any], T]) -> T:
        """Hand the cursor of a result to a function.

        :param id: a statement that has succeeded
        :param handler: takes the cursor; its value is returned
        """

        def read(connection: Any) -> T:
            with contextlib.closing(connection.cursor()) as cursor:
                driver.open_result(cursor, id)
                return handler(cursor)

        return self._call(f"result of statement {id}", read)

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            driver.close(connection)

    def _history(self, connection: Any, prefix: str) -> list[Sequence[Any]]:
        place = "" if self.hook.database_name() else "SNOWFLAKE."
        until, rows = "", []
        for _ in range(HISTORY_PAGES):
            sql = _HISTORY.format(place=place, rows=HISTORY_ROWS, days=HISTORY_DAYS, until=until, prefix=prefix)
            with contextlib.closing(connection.cursor()) as cursor:
                page = cursor.execute(sql).fetchall()
            rows += [row[2:] for row in page if row[2] is not None]
            found, oldest = page[0][:2]
            if found < HISTORY_ROWS or oldest is None:
                return rows
            until = f", END_TIME_RANGE_END => '{oldest.isoformat()}'::TIMESTAMP_LTZ"
        raise TransientError(
            f"{self.hook.describe()}: the user ran more than {HISTORY_ROWS * HISTORY_PAGES:,} statements in "
            f"{HISTORY_DAYS} days, so that it is unknown whether this one was submitted: use a user of its own"
        )

    def _call(self, doing: str, call: Callable[[Any], T]) -> T:
        try:
            with translated(f"{self.hook.describe()}: {doing}", self.hook.secrets()):
                return interruptible(lambda: call(self._connected()))
        except ConnectionFailed:
            self.close()
            raise

    def _connected(self) -> Any:
        with self._connecting:
            if self._connection is None:
                self._connection = self.hook.connect(autocommit=True, timeout=self.timeout)
            return self._connection


def _job(id: str, name: str, status: str, code: Any, message: Any) -> Job:
    number = int(code) if str(code or "").isdigit() else 0
    text = " ".join(str(message or "").split())
    reason = f"{text} [{number:06d}]" if number else text
    status = status.upper().replace(" ", "_")
    if status.startswith(("FAIL", "INCIDENT")):
        return Job(id, name, "cancelled" if number == CANCELLED else "failed", reason)
    state = _STATES.get(status)
    if state is None:
        raise TransientError(f"statement {id} has a state that nobody knows: {status}")
    return Job(id, name, state, reason)
