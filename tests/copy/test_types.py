"""What becomes of each type between each pair of ends: the table of docs/types.md, row by row, against real servers."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fix_mysql import MySqlDatabase
from tests.fix_postgres import Database
from tests.services import pyarrow
from tests.stage import LAKE, Stage
from tradewind.amazon.s3.files import S3File
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.copy import CopyOperator
from tradewind.operators.projection import Field
from tradewind.postgres.tables import PostgresTable

# Column, type, values as SQL writes them: each row of the table holds one of each, the last one NULLs alone.
POSTGRES: list[tuple[str, str, str, str]] = [
    ("yes", "boolean", "true", "false"),
    ("small", "smallint", "-32768", "32767"),
    ("int", "integer", "-2147483648", "2147483647"),
    ("big", "bigint", "-9223372036854775808", "9223372036854775807"),
    ("dec", "numeric(20,6)", "-12345678901234.000001", "0.100000"),
    ("real", "real", "0.1", "-1e+30"),
    ("dbl", "double precision", "0.1", "5e-324"),
    ("day", "date", "'0001-01-01'", "'9999-12-31'"),
    ("hour", "time without time zone", "'00:00:00'", "'23:59:59.123456'"),
    ("at", "timestamp without time zone", "'2013-02-03 04:05:06.789'", "'1969-12-31 23:59:59.999999'"),
    ("seen", "timestamp with time zone", "'2013-02-03 04:05:06.789+05:30'", "'1969-12-31 23:59:59-08'"),
    ("span", "interval", "'1 year 2 days 03:04:05.6'", "'-1 day'"),
    ("word", "text", "''", "E'a,\"b\"\\n\\\\N größe'"),
    ("raw", "bytea", "'\\xdeadbeef00ff'", "'\\x'"),
    ("doc", "jsonb", """'{"a": [1, null, "x\\"y"], "n": 12345678901234567890.123}'""", "'[]'"),
    ("uid", "uuid", "'0b6fbd47-7a31-4d7a-9a4c-6a3f4a3f2b11'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"),
    ("ints", "integer[]", "'{1,NULL,-3}'", "'{}'"),
    ("words", "text[]", """ARRAY['a,b', '', NULL, 'q"\\', 'NULL']""", "'{x}'"),
]
MYSQL: list[tuple[str, str, str, str]] = [
    ("yes", "tinyint(1)", "1", "0"),
    ("tiny", "tinyint(4)", "-128", "127"),
    ("small", "smallint(6)", "-32768", "32767"),
    ("medium", "mediumint(9)", "-8388608", "8388607"),
    ("num", "int(11)", "-2147483648", "2147483647"),
    ("uint", "int(10) unsigned", "0", "4294967295"),
    ("big", "bigint(20)", "-9223372036854775808", "9223372036854775807"),
    ("ubig", "bigint(20) unsigned", "0", "18446744073709551615"),
    ("deci", "decimal(30,10)", "-12345678901234.0000000001", "0.1"),
    ("flo", "float", "0.1", "-1e30"),
    ("dbl", "double", "0.1", "1e-300"),
    ("day", "date", "'1000-01-01'", "'9999-12-31'"),
    ("hour", "time(6)", "'00:00:00'", "'23:59:59.123456'"),
    ("moment", "datetime(6)", "'2013-02-03 04:05:06.789'", "'1000-01-01 00:00:00'"),
    ("seen", "timestamp(6)", "'2013-02-03 04:05:06.789'", "'2037-12-31 23:59:59'"),
    ("word", "longtext", "''", "'a,\"b\"\\n\\\\N größe'"),
    ("raw", "longblob", "X'deadbeef00ff'", "''"),
    ("fixed", "binary(4)", "X'deadbeef'", "X'00000000'"),
    ("yr", "year(4)", "1999", "2155"),
]


BYTES = {"longblob", "binary(4)"}
DOCS = Path(__file__).parents[2] / "docs" / "types.md"


def documented(heading: str, column: int) -> list[str]:
    """Return a column of one of the tables in docs/types.md, row by row.

    :param heading: what the table stands under
    :param column: counted from 0
    """
    lines = DOCS.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row[column] for row in rows[1:]]


def mysql_documented(types: dict[str, str]) -> list[str]:
    """Write types of MySQL's catalog as the table does: without the width that integers are shown in."""
    return [re.sub(r"^((?!tinyint\(1\))\w*int)\(\d+\)", r"\1", kind) for kind in types.values()]


def parquet_documented(data: bytes) -> list[str]:
    """Return what a file's own schema says of its columns, as the table does."""
    schema = pyarrow().parquet.ParquetFile(io.BytesIO(data)).schema
    said = []
    for at in range(len(schema)):
        column = schema.column(at)
        logical = json.loads(column.logical_type.to_json())
        kind = {
            "None": column.physical_type,
            "Int": f"INT({logical.get('bitWidth')})",
            "Decimal": f"DECIMAL({logical.get('precision')}, {logical.get('scale')})",
            "Timestamp": "TIMESTAMP, UTC" if logical.get("isAdjustedToUTC") else "TIMESTAMP",
        }.get(logical["Type"], logical["Type"].upper())
        said.append("LIST" if ".list." in column.path else kind)
    return said


@dataclass(frozen=True)
class Ends:
    """The services of a test, and a way to copy between them.

    :param context: makes the context of a task
    """

    stage: Stage
    postgres: Database
    mysql: MySqlDatabase
    context: Callable[..., Any]

    def copy(self, source: Any, target: Any, **asked: Any) -> Any:
        operator = CopyOperator(task_id="copy", source=source, target=target, **asked)
        return operator.execute(self.context(operator))

    def in_postgres(self, table: str) -> Any:
        return PostgresTable(table, conn_id=self.postgres.conn_id)

    def in_mysql(self, table: str) -> Any:
        return MySqlTable(table, conn_id=self.mysql.conn_id)

    def in_s3(self, name: str, columns: Any = None) -> Any:
        if name.endswith(".parquet"):
            pyarrow()
        return S3File(f"s3://{self.stage.bucket}/types/{name}", conn_id=LAKE, columns=columns)

    def body(self, name: str) -> bytes:
        return self.stage.client().get_object(Bucket=self.stage.bucket, Key=f"types/{name}")["Body"].read()

    @property
    def is_mariadb(self) -> bool:
        return "MariaDB" in self.mysql.query("SELECT VERSION()")[0][0]

    def postgres_types(self, table: str) -> dict[str, str]:
        return dict(
            self.postgres.query(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                f"WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum"
            )
        )

    def postgres_rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return the values as the first table had them, whatever type they have now."""
        types = self.postgres_types(table)
        columns = ", ".join(_again(name, kind, types[name]) for name, kind, *_ in POSTGRES)
        return self.postgres.query(f"SET timezone = 'UTC'; SELECT {columns} FROM {table} ORDER BY int")

    def mysql_types(self, table: str) -> dict[str, str]:
        return dict(
            self.mysql.query(
                "SELECT column_name, column_type FROM information_schema.columns "
                f"WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
            )
        )

    def mysql_rows(self, table: str) -> list[tuple[Any, ...]]:
        columns = ", ".join(
            f"HEX({name})" if name in ("raw", "fixed") else f"{name} + 0e0" if name == "flo" else f"CONCAT({name})"
            for name, *_ in MYSQL
        )
        return self.mysql.query(f"SELECT {columns} FROM {table} ORDER BY num")


def _again(name: str, first: str, now: str) -> str:
    if first.endswith("[]"):
        as_text = f"CASE WHEN {name} LIKE '{{%' THEN to_jsonb({name}::{first}) ELSE {name}::jsonb END"
        return f"({f'to_jsonb({name})' if now.endswith('[]') else as_text if now == 'text' else name})::text"
    return f"{name}::text::{first}::text"


@pytest.fixture
def ends(
    stage: Stage,
    database: Database,
    mysql_database: MySqlDatabase,
    connection: Callable[..., str],
    context: Callable[..., Any],
) -> Ends:
    connection(LAKE, stage.connections()[f"AIRFLOW_CONN_{LAKE.upper()}"])
    return Ends(stage, database, mysql_database, context)


@pytest.fixture
def from_postgres(ends: Ends) -> Ends:
    """Fill a table of PostgreSQL with every type that it has."""
    columns = ", ".join(f"{name} {kind}" for name, kind, *_ in POSTGRES)
    rows = ", ".join(f"({', '.join(case[at] for case in POSTGRES)})" for at in (2, 3))
    ends.postgres.query(f"CREATE TABLE a ({columns})")
    ends.postgres.query(f"INSERT INTO a VALUES {rows}".replace("%", "%%"))
    ends.postgres.query("INSERT INTO a (int) VALUES (7)")
    return ends


@pytest.fixture
def from_mysql(ends: Ends) -> Ends:
    """Fill a table of MySQL with every type that it has."""
    columns = ", ".join(f"{name} {kind} NULL" for name, kind, *_ in MYSQL)
    rows = ", ".join(f"({', '.join(case[at] for case in MYSQL)})" for at in (2, 3))
    ends.mysql.query(f"CREATE TABLE a ({columns}) CHARACTER SET utf8mb4")
    ends.mysql.query(f"INSERT INTO a VALUES {rows}")
    ends.mysql.query("INSERT INTO a (num) VALUES (7)")
    return ends


def test_postgres_to_postgres(from_postgres: Ends) -> None:
    from_postgres.copy(from_postgres.in_postgres("a"), from_postgres.in_postgres("b"), create=True)

    assert [kind for _, kind, *_ in POSTGRES] == documented("From PostgreSQL", 0) == documented("From PostgreSQL", 4)

    assert from_postgres.postgres_types("b") == {name: kind for name, kind, *_ in POSTGRES}
    assert from_postgres.postgres_rows("b") == from_postgres.postgres_rows("a")


def test_postgres_to_mysql_and_back(from_postgres: Ends) -> None:
    ends = from_postgres
    ends.copy(ends.in_postgres("a"), ends.in_mysql("m"), create=True)
    ends.copy(ends.in_mysql("m"), ends.in_postgres("b"), create=True)
    mine = documented("From PostgreSQL", 3)
    theirs = documented("From PostgreSQL", 8)
    if ends.is_mariadb:  # its JSON is a longtext
        mine = ["longtext" if kind == "json" else kind for kind in mine]
        theirs = ["text" if kind == "jsonb" else kind for kind in theirs]

    assert mysql_documented(ends.mysql_types("m")) == [
        kind.partition(",")[0] if "UTC" in kind else kind for kind in mine
    ]
    assert list(ends.postgres_types("b").values()) == theirs
    assert ends.postgres_rows("b") == ends.postgres_rows("a")


def test_mysql_to_mysql(from_mysql: Ends) -> None:
    from_mysql.copy(from_mysql.in_mysql("a"), from_mysql.in_mysql("b"), create=True)

    assert mysql_documented({name: kind for name, kind, *_ in MYSQL}) == documented("From MySQL", 0)
    assert mysql_documented(from_mysql.mysql_types("b")) == documented("From MySQL", 3)
    assert from_mysql.mysql_rows("b") == from_mysql.mysql_rows("a")


def test_mysql_to_postgres_and_back(from_mysql: Ends) -> None:
    ends = from_mysql
    ends.mysql.query("CREATE TABLE b LIKE a")
    ends.copy(ends.in_mysql("a"), ends.in_postgres("p"), create=True)
    ends.copy(ends.in_postgres("p"), ends.in_mysql("b"))

    assert list(ends.postgres_types("p").values()) == documented("From MySQL", 4)
    assert ends.mysql_rows("b") == ends.mysql_rows("a")


COLUMN = {"csv": 5, "jsonl": 6, "parquet": 7}
"""Where the table says what PostgreSQL makes of such a file."""
FILES = ["a.csv", "a.jsonl", "a.jsonl.gz", "a.parquet"]


@pytest.mark.parametrize("name", FILES)
def test_postgres_to_a_file_and_back(name: str, from_postgres: Ends) -> None:
    ends = from_postgres
    ends.postgres.query("CREATE TABLE b (LIKE a)")
    ends.copy(ends.in_postgres("a"), ends.in_s3(name))
    ends.copy(ends.in_s3(name), ends.in_postgres("b"))
    ends.copy(ends.in_s3(name), ends.in_postgres("c"), create=True)
    kind = name.removeprefix("a.").removesuffix(".gz")

    expected = documented("From PostgreSQL", COLUMN[kind])
    for known, made in (("uuid", "uuid"), ("json_", "jsonb")):  # an old pyarrow has no such type
        if kind == "parquet" and not hasattr(pyarrow(), known):
            expected = ["text" if each == made else each for each in expected]

    assert list(ends.postgres_types("c").values()) == expected
    if kind == "parquet" and hasattr(pyarrow(), "uuid") and hasattr(pyarrow(), "json_"):
        assert parquet_documented(ends.body(name)) == documented("From PostgreSQL", 2)
    assert ends.postgres_rows("b") == ends.postgres_rows("a")
    assert ends.postgres_rows("c") == ends.postgres_rows("a")


@pytest.mark.parametrize("name", FILES)
def test_mysql_to_a_file_and_back(name: str, from_mysql: Ends) -> None:
    ends = from_mysql
    ends.mysql.query("CREATE TABLE b LIKE a")
    ends.copy(ends.in_mysql("a"), ends.in_s3(name))
    columns = None
    if name != "a.parquet":  # nothing in such a file says that a text stands for bytes
        columns = {column: Field(column, "bytes" if kind in BYTES else None) for column, kind, *_ in MYSQL}
    ends.copy(ends.in_s3(name, columns=columns), ends.in_mysql("b"))

    if name == "a.parquet":
        assert parquet_documented(ends.body(name)) == documented("From MySQL", 2)
    assert ends.mysql_rows("b") == ends.mysql_rows("a")


def as_documented(cell: str, made: str) -> bool:
    """Say whether a table shows what was made: all of it, its begin before three dots, or words about it."""
    text = cell.strip("`")
    begin, dots, _ = text.partition("...")
    return cell in ("itself", "as it is", "JSON") or (made.startswith(begin) if dots else made == text)


SHOWN_POSTGRES = (
    "true, 1, 1, 1, 0.1, 0.1, 0.1, date '2013-02-03', time '04:05:06', timestamp '2013-02-03 04:05:06', "
    "timestamptz '2013-02-03 09:05:06+05', interval '1 day 2 hours', 'a', '\\xdead'::bytea, '{\"a\": 1.50}'::jsonb, "
    "'0b6fbd47-7a31-4d7a-9a4c-6a3f4a3f2b11'::uuid, '{1,NULL}', '{a,NULL}'"
)
SHOWN_MYSQL = (
    "1, 1, 1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, '2013-02-03', '04:05:06', '2013-02-03 04:05:06', '2013-02-03 04:05:06', "
    "'a', X'dead', X'dead', 1999"
)


@pytest.mark.parametrize("service", ["PostgreSQL", "MySQL"])
def test_json_lines_hold_what_is_shown(service: str, ends: Ends) -> None:
    """The file's own text counts, for a reader of JSON would take numbers for others."""
    of_postgres = service == "PostgreSQL"
    cases, values = (POSTGRES, SHOWN_POSTGRES) if of_postgres else (MYSQL, SHOWN_MYSQL)
    database: Any = ends.postgres if of_postgres else ends.mysql
    database.query(f"CREATE TABLE a ({', '.join(f'{name} {kind} NULL' for name, kind, *_ in cases)})")
    database.query(f"INSERT INTO a VALUES ({values})")
    ends.copy(ends.in_postgres("a") if of_postgres else ends.in_mysql("a"), ends.in_s3("a.jsonl"))
    made = values_of_line(ends.body("a.jsonl").decode())

    cells = documented(f"From {service}", 1)
    assert [pair for pair in zip(cells, made, strict=True) if not as_documented(*pair)] == []


def values_of_line(line: str) -> list[str]:
    """Cut a line of JSON into the texts of its values."""
    decoder, at, found = json.JSONDecoder(), 1, []
    while line[at] != "\n":
        _, at = decoder.raw_decode(line, at)
        end = decoder.raw_decode(line, at + 1)[1]
        found.append(line[at + 1 : end])
        at = end + 1
    return found


MOMENT = dt.datetime(2013, 2, 3, 4, 5, 6)
UUID_BYTES = bytes.fromhex("0b6fbd477a314d7a9a4c6a3f4a3f2b11")
# Each row of the table: types of pyarrow, and what the columns hold; the first is the value that the table shows.
PARQUET: dict[str, list[tuple[str, Any]]] = {
    "BOOLEAN": [("bool_()", True)],
    "INT(8), INT(16), UINT(8)": [("int8()", 1), ("int16()", -32768), ("uint8()", 255)],
    "INT(32), UINT(16)": [("int32()", 1), ("uint16()", 65535)],
    "INT(64), UINT(32)": [("int64()", 1), ("uint32()", 4294967295)],
    "UINT(64)": [("uint64()", 1)],
    "DECIMAL(p, s)": [("decimal128(20, 7)", Decimal("0.0000001")), ("decimal256(50, 7)", Decimal("1.5000000"))],
    "FLOAT, half": [("float32()", 0.1), ("float16()", 0.5)],
    "DOUBLE": [("float64()", 0.1)],
    "DATE": [("date32()", MOMENT.date()), ("date64()", MOMENT.date())],
    "TIME": [("time64('us')", MOMENT.time()), ("time32('ms')", MOMENT.time()), ("time64('ns')", MOMENT.time())],
    "TIMESTAMP; INT96": [("timestamp('us')", MOMENT), ("timestamp('ms')", MOMENT), ("INT96", MOMENT)],
    "TIMESTAMP, UTC": [("timestamp('us', 'UTC')", MOMENT), ("timestamp('ns', 'Asia/Tokyo')", MOMENT)],
    "STRING, ENUM, dictionaries of them": [("string()", 'a,"b'), ("dictionary(pa.int32(), pa.string())", "x")],
    "BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY": [("binary()", b"\xde\xad"), ("binary(2)", b"\0\xff")],
    "UUID": [("uuid()", UUID_BYTES)],
    "JSON": [("json_()", '{"a":1.50}')],
    "LIST of one of the above": [("list_(pa.string())", ["a", "b"]), ("list_(pa.int64())", [1, None])],
    "LIST of lists, structs; struct; MAP": [
        ("list_(pa.list_(pa.int64()))", [[1], [2]]),
        ("list_(pa.struct({'x': pa.int64()}))", [{"x": 1}]),
        ("struct({'x': pa.int64()})", {"x": 1}),
        ("map_(pa.string(), pa.int64())", [("x", 1)]),
    ],
}
SPELLED = {
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "its array": "text[]",
    "datetime(6), in UTC": "datetime(6)",
}


def two_values(kind: Any, value: Any) -> Any:
    """Make a column of a value and NULL."""
    pa: Any = pyarrow()
    if kind != pa.float16():
        return pa.array([value, None], kind)
    # Older versions of pyarrow make halves of numpy's alone, and crash where there is no numpy.
    return pa.Array.from_buffers(kind, 2, [pa.py_buffer(b"\x01"), pa.py_buffer(struct.pack("<ee", value, 0))])


@pytest.mark.parametrize("int96", [False, True])
def test_parquet_to_every_end(int96: bool, ends: Ends) -> None:
    """All rows at once, but for INT96, which a whole file has or has not."""
    pa: Any = pyarrow()
    assert list(PARQUET) == documented("From Parquet", 0)
    shown = [documented("From Parquet", column) for column in range(1, 5)]
    kinds = [
        (at, number, kind, value)
        for at, row in enumerate(PARQUET.values())
        for number, (kind, value) in enumerate(row)
        if int96 == (kind == "INT96") and (kind not in ("uuid()", "json_()") or hasattr(pa, kind[:-2]))
    ]
    arrays = [
        two_values(pa.timestamp("ns") if int96 else eval(f"pa.{kind}", {"pa": pa}), value) for *_, kind, value in kinds
    ]
    body = io.BytesIO()
    table = pa.table([*arrays, pa.array([1, 2])], [*(f"c{number}" for number in range(len(kinds))), "n"])
    pa.parquet.write_table(table, body, use_deprecated_int96_timestamps=int96)
    ends.stage.client().put_object(Bucket=ends.stage.bucket, Key="types/v.parquet", Body=body.getvalue())
    for target in (ends.in_postgres("p"), ends.in_mysql("m")):
        ends.copy(ends.in_s3("v.parquet"), target, create=True)
    for name in ("v.csv", "v.jsonl"):
        ends.copy(ends.in_s3("v.parquet"), ends.in_s3(name))

    in_postgres, in_mysql = ends.postgres_types("p").values(), mysql_documented(ends.mysql_types("m"))
    _, in_csv, nulls = list(csv.reader(io.StringIO(ends.body("v.csv").decode(), newline="")))
    in_jsonl, no_values = map(values_of_line, ends.body("v.jsonl").decode().splitlines(keepends=True))
    assert (set(nulls[:-1]), set(no_values[:-1])) == ({""}, {"null"})
    wrong = [
        (kind, cell, made)
        for (at, number, kind, value), *found in zip(kinds, in_postgres, in_mysql, in_csv, in_jsonl, strict=False)
        for cell, made in zip((column[at] for column in shown), found, strict=True)
        if not became(cell, made, kind, value if number else None, is_mariadb=ends.is_mariadb)
    ]
    assert wrong == []
    as_json = [shown[3][at] == "as it is" for at, *_ in kinds]
    assert [
        pair
        for pair, same in zip(zip(in_csv, in_jsonl, strict=True), as_json, strict=False)
        if same and len(set(pair)) > 1
    ] == []


def became(cell: str, made: str, kind: str, value: Any, *, is_mariadb: bool) -> bool:
    """Say whether a table shows what a column became.

    :param cell: of the table
    :param made: the type, or the text, that it became
    :param kind: its type in Parquet
    :param value: what it holds, where that is not what the table shows
    """
    if not cell.startswith("`") and cell not in ("itself", "as it is", "JSON"):
        wide = re.search(r"\((\d\d), 7\)", kind)
        spelled = SPELLED.get(cell, cell).replace("(p,s)", f"({wide[1] if wide else 20},7)")
        spelled = "longtext" if is_mariadb and spelled == "json" else spelled
        return made == (spelled.replace("text[]", "bigint[]") if "int64" in kind else spelled)
    return True if value is not None and cell.startswith("`") else as_documented(cell, made)
