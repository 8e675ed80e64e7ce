"""Comma-separated values, in any dialect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats import FileAccess, FileFormat
from tradewind.operators.types import Arrays

if TYPE_CHECKING:
    from tradewind.operators.formats.csv.cutting import CutPieces
    from tradewind.operators.formats.pieces import Bounds
    from tradewind.operators.projection import Projection


@dataclass(frozen=True)
class CsvFormat(FileFormat):
    """Comma-separated values.

    :param dialect: how they are written
    :param columns: the names of the fields in order, None where a header names them
    """

    dialect: CsvDialect
    columns: tuple[str, ...] | None = None
    name: ClassVar[str] = "csv"

    def asked(self) -> CsvDialect:
        """Return the file's own dialect."""
        return self.dialect

    def part(
        self,
        file: FileAccess,
        dialect: CsvDialect | None = None,
        arrays: Arrays = "braces",
        projection: Projection | None = None,
    ) -> Part:
        """Hand out the bytes as they are, in the dialect they are in."""
        return Part(file.name, file.open, self.dialect, self.columns, file.size)

    def written(self, parts: Iterator[Part], *, renamed: bool) -> Iterator[tuple[bytes, int | None]]:
        """Join the parts: one header, one dialect, whole records."""
        from tradewind.operators.formats.csv.joining import joined

        return joined(parts, self.dialect, renamed=renamed)

    def pieces(self, parts: Iterator[Part], bounds: Bounds, name: str, *, renamed: bool) -> CutPieces:
        """Cut records where they end; each file has the header."""
        from tradewind.operators.formats.csv.cutting import CsvCutter, CutPieces

        return CutPieces(self.written(parts, renamed=renamed), CsvCutter(self.dialect, name), bounds)

    def how(self, compression: str | None, url: str) -> dict[str, object]:
        """Say the dialect too."""
        return {**super().how(compression, url), **asdict(self.dialect)}
