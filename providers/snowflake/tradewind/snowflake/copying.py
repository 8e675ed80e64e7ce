# ruff: noqa: S608 (names are parsed and quoted)
"""``COPY INTO`` a table from staged files: its text, its result, and what it says of a record that does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.places import in_column, in_records
from tradewind.snowflake.catalog import Column
from tradewind.snowflake.names import TableName, listed, literal
from tradewind.snowflake.staging import MOST_FILES, Stage, StagedFile, csv_format

if TYPE_CHECKING:
    from tradewind.snowflake.session import SnowflakeSession

FILE_ORDINAL, ROW_ORDINAL = "TRADEWIND_FILE", "TRADEWIND_ROW"
"""The columns of a numbered stage: which file a record is from, and which one of it."""

_FILE = re.compile(r"File '(?P<file>[^']*)', line (?P<line>\d+), character (?P<character>\d+)")
_STARTS = re.compile(r"starts at line (\d+)")
_COLUMN = re.compile(r'column "(?:[^"]|"")*"\["?(?P<column>(?:[^"\]]|"")*)"?:\d+\]')
_ADVICE = re.compile(r"\s*If you would like to continue loading.*", re.DOTALL)
_PLACE = re.compile(r"\s*File '.*", re.DOTALL)
_DOING = re.compile(r"^snowflake connection \S+: ")
_EXPRESSIONS = {
    "VARIANT": "PARSE_JSON({})",
    "OBJECT": "PARSE_JSON({})::OBJECT",
    "ARRAY": "PARSE_JSON({})::ARRAY",
    "BINARY": "REPLACE({}, '\\\\x', '')::BINARY",
}
_INFINITE = "REPLACE({}, 'Infinity', 'inf')::FLOAT"


@dataclass
class Upload:
    """A part whose records lie in the stage.

    :param part: the part
    :param columns: the table's columns in the order of the fields
    :param dialect: how the records are written
    :param cr: whether lines end with CR alone
    :param files: where they are
    :param infinite: whether a number may be infinite, which the service spells in its own way
    """

    part: Part
    columns: tuple[Column, ...]
    dialect: CsvDialect
    cr: bool
    files: list[StagedFile]
    infinite: bool = False

    def expressions(self) -> list[str]:
        """Return what becomes of each field."""
        return [_expression(column, at, infinite=self.infinite) for at, column in enumerate(self.columns, 1)]


def transforms(columns: Sequence[Column]) -> bool:
    """Say whether some of a table's columns take no text as it is."""
    return any(column.type in _EXPRESSIONS for column in columns)


def _expression(column: Column, at: int, *, infinite: bool) -> str:
    if infinite and column.type in ("FLOAT", "REAL"):
        return _INFINITE.format(f"${at}")
    return _EXPRESSIONS.get(column.type, "{}").format(f"${at}")


def copy_statements(upload: Upload, stage: Stage, table: TableName, *, numbered: bool) -> Iterator[str]:
    """Write what loads a part.

    :param upload: the part
    :param stage: where its files are
    :param table: what they are loaded into
    :param numbered: whether the number of each record is kept
    """
    fields = upload.expressions()
    names = [column.name for column in upload.columns]
    place = f"@{stage.name.sql}"
    plain = fields == [f"${at}" for at in range(1, len(fields) + 1)] and not numbered
    if not plain:
        ordinals = ["METADATA$FILENAME", "METADATA$FILE_ROW_NUMBER"] if numbered else []
        names += [FILE_ORDINAL, ROW_ORDINAL] if numbered else []
        place = f"(SELECT {', '.join([*fields, *ordinals])} FROM {place})"
    how = csv_format(upload.dialect, cr=upload.cr, counted=plain)
    for start in range(0, len(upload.files), MOST_FILES):
        files = ", ".join(literal(file.name) for file in upload.files[start : start + MOST_FILES])
        yield (
            f"COPY INTO {table.sql} ({listed(names)}) FROM {place} FILES = ({files}) FILE_FORMAT = {how} "
            "ON_ERROR = ABORT_STATEMENT FORCE = TRUE"
        )


def copy_files(
    session: SnowflakeSession,
    upload: Upload,
    stage: Stage,
    table: TableName,
    *,
    numbered: bool,
    begun: Callable[[], None] = lambda: None,
) -> int:
    """Load a part.

    :param begun: called after each statement, within whose transaction the next one must be
    :return: the rows
    :raises DataError: where a record does not fit, with the part's line and the column
    """
    rows = 0
    for number, statement in enumerate(copy_statements(upload, stage, table, numbered=numbered)):
        statement_files = len(upload.files[number * MOST_FILES : (number + 1) * MOST_FILES])
        try:
            rows += loaded_rows(session.query(statement), statement_files)
        except DataError as error:
            raise located(error, upload) from error
        begun()
    return rows


def loaded_rows(answer: list[tuple[object, ...]], files: int) -> int:
    """Return the rows that a COPY says it loaded.

    :param answer: its result: file, status, rows parsed, rows loaded, error limit, errors seen, first error, ...
    :param files: how many files it was told to load
    :raises DataError: where a file was not loaded whole
    """
    rows = 0
    for row in answer:
        if len(row) < 4:
            raise DataError(f"the service loaded no file: {row[0] if row else 'it says nothing'}")
        if str(row[1]) != "LOADED" or row[2] != row[3]:
            why = f": {row[6]}" if len(row) > 6 and row[6] else ""
            raise DataError(f"the service took {row[3]} of {row[2]} records of {row[0]} ({row[1]}){why}")
        rows += int(str(row[3]))
    if len(answer) != files:
        raise DataError(f"the service loaded {len(answer):,} of {files:,} files")
    return rows


def located(error: DataError, upload: Upload) -> DataError:
    """Name the part, the line and the column of a record that the service refused.

    :param error: what it said
    :param upload: what was loaded
    """
    text = str(error)
    place, column = _FILE.search(text), _COLUMN.search(text)
    column_name = column["column"].replace('""', '"') if column else error.column
    line = _line(text, place, upload)
    name = upload.part.name
    where = name if line is None else f"{name}, line {line:,}"
    where += f", column {column_name}" if column_name else ""
    said = _DOING.sub("", _ADVICE.sub("", _PLACE.sub("", text)).strip())
    said = said.replace("Invalid UTF8", "invalid UTF8")  # as all others say it
    made = DataError(f"{where}: {said}", source=name, line=line, column=column_name, value=error.value)
    made.__cause__ = error
    return in_records(in_column(made, upload.part), upload.part)


def _line(text: str, place: re.Match[str] | None, upload: Upload) -> int | None:
    if place is None:
        return None
    file = next((each for each in upload.files if place["file"].endswith(each.name)), None)
    starts = _STARTS.search(text)
    return None if file is None else file.line + int(starts[1] if starts else place["line"]) - 1
