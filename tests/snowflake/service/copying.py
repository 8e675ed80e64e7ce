"""``COPY INTO`` a table from CSV or Parquet as the manual has it, which fakesnow does by DuckDB's rules.

NULL is an empty field without quotes, a record must have as many fields as columns, texts become values as a cast makes
them, and what does not fit is told with file, line, character, row and column in the service's own words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.snowflake.service.external import OUTSIDE, Failed, place
from tests.snowflake.service.records import csv_rows, table_of

_COPY = re.compile(
    r"""\s*copy\s+into\s+(?P<table>(?:"(?:[^"]|"")*"|[\w$.])+)\s*\((?P<columns>[^)]*)\)\s*from\s+
    (?:\(\s*select\s+(?P<select>.*?)\s+from\s+(?P<inner>@\S+)\s*\)|(?P<stage>@\S+))\s+
    files\s*=\s*\((?P<files>[^)]*)\)\s*file_format\s*=\s*\((?P<format>.*)\)\s*
    on_error\s*=\s*abort_statement\s+force\s*=\s*true(?:\s+purge\s*=\s*false\s+truncatecolumns\s*=\s*false)?
    \s*;?\s*""",
    re.I | re.S | re.X,
)
_OPTION = re.compile(r"(\w+)\s*=\s*\(?('(?:[^'\\]|\\.)*'|\)|[\w]+)\)?")
_FIELD = re.compile(r'\$1:"((?:[^"]|"")*)"::(\w+(?:\([\d,]+\))?)')
_PART = re.compile(r'"((?:[^"]|"")*)"|([\w$]+)')
_ADVICE = (
    "\n  If you would like to continue loading when an error is encountered, use other values such as 'SKIP_FILE' or "
    "'CONTINUE' for the ON_ERROR option. For more information on loading options, please run 'info loading_data' in a "
    "SQL client."
)


@dataclass(frozen=True)
class Copy:
    """A statement, read."""

    table: tuple[str, ...]
    columns: tuple[str, ...]
    select: tuple[str, ...] | None
    stage: tuple[str, ...]
    files: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)


def parse(sql: str) -> Copy | None:
    """Read a statement; None for one that fakesnow is to look at."""
    found = _COPY.fullmatch(sql)
    if found is None:
        return None
    columns = tuple(a.replace('""', '"') or b.upper() for a, b in _PART.findall(found["columns"]))
    select = None if found["select"] is None else tuple(_split(found["select"]))
    options = read_options(found["format"])
    files = tuple(_text(value) for value in re.findall(r"'(?:[^'\\]|\\.)*'", found["files"]))
    stage = names((found["inner"] or found["stage"])[1:])
    return Copy(names(found["table"]), columns, select, stage, files, options)


def read_options(text: str) -> dict[str, str]:
    """Return the options of a file format."""
    return {name.upper(): _text(value) for name, value in _OPTION.findall(text)}


def names(text: str) -> tuple[str, ...]:
    """Return the parts of a name as the catalog has them."""
    return tuple(a.replace('""', '"') if a else b.upper() for a, b in _PART.findall(text))


def _text(value: str) -> str:
    if not value.startswith("'"):
        return value.upper()
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r", "t": "\t"}.get(match[1], match[1]), value[1:-1])


def _split(text: str) -> list[str]:
    parts, depth, held, quoted = [], 0, "", False
    for sign in text:
        quoted ^= sign == "'"
        depth += 0 if quoted else {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and not depth and not quoted:
            parts.append(held.strip())
            held = ""
        else:
            held += sign
    return [*parts, held.strip()]


def load(connection: Any, copy: Copy) -> list[tuple[Any, ...]]:
    """Load the files; return the rows of the answer.

    :param connection: fakesnow's, of the session
    """
    import fakesnow.transforms.stage as stages

    duck = connection._duck_conn
    whole = ".".join((connection.database, connection.schema, *copy.table)[-3:])
    stage = ".".join((connection.database, connection.schema, *copy.stage)[-3:])
    described = duck.execute(f"DESCRIBE {_sql((connection.database, connection.schema, *copy.table)[-3:], duck)}")
    types = {row[0]: (row[1], row[2]) for row in described.fetchall()}
    unknown = [name for name in copy.columns if name not in types]
    if unknown:
        raise Failed("000904", "42000", f"SQL compilation error: error line 1: invalid identifier '{unknown[0]}'")
    lengths = _lengths(duck, connection, copy)
    if not connection._autocommit and not connection._in_transaction:
        duck.begin()
        connection._in_transaction = True
    answer: list[tuple[Any, ...]] = []
    outside = OUTSIDE.stages.get(stage)
    for name in copy.files:
        if outside is not None:
            shown, url = place(outside.url)[1] + name, outside.url + name
            data = OUTSIDE.read(url)
        else:
            shown = url = name
            path = Path(stages.file_path(stages.internal_dir(stage))) / name
            if not path.exists():
                raise Failed("100016", "22000", f"Remote file '@{stage}/{name}' was not found")
            data = path.read_bytes()
        count = _File(duck, copy, shown, data, types, lengths, whole).load()
        answer.append((url, "LOADED", count, count, 1, 0, None, None, None, None))
    return answer


def _sql(parts: tuple[Any, ...], duck: Any) -> str:
    temporary = duck.execute("SELECT 1 FROM duckdb_tables() WHERE temporary AND table_name = ?", [parts[-1]]).fetchone()
    return ".".join('"' + part.replace('"', '""') + '"' for part in (parts[-1:] if temporary else parts))


def _lengths(duck: Any, connection: Any, copy: Copy) -> dict[str, int]:
    database, schema, table = (connection.database, connection.schema, *copy.table)[-3:]
    found = duck.execute(
        "SELECT ext_column_name, ext_character_maximum_length FROM _fs_global._fs_information_schema._fs_columns_ext "
        "WHERE ext_table_catalog = ? AND ext_table_schema = ? AND ext_table_name = ?",
        [database, schema, table],
    ).fetchall()
    return {name: length for name, length in found if length}


class _File:
    """One file on its way into a table."""

    def __init__(
        self, duck: Any, copy: Copy, name: str, data: bytes, types: dict[str, Any], lengths: dict[str, int], whole: str
    ) -> None:
        self.duck, self.copy, self.name, self.data = duck, copy, name, data
        self.types, self.lengths, self.whole = types, lengths, whole
        self.lines: list[int] = []

    def load(self) -> int:
        """Load it; return the rows."""
        given = self._parquet() if self.copy.options.get("TYPE") == "PARQUET" else self._csv()
        self.duck.register("_copied", given)
        try:
            fields = [self._value(at) for at in range(len(self.copy.columns))]
            self._check(fields)
            target = ", ".join('"' + name.replace('"', '""') + '"' for name in self.copy.columns)
            values = ", ".join(value for value, _ in fields)
            parts = (*self.whole.split(".")[:2], self.copy.table[-1])
            self.duck.execute(
                f"INSERT INTO {_sql(parts, self.duck)} ({target}) SELECT {values} FROM _copied ORDER BY n"
            )
        finally:
            self.duck.unregister("_copied")
        return int(given.num_rows)

    def _csv(self) -> Any:
        return table_of(csv_rows(self), len(self.copy.columns))

    def _parquet(self) -> Any:
        """Return the fields that are selected, with the numbers of their records."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        found = pq.read_table(pa.BufferReader(self.data))
        fields = [_FIELD.fullmatch(each) for each in self.copy.select or ()]
        named = [field[1].replace('""', '"') for field in fields if field]
        self.lines = [0] * found.num_rows
        columns = {
            f"c{at}": found[name] if name in found.column_names else pa.nulls(found.num_rows)
            for at, name in enumerate(named, 1)
        }
        return pa.table({**columns, "n": pa.array(range(1, found.num_rows + 1), pa.int64())})

    def _value(self, at: int) -> tuple[str, str]:
        """Return what a column becomes, and a condition under which its text is a value at all."""
        name = self.copy.columns[at]
        kind = str(self.types[name][0])
        text = f"c{at + 1}" if self.copy.select is None else self._selected(self.copy.select[at])
        if self.copy.options.get("TYPE") == "PARQUET" and kind not in ("VARCHAR", "JSON"):
            return f"CAST({text} AS {kind})", f"TRY_CAST({text} AS {kind}) IS NOT NULL"
        if kind == "BLOB":
            return f"unhex({text})", f"regexp_full_match({text}, '([0-9A-Fa-f]{{2}})*')"
        if kind == "JSON":
            return f"CAST({text} AS JSON)", f"json_valid({text})"
        if kind == "VARCHAR" and name in self.lengths:
            return text, f"length({text}) <= {self.lengths[name]}"
        return f"TRY_CAST({text} AS {kind})", f"TRY_CAST({text} AS {kind}) IS NOT NULL"

    def _selected(self, expression: str) -> str:
        if field := _FIELD.fullmatch(expression):
            at = [each.strip() for each in self.copy.select or ()].index(expression)
            cast = re.sub(r"_NTZ\(9\)", "", field[2]).replace("NUMBER", "DECIMAL").replace("FLOAT", "DOUBLE")
            return f"CAST(c{at + 1} AS {cast})"
        text = re.sub(r"\$(\d+)", r"c\1", re.sub(r"METADATA\$FILE_ROW_NUMBER", "n", expression))
        text = text.replace("METADATA$FILENAME", f"'{self.name}'").replace("'\\\\x'", "'\\x'")
        text = re.sub(r"PARSE_JSON\((\w+)\)(::(OBJECT|ARRAY))?", r"nullif(\1, '')", text)
        return re.sub(r"::(BINARY|FLOAT)$", "", text)

    def _check(self, fields: list[tuple[str, str]]) -> None:
        first: tuple[int, int] | None = None
        for at, (_, fits) in enumerate(fields):
            name = self.copy.columns[at]
            text = f"c{at + 1}" if self.copy.select is None else self._selected(self.copy.select[at])
            missing = "" if str(self.types[name][1]) == "YES" else f" OR {text} IS NULL"
            [(number,)] = self.duck.execute(
                f"SELECT min(n) FROM _copied WHERE ({text} IS NOT NULL AND NOT coalesce({fits}, FALSE)){missing}"
            ).fetchall()
            if number is not None and (first is None or number < first[0]):
                first = (number, at)
        if first is not None:
            number, at = first
            [(text,)] = self.duck.execute(f"SELECT c{at + 1} FROM _copied WHERE n = {number}").fetchall()
            code, state, words = _words(text, str(self.types[self.copy.columns[at]][0]))
            raise self.failed(code, state, words, number, at)

    def failed(self, code: str, state: str, words: str, number: int, at: int) -> Failed:
        line = self.lines[number - 1]
        column = f'"{self.copy.table[-1]}"["{self.copy.columns[at]}":{at + 1}]' if at < len(self.copy.columns) else ""
        return Failed(
            code,
            state,
            f"{words}\n  File '{self.name}', line {line}, character 1\n  Row {number} starts at line {line}, column "
            f"{column}{_ADVICE}",
        )


def _words(text: str | None, kind: str) -> tuple[str, str, str]:
    if text is None:
        return "100072", "22000", "NULL result in a non-nullable column"
    shown = text[:200]
    if kind.startswith(("DECIMAL", "BIGINT", "DOUBLE", "INTEGER", "HUGEINT")):
        if re.fullmatch(r"\s*[+-]?\d*(\.\d*)?\s*", text) and text.strip():
            return "100039", "22003", f"Numeric value '{shown}' is out of range"
        return "100038", "22018", f"Numeric value '{shown}' is not recognized"
    if kind == "VARCHAR":
        return "100078", "22000", f"String '{shown}' is too long and would be truncated"
    if kind == "JSON":
        return "100069", "22P02", f"Error parsing JSON: {shown}"
    name = {"BOOLEAN": "Boolean", "DATE": "Date", "TIME": "Time", "BLOB": "Binary"}.get(kind, "Timestamp")
    return "100035" if name == "Timestamp" else "100037", "22007", f"{name} '{shown}' is not recognized"


def answer(rows: list[tuple[Any, ...]], names: Sequence[str] = ()) -> str:
    """Write a query that gives the answer's rows.

    :param names: of its columns, those of a COPY INTO a table by default
    """
    if names:
        return selects(rows, names)
    names = ["file", "status", "rows_parsed", "rows_loaded", "error_limit", "errors_seen"]
    names += [f"first_error{of}" for of in ("", "_line", "_character", "_column_name")]
    if not rows:
        return "SELECT 'Copy executed with 0 files processed.' AS \"status\""
    return selects(rows, names)


def selects(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> str:
    """Write a query that gives rows of numbers and texts."""
    texts = [
        "SELECT " + ", ".join(f'{_literal(value)} AS "{name}"' for name, value in zip(names, row, strict=True))
        for row in rows
    ]
    none = "SELECT " + ", ".join(f'NULL::VARCHAR AS "{name}"' for name in names) + " WHERE FALSE"
    return " UNION ALL ".join(texts) or none


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"
