"""One connection whose blocking calls can be interrupted.

psycopg2 waits in C: while it does, Python runs no signal handler, so that a task's SIGTERM would be seen only when
the query ends. Each blocking call therefore runs in a thread of its own while the caller waits on a lock, which a
signal does interrupt. What is left of an interrupted call is stopped in the server.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tradewind.hooks.libpq.cancel import CancelRequest
from tradewind.hooks.libpq.errors import QueryCancelled, translated

if TYPE_CHECKING:
    from psycopg2 import sql
    from psycopg2.extensions import connection, cursor

T = TypeVar("T")

Statement = "str | sql.Composable"
Parameters = Sequence[Any] | Mapping[str, Any] | None

# How long a cancelled call may take to come back before its socket is shut down, in seconds.
CANCEL_PATIENCE = 3.0
# How long it is waited for until the server is asked again: a request that overtakes the statement ends nothing.
_ASK_AGAIN = 0.25
# psycopg2's own 8 KiB cost three times the CPU of this.
COPY_CHUNK = 1 << 18


class Readable(Protocol):
    """A stream of bytes to read from."""

    def read(self, size: int = ..., /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


class Writable(Protocol):
    """A stream to write bytes to."""

    def write(self, data: bytes, /) -> Any:
        """Take all of the bytes."""


def interruptible(call: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run a call that blocks in C so that signal handlers run meanwhile.

    :param call: what blocks
    :param stop: ends the call, when the wait for it is interrupted
    :return: what the call returns
    """
    if threading.current_thread() is not threading.main_thread():
        return call()  # signal handlers run in the main thread alone
    done = threading.Event()
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    try:
        threading.Thread(target=run, name="tradewind-libpq", daemon=True).start()
        done.wait()
    except BaseException:
        stop()
        raise
    if failure:
        raise failure[0]
    return outcome[0]


class LibpqSession:
    """A connection in one transaction: it is committed when asked to, and rolled back when anything fails.

    :param conn: a connection of psycopg2
    :param describe: names the server in messages
    :param secrets: texts that must not appear in messages
    """

    def __init__(self, conn: connection, describe: str = "", secrets: Sequence[str] = ()) -> None:
        self.conn = conn
        self.describe = describe
        self.rowcount = -1
        self._secrets = tuple(secrets)
        self._cancelled = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._cut = False
        self._request = CancelRequest(conn)

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called: nothing runs on this session any more."""
        return self._cancelled.is_set()

    def execute(self, statement: str | sql.Composable, parameters: Parameters = None) -> int:
        """Run a statement.

        :param statement: SQL, one statement or several
        :param parameters: values to bind
        :return: the rows affected, -1 where that has no meaning
        """
        with self.conn.cursor() as cur:
            self._run(cur, statement, parameters)
            return self.rowcount

    def query(self, statement: str | sql.Composable, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """Run a statement and return all of its rows.

        :param statement: SQL
        :param parameters: values to bind
        :return: the rows, none for a statement that has no result
        """
        with self.conn.cursor() as cur:
            self._run(cur, statement, parameters)
            return [tuple(row) for row in cur.fetchall()] if cur.description else []

    def run(self, statement: str | sql.Composable, parameters: Parameters, handler: Callable[[Any], T]) -> T:
        """Run a statement and hand its cursor to a function.

        :param statement: SQL
        :param parameters: values to bind
        :param handler: takes the cursor; its value is returned
        """
        with self.conn.cursor() as cur:
            self._run(cur, statement, parameters)
            return handler(cur)

    def take_notices(self) -> list[str]:
        """Return the server's notices since the last call (psycopg2 keeps fifty), and forget them."""
        found = [text.strip() for text in self.conn.notices]
        del self.conn.notices[:]
        return found

    def stream(
        self, statement: str | sql.Composable, parameters: Parameters = None, itersize: int = 5000
    ) -> Iterator[tuple[Any, ...]]:
        """Yield a query's rows through a server-side cursor, in constant memory.

        :param statement: a SELECT
        :param parameters: values to bind
        :param itersize: how many rows come in one round trip
        """
        name = f"tradewind_{id(self):x}_{id(statement):x}"
        with contextlib.closing(self.conn.cursor(name)) as cur:
            self._run(cur, statement, parameters)
            while rows := self._blocking(lambda: cur.fetchmany(itersize)):
                for row in rows:
                    yield tuple(row)

    def copy_in(self, statement: str | sql.Composable, readable: Readable, size: int = COPY_CHUNK) -> int:
        """Run ``COPY ... FROM STDIN`` with the bytes of a stream.

        The stream is read in another thread. What it raises is raised here, and the copy fails in the server.

        :param statement: the COPY statement
        :param readable: where the bytes come from
        :param size: how many bytes to read at once
        :return: the rows copied
        """
        guard = _Reader(readable, self._cancelled)
        return self._copy(statement, guard, size)

    def copy_out(self, statement: str | sql.Composable, writable: Writable) -> int:
        """Run ``COPY ... TO STDOUT`` into a stream.

        The stream is written in another thread. What it raises is raised here, and the copy is cancelled.

        :param statement: the COPY statement
        :param writable: takes the bytes, a row or more at a time; a BufferedWriter costs the least
        :return: the rows copied
        """
        if isinstance(writable, io.BufferedWriter):
            # Its write is C: a guard would cost a call of Python for each row.
            return self._copy(statement, writable, COPY_CHUNK)
        guard = _Writer(writable, self._cancelled)
        return self._copy(statement, guard, COPY_CHUNK)

    def commit(self) -> None:
        """Commit the transaction."""
        self._blocking(self.conn.commit)

    def rollback(self) -> None:
        """Roll the transaction back."""
        self._blocking(self.conn.rollback)

    def cancel(self) -> None:
        """Stop what runs in the server; called from another thread or a signal handler, and never raises.

        Nothing runs on this session afterwards.
        """
        first = not self._cancelled.is_set()
        self._cancelled.set()
        if self.conn.closed or self._idle.is_set():
            return
        if first:
            self._ask_to_cancel()
        if not self._cut and not self._idle.wait(CANCEL_PATIENCE):
            self._cut = True
            self._shut_down()
            self._idle.wait(1)  # a stream that stalls holds its thread for ever: it is a daemon

    def close(self) -> None:
        """Close the connection; what is not committed is rolled back by the server."""
        self._request.free()
        with contextlib.suppress(Exception):
            self.conn.close()

    def _copy(self, statement: str | sql.Composable, guard: Any, size: int) -> int:
        with self.conn.cursor() as cur:
            try:
                self._blocking(lambda: cur.copy_expert(statement, guard, size))
            except Exception:
                if getattr(guard, "error", None) is not None:
                    raise guard.error from None
                raise
            self.rowcount = cur.rowcount
            return cur.rowcount

    def _run(self, cur: cursor, statement: str | sql.Composable, parameters: Parameters) -> None:
        self._blocking(lambda: cur.execute(statement, parameters or None))
        self.rowcount = cur.rowcount

    def _blocking(self, call: Callable[[], T]) -> T:
        self._refuse_cancelled()

        def run() -> T:
            # Busy first, then a look at the request: whichever comes second, this or cancel(), sees the other.
            self._idle.clear()
            try:
                self._refuse_cancelled()
                return call()
            finally:
                self._idle.set()

        with self.translated():
            return interruptible(run, self.cancel)

    def translated(self) -> AbstractContextManager[None]:
        """Raise the driver's errors in the block as Tradewind's."""
        return translated(self.describe, self._secrets)

    def _refuse_cancelled(self) -> None:
        if self.cancelled:
            raise QueryCancelled(f"{self.describe}: cancelled, nothing more is run")

    def _ask_to_cancel(self) -> None:
        deadline = time.monotonic() + CANCEL_PATIENCE
        while not self._idle.is_set() and (left := deadline - time.monotonic()) > 0:
            request = threading.Thread(target=self._request.send, name="tradewind-libpq-cancel", daemon=True)
            request.start()
            request.join(left)
            self._idle.wait(min(_ASK_AGAIN, left))

    def _shut_down(self) -> None:
        # A server that waits for COPY data takes no cancel request: the end of its connection it does see.
        with contextlib.suppress(Exception):
            with socket.socket(fileno=self.conn.fileno()) as sock:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                finally:
                    sock.detach()


class _Guard:
    """What a stream raises, kept: psycopg2 would tell the server alone."""

    def __init__(self, cancelled: threading.Event) -> None:
        self._cancelled = cancelled
        self.error: BaseException | None = None

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise QueryCancelled("the copy was cancelled")


class _Reader(_Guard):
    def __init__(self, readable: Readable, cancelled: threading.Event) -> None:
        super().__init__(cancelled)
        self._readable = readable

    def read(self, size: int = -1) -> bytes:
        try:
            self._check()
            return self._readable.read(size)
        except BaseException as error:
            self.error = error
            raise


class _Writer(_Guard):
    def __init__(self, writable: Writable, cancelled: threading.Event) -> None:
        super().__init__(cancelled)
        self._writable = writable

    def write(self, data: bytes) -> int:
        try:
            self._check()
            self._writable.write(data)
            return len(data)
        except BaseException as error:
            self.error = error
            raise
