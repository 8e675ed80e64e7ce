"""Records of CSV as the service reads them."""

from __future__ import annotations

import bz2
import gzip
import re
from typing import TYPE_CHECKING, Any

from tests.snowflake.service.external import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row = list["str | None"]


def unpacked(data: bytes, options: Mapping[str, str], name: str) -> bytes:
    """Return a file's bytes as they were before they were compressed.

    :raises Failed: where they are no such
    """
    kind = options.get("COMPRESSION", "AUTO")
    try:
        return _unpacked(data, kind)
    except (OSError, EOFError, ValueError) as error:
        message = (
            f"Invalid data encountered during decompression for file: '{name}',compression type used: '{kind}', "
            f"cause: '{error}'"
        )
        raise Failed("100096", "22000", message) from None


def _unpacked(data: bytes, kind: str) -> bytes:
    if kind == "ZSTD":
        import pyarrow as pa

        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            return bytes(stream.read())
    return {"GZIP": gzip.decompress, "BZ2": bz2.decompress}.get(kind, bytes)(data)


def csv_rows(file: Any) -> list[Row]:
    """Read a file that is loaded; the number of each record's first line is kept in ``lines``.

    :raises Failed: as the service words it
    """
    copy = file.copy
    counted = copy.options.get("ERROR_ON_COLUMN_COUNT_MISMATCH") == "TRUE"
    width = len(copy.columns) if counted else None
    return rows_of(file.data, copy.options, file.lines, file.failed, file.name, width)


def rows_of(
    data: bytes, options: Mapping[str, str], lines: list[int], failed: Any, name: str, width: int | None
) -> list[Row]:
    """Read records.

    :param lines: takes the line at which each begins
    :param failed: makes the error of a record
    :param width: how many fields each must have, None where nobody counts
    """
    delimiter, end = options.get("FIELD_DELIMITER", ","), options.get("RECORD_DELIMITER", "\n")
    try:
        text = unpacked(data, options, name).decode()
    except UnicodeDecodeError as error:
        raise Failed(
            "100144",
            "22000",
            f"Invalid UTF8 detected in string '{error.object[error.start : error.start + 1]!r}'\n"
            f"  File '{name}', line {error.object.count(10, 0, error.start) + 1}, character 1",
        ) from None
    ends = r"\r?\n" if end == "\n" else re.escape(end)
    between = re.escape(delimiter)
    lone = r"" if end == "\r" else rf'(?:\r(?!\n)[^"{between}\r\n]*)*'
    plain_field = rf'[^"{between}\r\n]*{lone}'
    pattern = re.compile(rf'(?:"((?:[^"]|"")*)"|({plain_field}))({between}|{ends}|\Z)')
    rows: list[Row] = []
    at, line = 0, 1
    for _ in range(int(options.get("SKIP_HEADER", "0"))):
        found = re.compile(r"[^\n]*\n?").match(text, at)
        at, line = (found.end() if found else at), line + 1
    while at < len(text):
        row: Row = []
        lines.append(line)
        while True:
            found = pattern.match(text, at)
            if found is None:
                rows.append(row)
                raise failed("100078", "22000", "Found character instead of field delimiter", len(rows), len(row))
            quoted, plain, after = found.groups()
            row.append(quoted.replace('""', '"') if quoted is not None else plain or None)
            line += found[0].count("\n") if end == "\n" else found[0].count("\r")
            at = found.end()
            if after != delimiter:
                break
        rows.append(row)
        if width is not None and len(row) != width:
            words = (
                f"Number of columns in file ({len(row)}) does not match that of the corresponding table "
                f"({width}), use file format option error_on_column_count_mismatch=false to ignore this error"
            )
            raise failed("100080", "22000", words, len(rows), min(len(row), width) - 1)
    return rows


def table_of(rows: Sequence[Row], least: int) -> Any:
    """Return records as a table of pyarrow: ``c1``, ``c2``, ... and their numbers ``n``.

    :param least: how many columns there are at least
    """
    import pyarrow as pa

    width = max(map(len, rows), default=0)
    columns = {
        f"c{at + 1}": pa.array([row[at] if at < len(row) else None for row in rows], pa.string())
        for at in range(max(width, least))
    }
    return pa.table({**columns, "n": pa.array(range(1, len(rows) + 1), pa.int64())})
