"""Sessions on a warehouse, over the wire or through the Data API: the same few things can be asked of both."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tradewind.amazon.redshift.column_types import TEXTS, Described, of_description, of_metadata
from tradewind.amazon.redshift.errors import kind_of, redshift_errors
from tradewind.hooks.errors import InvalidArgument, PermanentError, TimedOut, TradewindError, TransientError
from tradewind.hooks.libpq.errors import QueryCancelled
from tradewind.hooks.libpq.session import LibpqSession

if TYPE_CHECKING:
    from tradewind.amazon.redshift.data import RedshiftDataHook, Warehouse
    from tradewind.operators.jobs.job import Job

log = logging.getLogger(__name__)

KEEP_ALIVE = 60
"""Seconds for which the Data API keeps an idle session, and the locks of its transaction, when its client is gone."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two looks at a statement."""
LONGEST_STATEMENT = 24 * 3600.0
"""Seconds after which the Data API itself ends a statement."""

FETCHED = 1000
"""Rows of one FETCH: a warehouse of a single node takes no larger number."""

_MARK = re.compile(r"%(%|s)")


class Session(Protocol):
    """A connection in one transaction: it is committed when asked to, and rolled back when anything fails."""

    describe: str

    def execute(self, statement: str, parameters: Any = None) -> int:
        """Run a statement; return the rows affected, -1 where that has no meaning."""

    def query(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run a statement and return all of its rows."""

    def columns(self, query: str) -> list[Described]:
        """Return the names and types of a query's columns; it is not run."""

    def texts(self, query: str) -> Iterator[Sequence[Sequence[str | None]]]:
        """Yield pieces of a query's rows, each value as the text that the server writes, in bounded memory.

        :param query: a SELECT; it is the last thing that the session runs
        """

    def commit(self) -> None:
        """Commit the transaction."""

    def rollback(self) -> None:
        """Roll the transaction back."""

    def cancel(self) -> None:
        """Stop what runs in the service; called from another thread or a signal handler."""

    def close(self) -> None:
        """End the session; what is not committed is rolled back."""


class WireSession(LibpqSession):
    """A session over the wire."""

    def columns(self, query: str) -> list[Described]:
        """Return the names and types of a query's columns; it is not run."""
        return self.run(_described(query), None, lambda cursor: of_description(cursor.description))

    def texts(self, query: str) -> Iterator[Sequence[Sequence[str | None]]]:
        """Yield pieces of a query's rows through a cursor of the server's.

        :param query: a SELECT
        """
        from psycopg2.extensions import cursor as plain
        from psycopg2.extensions import new_type, register_type

        with self.conn.cursor(cursor_factory=plain) as cur:
            register_type(new_type(TEXTS, "TEXT", lambda value, _: value), cur)
            self._run(cur, f"DECLARE tradewind_rows CURSOR FOR {query}", None)
            while True:
                self._run(cur, f"FETCH FORWARD {FETCHED} FROM tradewind_rows", None)
                rows = cur.fetchall()
                if not rows:
                    break
                yield rows
            self._run(cur, "CLOSE tradewind_rows", None)

    def translated(self) -> AbstractContextManager[None]:
        """Raise the driver's errors in the block as Tradewind's."""
        return redshift_errors(self.describe, self._secrets)


class DataSession:
    """A session of the Data API: it is kept alive between the statements of its transaction.

    :param hook: the Data API
    :param warehouse: where the statements run, and as whom
    :param name: what the statements are called in the service
    """

    def __init__(self, hook: RedshiftDataHook, warehouse: Warehouse, name: str = "") -> None:
        self.describe = f"warehouse {warehouse.cluster_identifier or warehouse.workgroup_name}"
        self._hook = hook
        self._place = self._warehouse = warehouse
        self._used = time.monotonic()
        self._name = name
        self._begun = False
        self._running: Job | None = None
        self._cancelled = threading.Event()

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> int:
        """Run a statement.

        :param statement: SQL, one statement
        :param parameters: values for each ``%s``
        :return: the rows affected, -1 where that has no meaning
        """
        found = self._hook.describe_statement(self._run(statement, parameters))
        rows = found.get("ResultRows")
        return -1 if rows is None else int(rows)

    def query(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement and return all of its rows.

        :param statement: SQL, one statement
        :param parameters: values for each ``%s``
        """
        rows = self._hook.rows(self._run(statement, parameters))
        return [tuple(row) for row in rows or ()]

    def columns(self, query: str) -> list[Described]:
        """Return the names and types of a query's columns; it is not run."""
        id = self._run(_described(query), None)
        with self._hook.errors(f"result of statement {id}"):
            return of_metadata(self._hook.client().get_statement_result(Id=id)["ColumnMetadata"])

    def texts(self, query: str) -> Iterator[Sequence[Sequence[str | None]]]:
        """Yield the pages of a query's rows, which the service keeps for a day.

        :param query: a SELECT
        """
        return self._hook.pages(self._run(query, None))

    def commit(self) -> None:
        """Commit the transaction."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Roll the transaction back."""
        self._end("ROLLBACK")

    def cancel(self) -> None:
        """Stop the statement that runs, and see that it runs no more; nothing runs here afterwards."""
        self._cancelled.set()
        running = self._running
        if running is not None:
            with contextlib.suppress(TradewindError):
                job = self._hook.stop(running, 10.0)
                log.info("%s %s", self._hook.describe(job), job.state)

    def close(self) -> None:
        """Roll back, so that the service frees the locks now and not when the session's time is over."""
        if self._begun:
            with contextlib.suppress(TradewindError):
                self._submit("ROLLBACK", None)
            self._begun = False

    def _end(self, how: str) -> None:
        if self._begun:
            self._run(how, None)
            self._begun = False

    def _run(self, statement: str, parameters: Sequence[Any] | None) -> str:
        if self._cancelled.is_set():
            raise QueryCancelled(f"{self.describe}: cancelled, nothing more is run")
        if not self._begun:
            if time.monotonic() - self._used > KEEP_ALIVE / 2:
                self._warehouse = self._place  # rows were staged meanwhile: the service may have ended the session
            self._begun = True
            self._wait(self._submit("BEGIN", None))
        return self._wait(self._submit(statement, parameters))

    def _submit(self, statement: str, parameters: Sequence[Any] | None) -> str:
        sql, values = bound(statement, parameters)
        answer = self._hook.at(self._warehouse).execute(
            [sql], values, name=self._name or None, session_keep_alive_seconds=KEEP_ALIVE
        )
        if answer.get("SessionId") and not self._warehouse.session_id:
            self._warehouse = replace(
                self._warehouse,
                cluster_identifier=None,
                workgroup_name=None,
                database=None,
                db_user=None,
                secret_arn=None,
                session_id=answer["SessionId"],
            )
        return str(answer["Id"])

    def _wait(self, id: str) -> str:
        deadline, pause = time.monotonic() + LONGEST_STATEMENT, FIRST_PAUSE
        try:
            while True:
                self._running = job = self._hook.look(id)
                if job.state == "succeeded":
                    return id
                if job.ended:
                    raise self._failure(job)
                if self._cancelled.is_set():
                    self.cancel()
                if time.monotonic() >= deadline:
                    raise TimedOut(f"{self.describe}: {self._hook.describe(job)} still runs after a day")
                time.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 (jitter)
                pause = min(pause * 1.5, LONGEST_PAUSE)
        except (TransientError, PermanentError):
            raise
        except BaseException:  # a kill: what runs is stopped
            self.cancel()
            raise
        finally:
            self._running = None
            self._used = time.monotonic()

    def _failure(self, job: Job) -> TradewindError:
        if job.state == "cancelled":
            return QueryCancelled(f"{self.describe}: {self._hook.describe(job)} was cancelled")
        text = job.reason.removeprefix("ERROR:").strip()
        return kind_of(text)(f"{self.describe}: {text}")


@contextlib.contextmanager
def data_session(hook: RedshiftDataHook, warehouse: Warehouse, name: str = "") -> Iterator[DataSession]:
    """Open a session of the Data API: commit at a clean end, roll back otherwise.

    :param hook: the Data API
    :param warehouse: where the statements run, and as whom
    :param name: what the statements are called in the service
    """
    session = DataSession(hook, warehouse, name)
    try:
        yield session
        session.commit()
    finally:
        session.close()


def bound(statement: str, parameters: Sequence[Any] | None) -> tuple[str, Mapping[str, Any] | None]:
    """Return a statement with ``%s`` in it, and its values, as the Data API takes them.

    It binds neither NULL nor an empty text: these are written into the statement.

    :param statement: SQL; without values it stays as it is
    :param parameters: a value for each ``%s``
    """
    if not parameters:
        return statement, None
    values: dict[str, Any] = {}
    waiting = list(parameters)

    def put(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if not waiting:
            raise InvalidArgument("sql has more %s than there are values")
        value = waiting.pop(0)
        if value is None or value == "":
            return "NULL" if value is None else "''"
        values[f"p{len(values) + 1}"] = value
        return f":p{len(values)}"

    text = _MARK.sub(put, statement)
    if waiting:
        raise InvalidArgument(f"sql has {len(waiting)} %s less than there are values")
    return text, values or None


def _described(query: str) -> str:
    return f"SELECT * FROM (\n{query}\n) AS q LIMIT 0"  # noqa: S608 (the author's own query)
