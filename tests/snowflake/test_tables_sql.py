"""Statements that the stand-in takes apart by itself, read by the grammar of Snowflake."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.snowflake.catalog import column_of
from tradewind.snowflake.copying import Upload, copy_statements
from tradewind.snowflake.names import TableName
from tradewind.snowflake.staging import MOST_FILES, Stage, StagedFile

NAME = TableName('odd "name"', "S", "D")


def texts(kinds: Sequence[str], *, files: int = 1, numbered: bool = False, infinite: bool = False) -> list[str]:
    part = Part("in.csv", lambda: None, CsvDialect())  # type: ignore[arg-type, return-value]
    columns = tuple(column_of(f"C{at}", kind) for at, kind in enumerate(kinds))
    staged = [StagedFile(f"{number:06d}.csv.gz", 1) for number in range(files)]
    upload = Upload(part, columns, CsvDialect(delimiter="\t"), False, staged, infinite)
    stage = Stage(None, TableName("ST", "S", "D"))  # type: ignore[arg-type]
    return list(copy_statements(upload, stage, NAME, numbered=numbered))


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("kinds", [["NUMBER(38,0)", "VARCHAR"], ["VARIANT", "BINARY", "OBJECT", "ARRAY", "FLOAT"]])
def test_a_copy_is_one_of_snowflakes(kinds: list[str], numbered: bool) -> None:
    sqlglot = pytest.importorskip("sqlglot")
    [text] = texts(kinds, numbered=numbered, infinite=True)

    [parsed] = sqlglot.parse(text, read="snowflake")

    assert isinstance(parsed, sqlglot.exp.Copy)
    assert ("SELECT" in text) == (numbered or "VARIANT" in kinds)
    assert ("ERROR_ON_COLUMN_COUNT_MISMATCH = FALSE" in text) == (numbered or "VARIANT" in kinds)


def test_a_copy_names_a_thousand_files_at_most() -> None:
    found = texts(["VARCHAR"], files=MOST_FILES + 1)
    assert [text.count(".csv.gz") for text in found] == [MOST_FILES, 1]
