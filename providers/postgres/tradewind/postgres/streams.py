"""Byte streams on their way into COPY and out of it."""

from __future__ import annotations

import contextlib
import io
import queue
import re
import threading
from collections.abc import Callable
from typing import cast

from tradewind.hooks.errors import DataError
from tradewind.operators.csv_records import Scanner, blocks, open_csv
from tradewind.operators.ends import Part, Readable
from tradewind.operators.progress import Progress

# A buffer of C's between psycopg2's call for each row and the queue; at most eight of them wait.
BUFFER = 1 << 18
WAITING = 8

_END_MARK = re.compile(rb"[\r\n]\\\.[\r\n]")


class Counted:
    """A stream whose bytes are counted as they pass.

    :param stream: the bytes
    :param progress: takes the counts
    :param part: where they come from
    :param guard_end: whether to refuse a record ``\\.``, which servers before 18 take for the end of the input
    """

    def __init__(self, stream: Readable, progress: Progress, part: Part, *, guard_end: bool) -> None:
        self._stream = stream
        self._progress = progress
        self._part = part
        self._guard_end = guard_end
        self._tail = b"\n"  # the stream begins with a record
        self.bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes.

        :raises DataError: where a record would end the copy before the end of the input
        """
        data = self._stream.read(size)
        if self._guard_end and data:
            self._look(data)
        self.bytes += len(data)
        self._progress.add(len(data))
        return data

    def _look(self, data: bytes) -> None:
        seen = self._tail + data
        if b"\\." in seen and _END_MARK.search(seen):
            refuse_end_mark(self._part)
            self._guard_end = False  # it stands within quotes, where it means nothing
        self._tail = seen[-3:]

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def refuse_end_mark(part: Part) -> None:
    """Read a file again to see whether one of its records is the end mark, and not a line of a quoted text.

    :param part: the file
    :raises DataError: where it is, with the line
    """
    source = open_csv(part)
    scanner = Scanner(source.dialect)
    with contextlib.closing(source):
        for block in blocks(source, 1 << 20):
            line = block.line
            for record in scanner.records(block.data, source.line_end) if b"\\." in block.data else ():
                if record.rstrip(b"\r\n") == b"\\." != record:
                    raise DataError(
                        f"{part.name}, line {line:,}: the record is nothing but \\., which PostgreSQL before 18 takes "
                        "for the end of the input: quote it",
                        source=part.name,
                        line=line,
                        value="\\.",
                    )
                line += record.count(source.line_end)


class _Feed(io.RawIOBase):
    """Puts what a BufferedWriter flushes into a queue: psycopg2 calls C for each row, Python for each buffer."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        taken = bytes(cast("bytes", data))
        self._put(taken)
        return len(taken)


class CopyStream:
    """The bytes of a ``COPY ... TO STDOUT`` that runs in a thread, to be read as they come, in bounded memory.

    :param run: runs the COPY into the file it is given; returns the number of rows
    :param stop: stops it from another thread
    :param end: lets go of the connection, called once when the COPY is over
    """

    def __init__(
        self, run: Callable[[io.BufferedWriter], int], stop: Callable[[], None], end: Callable[[], None]
    ) -> None:
        self._run = run
        self._stop = stop
        self._end = end
        # A signal may interrupt the reader: Queue's locks, in Python, would be left in disorder, SimpleQueue's are C.
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(WAITING)
        self._rest = memoryview(b"")
        self._failure: BaseException | None = None
        self._closed = threading.Event()
        self._ended = False
        self.rows: int | None = None
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
        except BaseException as error:
            self._failure = error
        finally:
            with contextlib.suppress(Exception):
                self._end()
            self._queue.put(None)

    def _put(self, data: bytes) -> None:
        # Once the stream is closed the bytes are dropped: the query is being cancelled.
        self._room.acquire()
        if not self._closed.is_set():
            self._queue.put(data)
        else:
            self._room.release()

    def close(self) -> None:
        """Stop the COPY if it still runs, and wait for its end."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._room.release()
        if self._thread.is_alive() and not self._ended:
            self._stop()
        self._thread.join()
