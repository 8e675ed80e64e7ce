"""Streams of stored bytes that a thread fetches and decompresses ahead of their reader."""

from __future__ import annotations

import io
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from tradewind.operators.files.compression import decompressed

OnBytes = Callable[[int, int], None]

AHEAD = 8
"""Chunks that wait for the consumer at most, each of up to 512 KB."""


class Body(Protocol):
    """The bytes of a file as they are stored."""

    @property
    def name(self) -> str:
        """Where they come from."""

    @property
    def position(self) -> int:
        """How many of them were read."""

    def chunks(self, stopped: Callable[[], bool], /) -> Iterator[bytes]:
        """Yield all bytes in order; ``stopped`` is asked before each chunk."""

    def close(self) -> None:
        """Let go of what the stream holds."""


class AheadReader(io.RawIOBase):
    """A file's bytes, decompressed, fetched ahead by a thread so that the store and the reader work at once.

    :param body: the bytes as they are stored
    :param compression: gzip, zstd, bz2, xz, or None for the bytes as they are
    :param on_bytes: called with (stored bytes, plain bytes) as they are read
    """

    def __init__(self, body: Body, compression: str | None = None, on_bytes: OnBytes | None = None) -> None:
        super().__init__()
        self.name = body.name
        self._on_bytes = on_bytes
        self._chunk = b""
        self._at = 0
        self._ended = False
        self._ahead = _Ahead(body, compression)

    def start(self) -> None:
        """Begin to read ahead now, and not when the first bytes are asked for."""
        self._ahead.start()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, none of them at the end; all that is left for -1."""
        if size is None or size < 0:
            return self.readall()
        if not self._fill() or not size:
            return b""
        if size < len(self._chunk) - self._at:
            self._at += size
            return self._chunk[self._at - size : self._at]
        return self._take()

    def readall(self) -> bytes:
        """Return all that is left."""
        found = []
        while self._fill():
            found.append(self._take())
        return b"".join(found)

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as one chunk does."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Stop the thread and let the connection go."""
        if not self.closed:
            self._ahead.stop()
            super().close()

    def _take(self) -> bytes:
        """Return the rest of the chunk, which is the chunk itself where nothing of it was read: no copy."""
        data = self._chunk[self._at :] if self._at else self._chunk
        self._chunk, self._at = b"", 0
        return data

    def _fill(self) -> bool:
        """Have bytes at hand; say whether there are any."""
        if self.closed:
            raise ValueError(f"{self.name} is closed")
        while self._at == len(self._chunk) and not self._ended:
            item = self._ahead.next()
            if item is None:
                self._ended = True
            else:
                wire, plain = item
                self._chunk, self._at = plain, 0
                if self._on_bytes is not None:
                    self._on_bytes(wire, len(plain))
        return self._at < len(self._chunk)


class _Ahead:
    """The thread that reads ahead; it does not know its reader, so that a forgotten reader is collected and ends it."""

    def __init__(self, body: Body, compression: str | None) -> None:
        self._body = body
        self._compression = compression
        self._queue: queue.Queue[tuple[int, bytes] | BaseException | None] = queue.Queue(AHEAD)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tradewind-read-ahead", daemon=True)
            self._thread.start()

    def next(self) -> tuple[int, bytes] | None:
        """Return the wire bytes it took and the plain bytes; None at the end."""
        self.start()
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def stop(self) -> None:
        """End the thread; one that hangs in the network ends with its time-out."""
        self._stopped.set()
        if self._thread is None:
            return
        until = time.monotonic() + 2
        while self._thread.is_alive() and time.monotonic() < until:
            with suppress(queue.Empty):
                self._queue.get_nowait()
            self._thread.join(0.02)

    def _run(self) -> None:
        told = 0
        try:
            chunks = self._body.chunks(self._stopped.is_set)
            for plain in decompressed(chunks, self._compression, self._body.name):
                wire, told = self._body.position - told, self._body.position
                self._queue.put((wire, plain))
                if self._stopped.is_set():
                    return
            self._queue.put(None)
        except BaseException as error:
            if not self._stopped.is_set():
                self._queue.put(error)
        finally:
            self._body.close()
