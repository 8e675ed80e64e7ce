"""UNLOAD, carried out."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from urllib.parse import quote

from tests.redshift.standin.commands import Command, Refusal
from tests.redshift.standin.objects import Column, Fields, encoded
from tests.redshift.standin.wire import Backend, spelled

_NULL = "\x01null\x01"
_ENDINGS = {"gzip": ".gz", "bz2": ".bz2", "zstd": ".zst"}
_SLICES = 2


def unload(backend: Backend, s3: Any, asked: Command) -> int:
    """Write a query's rows to S3; return their number.

    :raises Refusal: where objects are there already, or the query fails
    """
    _make_room(s3, asked)
    query = spelled(asked.query.strip().rstrip(";"))
    columns = backend.must(f"SELECT * FROM (\n{query}\n) AS q LIMIT 0").columns
    data = backend.must(f"COPY (\n{query}\n) TO STDOUT (FORMAT csv, NULL '{_NULL}', FORCE_QUOTE *)").data
    csv.field_size_limit(1 << 30)
    rows: list[Fields] = [
        [None if value == _NULL else value for value in row]
        for row in csv.reader(io.StringIO(data.decode(), newline=""))
    ]
    entries = []
    for name, some, kept in _files(asked, columns, rows):
        body = encoded(some, kept, asked.options)
        s3.put_object(Bucket=asked.bucket, Key=asked.key + name, Body=body)
        meta = {"content_length": len(body), "record_count": len(some)}
        entries.append({"url": f"s3://{asked.bucket}/{asked.key}{name}", "meta": meta})
    if asked.options.get("manifest"):
        s3.put_object(Bucket=asked.bucket, Key=f"{asked.key}manifest", Body=_manifest(asked, columns, entries))
    return len(rows)


def _make_room(s3: Any, asked: Command) -> None:
    options = asked.options
    if options.get("cleanpath") and options.get("allowoverwrite"):
        raise Refusal("CLEANPATH and ALLOWOVERWRITE can't be used together", "42601")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=asked.bucket, Prefix=asked.key)
    there = [each["Key"] for page in pages for each in page.get("Contents", [])]
    if there and options.get("cleanpath"):
        for key in there:
            s3.delete_object(Bucket=asked.bucket, Key=key)
    elif there and not options.get("allowoverwrite"):
        raise Refusal(
            "Specified unload destination on S3 is not empty. Consider using a different bucket / prefix, manually "
            "removing the target files in S3, or using the ALLOWOVERWRITE option."
        )


def _files(asked: Command, columns: list[Column], rows: list[Fields]) -> list[tuple[str, list[Fields], list[Column]]]:
    options = asked.options
    ending = ".parquet" if options.get("format") == "parquet" else _ENDINGS.get(options.get("compression", ""), "")
    by = options.get("partition")
    if by:
        return _partitions(columns, rows, by, options["include"], ending)
    if not options.get("parallel", True):
        return [(f"000{ending}", rows, columns)]
    return [(f"{slice:04}_part_00{ending}", rows[slice::_SLICES], columns) for slice in range(_SLICES)]


def _partitions(
    columns: list[Column], rows: list[Fields], by: list[str], include: bool, ending: str
) -> list[tuple[str, list[Fields], list[Column]]]:
    names = [column.name for column in columns]
    for name in by:
        if name not in names:
            raise Refusal(f'partition column "{name}" does not exist in the query', "42703")
    keys = [names.index(name) for name in by]
    kept = [at for at in range(len(columns)) if include or at not in keys]
    parts: dict[str, list[Fields]] = {}
    for row in rows:
        folder = "".join(f"{names[at]}={_folder(row[at])}/" for at in keys)
        parts.setdefault(folder, []).append([row[at] for at in kept])
    return [(f"{folder}0000_part_00{ending}", some, [columns[at] for at in kept]) for folder, some in parts.items()]


def _folder(value: str | None) -> str:
    return "__HIVE_DEFAULT_PARTITION__" if value is None else quote(value, safe=" -_.:")


def _manifest(asked: Command, columns: list[Column], entries: list[dict[str, Any]]) -> bytes:
    if asked.options["manifest"] != "verbose":
        return json.dumps({"entries": [{"url": each["url"]} for each in entries]}).encode()
    meta = {name: sum(each["meta"][name] for each in entries) for name in ("content_length", "record_count")}
    told = {
        "entries": entries,
        "schema": {"elements": [column.described() for column in columns]},
        "meta": meta,
        "author": {"name": "Amazon Redshift", "version": "1.0"},
    }
    return json.dumps(told).encode()
