"""How rows lie in a file: one class for each format, whatever the store.

A format turns the bytes of a file into a part of a copy, and the parts of a copy into the bytes of a file. What lies
between is records of CSV, see :mod:`tradewind.operators.ends`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part, Readable
from tradewind.operators.types import Arrays, Spelling

if TYPE_CHECKING:
    from tradewind.operators.formats.pieces import Bounds, Pieces
    from tradewind.operators.projection import Projection


@dataclass(frozen=True)
class FileAccess:
    """A file of a store, for its format to read.

    :param name: its URL
    :param size: its bytes as they are stored
    :param open: opens the stream of its bytes, decompressed; calling it again begins anew
    :param read_at: reads stored bytes, by offset and length; fewer only at the end of the file
    """

    name: str
    size: int
    open: Callable[[], Readable]
    read_at: Callable[[int, int], bytes]


class FileFormat(ABC):
    """What a kind of file needs in order to be read and written; its ``repr`` is part of a source's fingerprint."""

    name: ClassVar[str]
    arrays: ClassVar[Spelling] = "braces"
    """How arrays are asked for, where a file of this format is written."""
    compresses: ClassVar[bool] = False
    """Whether the format compresses by itself: a file of it is stored as it is."""

    @abstractmethod
    def asked(self) -> CsvDialect:
        """Return the CSV that a source of rows is asked for, where a file of this format is written."""

    @abstractmethod
    def part(
        self,
        file: FileAccess,
        dialect: CsvDialect | None = None,
        arrays: Arrays = "braces",
        projection: Projection | None = None,
    ) -> Part:
        """Read a file.

        :param file: the file; nothing of it is read before the part is opened, unless the format has to look
        :param dialect: what the target would like to get, if rows have to be rendered
        :param arrays: how it would like arrays to be written
        :param projection: what will be made of the fields: those that nobody wants may be left out
        """

    @abstractmethod
    def written(self, parts: Iterator[Part], *, renamed: bool) -> Iterator[tuple[bytes, int | None]]:
        """Yield the bytes of one file, each with the rows that became known by then, None where nobody counts them.

        :param parts: what to write
        :param renamed: whether the parts' columns are to stand in place of their headers
        """

    @abstractmethod
    def pieces(self, parts: Iterator[Part], bounds: Bounds, name: str, *, renamed: bool) -> Pieces:
        """Return the bytes of a set of files.

        :param parts: what to write
        :param bounds: how large each file may get
        :param name: the set, for messages
        :param renamed: whether the parts' columns are to stand in place of their headers
        :raises InvalidArgument: where files of this format cannot be cut
        """

    def how(self, compression: str | None, url: str) -> dict[str, object]:
        """Say how files are written, for the manifest of a set.

        :param compression: what the author said
        :param url: the files
        """
        from tradewind.operators.files.compression import infer

        return {"format": self.name, "compression": infer(compression, url)}
