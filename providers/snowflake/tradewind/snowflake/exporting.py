# ruff: noqa: S608 (names are parsed and quoted)
"""``COPY INTO`` a location: objects that the warehouse writes to S3 by itself.

Source: "COPY INTO <location>", "CREATE FILE FORMAT" and "Data unloading considerations" of Snowflake's manual.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.types import ColumnType
from tradewind.snowflake.names import literal, quoted

if TYPE_CHECKING:
    from tradewind.operators.files.datasets import Written
    from tradewind.snowflake.stages import FoundStage

Format = Literal["parquet", "csv"]

SETTINGS = (
    "ALTER SESSION SET TIMEZONE = 'UTC' DATE_OUTPUT_FORMAT = 'YYYY-MM-DD' TIME_OUTPUT_FORMAT = 'HH24:MI:SS.FF6' "
    "TIMESTAMP_NTZ_OUTPUT_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF6'"
)
_COMPRESSIONS = {None: ("NONE", ""), "gzip": ("GZIP", ".gz"), "zstd": ("ZSTD", ".zst"), "bz2": ("BZ2", ".bz2")}
_MOST_MB = 5120.0
_MIB = 1024**2
_PLAIN = re.compile(r"[A-Za-z0-9_/.=-]*")
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Layout:
    """How the objects of a set are written.

    :param format: parquet or csv
    :param partition_by: columns whose values become folders, as ``day=2026-01-01/``
    :param header: of CSV, whether each object begins with the columns' names
    :param delimiter: of CSV
    :param null: of CSV, what stands for NULL
    :param compression: of CSV: gzip, zstd, bz2 or None
    :param max_file_mb: how large an object may get, in MiB (up to 5,120)
    :param parallel: whether several objects are written at once; else it is one, whose rows keep the query's order
    """

    format: Format = "parquet"
    partition_by: tuple[str, ...] = ()
    header: bool = True
    delimiter: str = ","
    null: str = ""
    compression: str | None = None
    max_file_mb: float | None = None
    parallel: bool = True

    @property
    def dialect(self) -> CsvDialect:
        """How CSV is written."""
        return CsvDialect(header=self.header, delimiter=self.delimiter, null=self.null)

    def check(self) -> None:
        """Refuse what COPY INTO cannot write.

        :raises InvalidArgument: with what, which and what instead
        """
        if self.format not in ("parquet", "csv"):
            raise InvalidArgument(f"format must be parquet or csv, not {self.format!r}")
        if self.compression not in _COMPRESSIONS:
            raise InvalidArgument(f"compression must be gzip, zstd, bz2 or None, not {self.compression!r}")
        if self.format == "parquet" and self.compression:
            raise InvalidArgument("Parquet is compressed within: leave compression= out")
        if self.partition_by and not self.parallel:
            raise InvalidArgument("partition_by writes several objects: leave parallel=False out")
        if self.max_file_mb is not None and not 0 < self.max_file_mb <= _MOST_MB:
            raise InvalidArgument(f"max_file_mb must be above 0 and up to {_MOST_MB:g}, not {self.max_file_mb!r}")
        if self.dialect.delimiter in "\\'":
            raise InvalidArgument(f"delimiter must be no backslash and no quote, not {self.delimiter!r}")

    def how(self) -> dict[str, Any]:
        """Say how the objects are written, for the manifest."""
        return {"format": self.format} | (asdict(self.dialect) if self.format == "csv" else {})

    def file_format(self) -> str:
        """Write the file format."""
        if self.format == "parquet":
            return "(TYPE = PARQUET COMPRESSION = SNAPPY NULL_IF = ())"
        delimiter = "\\t" if self.delimiter == "\t" else self.delimiter
        return (
            f"(TYPE = CSV COMPRESSION = {_COMPRESSIONS[self.compression][0]} RECORD_DELIMITER = '\\n' "
            f"FIELD_DELIMITER = '{delimiter}' FIELD_OPTIONALLY_ENCLOSED_BY = '\"' ESCAPE = NONE "
            f"ESCAPE_UNENCLOSED_FIELD = NONE NULL_IF = ({literal(self.null)}) EMPTY_FIELD_AS_NULL = FALSE "
            "DATE_FORMAT = 'YYYY-MM-DD' TIME_FORMAT = 'HH24:MI:SS.FF6' "
            "TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF6' BINARY_FORMAT = HEX)"
        )

    def statement(self, query: str, stage: FoundStage, folder: str, percent: str = "%") -> str:
        """Write the COPY INTO.

        :param query: what is unloaded
        :param stage: leads to S3
        :param folder: the URL of the objects' folder
        :param percent: how a percent sign is written: beside bound values it is doubled
        """
        end = "" if self.parallel else f"data.{self.format}{_COMPRESSIONS[self.compression][1]}"
        place = f"@{stage.name.sql}/{stage.path(folder)}{end}"
        by = f" PARTITION BY ({self._partition(percent)})" if self.partition_by else ""
        size = _MOST_MB if self.max_file_mb is None and not self.parallel else self.max_file_mb
        bound = f" MAX_FILE_SIZE = {int(size * _MIB)}" if size else ""
        # A query's id in the names; with a single object it may not be asked for.
        named = "INCLUDE_QUERY_ID = TRUE" if self.parallel else "SINGLE = TRUE"
        header = "TRUE" if self.header or self.format == "parquet" else "FALSE"
        return (
            f"COPY INTO {place if _PLAIN.fullmatch(stage.path(folder)) else literal(place)} FROM (\n{query}\n){by} "
            f"FILE_FORMAT = {self.file_format()}{bound} {named} DETAILED_OUTPUT = TRUE HEADER = {header}"
        )

    def _partition(self, percent: str) -> str:
        pieces = []
        for name in self.partition_by:
            text = f"REPLACE(TO_VARCHAR({quoted(name)}), '/', '{percent}2F')"
            pieces.append(f"{literal(name + '=')} || COALESCE({text}, '{_NO_PARTITION}')")
        return " || '/' || ".join(pieces)


def exported(query: str, names: Sequence[str], types: Sequence[ColumnType], layout: Layout) -> str:
    """Return a query whose values are written as the other ends read them.

    :param query: what is unloaded
    :param names: the names of its columns
    :param types: their types
    :param layout: how the objects are written
    :raises InvalidArgument: where a value could not be written as it is
    """
    missing = [name for name in layout.partition_by if name not in names]
    if missing:
        raise InvalidArgument(f"partition_by: there is no column {missing[0]!r}: there are {', '.join(names)}")
    shown = [_shown(name, kind, layout.format) for name, kind in zip(names, types, strict=True)]
    if shown == [quoted(name) for name in names]:
        return query
    fields = [
        text if text == quoted(name) else f"{text} AS {quoted(name)}" for text, name in zip(shown, names, strict=True)
    ]
    return f"SELECT {', '.join(fields)} FROM (\n{query}\n) AS q"


def _shown(name: str, kind: ColumnType, format: Format) -> str:
    of = quoted(name)
    utc = f"CONVERT_TIMEZONE('UTC', {of})::TIMESTAMP_NTZ"
    if kind.kind == "json":
        return f"TO_JSON({of})"
    if format == "parquet":
        return {"timestamptz": utc, "time": f"TO_VARCHAR({of}, 'HH24:MI:SS.FF6')"}.get(kind.kind, of)
    if kind.kind == "double":
        raise InvalidArgument(
            f"column {name!r} is FLOAT, of which COPY INTO writes some 15 digits into CSV: unload Parquet, or write it "
            "in the query as the text or the number that you want"
        )
    if kind.kind == "bytes":
        return f"{literal(chr(92) + 'x')} || HEX_ENCODE({of}, 0)"
    if kind.kind == "timestamptz":
        return f"TO_VARCHAR({utc}, 'YYYY-MM-DD HH24:MI:SS.FF6') || '+00'"
    return of


def written(answer: Sequence[tuple[Any, ...]]) -> list[Written]:
    """Read what a COPY INTO says that it wrote.

    :param answer: its detailed output: the file's name, its bytes, its rows
    :raises DataError: where it is none
    """
    from tradewind.operators.files.datasets import Written

    if any(len(row) != 3 for row in answer):
        raise DataError(f"the service does not say which files it wrote: {answer[0]!r}")
    return [Written(str(name), int(rows), int(size)) for name, size, rows in answer]
