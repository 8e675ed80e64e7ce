"""The disk of the machine as a store of the files that a copy reads and writes."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tradewind.hooks.disk import room
from tradewind.hooks.errors import (
    AccessDenied,
    InvalidArgument,
    NotFound,
    SourceChanged,
    Superseded,
    TradewindError,
    TransientError,
)
from tradewind.operators.ends import Sink
from tradewind.operators.files.compression import compressor
from tradewind.operators.files.reading_ahead import AheadReader
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.plan import Right

CHUNK = 256 * 1024
BLOCK = 1024**2
"""Bytes handed to the compressor, or to the disk, at once."""

HASHED = 64 * 1024
"""Bytes at either end of a file that are part of its version; all of it where it is not longer than both."""

# What no retry mends; a full disk, or one that is away, may be well again.
_KINDS: dict[int, type[TradewindError]] = {
    errno.ENOENT: NotFound,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ENOTDIR: InvalidArgument,
    errno.EISDIR: InvalidArgument,
    errno.EEXIST: InvalidArgument,
    errno.ENAMETOOLONG: InvalidArgument,
    errno.ELOOP: InvalidArgument,
}


class LocalStorage(Storage):
    """Files on this machine, each known by its size, its time of change and a hash of its ends."""

    def find(self, url: str) -> StoredFile:
        """Look for one file; links are followed."""
        with _told(f"read {url}"):
            found = os.stat(url)
            if not stat.S_ISREG(found.st_mode):
                raise InvalidArgument(f"{url} is no file but a {_kind(found.st_mode)}: name a file")
            with open(url, "rb") as file:
                return _stored(url, file)

    def match(self, pattern: str) -> Iterator[StoredFile]:
        """Yield the files that a pattern matches: ``*`` within a folder, ``**`` across them; no hidden ones."""
        for path in glob.iglob(pattern, recursive=True):
            if os.path.isfile(path):
                yield self.find(path)

    def read(
        self, file: StoredFile, *, compression: str | None = None, on_bytes: Callable[[int, int], None] | None = None
    ) -> AheadReader:
        """Open a file as a stream."""
        return AheadReader(_Body(file), compression, on_bytes)

    def read_at(self, file: StoredFile, offset: int, length: int) -> bytes:
        """Read a range of a file."""
        with _told(f"read {file.url}"), open(file.url, "rb") as stream:
            _refuse_change(file, stream)
            stream.seek(offset)
            return stream.read(length)

    def rights(self, url: str) -> list[Right]:
        """Return the right that writing a file needs: to its folder, or to the one in which folders are made."""
        folder = next(parent for parent in Path(url).parents if parent.exists())
        return [Right("write", str(folder), os.access(folder, os.W_OK | os.X_OK))]

    def write(self, url: str, *, token: str, compression: str | None = None) -> LocalSink:
        """Open a file for writing; what a killed try of the same work left beside it is removed."""
        return LocalSink(url, token, compression)

    def delete(self, urls: Iterable[str]) -> None:
        """Delete files."""
        for url in urls:
            with _told(f"delete {url}"):
                Path(url).unlink(missing_ok=True)

    def sweep(self, urls: Iterable[str], *, token: str) -> None:
        """Remove the hidden files beside some files."""
        for url in urls:
            with _told(f"clear up beside {url}"):
                _sweep(Path(os.path.realpath(url)), token)


class _Body:
    """The bytes of a file, which must not change while they are read."""

    def __init__(self, file: StoredFile) -> None:
        self._file = file
        self._stream: BinaryIO | None = None
        self.name = file.url
        self.position = 0

    def chunks(self, stopped: Callable[[], bool], /) -> Iterator[bytes]:
        with _told(f"read {self.name}"):
            with open(self.name, "rb", buffering=0) as stream:
                _refuse_change(self._file, stream)
                while not stopped() and (data := stream.read(CHUNK)):
                    self.position += len(data)
                    yield data
                if not stopped():
                    _refuse_change(self._file, stream)

    def close(self) -> None:
        """Do nothing: the generator holds the file."""


class LocalSink(Sink):
    """Write a file: under a hidden name beside it, then flushed to the disk and renamed.

    :param url: the file's path; folders that lack are made
    :param token: the name of the work
    :param compression: gzip, zstd, bz2, xz, or None
    """

    def __init__(self, url: str, token: str, compression: str | None = None) -> None:
        self.name = url
        self._path = Path(os.path.realpath(url))
        self._engine = compressor(compression) if compression else None
        self._done = False
        self._aborted = False
        self._held = 0
        with self._writing():
            if self._path.is_dir():
                raise InvalidArgument(f"{url} is a folder: name a file in it")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary = self._make(token)
            self._file = open(self._temporary, "r+b", buffering=BLOCK)  # noqa: SIM115 (closed by the sink)

    def _make(self, token: str) -> Path:
        """Make the hidden file, and remove those that an earlier try of the same work left."""
        _sweep(self._path, token)
        path = self._path.parent / f"{_hidden(self._path, token)}{secrets.token_hex(6)}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        return path

    def write(self, data: bytes, /) -> int:
        """Take bytes."""
        self._refuse_aborted()
        if self._done:
            raise ValueError(f"{self.name} is closed")
        with self._writing():
            self._held += self._file.write(self._engine.compress(data) if self._engine else data)
        return len(data)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        what = f"write {self.name}"
        with _told(what), room(self._path.parent, what, lambda: self._held):
            yield

    def commit(self) -> None:
        """Make the file visible; where that fails, nothing of it is left.

        :raises Superseded: where a newer try of the same work took over
        :raises TransientError: where it was aborted before
        """
        self._refuse_aborted()
        if self._done:
            return
        try:
            with self._writing():
                self._finish()
        except BaseException:
            self.abort()
            raise
        self._done = True

    def _finish(self) -> None:
        if self._engine:
            self._file.write(self._engine.flush())
        with contextlib.suppress(FileNotFoundError):  # what is there keeps its mode
            os.fchmod(self._file.fileno(), stat.S_IMODE(self._path.stat().st_mode))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        try:
            os.replace(self._temporary, self._path)
        except FileNotFoundError as error:
            raise Superseded(f"{self.name}: another try of the same work took over") from error
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def abort(self) -> None:
        """Remove the hidden file; never raises."""
        if self._done:
            return
        self._done = self._aborted = True
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._file.close()

    def _refuse_aborted(self) -> None:
        # A cancel comes from another thread: whoever writes on must not take nothing for the whole.
        if self._aborted:
            raise TransientError(f"{self.name} was aborted: nothing of it is written")


def _hidden(path: Path, token: str) -> str:
    """Return how the names of a file's hidden files begin."""
    work = hashlib.sha256(f"{token}\0{path.name}".encode()).hexdigest()
    return f".tradewind-{work[:20]}-"


def _sweep(path: Path, token: str) -> None:
    for left in path.parent.glob(f"{_hidden(path, token)}*"):
        left.unlink(missing_ok=True)


def _stored(url: str, file: BinaryIO) -> StoredFile:
    found = os.fstat(file.fileno())
    ends = file.read(2 * HASHED)
    if found.st_size > 2 * HASHED:
        file.seek(-HASHED, os.SEEK_END)
        ends = ends[:HASHED] + file.read(HASHED)
    return StoredFile(url, found.st_size, f"{found.st_mtime_ns}-{hashlib.sha256(ends).hexdigest()}", _state(found))


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _refuse_change(file: StoredFile, stream: BinaryIO) -> None:
    if _state(os.fstat(stream.fileno())) != file.raw:
        raise SourceChanged(f"{file.url} changed while it was read: the next try reads it anew")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Translate what the operating system says."""
    try:
        yield
    except TradewindError:
        raise
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, TransientError)
        raise kind(f"{what}: {error.strerror or error}") from error
