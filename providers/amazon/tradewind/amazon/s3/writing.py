"""A stream into an object that appears whole or not at all."""

from __future__ import annotations

import io
import os
import threading
import uuid
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tradewind.amazon.errors import error_code
from tradewind.hooks.errors import AccessDenied, InvalidArgument, NotFound, Superseded, TradewindError, TransientError
from tradewind.operators.ends import Sink
from tradewind.operators.files.compression import compressor, infer

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook

TOKEN = "tradewind-token"  # noqa: S105 (a name)
"""The metadata that names the work which wrote an object."""

PART = 8 * 1024**2
"""Bytes of the first parts; S3 takes no less than 5 MB but for the last."""

PARTS_OF_A_SIZE = 1000
"""Parts after which the size doubles: 10,000 of them hold more than the 5 TB that an object may have."""

UPLOADS = 4
"""Parts that are on their way at once.

Measured over TLS with 0.1 s until a part is taken (docs/s3-streams.md): 200 MiB take 3.4 s by one, 2.0 s by two, 1.4 s
by four, in 24, 33 and 51 MB; four parts of 16 MiB take 94 MB.
"""

PIECE = 128 * 1024
"""Bytes of a part that are handed to the connection at once: over TLS, 200 MiB take 0.29 s of CPU, by 1 MiB 0.34 s."""

BLOCK = 1024**2
"""Bytes handed to the compressor at once."""


def part_size(number: int) -> int:
    """Return how many bytes the part of a number has.

    :param number: counted from 1
    """
    return PART << ((number - 1) // PARTS_OF_A_SIZE)


class S3Writer(Sink):
    """Write an object: by one PutObject where it is smaller than a part, else by parts, completed last.

    Uploads of the same key that a killed try left are aborted at the start, so that nobody pays for them.

    :param hook: gives the client
    :param token: the name of the work, kept in the object's metadata
    :param compression: gzip, zstd, bz2, xz, ``infer`` from the key's ending, or None
    """

    def __init__(
        self,
        hook: S3Hook,
        bucket: str,
        key: str,
        *,
        token: str = "",
        compression: str | None = None,
        content_type: str | None = None,
    ) -> None:
        if not key:
            raise InvalidArgument(f"s3://{bucket}/ has no key: write s3://bucket/key")
        self.name = f"s3://{bucket}/{key}"
        kind = infer(compression, key)
        self._engine = compressor(kind) if kind else None
        self._parts = _Upload(hook, bucket, key, token or uuid.uuid4().hex, content_type)
        self._block = bytearray()
        self._worker: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []
        self._done = False
        self._aborted = False
        self.bytes = 0
        self._parts.abort_older()

    def write(self, data: bytes, /) -> int:
        """Take bytes.

        :raises Superseded: where a newer try of the same work took over
        """
        self._refuse_aborted()
        if self._done:
            raise ValueError(f"{self.name} is closed")
        size = len(data)
        self.bytes += size
        if self._engine is None:
            self._parts.add(data)
            return size
        self._block += data
        if len(self._block) >= BLOCK:
            self._hand_over()
        return size

    def commit(self) -> None:
        """Make the object visible; where that fails, nothing of it is left.

        :raises TransientError: where it was aborted before
        """
        self._refuse_aborted()
        if self._done:
            return
        try:
            if self._engine is not None:
                self._hand_over()
                self._settle(0)
                self._parts.add(self._engine.flush())
            self._parts.complete()
        except BaseException:
            self.abort()
            raise
        self._finish()

    def abort(self) -> None:
        """Leave nothing behind; never raises."""
        if self._done:
            return
        self._aborted = True
        self._finish()
        self._parts.abort()

    def _refuse_aborted(self) -> None:
        # A cancel comes from another thread: whoever writes on must not take nothing for the whole.
        if self._aborted:
            raise TransientError(f"{self.name} was aborted: nothing of it is written")

    def _hand_over(self) -> None:
        """Compress in a thread of its own, for zlib lets others run meanwhile."""
        block, self._block = bytes(self._block), bytearray()
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "s3-compress")
        self._waiting.append(self._worker.submit(self._compress, block))
        self._settle(2)

    def _compress(self, block: bytes) -> None:
        assert self._engine is not None  # noqa: S101 (told to mypy)
        self._parts.add(self._engine.compress(block))

    def _settle(self, left: int) -> None:
        while len(self._waiting) > left:
            self._waiting.pop(0).result()

    def _finish(self) -> None:
        self._done = True
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=True)
        self._block = bytearray()


class _Part(io.RawIOBase):
    """A part, filled by the writer and then read by the client in pieces of one size, whatever size is asked for.

    Over TLS botocore asks for 1 MiB and cuts that up by copying all that is left of it for each piece it sends; over
    HTTP http.client asks for 16 KiB: hundreds of turns of the interpreter's lock, while the thread that reads the
    database needs one for each row.

    Its memory is taken once and filled again: what grows and is given back in pieces of 8 MiB leaves holes, 50 MB of
    them within the first gigabyte.

    :param room: how many bytes it takes
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.filled = 0
        self._bytes = memoryview(bytearray(room))  # the system gives a page when it is first written to
        self._at = 0

    def add(self, data: bytes | memoryview) -> None:
        """Take bytes, no more than there is room for."""
        end = self.filled + len(data)
        self._bytes[self.filled : end] = data
        self.filled = end

    def clear(self) -> None:
        """Begin anew."""
        self.filled = self._at = 0

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def seekable(self) -> bool:
        """Say that it is."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return a piece."""
        end = self.filled if size is None or size < 0 else min(self._at + PIECE, self.filled)
        data = bytes(self._bytes[self._at : end])
        self._at = max(self._at, end)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place among its bytes."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.filled}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return the place that is read from next."""
        return self._at


class _Upload:
    """The object's bytes on their way."""

    def __init__(self, hook: S3Hook, bucket: str, key: str, token: str, content_type: str | None) -> None:
        self._hook = hook
        self._where = {"Bucket": bucket, "Key": key}
        self._name = f"s3://{bucket}/{key}"
        self._token = token
        self._more: dict[str, Any] = {"Metadata": {TOKEN: token}}
        if content_type:
            self._more["ContentType"] = content_type
        self._part = _Part(PART)
        self._free: list[_Part] = []
        self._size = 0
        self._id: str | None = None
        self._doubled = False
        self._pool: ThreadPoolExecutor | None = None
        self._slots = threading.BoundedSemaphore(UPLOADS)
        self._sent: list[Future[dict[str, Any]]] = []

    def abort_older(self) -> None:
        """Abort the uploads of this very key that an earlier try left."""
        abort_uploads(self._hook, self._where["Bucket"], [self._where["Key"]])

    def add(self, data: bytes | memoryview) -> None:
        """Take bytes, and send the part where they fill it."""
        part = self._part
        if len(data) < part.room - part.filled:  # what a row costs
            part.add(data)
            return
        rest = memoryview(data)
        while len(rest) >= (left := self._part.room - self._part.filled):
            self._part.add(rest[:left])
            rest = rest[left:]
            self._send()
        self._part.add(rest)

    def complete(self) -> None:
        """Send the rest, and make all of it one object."""
        if self._id is None:
            with self._hook.errors(f"write {self._name}"):
                self._hook.client().put_object(**self._where, **self._more, Body=self._part)
            return
        if self._part.filled:
            self._send()
        parts = [sent.result() for sent in self._sent]
        try:
            with self._hook.errors(f"complete {self._name}"):
                self._hook.client().complete_multipart_upload(
                    **self._where, UploadId=self._id, MultipartUpload={"Parts": parts}
                )
        except (NotFound, TransientError) as error:
            # An answer that got lost tells nothing: the upload is looked for.
            if self._is_there(error):
                raise
            self._completed_before(error)
        self._stop()
        self._abort_doubles()

    def abort(self) -> None:
        """Abort the upload, once no part of it is under way."""
        self._stop()
        self._part = _Part(0)
        if self._id is not None:
            try:
                _abort(self._hook, self._where["Bucket"], self._where["Key"], self._id)
            except TradewindError as error:
                self._hook.log.warning("cannot abort the upload of %s, the next try does: %s", self._name, error)
            self._abort_doubles()

    def _abort_doubles(self) -> None:
        """Abort what an earlier attempt of the first call began: its answer was lost, and botocore called again."""
        if self._doubled:
            try:
                self.abort_older()
            except TradewindError as error:
                self._hook.log.warning("cannot look for unfinished uploads of %s: %s", self._name, error)

    def _send(self) -> None:
        self._raise_early()
        if self._id is None:
            with self._hook.errors(f"begin the upload of {self._name}"):
                answer = self._hook.client().create_multipart_upload(**self._where, **self._more)
            self._id = answer["UploadId"]
            self._doubled = answer["ResponseMetadata"].get("RetryAttempts", 0) > 0
            self._pool = ThreadPoolExecutor(UPLOADS, "s3-upload")
        assert self._pool is not None  # noqa: S101 (told to mypy)
        self._slots.acquire()
        part = self._part
        self._size += part.filled
        self._sent.append(self._pool.submit(self._upload, len(self._sent) + 1, part))
        self._part = self._empty(part_size(len(self._sent) + 1))

    def _empty(self, room: int) -> _Part:
        """Return a part to fill: one that was sent, unless the size has doubled meanwhile."""
        while self._free:
            part = self._free.pop()
            if part.room == room:
                part.clear()
                return part
        return _Part(room)

    def _upload(self, number: int, part: _Part) -> dict[str, Any]:
        try:
            with self._hook.errors(f"upload part {number} of {self._name}"):
                client = self._hook.client()
                answer = client.upload_part(**self._where, UploadId=self._id, PartNumber=number, Body=part)
        except NotFound as error:
            raise self._superseded(error) from error
        finally:
            self._free.append(part)
            self._slots.release()
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum") and name != "ChecksumType"}
        return {"PartNumber": number, "ETag": answer["ETag"], **sums}

    def _raise_early(self) -> None:
        for sent in self._sent[-2 * UPLOADS - 2 :]:
            if sent.done():
                sent.result()

    def _completed_before(self, error: TradewindError) -> None:
        """Accept an object that is there although its upload is not: the answer to the first call was lost."""
        taken = Superseded(f"the upload of {self._name} was aborted: another try of the same work took over")
        try:
            found = self._hook.head(self._where["Bucket"], self._where["Key"])
        except NotFound:
            raise taken from error
        if found.metadata.get(TOKEN) != self._token or found.size != self._size:
            raise taken from error

    def _is_there(self, error: TradewindError) -> bool:
        """Say whether the upload is still there, after a call on it failed."""
        if error_code(error.__cause__ or error) == "NoSuchUpload":
            return False
        try:
            with self._hook.errors(f"look for the upload of {self._name}"):
                self._hook.client().list_parts(**self._where, UploadId=self._id, MaxParts=1)
        except TradewindError as fault:
            return error_code(fault.__cause__ or fault) != "NoSuchUpload"
        return True

    def _superseded(self, error: NotFound) -> TradewindError:
        if error_code(error.__cause__ or error) != "NoSuchUpload":
            return error
        return Superseded(f"the upload of {self._name} was aborted: another try of the same work took over")

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._free.clear()


def abort_uploads(hook: S3Hook, bucket: str, keys: Collection[str]) -> None:
    """Abort the unfinished uploads of some keys; where they may not be listed, the log says so.

    :param hook: gives the client
    :param bucket: where they are
    :param keys: their keys, which begin alike
    """
    prefix = os.path.commonprefix(list(keys))
    pages = hook.client().get_paginator("list_multipart_uploads")
    try:
        with hook.errors(f"list uploads of s3://{bucket}/{prefix}"):
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                for found in page.get("Uploads", ()):
                    if found["Key"] in keys:
                        _abort(hook, bucket, found["Key"], found["UploadId"])
                        hook.log.info(
                            "aborted an unfinished upload of s3://%s/%s that an earlier try left", bucket, found["Key"]
                        )
    except AccessDenied as error:
        hook.log.warning("cannot look for unfinished uploads, they may be left: %s", error)


def _abort(hook: S3Hook, bucket: str, key: str, upload: str) -> None:
    try:
        with hook.errors(f"abort the upload of s3://{bucket}/{key}"):
            hook.client().abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    except NotFound:
        return
