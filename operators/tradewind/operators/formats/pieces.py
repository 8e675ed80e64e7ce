"""A set of files as its format hands it out: bytes, and which file of the set they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Bounds:
    """How large a file of a set may get; a record that is larger has a file of its own.

    :param bytes: bytes before the file is compressed as a whole, None for any number
    :param rows: records, None for any number
    """

    bytes: int | None
    rows: int | None


@dataclass(frozen=True)
class Piece:
    """Bytes of a file of a set.

    :param file: the number of the file, counted from 0; a new number ends the file before it
    :param data: the bytes
    :param rows: how many records they hold
    """

    file: int
    data: bytes
    rows: int


class Pieces(Protocol):
    """The bytes of a set of files in order, one file at least."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names of the columns, once the pieces are taken; None where the files do not name them."""

    def __iter__(self) -> Iterator[Piece]:
        """Yield the pieces; they can be taken once."""
