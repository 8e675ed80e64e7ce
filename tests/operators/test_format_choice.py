"""Which format a file has, and what its declaration may not say of it."""

from __future__ import annotations

from typing import Any

import pytest

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.copy import CopyOperator
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.choosing import choose, stored_compression
from tradewind.operators.formats.csv import CsvFormat
from tradewind.operators.formats.jsonl import JsonLines
from tradewind.operators.formats.parquet import Parquet
from tradewind.operators.local_files import LocalFile


@pytest.mark.parametrize(
    ("name", "url", "found"),
    [
        ("infer", "/a/b.csv", "csv"),
        ("infer", "/a/b.tsv.gz", "csv"),
        ("infer", "/a/b", "csv"),
        ("infer", "/a.parquet/b", "csv"),
        ("infer", "/a/b.jsonl", "jsonl"),
        ("infer", "/a/b.JSON.GZ", "jsonl"),
        ("infer", "/a/*.ndjson.zst", "jsonl"),
        ("infer", "/a/b.snappy.parquet", "parquet"),
        ("infer", "/a/{{ ds }}.pq", "parquet"),
        ("csv", "/a/b.parquet", "csv"),
        ("parquet", "/a/part-0000", "parquet"),
        ("jsonl", "/a/b.gz", "jsonl"),
    ],
)
def test_a_name_ends_in_its_format(name: str, url: str, found: str) -> None:
    assert choose(name, url) == found


def test_the_declaration_makes_the_format() -> None:
    assert LocalFile("/a.csv", delimiter=";").file_format("/a.csv") == CsvFormat(CsvDialect(delimiter=";"))
    assert LocalFile("/a.jsonl", columns=["b"]).file_format("/a.jsonl") == JsonLines(("b",))
    assert LocalFile("/a.pq").file_format("/a.pq") == Parquet(None, "zstd")
    assert LocalFile("/a.pq", compression=None).file_format("/a.pq") == Parquet(None, None)
    assert LocalFile("/a.pq", compression="snappy").file_format("/a.pq") == Parquet(None, "snappy")


def test_only_parquet_compresses_by_itself() -> None:
    assert stored_compression("jsonl", "infer", "/a.jsonl.gz") == "gzip"
    assert stored_compression("csv", "zstd", "/a.csv") == "zstd"
    assert stored_compression("parquet", "gzip", "/a.parquet") is None


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("/a.csv", {"format": "xml"}, "format must be one of infer, csv, jsonl, parquet, not 'xml'"),
        ("/a.csv", {"compression": "snappy"}, "compression must be one of infer, gzip, zstd, bz2, xz or None"),
        (
            "/a.parquet",
            {"compression": "bz2"},
            "compression of Parquet is that of its pages: one of infer, zstd, snappy",
        ),
        ("/a.parquet.gz", {}, "/a.parquet.gz: Parquet is compressed within: leave .gz off its name"),
        ("/a.jsonl", {"delimiter": ";"}, "delimiter is about CSV and means nothing to jsonl"),
        ("/a.parquet", {"dialect": CsvDialect()}, "dialect is about CSV and means nothing to parquet"),
    ],
)
def test_what_cannot_be_is_refused_when_the_dag_is_parsed(url: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        CopyOperator(task_id="copy", source=LocalFile(url, **options), target=LocalFile("/b.csv"))

    assert says in str(caught.value)


def test_rejects_are_csv() -> None:
    from tradewind.postgres.tables import PostgresTable

    with pytest.raises(InvalidArgument, match=r"rejects are written as CSV: give /bad.jsonl another ending"):
        CopyOperator(
            task_id="copy",
            source=LocalFile("/a.csv"),
            target=PostgresTable("t"),
            max_errors=1,
            rejects=LocalFile("/bad.jsonl"),
        )
