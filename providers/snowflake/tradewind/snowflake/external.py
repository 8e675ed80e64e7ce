# ruff: noqa: S608 (names are parsed and quoted)
"""A load of objects that the service reads from S3 by itself: no byte of them passes through the worker.

Sources: "COPY INTO <table>", "Querying data in staged files" and "Querying metadata for staged files" of the manual.
``COPY INTO`` rounds numbers without a word. Where texts become numbers the warehouse therefore reads the objects once
before, for numbers whose digits a column does not keep; it counts the records too, and both must come to one count.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import commonprefix
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.operators.files.heads import FileHead, Unfit, file_heads, refuse_changed
from tradewind.operators.files.reading import FileReading
from tradewind.operators.tables.columns import match_columns
from tradewind.operators.types import ColumnType
from tradewind.snowflake.catalog import Column, Table
from tradewind.snowflake.copying import (
    FILE_ORDINAL,
    ROW_ORDINAL,
    Upload,
    loaded_rows,
    located,
    transforms,
)
from tradewind.snowflake.names import TableName, listed, literal, quoted
from tradewind.snowflake.records import fits, is_standard, why
from tradewind.snowflake.stages import FoundStage
from tradewind.snowflake.staging import MOST_FILES, StagedFile, csv_format

if TYPE_CHECKING:
    from tradewind.operators.ends import Part, Reading
    from tradewind.snowflake.session import SnowflakeSession

log = logging.getLogger(__name__)

COMPRESSIONS = {None: "NONE", "gzip": "GZIP", "zstd": "ZSTD", "bz2": "BZ2"}
"""How CSV may be compressed, and the service's word for it."""
PARQUET = (
    "(TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE TRIM_SPACE = FALSE "
    "REPLACE_INVALID_CHARACTERS = FALSE NULL_IF = ())"
)
# What Parquet's columns are cast to, and the columns of a table that then keep every value as it is, by our types.
_CASTS = {
    "boolean": ("BOOLEAN", ("BOOLEAN",)),
    "smallint": ("NUMBER(38,0)", ("NUMBER",)),
    "integer": ("NUMBER(38,0)", ("NUMBER",)),
    "bigint": ("NUMBER(38,0)", ("NUMBER",)),
    "double": ("FLOAT", ("FLOAT",)),
    "date": ("DATE", ("DATE",)),
    "timestamp": ("TIMESTAMP_NTZ(9)", ("TIMESTAMP_NTZ",)),
    "text": ("VARCHAR", ("VARCHAR", "TEXT")),
}
_PLAIN = re.compile(r"[A-Za-z0-9_/.=-]*")


@dataclass(frozen=True)
class Batch:
    """Objects that are loaded alike.

    :param heads: the objects
    :param columns: the table's columns in the order of the fields
    :param how: how they are written, as a file format
    :param fields: of Parquet, what each column is made from
    """

    heads: tuple[FileHead, ...]
    columns: tuple[Column, ...]
    how: str
    fields: tuple[str, ...] = ()

    @property
    def looked_at(self) -> dict[int, Column]:
        """The columns, by the number of their field from 1, for which texts must be looked at."""
        if self.fields:
            return {}
        return {at: column for at, column in enumerate(self.columns, 1) if column.type == "NUMBER"}


def find_batches(
    reading: Reading,
    parts: Sequence[Part] | None,
    table: Table,
    *,
    numbered: bool,
    join: Callable[[FileHead, tuple[str, ...]], None],
) -> list[Batch]:
    """Look at the heads of the source's objects.

    :param reading: the source
    :param parts: its parts, where they are known already
    :param table: the target
    :param numbered: whether the number of each record is kept
    :param join: is told the columns of each object
    :return: the objects, those of the same columns and of one format together
    :raises Unfit: where one cannot be loaded as it is
    """
    groups: dict[tuple[tuple[str, ...], str, tuple[str, ...]], list[FileHead]] = {}
    for head in file_heads(reading, COMPRESSIONS, parts):
        if head.source.empty:
            continue
        names = match_columns(head.source, table)
        columns = [table.column(name) for name in names]
        how, fields = _read(head, columns, numbered=numbered)
        join(head, names)
        groups.setdefault((names, how, fields), []).append(head)
    return [
        Batch(tuple(heads), tuple(table.column(name) for name in names), how, fields)
        for (names, how, fields), heads in groups.items()
    ]


def _read(head: FileHead, columns: Sequence[Column], *, numbered: bool) -> tuple[str, tuple[str, ...]]:
    """Return how an object is written, and of Parquet what each column is made from."""
    if head.layout == "parquet":
        types, names = head.source.types or (), head.source.names or ()
        pairs = zip(names, types, columns, strict=True)
        return PARQUET, tuple(_field(head.file.url, name, kind, column) for name, kind, column in pairs)
    source = head.source
    if not is_standard(source.dialect):
        raise Unfit(f"{source.name}: the service does not read this dialect of CSV as it is meant")
    if numbered:
        raise Unfit("duplicates= numbers the records, and COPY INTO counts no fields of records that it numbers")
    if transforms(columns):
        made = ", ".join(column.name for column in columns if transforms([column]))
        raise Unfit(f"texts are made into {made}, and COPY INTO counts no fields of records that it transforms")
    if source.header.count(b"\n") > 1:
        raise Unfit(f"{source.name}: the header goes over several lines")
    compression = COMPRESSIONS[head.compression]
    return csv_format(source.dialect, compression=compression, skipped=source.header_lines), ()


def _field(url: str, name: str, kind: ColumnType | None, column: Column) -> str:
    cast, takers = _CASTS.get(kind.kind, ("", ())) if kind else ("", ())
    if kind is not None and kind.kind == "decimal" and kind.precision is not None:
        cast, takers = f"NUMBER({kind.precision},{kind.scale or 0})", ("NUMBER",)
    is_kept = column.type in takers and (column.type != "NUMBER" or fits(kind, column))
    if not is_kept or '"' in name or (column.type == "VARCHAR" and "COLLATE" in column.whole_type):
        raise Unfit(f"{url}: what it holds for {column.name} is not known to come into {column.whole_type} as it is")
    return f"$1:{quoted(name)}::{cast}"


class ExternalLoad:
    """Objects, and the stage through which the service reads them.

    :param session: the load's session
    :param reading: the source
    :param stage: the stage
    :param batches: the objects
    """

    def __init__(
        self, session: SnowflakeSession, reading: Reading, stage: FoundStage, batches: Sequence[Batch]
    ) -> None:
        assert isinstance(reading, FileReading)  # noqa: S101 (told to mypy: file_heads refuses all others)
        self._session = session
        self._reading = reading
        self.stage = stage
        self.batches = batches
        self._counted: list[int | None] = []
        self.bytes = sum(head.file.size for batch in batches for head in batch.heads)

    def prepare(self) -> None:
        """Make the stage, and look at the numbers; what defines something commits, so it comes before all rows.

        :raises DataError: where a number has more digits than its column keeps
        """
        if self.stage.ddl is not None:
            self._session.execute(self.stage.ddl)
        self._counted = [self._looked(batch) if batch.looked_at else _known(batch) for batch in self.batches]

    def copy(self, table: TableName, *, numbered: bool, begun: Callable[[], None]) -> int:
        """Load all objects.

        :param table: the table, or the temporary one
        :param numbered: whether the number of each record is kept
        :param begun: called when the first rows are in
        :return: the rows
        :raises DataError: where a record does not fit, or not all were loaded
        :raises SourceChanged: where an object is another one by now
        """
        total = 0
        for batch, counted in zip(self.batches, self._counted, strict=True):
            rows = 0
            for statement, heads in self._statements(batch, table, numbered=numbered):
                log.info("COPY INTO %s from %s objects at %s", table, f"{len(heads):,}", self.stage.url)
                with _located(batch):
                    answer = self._session.query(statement)
                rows += loaded_rows(answer, len(heads))
                begun()
            refuse_changed(self._reading.storage, [head.file for head in batch.heads])
            if counted is not None and rows != counted:
                raise DataError(
                    f"COPY INTO loaded {rows:,} records of {counted:,} that the objects at {self.stage.url} have: "
                    "nothing is committed"
                )
            total += rows
        return total

    def statements(self, table: TableName, *, numbered: bool) -> list[str]:
        """Return what would be run, for the plan."""
        found = [self.stage.ddl] if self.stage.ddl else []
        for batch in self.batches:
            if batch.looked_at:
                name = self.stage.name.beside("TRADEWIND_FORMAT")
                found += [_format_ddl(name, batch), self._look(batch, name)]
            found += [statement for statement, _ in self._statements(batch, table, numbered=numbered)]
        return found

    def _statements(
        self, batch: Batch, table: TableName, *, numbered: bool
    ) -> Iterator[tuple[str, Sequence[FileHead]]]:
        names = [column.name for column in batch.columns]
        place = f"@{self.stage.name.sql}"
        if batch.fields:
            ordinals = ["METADATA$FILENAME", "METADATA$FILE_ROW_NUMBER"] if numbered else []
            names += [FILE_ORDINAL, ROW_ORDINAL] if numbered else []
            place = f"(SELECT {', '.join([*batch.fields, *ordinals])} FROM {place})"
        for start in range(0, len(batch.heads), MOST_FILES):
            heads = batch.heads[start : start + MOST_FILES]
            files = ", ".join(literal(self.stage.path(head.file.url)) for head in heads)
            # Copy options of the stage or the table count where the statement has none: each is said.
            yield (
                (
                    f"COPY INTO {table.sql} ({listed(names)}) FROM {place} FILES = ({files}) FILE_FORMAT = {batch.how} "
                    "ON_ERROR = ABORT_STATEMENT FORCE = TRUE PURGE = FALSE TRUNCATECOLUMNS = FALSE"
                ),
                heads,
            )

    # numbers that would be rounded

    def _looked(self, batch: Batch) -> int:
        """Look at the numbers of a batch; return how many records there are."""
        name = self.stage.name.beside(f"TRADEWIND_FORMAT_{secrets.token_hex(8).upper()}")
        self._session.execute(_format_ddl(name, batch))
        with _located(batch):
            rows = self._session.query(self._look(batch, name))
        total = 0
        heads = {head.file.url: head for head in batch.heads}
        for file, count, *found in rows:
            head = next((head for url, head in heads.items() if url.endswith(f"/{str(file).lstrip('/')}")), None)
            if head is None:  # another object that lies beside those of the source
                continue
            total += int(count)
            for column, first in zip(batch.looked_at.values(), found, strict=True):
                if first is not None:
                    number, _, value = str(first).partition(":")
                    raise _rounded(head, int(number), column, value)
        return total

    def _look(self, batch: Batch, name: TableName) -> str:
        firsts = [
            f"MIN(CASE WHEN REGEXP_LIKE(${at}, {literal(lossy(column))}) THEN "
            f"LPAD(METADATA$FILE_ROW_NUMBER::VARCHAR, 18, '0') || ':' || ${at} END)"
            for at, column in batch.looked_at.items()
        ]
        common = commonprefix([self.stage.path(head.file.url) for head in batch.heads])
        plain = _PLAIN.match(common)
        place = f"@{self.stage.name.sql}/{plain[0] if plain else ''}"
        return (
            f"SELECT METADATA$FILENAME, COUNT(*), {', '.join(firsts)} FROM {place} "
            f"(FILE_FORMAT => {literal(name.sql)}) GROUP BY METADATA$FILENAME"
        )


def lossy(column: Column) -> str:
    """Return the pattern of a number whose digits a column does not keep, as REGEXP_LIKE takes it.

    :param column: a NUMBER
    """
    kept = f"[0-9]{{{column.scale}}}" if column.scale else ""
    fraction = f"[0-9]*[.]{kept}[0-9]*[1-9][0-9]*"
    return f" *[-+]?{fraction} *" if column.scale else f" *[-+]?({fraction}|[0-9.]+[eE][-+]?[0-9]+) *"


def _rounded(head: FileHead, number: int, column: Column, value: str) -> DataError:
    text = f"{head.part.name}, record {number:,}, column {column.name}: {why(value[:100], column)}"
    return DataError(text, source=head.part.name, column=column.name, value=value[:100])


def _format_ddl(name: TableName, batch: Batch) -> str:
    return f"CREATE TEMPORARY FILE FORMAT {name.sql} {batch.how[1:-1]}"


def _known(batch: Batch) -> int | None:
    """Return how many records the objects have, where their footers tell."""
    counts = [head.part.batches.rows if head.part.batches is not None else None for head in batch.heads]
    return None if None in counts else sum(count or 0 for count in counts)


@contextmanager
def _located(batch: Batch) -> Iterator[None]:
    """Name the object, the line and the column of a record that the service refused."""
    try:
        yield
    except DataError as error:
        found = re.search(r"[Ff]ile:? '([^']*)'", str(error))
        name = found[1].lstrip("/") if found else ""
        head = next((head for head in batch.heads if name and head.file.url.endswith(name)), None)
        if head is None:
            raise
        files = [] if batch.fields else [StagedFile(name, 1)]
        raise located(error, Upload(head.part, batch.columns, head.source.dialect, False, files)) from error
