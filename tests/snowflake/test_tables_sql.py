"""Statements that the stand-in takes apart by itself, read by the grammar of Snowflake."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.types import ColumnType, TypeKind
from tradewind.snowflake.catalog import column_of
from tradewind.snowflake.copying import Upload, copy_statements
from tradewind.snowflake.exporting import Layout, exported
from tradewind.snowflake.external import lossy
from tradewind.snowflake.names import TableName
from tradewind.snowflake.stages import FoundStage
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


STAGE = FoundStage(TableName("LAKE", "S", "D"), "s3://lake/")
NAMES = ("id", "name", "day", "seen", "at", "doc", "raw")
KINDS: tuple[TypeKind, ...] = ("bigint", "text", "date", "timestamptz", "time", "json", "bytes")


@pytest.mark.parametrize(
    "layout",
    [
        Layout(),
        Layout(partition_by=("day", "id"), max_file_mb=64),
        Layout("csv", delimiter="\t", null="\\N", compression="zstd", header=False),
        Layout("csv", parallel=False),
    ],
)
def test_what_unloads_is_read_by_the_grammar(layout: Layout) -> None:
    sqlglot = pytest.importorskip("sqlglot")
    query = exported("SELECT * FROM t", NAMES, [ColumnType(kind) for kind in KINDS], layout)
    assert sqlglot.parse_one(query, read="snowflake").find(sqlglot.exp.Select) is not None
    copy = layout.statement(query, STAGE, "s3://lake/daily/1-a/")
    found = sqlglot.parse_one(copy, read="snowflake")
    assert isinstance(found, sqlglot.exp.Copy)
    assert found.find(sqlglot.exp.Select) is not None


def test_what_unloads_keeps_each_value() -> None:
    types = [ColumnType(kind) for kind in KINDS]
    assert exported("SELECT 1", NAMES, types, Layout()) == (
        'SELECT "id", "name", "day", CONVERT_TIMEZONE(\'UTC\', "seen")::TIMESTAMP_NTZ AS "seen", '
        'TO_VARCHAR("at", \'HH24:MI:SS.FF6\') AS "at", TO_JSON("doc") AS "doc", "raw" FROM (\nSELECT 1\n) AS q'
    )
    csv = exported("SELECT 1", NAMES, types, Layout("csv"))
    assert '\'\\\\x\' || HEX_ENCODE("raw", 0) AS "raw"' in csv
    assert "|| '+00' AS \"seen\"" in csv
    with pytest.raises(InvalidArgument, match="column 'ratio' is FLOAT, of which COPY INTO writes some 15 digits"):
        exported("SELECT 1", ["ratio"], [ColumnType("double")], Layout("csv"))
    with pytest.raises(InvalidArgument, match="partition_by: there is no column 'dya'"):
        exported("SELECT 1", ["day"], [ColumnType("date")], Layout(partition_by=("dya",)))


def test_a_folder_of_odd_characters_is_quoted() -> None:
    copy = Layout().statement("SELECT 1", STAGE, "s3://lake/it's daily/1-a/")
    assert copy.startswith("""COPY INTO '@"D"."S"."LAKE"/it\\'s daily/1-a/' FROM (""")


@pytest.mark.parametrize(
    ("scale", "bad", "good"),
    [
        (0, ["1.5", " -0.1 ", "1e2", ".5", "1.E+3"], ["1", "-2.000", "1.", "", "x", " 7 "]),
        (2, ["1.005", "+.001", "0.1009"], ["1.00", "1.5000", ".25", "1e-9", "12345", "x.001y"]),
    ],
)
def test_which_numbers_would_be_rounded(scale: int, bad: list[str], good: list[str]) -> None:
    pattern = re.compile(lossy(column_of("N", f"NUMBER(10,{scale})")))
    assert [text for text in bad if not pattern.fullmatch(text)] == []
    assert [text for text in good if pattern.fullmatch(text)] == []
