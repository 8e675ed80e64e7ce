"""What a store of files can do, so that they can be the ends of a copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tradewind.operators.ends import Sink
from tradewind.operators.files.reading_ahead import AheadReader
from tradewind.operators.plan import Right


@dataclass(frozen=True)
class StoredFile:
    """A file, as it was found.

    :param url: where it is, in the one way in which the store writes it
    :param size: bytes, as they are stored
    :param version: another text whenever the bytes are others: an ETag
    :param raw: what the store itself knows of it
    """

    url: str
    size: int
    version: str
    raw: Any = field(default=None, repr=False, compare=False, hash=False)


class Storage(ABC):
    """A store, connected to."""

    @abstractmethod
    def find(self, url: str) -> StoredFile:
        """Look for one file.

        :raises NotFound: where it is not there
        """

    @abstractmethod
    def match(self, pattern: str) -> Iterator[StoredFile]:
        """Yield the files that a pattern matches; folders are none."""

    @abstractmethod
    def read(
        self, file: StoredFile, *, compression: str | None = None, on_bytes: Callable[[int, int], None] | None = None
    ) -> AheadReader:
        """Open a file's stream.

        :param file: the very file that must be read
        :param compression: how it is compressed, None for the bytes as they are stored
        :param on_bytes: is told bytes as stored and plain bytes as they come
        :raises SourceChanged: where it is another one by now, from the stream's ``read`` at the latest
        """

    @abstractmethod
    def read_at(self, file: StoredFile, offset: int, length: int) -> bytes:
        """Read stored bytes from anywhere in a file; fewer than asked for only at its end.

        :raises SourceChanged: where it is another one by now
        """

    @abstractmethod
    def write(self, url: str, *, token: str, compression: str | None = None) -> Sink:
        """Open a file for writing, which appears whole at ``commit`` or not at all.

        :param token: the name of the work; what a killed try of it left is removed
        :param compression: how to compress, None for the bytes as they come
        """

    def rights(self, url: str) -> list[Right]:
        """Return the rights that writing a file needs, for the plan."""
        return []

    @abstractmethod
    def delete(self, urls: Iterable[str]) -> None:
        """Delete files; one that is not there counts as deleted."""

    @abstractmethod
    def sweep(self, urls: Iterable[str], *, token: str) -> None:
        """Remove what a killed try left of files that it had not finished.

        :param urls: the files
        :param token: the name of the work that the try did
        """

    def reaches(self, other: Storage) -> bool:
        """Say whether this store can copy files of another one by itself."""
        return False

    def copy(self, file: StoredFile, url: str, *, token: str) -> None:
        """Copy a file within the store.

        :param file: the very file that must be copied
        :param url: where it goes
        :param token: the name of the work
        :raises SourceChanged: where it is another one by now
        """
        raise NotImplementedError(f"{type(self).__name__} copies nothing by itself")
