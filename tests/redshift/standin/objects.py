"""What COPY reads off S3 and UNLOAD writes there: manifests, compressions, formats."""

from __future__ import annotations

import bz2
import csv
import datetime as dt
import gzip
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.redshift.standin.commands import Command, Refusal

Fields = Sequence[str | None]


@dataclass(frozen=True)
class Record:
    """A record of an object.

    :param line: the line on which it begins, counted from 1
    :param fields: its values as texts, None for NULL
    """

    line: int
    fields: Fields


class LoadError(Exception):
    """A record that does not fit, as the load errors' table has it."""

    def __init__(self, url: str, line: int, column: str, kind: str, code: int, reason: str) -> None:
        super().__init__(reason)
        self.row = (url, line, column, kind, code, reason)


def objects(s3: Any, asked: Command) -> list[tuple[str, str]]:
    """Return bucket and key of each object that a COPY loads.

    :raises Refusal: where one is not there
    """
    if "manifest" not in asked.options:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=asked.bucket, Prefix=asked.key)
        found = [(asked.bucket, each["Key"]) for page in pages for each in page.get("Contents", [])]
        if not found:
            raise Refusal(f"The specified S3 prefix '{asked.key}' does not exist")
        return found
    try:
        manifest = json.loads(s3.get_object(Bucket=asked.bucket, Key=asked.key)["Body"].read())
        entries = [(each["url"], each.get("mandatory", False), each.get("meta", {})) for each in manifest["entries"]]
    except s3.exceptions.NoSuchKey:
        raise Refusal(f"Problem reading manifest file - S3ServiceException: {asked.key} does not exist") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"Manifest file is not in correct json format: {error}") from None
    named = [_entry(s3, asked, *entry) for entry in entries]
    return [place for place in named if place is not None]


def _entry(s3: Any, asked: Command, url: str, mandatory: bool, meta: dict[str, Any]) -> tuple[str, str] | None:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    try:
        size = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
    except s3.exceptions.ClientError:
        if not mandatory:
            return None
        raise Refusal(f"The specified key does not exist: {url}") from None
    if asked.options.get("format") == "parquet" and meta.get("content_length") != size:
        raise Refusal(f"File {url} has an invalid content_length in the manifest")
    return bucket, key


def unpacked(data: bytes, compression: str | None, url: str) -> bytes:
    """Decompress an object.

    :raises LoadError: where it is broken
    """
    try:
        if compression == "gzip":
            return gzip.decompress(data)
        if compression == "bz2":
            return bz2.decompress(data)
        if compression == "zstd":
            import zstandard

            return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    except (OSError, EOFError) as error:
        raise LoadError(url, 0, "", "", 1216, f"Failed to inflate: {error}") from None
    return data


def packed(data: bytes, compression: str | None) -> bytes:
    """Compress an object."""
    if compression == "zstd":
        import zstandard

        return bytes(zstandard.compress(data))
    if compression == "gzip":
        return gzip.compress(data)
    return bz2.compress(data) if compression == "bz2" else data


def records(data: bytes, url: str, asked: Command, columns: list[str]) -> Iterator[Record | LoadError]:
    """Yield the records of an object, and an error in place of one that has too few or too many fields.

    :raises LoadError: where nothing more can be read
    """
    kind = asked.options.get("format")
    if kind == "parquet":
        yield from _parquet(data, columns, url)
        return
    text = data.decode(errors="surrogateescape")  # a field that is no UTF-8 is told with its column
    if kind == "json":
        for number, line_text in enumerate(text.splitlines(), 1):
            if line_text.strip():
                found = json.loads(line_text)
                yield Record(number, [_as_text(found.get(name)) for name in columns])
        return
    yield from _delimited(text, url, asked, columns)


class Quoted(str):
    """A field that stood in quotes: it is not empty as the manual means it, with nothing between two delimiters."""

    __slots__ = ()


def _delimited(text: str, url: str, asked: Command, columns: list[str]) -> Iterator[Record | LoadError]:
    options = asked.options
    quoted = options.get("format") == "csv"
    delimiter = options.get("delimiter", "," if quoted else "|")
    skipped = options.get("ignoreheader", 0)
    at = 0
    for _ in range(skipped):
        at = text.find("\n", at) + 1 or len(text)
    if quoted:
        found = _quoted_records(text[at:], delimiter, options.get("quote", '"'), url, skipped + 1)
    else:
        found = _escaped_records(text[at:], delimiter, bool(options.get("escape")), skipped + 1)
    for line, fields in found:
        if len(fields) < len(columns):
            code, reason = (
                (1213, "Missing data for not-null field") if fields != [""] else (1214, "Delimiter not found")
            )
            yield LoadError(url, line, columns[len(fields)] if fields != [""] else "", "", code, reason)
        elif len(fields) > len(columns):
            yield LoadError(url, line, "", "", 1202, "Extra column(s) found")
        else:
            yield Record(line, fields)


def _quoted_records(text: str, delimiter: str, quote: str, url: str, line: int) -> Iterator[tuple[int, list[str]]]:
    q, d = re.escape(quote), re.escape(delimiter)
    field = re.compile(rf"(?:{q}((?:[^{q}]|{q}{q})*){q}|([^{q}{d}\r\n]*))({d}|\r?\n|\Z)", re.DOTALL)
    fields: list[str] = []
    at, start = 0, line
    while at < len(text) or fields:
        match = field.match(text, at)
        if match is None:
            raise LoadError(url, start, "", "", 1214, "Invalid quote formatting for CSV")
        fields.append(Quoted(match[1].replace(quote * 2, quote)) if match[2] is None else match[2])
        line += match.group().count("\n")
        at = match.end()
        if match[3] != delimiter:
            yield start, fields
            fields, start = [], line
            if not match[3]:
                return


def _escaped_records(text: str, delimiter: str, escape: bool, line: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_NONE, escapechar="\\" if escape else None
    )
    for fields in reader:
        yield line + reader.line_num - 1, fields or [""]


def _parquet(data: bytes, columns: list[str], url: str) -> Iterator[Record]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(data))
    if len(table.schema) != len(columns):
        raise Refusal(
            f"Unmatched number of columns between table and file. Table columns: {len(columns)}, "
            f"Data columns: {len(table.schema)}, File name: {url}"
        )
    found = [column.to_pylist() for column in table.columns]
    for number, values in enumerate(zip(*found, strict=True), 1):
        yield Record(number, [_as_text(value) for value in values])


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


NAMES = {
    16: "boolean", 20: "bigint", 21: "smallint", 23: "integer", 25: "character varying", 700: "real",
    701: "double precision", 1042: "character", 1043: "character varying", 1082: "date",
    1083: "time without time zone", 1114: "timestamp without time zone", 1184: "timestamp with time zone",
    1700: "numeric", 3802: "super",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of an unloaded query."""

    name: str
    oid: int
    modifier: int

    def described(self) -> dict[str, Any]:
        """Return it as a verbose manifest has it."""
        kind: dict[str, Any] = {"base": NAMES.get(self.oid, "character varying")}
        if self.oid == 1700 and self.modifier >= 0:
            kind |= {"precision": (self.modifier - 4) >> 16, "scale": (self.modifier - 4) & 0xFFFF}
        if self.oid in (25, 1042, 1043):
            kind["max_length"] = self.modifier - 4 if self.modifier >= 0 else 65535
        return {"name": self.name, "type": kind}


def encoded(rows: list[Fields], columns: list[Column], options: dict[str, Any]) -> bytes:
    """Write the rows of one object."""
    if options.get("format") == "parquet":
        return _to_parquet(rows, columns)
    null = options.get("null", "")
    if options.get("format") == "json":
        return b"".join(
            json.dumps(dict(zip((c.name for c in columns), row, strict=True))).encode() + b"\n" for row in rows
        )
    texts = [[null if value is None else value for value in row] for row in rows]
    if options.get("header"):
        texts.insert(0, [column.name for column in columns])
    if options.get("format") == "csv":
        delimiter = options.get("delimiter", ",")
        data = "".join(delimiter.join(_csv_field(text, delimiter) for text in row) + "\n" for row in texts)
        return packed(data.encode(), options.get("compression"))
    out = io.StringIO(newline="")
    writer = csv.writer(
        out, delimiter=options.get("delimiter", "|"), lineterminator="\n", quoting=csv.QUOTE_NONE,
        escapechar="\\" if options.get("escape") else None, quotechar=None,
    )  # fmt: skip
    writer.writerows(texts)
    return packed(out.getvalue().encode(), options.get("compression"))


def _csv_field(text: str, delimiter: str) -> str:
    """Write a field as the manual of UNLOAD has it: delimiters, quotes and line ends, CR too, stand in quotes."""
    if not any(sign in text for sign in (delimiter, '"', "\n", "\r")):
        return text
    return '"' + text.replace('"', '""') + '"'


_READ: dict[int, Any] = {
    16: lambda text: text == "t", 20: int, 21: int, 23: int, 700: float, 701: float, 1082: dt.date.fromisoformat,
    1114: dt.datetime.fromisoformat, 1184: dt.datetime.fromisoformat, 1700: Decimal,
}  # fmt: skip


def _to_parquet(rows: list[Fields], columns: list[Column]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet

    kinds = {
        16: pa.bool_(), 20: pa.int64(), 21: pa.int16(), 23: pa.int32(), 700: pa.float32(), 701: pa.float64(),
        1082: pa.date32(), 1114: pa.timestamp("us"), 1184: pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    arrays, fields = [], []
    for at, column in enumerate(columns):
        kind = kinds.get(column.oid, pa.string())
        if column.oid == 1700:
            known = column.described()["type"]
            kind = pa.decimal128(known.get("precision", 38), known.get("scale", 0))
        read = _READ.get(column.oid, str)
        arrays.append(pa.array([None if row[at] is None else read(row[at]) for row in rows], kind))
        fields.append(pa.field(column.name, kind))
    out = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), out)
    return out.getvalue()
