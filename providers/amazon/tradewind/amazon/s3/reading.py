"""A stream of an object's bytes that goes on where a broken connection left off."""

from __future__ import annotations

import io
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tradewind.amazon.errors import PreconditionFailed, classify
from tradewind.hooks.errors import ConnectionFailed, SourceChanged, TradewindError, TransientError
from tradewind.operators.compression import decompressed, infer

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook

OnBytes = Callable[[int, int], None]

WIRE_CHUNK = 256 * 1024
"""Bytes asked of the connection at once: 200 MiB take 0.19 s of CPU, by 64 KiB 0.23 s; by 1 MiB 0.21 s and more."""

AHEAD = 8
"""Chunks that wait for the consumer at most, each of up to 512 KB."""

RESUMES = 8
"""Breaks in a row that are mended; the count starts anew after a megabyte that came through."""

_PROGRESS = 1024**2
_LONGEST_WAIT = 10.0


class Body:
    """The bytes of one object as they are stored, read over as many connections as it takes.

    :param hook: gives the client
    :param etag: the very object that must be read; by default the one the first answer names
    :param start: the offset of the first byte
    :param stop: the offset of the byte after the last one, None for all
    """

    def __init__(
        self, hook: S3Hook, bucket: str, key: str, etag: str | None = None, *, start: int = 0, stop: int | None = None
    ) -> None:
        self._hook = hook
        self._bucket = bucket
        self._key = key
        self.etag = etag
        self.size: int | None = None
        self.position = start
        self._stop = stop
        self._stream: Any = None
        self._breaks = 0
        self._good = 0

    @property
    def name(self) -> str:
        """Where it comes from."""
        return f"s3://{self._bucket}/{self._key}"

    def chunks(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
        """Yield all bytes in order.

        :param stopped: asked before each chunk
        :raises SourceChanged: where the object changed while it was read
        :raises TransientError: where it broke too often
        """
        while not stopped() and self.position != self.size:
            try:
                if self._stream is None:
                    self._open()
                data = self._stream.read(WIRE_CHUNK) if self.size else b""
            except Exception as error:
                self._mend(error)
                continue
            if not data and self.position != self.size:
                self._mend(ConnectionResetError(f"the body ended at byte {self.position} of {self.size}"))
                continue
            self.position += len(data)
            self._good += len(data)
            if data:
                yield data
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(Exception):
                stream.close()

    def _open(self) -> None:
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Key": self._key}
        if self.etag:
            arguments["IfMatch"] = self.etag
        if self.position or self._stop is not None:
            last = "" if self._stop is None else self._stop - 1
            arguments["Range"] = f"bytes={self.position}-{last}"
        answer = self._hook.client().get_object(**arguments)
        start = _start(answer.get("ContentRange"))
        if start != self.position:
            raise ConnectionResetError(f"asked for byte {self.position}, the answer begins at byte {start}")
        self.etag = answer["ETag"]
        self.size = start + answer["ContentLength"]
        self._stream = answer["Body"]

    def _mend(self, error: Exception) -> None:
        """Get ready to go on, or raise where there is no use in it."""
        self.close()
        ours = error if isinstance(error, TradewindError) else self._classify(error)
        if isinstance(ours, PreconditionFailed):
            raise SourceChanged(f"{self.name} changed while it was read: the next try reads it anew") from error
        if not isinstance(ours, TransientError):
            raise ours from error
        self._breaks = 1 if self._good >= _PROGRESS else self._breaks + 1
        self._good = 0
        if self._breaks > RESUMES:
            raise ours from error
        self._hook.log.warning("%s broke at byte %s, going on from there: %s", self.name, self.position, ours)
        # Full jitter, so that many readers do not come back together; S3 asks for it on 503.
        time.sleep(random.uniform(0, min(_LONGEST_WAIT, 0.1 * 2**self._breaks)))  # noqa: S311 (no secret)

    def _classify(self, error: Exception) -> Exception:
        ours = classify(error, f"read {self.name}", refreshable=self._hook.settings.refreshable)
        if ours is None and isinstance(error, OSError):
            return ConnectionFailed(f"read {self.name}: {error}")
        return ours or error


class S3Reader(io.RawIOBase):
    """An object's bytes, decompressed, fetched ahead by a thread so that the network and the reader work at once.

    :param hook: gives the client
    :param etag: the very object that must be read
    :param compression: gzip, zstd, bz2, xz, ``infer``, or None for the bytes as they are
    :param on_bytes: called with (bytes on the wire, plain bytes) by the reading thread
    """

    def __init__(
        self,
        hook: S3Hook,
        bucket: str,
        key: str,
        *,
        etag: str | None = None,
        compression: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> None:
        super().__init__()
        self.name = f"s3://{bucket}/{key}"
        self._on_bytes = on_bytes
        self._chunk = b""
        self._at = 0
        self._ended = False
        body = Body(hook, bucket, key, etag)
        self._ahead = _Ahead(body, infer(compression, key))

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

    def next(self) -> tuple[int, bytes] | None:
        """Return the wire bytes it took and the plain bytes; None at the end."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="s3-read-ahead", daemon=True)
            self._thread.start()
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


def _start(content_range: str | None) -> int:
    """Read where an answer begins off its Content-Range (RFC 9110, 14.4): ``bytes 10-99/100``."""
    return int(content_range.split()[1].split("-")[0]) if content_range else 0
