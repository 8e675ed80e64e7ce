"""Files of a store, found and open as the source of a copy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part, Reading
from tradewind.operators.files.compression import infer
from tradewind.operators.files.prefetching import Prefetch
from tradewind.operators.files.reading_ahead import AheadReader
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.formats import FileAccess, FileFormat
from tradewind.operators.formats.csv import CsvFormat
from tradewind.operators.projection import Projection
from tradewind.operators.types import Arrays


class FileReading(Reading):
    """Files that were found, each of a size and a version.

    :param storage: where they are
    :param found: in the order in which they are read
    :param layout: says how the rows lie in a file, by its URL
    :param compression: how they are compressed, or ``infer``
    :param projection: which columns are wanted, None for all as they are
    """

    def __init__(
        self,
        storage: Storage,
        found: Sequence[StoredFile],
        layout: Callable[[str], FileFormat],
        compression: str | None,
        projection: Projection | None = None,
    ) -> None:
        self.storage = storage
        self.found = found
        self.layout = layout
        self.projection = projection
        self._compression = compression
        self._read_bytes = 0
        self._ahead = Prefetch([self._opener(file) for file in found], [file.size for file in found])

    @property
    def fingerprint(self) -> str:
        """Identify the files by place, version and size, and how they are read."""
        files = [(file.url, file.version, file.size) for file in self.found]
        how = [
            sorted({repr(self.layout(file.url)) for file in self.found}),
            self._compression,
            self.projection and repr(self.projection),
        ]
        return hashlib.sha256(json.dumps([files, how]).encode()).hexdigest()

    @property
    def renames(self) -> bool:
        """Whether names were given that win over the files' headers."""
        layouts = [self.layout(file.url) for file in self.found]
        return any(isinstance(layout, CsvFormat) and layout.columns is not None for layout in layouts)

    @property
    def total_bytes(self) -> int:
        """How many bytes the files have."""
        return sum(file.size for file in self.found)

    @property
    def read_bytes(self) -> int:
        """How many of them are read so far."""
        return self._read_bytes

    @property
    def files(self) -> Sequence[str]:
        """The files' URLs."""
        return [file.url for file in self.found]

    def compression_of(self, file: StoredFile) -> str | None:
        """Return how a file is compressed."""
        return None if self.layout(file.url).compresses else infer(self._compression, file.url)

    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        """Yield the files; CSV comes as it is, in the dialect it is in."""
        for index, file in enumerate(self.found):
            access = FileAccess(file.url, file.size, partial(self._ahead.open, index), partial(self._read_at, file))
            part = self.layout(file.url).part(access, dialect, arrays, self.projection)
            yield replace(part, projection=self.projection)

    def close(self) -> None:
        """Let go of files that were opened before their turn."""
        self._ahead.close()

    def _opener(self, file: StoredFile) -> Callable[[], AheadReader]:
        return lambda: self.storage.read(file, compression=self.compression_of(file), on_bytes=self._count)

    def _read_at(self, file: StoredFile, offset: int, length: int) -> bytes:
        data = self.storage.read_at(file, offset, length)
        self._count(len(data), len(data))
        return data

    def _count(self, wire: int, plain: int) -> None:
        self._read_bytes += wire
