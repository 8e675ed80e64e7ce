"""Records on their way into COPY INTO: the short way for a text for NULL gives what the long one gives."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.records import Block, CsvInput
from tradewind.snowflake.catalog import Column
from tradewind.snowflake.records import Records

pytestmark = pytest.mark.anywhere

COLUMNS = (
    Column("a", "TEXT", "TEXT"),
    Column("n", "NUMBER", "NUMBER(10,2)", scale=2),
    Column("d", "DATE", "DATE"),
)
TEXTS = st.sampled_from(["NA", '"NA"', "x", "NAx", "", '""', '"a,b"', '"a""b"', '"x\ny"', '"NA,1"', "é"])
NUMBERS = st.sampled_from(["1", "-2.50", '"3"', '""', "NA", " 4 ", "5.000", ""])
DATES = st.sampled_from(["2026-01-02", '"2026-01-02"', "NA", '""', ""])
FIELD = re.compile(r'(?:\A|(?<=[,\n]))(?!\Z)("(?:[^"]|"")*"|[^,"\r\n]*)(?=,|\r?\n|\Z)')
ENDS = st.sampled_from(["\n", "\r\n"])


def records(null: str) -> Records:
    return Records(CsvInput("memory", io.BytesIO(), CsvDialect(null=null)), COLUMNS, checked=True)


def made(found: Records, data: bytes) -> list[str | None] | str:
    """Return the fields as the service reads them: what is empty without quotes is NULL."""
    try:
        text = found.made(Block(data, 1)).decode()
    except DataError as error:
        return str(error)
    fields: list[str | None] = []
    for raw in FIELD.findall(text):
        plain = raw[1:-1].replace('""', '"') if raw.startswith('"') else raw or None
        fields.append(plain if len(fields) % len(COLUMNS) == 0 else plain or None)
    return fields


@given(st.lists(st.tuples(TEXTS, NUMBERS, DATES), min_size=1, max_size=6), ENDS, st.booleans())
def test_a_text_for_null_is_left_out_as_if_each_field_were_read_and_written(
    rows: list[tuple[str, str, str]], end: str, ended: bool
) -> None:
    data = (end.join(map(",".join, rows)) + (end if ended else "")).encode()
    short, long = records("NA"), records("NA")
    long._near = None

    assert made(short, data) == made(long, data)


def test_records_without_bare_empty_fields_go_the_short_way() -> None:
    found = records("NA")
    found._record = found._near  # type: ignore[assignment]
    assert found.made(Block(b'NA,NA,""\n"NA",1.5,2026-01-02\n', 1)) == b',,\n"NA",1.5,2026-01-02\n'


@pytest.mark.parametrize("wrong", [b"x,1.234,NA\n", b"x,y,NA\n", b"x,1\n"])
def test_what_does_not_fit_is_told_the_short_way_too(wrong: bytes) -> None:
    with pytest.raises(DataError, match="memory, line 2"):
        records("NA").made(Block(b"x,NA,NA\n" + wrong, 1))
