"""Parquet, by ``pyarrow``, which is imported when a file is read or written: ``pip install tradewind[parquet]``.

Files are read by ranges, row group by row group and batch by batch; they are written as a stream, a row group at a
time, and the same records give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats import FileAccess, FileFormat
from tradewind.operators.types import Arrays, Spelling

if TYPE_CHECKING:
    from tradewind.operators.formats.parquet.parting import ParquetPieces
    from tradewind.operators.formats.pieces import Bounds
    from tradewind.operators.projection import Projection


@dataclass(frozen=True)
class Parquet(FileFormat):
    """Parquet.

    :param columns: the columns that are wanted, None for all
    :param codec: how the pages are compressed, for writing
    """

    columns: tuple[str, ...] | None = None
    codec: str | None = "zstd"
    name: ClassVar[str] = "parquet"
    arrays: ClassVar[Spelling] = "json"
    compresses: ClassVar[bool] = True

    def asked(self) -> CsvDialect:
        """Ask for records without a header: the parts name their columns."""
        return CsvDialect(header=False)

    def part(
        self,
        file: FileAccess,
        dialect: CsvDialect | None = None,
        arrays: Arrays = "braces",
        projection: Projection | None = None,
    ) -> Part:
        """Read a file's footer for its columns."""
        from tradewind.operators.formats.parquet.reading import ParquetFile
        from tradewind.operators.formats.parquet.rendering import CsvWriter

        delimiter = dialect.delimiter if dialect is not None else ","
        made = CsvDialect(header=False, delimiter=delimiter)
        opened = ParquetFile.open(file, self.columns, projection)
        return Part(
            file.name,
            lambda: opened.stream(CsvWriter(opened, made, arrays)),
            made,
            opened.columns,
            file.size,
            types=opened.types,
            unit="record",
            batches=opened,
        )

    def written(self, parts: Iterator[Part], *, renamed: bool) -> Iterator[tuple[bytes, int | None]]:
        """Write typed columns."""
        from tradewind.operators.formats.parquet.writing import parquet_bytes

        return parquet_bytes(parts, self.codec)

    def pieces(self, parts: Iterator[Part], bounds: Bounds, name: str, *, renamed: bool) -> ParquetPieces:
        """Write a file after the other, row group by row group."""
        from tradewind.operators.formats.parquet.parting import ParquetPieces
        from tradewind.operators.formats.parquet.writing import Tables

        return ParquetPieces(Tables(parts), self.codec, bounds)

    def how(self, compression: str | None, url: str) -> dict[str, object]:
        """Say how the pages are compressed."""
        return {"format": self.name, "compression": self.codec}
