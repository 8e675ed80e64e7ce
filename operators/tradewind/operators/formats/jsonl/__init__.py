"""JSON lines: one object on each line.

The keys are the columns, in the order in which the first records bring them; a key that is not there is NULL. Numbers
keep their digits, nested objects and lists stay JSON. What is written is as plain as JSON can be: moments and UUIDs are
texts, bytes are ``\\x`` and hex digits, a float that is no number is ``"NaN"`` or ``"Infinity"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats import FileAccess, FileFormat
from tradewind.operators.types import Arrays, Spelling

if TYPE_CHECKING:
    from tradewind.operators.formats.csv.cutting import CutPieces
    from tradewind.operators.formats.pieces import Bounds
    from tradewind.operators.projection import Projection


@dataclass(frozen=True)
class JsonLines(FileFormat):
    """JSON lines.

    :param columns: the keys that are wanted, None for all that the first records have
    :param encoding: a Python codec's name, for reading
    """

    columns: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    name: ClassVar[str] = "jsonl"
    arrays: ClassVar[Spelling] = "json"

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
        """Look at the first records of a file for its columns."""
        from tradewind.operators.formats.jsonl.reading import JsonStream, Shape

        made = replace(dialect or CsvDialect(), header=False, encoding="utf-8")
        shape = Shape.find(file, self.columns, self.encoding, projection)
        return Part(
            file.name,
            lambda: JsonStream(file, shape, self.encoding, made, arrays),
            made,
            shape.columns,
            file.size,
            types=shape.types,
            unit="record",
        )

    def written(self, parts: Iterator[Part], *, renamed: bool) -> Iterator[tuple[bytes, int | None]]:
        """Write an object for each record."""
        from tradewind.operators.formats.jsonl.writing import json_lines

        return json_lines(parts)

    def pieces(self, parts: Iterator[Part], bounds: Bounds, name: str, *, renamed: bool) -> CutPieces:
        """Cut lines: the characters that would quote or part fields are none that JSON holds."""
        from tradewind.operators.formats.csv.cutting import CsvCutter, CutPieces

        cutter = CsvCutter(CsvDialect(header=False, delimiter="\x02", quote="\x01"), name)
        return CutPieces(self.written(parts, renamed=renamed), cutter, bounds)
