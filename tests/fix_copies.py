"""Sources and sinks in memory, and a way to copy between ends as an operator would."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

from tradewind.hooks.work import Work
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest, CopyResult, Part, Reading, Sink, Source, Target
from tradewind.operators.progress import Progress
from tradewind.operators.projection import Projection
from tradewind.operators.types import Arrays

WORK = Work("dag", "run 1", "load", try_number=1, max_tries=2)


class Short(io.BytesIO):
    """A file that gives fewer bytes than it is asked for, as a socket does."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._most if size is None or size < 0 else min(size, self._most))


class MemoryFiles(Source):
    """Files in memory.

    :param files: each file's bytes
    :param dialect: how they are written
    :param most: the bytes that a read gives at most
    """

    def __init__(
        self,
        *files: bytes,
        dialect: CsvDialect | None = None,
        columns: tuple[str, ...] | None = None,
        most: int = 1 << 20,
        projection: Projection | None = None,
    ) -> None:
        self.contents = files
        self.dialect = dialect or CsvDialect()
        self.columns = columns
        self.most = most
        self.projection = projection

    def describe(self) -> str:
        return "memory"

    def check(self) -> None:
        pass

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        yield MemoryReading(self)


class MemoryReading(Reading):
    def __init__(self, source: MemoryFiles) -> None:
        self._source = source

    @property
    def fingerprint(self) -> str:
        return sha256(b"\0".join(self._source.contents)).hexdigest()

    @property
    def files(self) -> Sequence[str]:
        return [f"memory/{number}.csv" for number in range(1, len(self._source.contents) + 1)]

    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        source = self._source
        for name, data in zip(self.files, source.contents, strict=True):
            opened = partial(Short, data, source.most)
            yield Part(name, opened, source.dialect, source.columns, projection=source.projection)


class MemorySink(Sink):
    """A file in memory that remembers how it ended."""

    def __init__(self) -> None:
        self.name = "memory/rejects.csv"
        self.data = b""
        self.state = "open"

    def write(self, data: bytes, /) -> int:
        self.data += data
        return len(data)

    def commit(self) -> None:
        self.state = "committed"

    def abort(self) -> None:
        self.state = "aborted"


def copy(source: Source, target: Target, work: Work = WORK, **asked: Any) -> CopyResult:
    """Copy a source into a target as the operator does.

    :param asked: fields of the request
    """
    request = replace(CopyRequest(work=work, description=f"{source.describe()} -> {target.describe()}"), **asked)
    with source.open(work) as reading:
        return target.write(reading, request, Progress(logging.getLogger("tests.copies"), request.description))


def drain(source: Source, dialect: CsvDialect | None = None, size: int = 1 << 16) -> bytes:
    """Read all parts of a source."""
    found = []
    with source.open(WORK) as reading:
        for part in reading.parts(dialect):
            stream = part.open()
            while data := stream.read(size):
                found.append(data)
            stream.close()
    return b"".join(found)
