"""Which objects of a source COPY can load as they are, so that no byte of them passes through the worker."""

from __future__ import annotations

import codecs
import contextlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from tradewind.amazon.redshift.catalog import Table
from tradewind.amazon.redshift.copying import COMPRESSIONS, PARQUET, Head, csv_options
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part, Reading
from tradewind.operators.files.manifests import Manifest
from tradewind.operators.files.reading import FileReading
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.formats.csv import CsvFormat
from tradewind.operators.formats.csv.records import CsvInput, open_csv
from tradewind.operators.formats.csv.transcoding import Pushback
from tradewind.operators.types import ColumnType

if TYPE_CHECKING:
    from tradewind.operators.files.storage import StoredFile

_UTF_8 = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# What Parquet's columns must be for COPY, which converts nothing: SVV_COLUMNS.data_type by our types.
_SAME = {
    "boolean": ("boolean",),
    "smallint": ("smallint",),
    "integer": ("integer",),
    "bigint": ("bigint",),
    "real": ("real",),
    "double": ("double precision",),
    "date": ("date",),
    "timestamp": ("timestamp without time zone",),
    "text": ("character varying", "character"),
}


def heads(reading: Reading, table: Table | None) -> list[Head] | None:
    """Look at the heads of a source's objects.

    :param reading: the source
    :param table: the target, None where it is to be made
    :return: the objects, or None where one of them cannot be loaded as it is
    """
    if not isinstance(reading, FileReading) or reading.projection is not None or not _is_s3(reading.storage):
        return None
    found: list[Head] = []
    for file, part in zip(reading.found, reading.parts(), strict=True):
        layout = reading.layout(file.url)
        if isinstance(layout, CsvFormat):
            head = _csv(file, part, reading.compression_of(file))
        else:
            head = _parquet(file, part, table) if layout.name == "parquet" else None
        if head is None:
            return None
        found.append(head)
    return found


def staged_heads(storage: Storage, manifest: Manifest, dialect: CsvDialect) -> list[Head]:
    """Return the objects that were staged.

    :param storage: where they are
    :param manifest: what was written
    :param dialect: how
    """
    found = []
    for member in manifest.files:
        header = b"staged\n" if dialect.header else b""
        source = CsvInput(member.url, io.BytesIO(), dialect, header=header, names=manifest.columns)
        file = StoredFile(member.url, member.size, member.version)
        found.append(Head(file, source, csv_options(source, "gzip")))
    return found


def _is_s3(storage: Storage) -> bool:
    from tradewind.amazon.s3.storage import S3Storage

    return isinstance(storage, S3Storage)


def _csv(file: StoredFile, part: Part, compression: str | None) -> Head | None:
    dialect = part.dialect
    if compression not in COMPRESSIONS or dialect.escape_char != dialect.quote:
        return None
    if codecs.lookup(dialect.encoding).name not in ("utf-8", "ascii"):
        return None
    stream = part.open()
    with contextlib.closing(stream):
        start = stream.read(3)
        if start[:2] in _UTF_16 or (start == _UTF_8 and not dialect.header):
            return None
        with contextlib.closing(open_csv(replace(part, open=lambda: Pushback(stream, start)), rewrite=False)) as source:
            if source.line_end != b"\n":
                return None
            return Head(file, source, csv_options(source, compression))


def _parquet(file: StoredFile, part: Part, table: Table | None) -> Head | None:
    if part.columns is None or part.types is None or table is None:
        return None
    if [name.casefold() for name in part.columns] != [column.name.casefold() for column in table.columns]:
        return None
    for kind, column in zip(part.types, table.columns, strict=True):
        if column.generated or not _same(kind, column.type, column.base):
            return None
    source = CsvInput(file.url, io.BytesIO(), part.dialect, names=part.columns)
    return Head(file, source, PARQUET, whole=True)


def _same(kind: ColumnType | None, type_sql: str, base: str) -> bool:
    if kind is not None and kind.kind == "decimal":
        return type_sql == f"numeric({kind.precision},{kind.scale or 0})"
    return kind is not None and base in _SAME.get(kind.kind, ())
