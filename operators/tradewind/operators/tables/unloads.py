"""Byte streams on their way out of a database."""

from __future__ import annotations

import contextlib
import io
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, Protocol, TypeVar, cast

from tradewind.hooks.errors import DataError
from tradewind.operators.ends import Reading

# A buffer of C's between a driver's call for each row and the queue; at most eight of them wait.
BUFFER = 1 << 18
WAITING = 8
# How long a session waits for its rows to be asked for: a target may empty itself first.
KEPT = 30.0


class _Feed(io.RawIOBase):
    """Puts what a BufferedWriter flushes into a queue: a driver calls C for each row, Python for each buffer."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        taken = bytes(cast("bytes", data))
        self._put(taken)
        return len(taken)


class CopyStream:
    """The bytes of a query that runs in a thread, to be read as they come, in bounded memory.

    ``rows`` is their number, None until all is read; ``lines`` tells about how many came so far.

    :param run: runs the query into the file it is given; returns the number of rows
    :param stop: stops it from another thread
    :param end: lets go of the connection, called once when the query is over
    :param name: what is read: data that the query itself cannot give is told as its, not as the target's
    """

    def __init__(
        self,
        run: Callable[[io.BufferedWriter], int],
        stop: Callable[[], object],
        end: Callable[[], None],
        name: str,
    ) -> None:
        self._run = run
        self._stop = stop
        self._end = end
        self._name = name
        # A signal may interrupt the reader: Queue's locks, in Python, would be left in disorder, SimpleQueue's are C.
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(WAITING)
        self._rest = memoryview(b"")
        self._failure: BaseException | None = None
        self._closed = threading.Event()
        self._ended = False
        self.rows: int | None = None
        self.lines = 0
        self._thread = threading.Thread(target=self._work, name="tradewind-copy-out", daemon=True)
        self._thread.start()

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; what the query raises is raised here."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if not self._rest:
            self._next()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data.obj if data.nbytes == len(data.obj) else bytes(data)  # type: ignore[return-value, arg-type]

    def _next(self) -> None:
        if self._closed.is_set():
            raise ValueError("the stream is closed")
        if not self._ended:
            data = self._queue.get()
            if data is not None:
                self._room.release()
                self._rest = memoryview(data)
                return
            self._ended = True
            self._thread.join()
        if self._failure is not None:  # each time: a failure must never look like the end
            raise self._failure

    def _work(self) -> None:
        feed = io.BufferedWriter(_Feed(self._put), BUFFER)
        try:
            rows = self._run(feed)
            feed.flush()
            self.rows = rows
        except DataError as error:
            error.source = error.source or self._name
            self._failure = error
        except BaseException as error:
            self._failure = error
        finally:
            with contextlib.suppress(Exception):
                self._end()
            self._queue.put(None)

    def _put(self, data: bytes) -> None:
        # Once the stream is closed the bytes are dropped: the query is being cancelled.
        self._room.acquire()
        self.lines += data.count(b"\n")
        if not self._closed.is_set():
            self._queue.put(data)
        else:
            self._room.release()

    def close(self) -> None:
        """Stop the query if it still runs, and wait for its end."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._room.release()
        if self._thread.is_alive() and not self._ended:
            self._stop()
        self._thread.join()


class Transaction(Protocol):
    """A session of a database."""

    def rollback(self) -> None:
        """End what it began."""


S = TypeVar("S", bound=Transaction)


class Sessions(Generic[S]):
    """The sessions of one reading: what looked at the catalog reads the rows too, for connecting takes its time.

    :param connect: opens a session
    :param keeps: how long one that is not used is kept, in seconds; 0 for not at all
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[S]], keeps: float = 0.0) -> None:
        self._connect = connect
        self._keeps = keeps
        self._kept: tuple[ExitStack, S, float] | None = None

    def take(self) -> tuple[ExitStack, S]:
        """Return a session in no transaction, and what ends it."""
        kept, self._kept = self._kept, None
        if kept is not None:
            stack, session, until = kept
            if time.monotonic() < until:
                return stack, session
            stack.close()
        stack = ExitStack()
        return stack, stack.enter_context(self._connect())

    @contextlib.contextmanager
    def short(self) -> Iterator[S]:
        """Use a session for a moment; nothing that it does stays."""
        stack, session = self.take()
        with stack:
            yield session
            session.rollback()
            if self._keeps:
                self.close()
                self._kept = stack.pop_all(), session, time.monotonic() + self._keeps

    def close(self) -> None:
        """End the session that is kept."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept[0].close()


class RowsReading(Reading):
    """A source whose rows a query gives: how many there will be is an estimate, where there is one.

    ``estimate`` is the number of rows as the catalog has it, ``stream`` what is being read.
    """

    estimate: int | None = None
    stream: CopyStream | None = None

    @property
    def share(self) -> float | None:
        """How much is read so far, about: the catalog may be old, and a value may hold line ends."""
        return self.stream.lines / self.estimate if self.stream is not None and self.estimate else None
