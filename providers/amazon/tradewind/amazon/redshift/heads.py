"""Which objects of a source COPY can load as they are, so that no byte of them passes through the worker."""

from __future__ import annotations

import io
import logging

from tradewind.amazon.redshift.catalog import Table
from tradewind.amazon.redshift.copying import COMPRESSIONS, PARQUET, Head, csv_options
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Reading
from tradewind.operators.files.heads import FileHead, Unfit, file_heads
from tradewind.operators.files.manifests import Manifest
from tradewind.operators.files.storage import StoredFile
from tradewind.operators.formats.csv.records import CsvInput
from tradewind.operators.types import ColumnType

log = logging.getLogger(__name__)

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
    try:
        return [_head(found, table) for found in file_heads(reading, COMPRESSIONS)]
    except Unfit as why:
        log.info("the rows pass through the worker: %s", why)
        return None


def staged_heads(manifest: Manifest, dialect: CsvDialect, *, numbered: bool) -> list[Head]:
    """Return the objects that were staged.

    :param manifest: what was written
    :param dialect: how
    :param numbered: whether their first column is the number of the record
    """
    found = []
    names = manifest.columns and manifest.columns[numbered:]
    for member in manifest.files:
        header = b"staged\n" if dialect.header else b""
        source = CsvInput(member.url, io.BytesIO(), dialect, header=header, names=names)
        file = StoredFile(member.url, member.size, member.version)
        found.append(Head(file, source, csv_options(source, "gzip")))
    return found


def _head(found: FileHead, table: Table | None) -> Head:
    if found.layout == "csv":
        return Head(found.file, found.source, csv_options(found.source, found.compression))
    _check_parquet(found, table)
    return Head(found.file, found.source, PARQUET, whole=True)


def _check_parquet(found: FileHead, table: Table | None) -> None:
    url, names, types = found.file.url, found.source.names or (), found.source.types or ()
    if table is None:
        raise Unfit(f"{url}: the table is made by its types")
    if [name.casefold() for name in names] != [column.name.casefold() for column in table.columns]:
        raise Unfit(f"{url} has not the table's columns in their order")
    for kind, column in zip(types, table.columns, strict=True):
        if column.generated or not _same(kind, column.type, column.base):
            raise Unfit(f"{url}: COPY does not convert what it holds for column {column.name} to {column.type}")


def _same(kind: ColumnType | None, type_sql: str, base: str) -> bool:
    if kind is not None and kind.kind == "decimal":
        return type_sql == f"numeric({kind.precision},{kind.scale or 0})"
    return kind is not None and base in _SAME.get(kind.kind, ())
