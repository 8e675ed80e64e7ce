"""COPY: which files it loads, the statement, and what the service tells of a record that it refused.

Source: "COPY", "COPY parameter reference", "Using a manifest to specify data files", SYS_LOAD_ERROR_DETAIL and
STL_LOAD_ERRORS of the Amazon Redshift Database Developer Guide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradewind.amazon.redshift.quoting import authorization, option
from tradewind.hooks.errors import AccessDenied, DataError, NotFound
from tradewind.hooks.libpq.names import listed
from tradewind.operators.files.storage import StoredFile
from tradewind.operators.formats.csv.records import CsvInput

if TYPE_CHECKING:
    from tradewind.amazon.redshift.sessions import Session

COMPRESSIONS = {None: "", "gzip": " GZIP", "zstd": " ZSTD", "bz2": " BZIP2"}
"""How an object may be compressed, and the key word that says so."""

_LOOKS = 3
"""How often the load errors are looked for: the service writes them a moment later."""


@dataclass(frozen=True)
class Head:
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


@dataclass(frozen=True)
class Batch:
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


@dataclass(frozen=True)
class LoadError:
    """A record that COPY refused.

    :param url: the object
    :param line: the line in it, counted from 1; 0 where none is told
    :param column: the column, empty where none is told
    :param reason: the service's words, no value in them
    """

    url: str
    line: int
    column: str
    reason: str

    def told(self) -> DataError:
        """Return the error with the place that a person can open."""
        column = f", column {self.column}" if self.column else ""
        line = f", line {self.line:,}" if self.line else ""
        text = f"{self.url}{line}{column}: {self.reason}"
        return DataError(text, source=self.url, line=self.line or None, column=self.column or None)


_QUERIES = (
    "SELECT trim(file_name), line_number, trim(column_name), trim(error_message) FROM sys_load_error_detail "
    "WHERE session_id = %s ORDER BY start_time DESC LIMIT 1",
    "SELECT trim(filename), line_number, trim(colname), trim(err_reason) FROM stl_load_errors "
    "WHERE session = %s ORDER BY starttime DESC LIMIT 1",
)


def load_error(session: Session, pause: float = 1.0) -> LoadError | None:
    """Return what the service tells of the last load that failed in this session, None where it tells nothing.

    :param session: the load's connection, its transaction rolled back
    :param pause: seconds between two looks
    """
    pid = session.query("SELECT pg_backend_pid()")[0][0]
    session.rollback()
    for number in range(_LOOKS):
        for query in _QUERIES:
            try:
                rows = session.query(query, [pid])
            except (AccessDenied, NotFound):  # one view is for new warehouses, the other for old ones
                rows = []
            session.rollback()
            if rows:
                url, line, column, reason = rows[0]
                return LoadError(str(url), int(line or 0), str(column or ""), str(reason).strip())
        if number < _LOOKS - 1:
            time.sleep(pause)
    return None
