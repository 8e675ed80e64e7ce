"""CSV as LOAD DATA's text: what arrives in the table is what Python reads in the file."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from typing import Literal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.fix_mysql import MySqlDatabase
from tradewind.mysql import bulk, text_format
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.records import CsvInput, blocks

pytestmark = pytest.mark.anywhere

VALUES = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "NA", "\\N", "N", "\\", "\\\\", '"', '""', "'", ",", ";", "\t", "\x1f", "\n", "\r\n", "\r", "\\n"]
    ),
    st.text(
        st.one_of(st.sampled_from("\",;\n\r\\.\t'N\0\x1f\x1axX"), st.characters(exclude_categories=["Cs"])), max_size=8
    ),
)
DIALECTS = st.sampled_from([
    CsvDialect(),
    CsvDialect(null="NA"),
    CsvDialect(null="\\N"),
    CsvDialect(delimiter=";", quote="'"),
    CsvDialect(delimiter="\t", null="\\N"),
    CsvDialect(delimiter="x"),
    CsvDialect(delimiter="N", null="\x1f"),
    CsvDialect(delimiter="\\", null="NA"),
    CsvDialect(delimiter="|", escape="\\"),
])  # fmt: skip


def written(value: str | None, dialect: CsvDialect, quoted: bool) -> str:
    """Write a field; only what needs no quotes may go without."""
    if value is None:
        return dialect.null
    special = {dialect.delimiter, dialect.quote, "\n", "\r"}
    if not quoted and value != dialect.null and not special & set(value):
        return value
    escape, quote = dialect.escape_char, dialect.quote
    inner = value if escape == quote else value.replace(escape, escape * 2)
    return quote + inner.replace(quote, escape + quote) + quote


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(VALUES, VALUES, VALUES, st.booleans()), min_size=1, max_size=10),
    dialect=DIALECTS,
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.booleans(),
    most=st.sampled_from([1, 7, 1 << 20]),
    local=st.booleans(),
)
def test_what_arrives_is_what_was_written(
    mysql_database: MySqlDatabase,
    rows: list[tuple[str | None, str | None, str | None, bool]],
    dialect: CsvDialect,
    end: str,
    last: bool,
    most: int,
    local: bool,
) -> None:
    lines = [dialect.delimiter.join(["c1", "c2", "c3"])]
    lines += [dialect.delimiter.join(written(value, dialect, row[3]) for value in row[:3]) for row in rows]
    data = (end.join(lines) + (end if last else "")).encode()
    mysql_database.query(
        "CREATE OR REPLACE TABLE t (n int AUTO_INCREMENT PRIMARY KEY, c1 longtext, c2 longtext, c3 longtext) "
        "CHARSET=utf8mb4"
    )
    work = replace(WORK, run_id=uuid4().hex)  # each example is new work to the ledger
    with pytest.MonkeyPatch.context() as patch:
        if not local:
            patch.setattr("tradewind.mysql.loading.bulk", bulk.Inserts)
        result = copy(
            MemoryFiles(data, dialect=dialect, most=most), MySqlTable("t", conn_id=mysql_database.conn_id), work
        )
    assert result.rows == len(rows)
    assert mysql_database.query("SELECT c1, c2, c3 FROM t ORDER BY n") == [row[:3] for row in rows]


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.text('ab,"\n\\N', max_size=6), min_size=2, max_size=4), min_size=1, max_size=5),
    style=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_text_holds_what_pythons_csv_wrote(rows: list[list[str]], style: Literal[0, 1, 2]) -> None:
    made = io.StringIO(newline="")
    csv.writer(made, quoting=style, lineterminator="\n").writerows(rows)
    source = CsvInput("f", io.BytesIO(made.getvalue().encode()), CsvDialect(null="no field is this"))
    text = b"".join(map(text_format.TextFormat(source).render, blocks(source, 1 << 16))).decode()
    signs = {"\\n": "\n", "\\,": ","}
    read = [
        [re.sub(r"\\[n,]", lambda match: signs[str(match[0])], field) for field in re.split(r"(?<!\\),", line)]
        for line in re.sub(r"\\\\", "\0", text).removesuffix("\n").split("\n")
    ]
    assert [[field.replace("\0", "\\") for field in line] for line in read] == rows


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"1,,3\n,,\n,\n", b"1,\\N,3\n\\N,\\N,\\N\n\\N,\\N\n"),
        (b'"",a"b,c"d,""""\n', b',ab\\,cd,"\n'),
        (b'1,"a\nb"', b"1,a\\nb\n"),
        (b"\n\n\n", b"\\N\n\\N\n\\N\n"),
        ('"é",ü\n'.encode(), "é,ü\n".encode()),
    ],
)
def test_text_is_what_load_data_reads(data: bytes, text: bytes) -> None:
    source = CsvInput("f", io.BytesIO(data), CsvDialect())
    assert b"".join(map(text_format.TextFormat(source).render, blocks(source, 1 << 16))) == text
