"""One session whose statements can be ended.

The connector waits in native code (from version 5) or in sockets; a signal's handler would run when the answer is
there. So the main thread of a task waits for another one that waits for the service, and whatever ends the wait ends
the statement in the service, from a second session.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.snowflake import driver
from tradewind.snowflake.errors import QueryCancelled, translated
from tradewind.snowflake.interrupting import interruptible

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any] | None

PATIENCE = 2.5
"""Seconds in which a cancelled statement is expected to end."""
_PAUSE = 0.05


class SnowflakeSession:
    """A session of the service: committed when asked to, and rolled back when it is closed.

    ``rowcount`` and ``query_id`` are those of the last statement.

    :param conn: a connection of the connector
    :param describe: names the connection in messages
    :param secrets: texts that must not appear in messages
    :param connect_again: makes a second connection, with short time-outs, to end what runs on this one
    """

    def __init__(
        self, conn: Any, describe: str, secrets: Sequence[str], connect_again: Callable[[], Any], *, autocommit: bool
    ) -> None:
        self.conn = conn
        self.describe = describe
        self.id = driver.session_id(conn)
        self.autocommit = autocommit
        self.rowcount = -1
        self.query_id: str | None = None
        self._secrets = tuple(secrets)
        self._connect_again = connect_again
        self._cancelled = False
        self._running = False

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called: nothing runs on this session any more."""
        return self._cancelled

    def execute(self, statement: str, parameters: Parameters = None) -> int:
        """Run a statement: ``PUT`` and ``COPY INTO`` too.

        :param statement: one statement
        :param parameters: values to bind, for ``%s`` or ``%(name)s``
        :return: the rows affected, -1 where that has no meaning
        """
        self.run(statement, parameters, lambda cursor: None)
        return self.rowcount

    def query(self, statement: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """Run a statement and return all of its rows.

        :param statement: one statement
        :param parameters: values to bind
        """
        return self.run(statement, parameters, lambda cursor: list(cursor.fetchall()))

    def run(self, statement: str, parameters: Parameters, handler: Callable[[Any], T]) -> T:
        """Run a statement and hand its cursor to a function, which takes as many rows as it wants.

        :param statement: one statement
        :param parameters: values to bind
        :param handler: takes the cursor; its value is returned
        """
        with contextlib.closing(self._execute(statement, parameters)) as cursor:
            return self._blocking(lambda: handler(cursor))

    def stream(
        self, statement: str, parameters: Parameters = None, itersize: int = 10_000
    ) -> Iterator[tuple[Any, ...]]:
        """Yield a query's rows, a chunk of the result at a time.

        :param statement: a SELECT
        :param parameters: values to bind
        :param itersize: how many rows are taken at once
        """
        with contextlib.closing(self._execute(statement, parameters)) as cursor:
            while rows := self._blocking(lambda: cursor.fetchmany(itersize)):
                yield from rows

    def arrow(self, statement: str, parameters: Parameters = None) -> Iterator[Any]:
        """Yield a query's rows as Arrow tables, a chunk of the result at a time.

        :param statement: a SELECT
        :param parameters: values to bind
        :return: tables of pyarrow
        :raises InvalidArgument: where pyarrow is not installed
        """
        _require_pyarrow()
        with contextlib.closing(self._execute(statement, parameters)) as cursor:
            batches = self._blocking(lambda: iter(cursor.fetch_arrow_batches()))
            while (batch := self._blocking(lambda: next(batches, None))) is not None:
                yield batch

    def columns(self, statement: str, parameters: Parameters = None) -> list[Any]:
        """Ask which columns a query gives; it is not run.

        :param statement: one SELECT
        :param parameters: values to bind
        :return: what the cursor's ``description`` would be
        """
        with contextlib.closing(self.conn.cursor()) as cursor:
            return list(self._blocking(lambda: cursor.describe(statement, parameters)) or ())

    def take_notices(self) -> list[str]:
        """Return what the service said since the last call: it says nothing beside its results."""
        return []

    def commit(self) -> None:
        """Commit the transaction, if there is one."""
        if not self.autocommit:
            self._blocking(self.conn.commit)

    def rollback(self) -> None:
        """Roll the transaction back, if there is one."""
        if not self.autocommit:
            self._blocking(self.conn.rollback)

    def cancel(self) -> str:
        """End what runs in the service; called from another thread or a signal handler, and never raises.

        Nothing runs on this session afterwards.

        :return: what happened, for the log
        """
        self._cancelled = True
        if not self._running:
            return "nothing ran there"
        deadline = time.monotonic() + PATIENCE
        try:
            with contextlib.closing(self._connect_again()) as conn, contextlib.closing(conn.cursor()) as cursor:
                while True:
                    cursor.execute(f"SELECT SYSTEM$CANCEL_ALL_QUERIES({self.id:d})")
                    pause = min(time.monotonic() + 0.5, deadline)
                    while self._running and time.monotonic() < pause:
                        time.sleep(_PAUSE)
                    if not self._running:
                        return "the service has ended the statement"
                    if time.monotonic() >= deadline:
                        return "the service was told to end the statement, and has not answered yet"
        except Exception as error:
            return f"could not ask the service to end the statement ({type(error).__name__})"

    def close(self) -> None:
        """Close the session; what is not committed is rolled back, what runs is ended."""
        driver.close(self.conn)

    def _execute(self, statement: str, parameters: Parameters) -> Any:
        cursor = self.conn.cursor()
        self._blocking(lambda: cursor.execute(statement, parameters))
        self.query_id = cursor.sfqid
        count = cursor.rowcount
        self.rowcount = -1 if count is None else int(count)
        return cursor

    def _blocking(self, call: Callable[[], T]) -> T:
        """Wait for the service so that a signal is heard."""
        if self._cancelled:
            raise QueryCancelled(f"{self.describe}: the session was cancelled")
        with translated(self.describe, self._secrets):
            return interruptible(lambda: self._watched(call), self.cancel)

    def _watched(self, call: Callable[[], T]) -> T:
        self._running = True
        try:
            if self._cancelled:  # between the call for this thread and here
                raise QueryCancelled(f"{self.describe}: the session was cancelled")
            return call()
        finally:
            self._running = False


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InvalidArgument("Arrow needs pyarrow: install tradewind-snowflake[arrow]") from None
