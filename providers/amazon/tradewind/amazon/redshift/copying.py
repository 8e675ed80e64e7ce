"""COPY: which files it loads, and the statement.

Source: "COPY", "COPY parameter reference" and "Using a manifest to specify data files" of the Amazon Redshift Database
Developer Guide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tradewind.amazon.redshift.quoting import authorization, option
from tradewind.hooks.libpq.names import listed

if TYPE_CHECKING:
    from tradewind.operators.files.storage import StoredFile
    from tradewind.operators.formats.csv.records import CsvInput

COMPRESSIONS = {None: "", "gzip": " GZIP", "zstd": " ZSTD", "bz2": " BZIP2"}
"""How an object may be compressed, and the key word that says so."""


class Head(NamedTuple):
    """An object that COPY can load as it is.

    :param file: the object, as it was found
    :param source: what its header says; nothing more is read of it
    :param options: how it is written, as COPY's options
    :param whole: whether its columns are the table's by position, so that no list of columns is given
    """

    file: StoredFile
    source: CsvInput
    options: str
    whole: bool = False


class Batch(NamedTuple):
    """Objects that one COPY loads.

    :param files: the objects
    :param columns: the table's columns in the order of their fields; none for all
    :param options: how they are written
    """

    files: tuple[StoredFile, ...]
    columns: tuple[str, ...]
    options: str

    def manifest(self) -> str:
        """Write the manifest: it names each object, all of which must be there."""
        entries = [{"url": file.url, "mandatory": True, "meta": {"content_length": file.size}} for file in self.files]
        return json.dumps({"entries": entries})


def copy_statement(into: str, columns: Sequence[str], manifest: str, options: str, iam_role: str, region: str) -> str:
    """Write a COPY; no credential is in it, but the name of a role.

    :param into: the table, quoted
    :param columns: its columns in the order of the fields; none for all
    :param manifest: the manifest's URL
    :param options: how the objects are written
    :param iam_role: ``default``, or the ARNs of roles
    :param region: where the objects are, empty for the warehouse's own region
    """
    named = f" ({listed(list(columns))})" if columns else ""
    place = f" REGION {option(region)}" if region else ""
    return f"COPY {into}{named} FROM {option(manifest)} {authorization(iam_role)} MANIFEST{options}{place}"


def csv_options(source: CsvInput, compression: str | None) -> str:
    """Write the options of CSV.

    :param source: how it is written
    :param compression: how it is compressed
    """
    dialect = source.dialect
    skipped = f" IGNOREHEADER {source.header_lines}" if source.header_lines else ""
    return (
        f" FORMAT AS CSV DELIMITER {option(dialect.delimiter)} QUOTE {option(dialect.quote)} "
        f"NULL AS {option(dialect.null)}{skipped}{COMPRESSIONS[compression]} DATEFORMAT 'auto' TIMEFORMAT 'auto'"
    )


PARQUET = " FORMAT AS PARQUET"
