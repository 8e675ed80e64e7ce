"""One connection whose statements can be ended.

PyMySQL waits in Python, where signal handlers run; an exception that one raises (a time-out of Airflow's, a SIGTERM)
would leave the statement running in the server, which looks at its client only when it writes. Whatever ends a wait
ends the statement too.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tradewind.hooks.errors import ConnectionFailed, InvalidArgument, TimedOut
from tradewind.mysql.driver import bind, cursor_class
from tradewind.mysql.errors import QueryCancelled, number_of, translated
from tradewind.mysql.packets import Column, prepared_columns

if TYPE_CHECKING:
    from tradewind.mysql.cancel import Killer

T = TypeVar("T")

Parameters = Sequence[Any] | Mapping[str, Any] | None

# How many rows that nobody asked for are read to the end; a longer result is ended in the server.
_LEFT_OVER = 1000
# How long the thread that runs a statement may take to see that it was ended, in seconds.
_PATIENCE = 1.0
_LOST = (2006, 2013)


class Readable(Protocol):
    """A stream of bytes to read from."""

    def read(self, size: int = ..., /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


class MySqlSession:
    """A connection in one transaction: it is committed when asked to, and rolled back when anything fails.

    ``rowcount`` and ``warnings`` count what the last statement did; the protocol counts 65,535 warnings at most.

    :param conn: a connection of PyMySQL
    :param killer: ends what runs on it
    :param describe: names the server in messages
    :param secrets: texts that must not appear in messages
    :param cursor: which cursor :meth:`run` hands out: cursor or dictcursor, sscursor or ssdictcursor
    :param statement_timeout: how long a statement may run, in seconds: a server does not watch all of them
    """

    def __init__(
        self,
        conn: Any,
        killer: Killer,
        describe: str = "",
        secrets: Sequence[str] = (),
        *,
        cursor: str = "cursor",
        statement_timeout: float | None = None,
    ) -> None:
        self.conn = conn
        self.describe = describe
        self.rowcount = -1
        self.warnings = 0
        self.ended = ""
        self._killer = killer
        self._secrets = tuple(secrets)
        self._cursor = cursor
        self._statement_timeout = statement_timeout
        self._timed_out = False
        self._cancelled = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._runner: threading.Thread | None = None
        self._notices: list[str] = []

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called: nothing runs on this session any more."""
        return self._cancelled.is_set()

    @property
    def backslashes(self) -> bool:
        """Whether the server takes backslashes in texts for escapes: ``NO_BACKSLASH_ESCAPES`` is off."""
        from pymysql.constants import SERVER_STATUS

        return not self.conn.server_status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES

    def execute(self, statement: str, parameters: Parameters = None) -> int:
        """Run a statement.

        :param statement: one statement
        :param parameters: values to bind
        :return: the rows affected, -1 where that has no meaning
        """
        self.run(statement, parameters, lambda cur: None)
        return self.rowcount

    def query(self, statement: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """Run a statement and return all of its rows.

        :param statement: one statement
        :param parameters: values to bind
        :return: the rows, none for a statement that has no result
        """
        return self._run("cursor", statement, parameters, lambda cur: cur.fetchall() if cur.description else [])

    def run(self, statement: str, parameters: Parameters, handler: Callable[[Any], T]) -> T:
        """Run a statement and hand its cursor to a function, which takes as many rows as it wants.

        :param statement: one statement
        :param parameters: values to bind
        :param handler: takes the cursor; its value is returned
        """
        return self._run(self._cursor, statement, parameters, handler)

    def take_notices(self) -> list[str]:
        """Return the server's warnings since the last call, and forget them."""
        found, self._notices = self._notices, []
        return found

    def stream(self, statement: str, parameters: Parameters = None, itersize: int = 5000) -> Iterator[tuple[Any, ...]]:
        """Yield a query's rows as the server sends them, in constant memory; nothing else runs here meanwhile.

        :param statement: a SELECT
        :param parameters: values to bind
        :param itersize: how many rows are taken at once
        """
        cur = self._open("cursor")
        done = False
        try:
            self._execute(cur, statement, parameters)
            while cur.description and (rows := self._blocking(lambda: cur.fetchmany(itersize))):
                yield from rows
            done = True
        finally:
            self._finish(cur, read=done)

    def columns(self, statement: str, parameters: Parameters = None) -> tuple[Column, ...]:
        """Return the columns that a statement would give, none where it gives no rows; it does not run.

        :param statement: one statement
        :param parameters: values to bind
        """
        cur = self._open("cursor")
        text = bind(cur, statement, parameters) if parameters else statement
        cur.connection = None
        return self._blocking(lambda: prepared_columns(self.conn, text))

    def load(self, statement: str, readable: Readable) -> int:
        """Run ``LOAD DATA LOCAL INFILE`` with the bytes of a stream, whatever file it names.

        What the stream raises is raised here, and cuts the connection: MySQL's protocol cannot tell the server that
        data ended too early. With LOCAL a row that does not fit is a warning, even in a strict session: see
        :attr:`warnings` and :meth:`take_notices`.

        :param statement: the LOAD DATA statement
        :param readable: where the bytes come from
        :return: the rows loaded
        """
        self.conn.infile = readable
        try:
            return self.execute(statement)
        finally:
            self.conn.infile = None

    def commit(self) -> None:
        """Commit the transaction."""
        self._blocking(self.conn.commit)

    def rollback(self) -> None:
        """Roll the transaction back."""
        self._blocking(self.conn.rollback)

    def cancel(self) -> str:
        """Stop what runs in the server; called from another thread or a signal handler, and never raises.

        Nothing runs on this session afterwards.

        :return: what happened, for the log
        """
        self._cancelled.set()
        if self._idle.is_set() or not self.conn.open:
            return self.ended or "nothing ran there"
        self.ended = self._killer.end_query(self._cut)
        if threading.current_thread() is not self._runner and not self._idle.wait(_PATIENCE):
            # It was sent after the server was asked; cut, so that at least nobody waits for it.
            self.ended = self._killer.end_query(self._cut)
            if not self._idle.wait(_PATIENCE):
                self._cut()
        return self.ended

    def close(self) -> None:
        """Close the connection; what is not committed is rolled back by the server."""
        with contextlib.suppress(Exception):
            if self.cancelled:
                self.conn._force_close()  # its protocol may be in the middle of an answer
            else:
                self.conn.close()

    def _run(self, kind: str, statement: str, parameters: Parameters, handler: Callable[[Any], T]) -> T:
        cur = self._open(kind)
        self.warnings = 0
        done = False
        try:
            self._execute(cur, statement, parameters)
            made = self._blocking(lambda: handler(cur), handler=True)
            if cur.description:
                self.rowcount = cur.rownumber
            done = True
            return made
        finally:
            self._finish(cur, read=done)

    def _open(self, kind: str) -> Any:
        result = self.conn._result
        if result is not None and result.unbuffered_active:
            raise InvalidArgument(
                f"{self.describe}: a stream is being read on this session, and MySQL runs one statement at a time: "
                "read it to its end, or open another session"
            )
        return self.conn.cursor(cursor_class(kind, unbuffered=True))

    def _execute(self, cur: Any, statement: str, parameters: Parameters) -> None:
        text = bind(cur, statement, parameters) if parameters else statement
        self._blocking(lambda: cur.execute(text), seconds=self._statement_timeout)
        self.rowcount = -1 if cur.description else cur.rowcount

    def _finish(self, cur: Any, *, read: bool) -> None:
        """Take the rest of a result, or end it in the server where it is long."""
        if not self.conn.open or self.cancelled:
            return
        if not read and not cur.description:
            cur.connection = None
            return
        with contextlib.nullcontext() if read else contextlib.suppress(Exception):
            self._blocking(lambda: self._drain(cur, _LEFT_OVER if read else 0))
            if read and cur.warning_count:
                self.warnings = cur.warning_count
                self._note(cur.warning_count)

    def _drain(self, cur: Any, most: int) -> None:
        """Read what is left of a statement's results: MySQL runs no other statement before."""
        while (result := cur._result) is not None:
            while result.unbuffered_active and most:
                cur.read_next()
                most -= 1
            if result.unbuffered_active:
                self._abandon(result)
                return
            cur.warning_count = result.warning_count
            if not result.has_next:
                return
            cur.nextset()

    def _abandon(self, result: Any) -> None:
        import pymysql

        if not self._killer.ask():
            self._cut()
        with contextlib.suppress(pymysql.OperationalError):
            while result.unbuffered_active:
                result._read_rowdata_packet_unbuffered()
        result.unbuffered_active = False
        result.has_next = False

    def _note(self, count: int) -> None:
        rows = self._blocking(self.conn.show_warnings)
        told = [f"{level}: {message} [{number}]" for level, number, message in rows or ()]
        more = [f"... and {count - len(told):,} warnings more"] if count > len(told) else []
        self._notices += [*told, *more]

    def _blocking(self, call: Callable[[], T], *, handler: bool = False, seconds: float | None = None) -> T:
        """Run what waits for the server.

        :param call: what waits
        :param handler: whether it is a function of the caller's, which may raise what it likes
        :param seconds: how long it may take
        """
        if self.cancelled:
            raise QueryCancelled(f"{self.describe}: cancelled, nothing more is run")
        self._runner = threading.current_thread()
        self._timed_out = False
        self._idle.clear()
        started, timer = time.monotonic(), self._watch(seconds)
        try:
            with translated(self.describe, self._secrets):
                made = self._guarded(call, handler)
            if seconds and time.monotonic() - started >= seconds:
                # SLEEP() and BENCHMARK() that were stopped return as if nothing were wrong.
                self._timed_out = True
                raise QueryCancelled(self.describe)
            return made
        except (QueryCancelled, ConnectionFailed) as error:
            if self._timed_out:
                raise TimedOut(f"{self.describe}: the statement ran longer than {seconds or 0:g} s") from error
            if self.cancelled:
                raise QueryCancelled(f"{self.describe}: cancelled: {error}") from error
            raise
        finally:
            self._idle.set()
            if timer:
                timer.cancel()

    def _guarded(self, call: Callable[[], T], handler: bool) -> T:
        import pymysql

        try:
            return call()
        except pymysql.Error as error:
            # A time-out of ours: the driver closed the connection, and the statement runs on.
            if number_of(error) in _LOST and "timed out" in str(error):
                self.ended = self._killer.end_query(self._cut)
            raise
        except BaseException as error:
            # A signal's: the wait is over, the statement is not.
            if not isinstance(error, Exception):
                self.cancel()
            elif not handler or not self.conn.open:
                self.ended = self._killer.end_query(self._cut)
            raise

    def _watch(self, seconds: float | None) -> threading.Timer | None:
        if not seconds:
            return None
        timer = threading.Timer(seconds, self._time_out)
        timer.daemon = True
        timer.start()
        return timer

    def _time_out(self) -> None:
        if not self._idle.is_set():
            self._timed_out = True
            self._killer.end_query(self._cut)

    def _cut(self) -> None:
        """Shut the socket down: a server that is stuck in writing to it sees its end."""
        with contextlib.suppress(Exception):
            self.conn._sock.shutdown(socket.SHUT_RDWR)
