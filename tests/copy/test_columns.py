"""Columns chosen, renamed and cast at the source, and constants, on their way from files into tables."""

from __future__ import annotations

import csv
import random
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fix_copies import MemorySink, copy
from tests.fix_tables import Tables
from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.local_files import LocalFile
from tradewind.operators.projection import FILE_NAME, Columns, Field

COLUMNS = "id int PRIMARY KEY, name varchar(10), n int, d date, file varchar(300)"


@pytest.fixture
def target(tables: Tables) -> Tables:
    """Make a table."""
    tables.query(f"CREATE TABLE t ({COLUMNS})")
    return tables


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.csv"


def rows(tables: Tables, columns: str = "id, name, n, d, file") -> list[tuple[Any, ...]]:
    return tables.query(f"SELECT {columns} FROM t ORDER BY id")


def test_renaming_is_a_matter_of_names(target: Tables, file: Path) -> None:
    file.write_bytes(b'key,who\n1,a\n2,"x,y"\n3,\n')
    for columns in ({"key": "id", "who": "name"}, {"who": "NAME", "key": "id"}):
        result = copy(LocalFile(file, columns=columns), target.table(), mode="replace")
        assert rows(target, "id, name") == [(1, "a"), (2, "x,y"), (3, None)]
        assert (result.rows, result.bytes) == (3, file.stat().st_size)


@pytest.mark.parametrize("body", [b"1,x,a,\n2,y,,2026-01-02\n", b'"1",x,a,""\n2,"",,2026-01-02\n'])
def test_fields_are_left_out_cast_and_joined_by_constants(target: Tables, file: Path, body: bytes) -> None:
    file.write_bytes(b"id,junk,who,day\n" + body)
    columns: Columns = {"who": "name", "day": Field("d", type="timestamp"), "id": Field("id", type="bigint")}
    result = copy(LocalFile(file, columns=columns, constants={"n": 7, "file": FILE_NAME}), target.table())

    assert rows(target) == [(1, "a", 7, None, str(file)), (2, None, 7, date(2026, 1, 2), str(file))]
    assert (result.rows, result.inserted) == (2, 2)


def test_null_and_the_empty_text_stay_apart(target: Tables, file: Path) -> None:
    file.write_bytes(b'id,a,b\n1,"",\n2,,""\n')
    constants = {"file": ""}
    copy(LocalFile(file, columns={"id": "id", "a": "name", "b": "n"}, constants=constants), target.table())
    assert rows(target) == [(1, "", None, None, ""), (2, None, None, None, "")]

    file.write_bytes(b"id,a,b\n3,,NULL\n")
    source = LocalFile(file, columns={"id": "id", "a": Field("name", "text")}, constants={"n": None}, null="NULL")
    copy(source, target.table())
    assert rows(target)[2] == (3, "", None, None, None)


def test_files_with_other_orders_and_a_merge(target: Tables, tmp_path: Path) -> None:
    target.query("INSERT INTO t (id, name, n) VALUES (1, 'old', 1), (9, 'stays', 9)")
    (tmp_path / "a.csv").write_bytes(b"key,x,who\n1,-,new\n2,-,b\n")
    (tmp_path / "b.csv").write_bytes(b"who,key\nc,3\n")
    source = LocalFile(f"{tmp_path}/*.csv", columns={"key": "id", "who": "name"}, constants={"file": FILE_NAME})
    result = copy(source, target.table(), mode="merge", key=("id",))

    a, b = f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"
    assert rows(target, "id, name, n, file") == [
        (1, "new", 1, a),
        (2, "b", None, a),
        (3, "c", None, b),
        (9, "stays", 9, None),
    ]
    assert (result.inserted, result.updated) == (2, 1)


def test_many_records_keep_their_values(target: Tables, file: Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    texts = ["", "a", 'q"q', "x,y", "l\nl", "\\", "\\N", "é", "NULL"]
    made = [(number, rng.choice([None, *texts]), rng.randrange(1000)) for number in range(20_000)]

    def field(text: str | None) -> str:
        return "" if text is None else '"' + text.replace('"', '""') + '"'

    file.write_text(
        "n,skipped,name,id\n" + "".join(f"{n},{field(name)},{field(name)},{key}\n" for key, name, n in made)
    )
    source = LocalFile(
        file, columns={"id": Field("id", "integer"), "name": "name", "n": "n"}, constants={"d": date(2026, 1, 2)}
    )
    result = copy(source, target.table())

    assert rows(target) == [(key, name, n, date(2026, 1, 2), None) for key, name, n in made]
    assert result.rows == 20_000


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("boolean", "yes", True),
        ("integer", "42", 42),
        ("decimal(9,2)", "1.005", Decimal("1.01")),
        ("double", "1e3", 1000.0),
        ("date", "2026-01-02", date(2026, 1, 2)),
        ("timestamp", "2026-01-02T03:04:05.678", datetime(2026, 1, 2, 3, 4, 5, 678000)),
        ("timestamp", "2026-01-02 03:04:05Z", datetime(2026, 1, 2, 3, 4, 5)),
        ("timestamp", "2026-01-02 03:04:05.5+02:00", datetime(2026, 1, 2, 3, 4, 5, 500000)),
        ("date", "2026-01-02 23:04:05-08", date(2026, 1, 2)),
        ("timestamptz", "2026-01-02 03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5)),
        ("text", "42", "42"),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("json", '{"a": 1}', '{"a": 1}'),
        ("bytes", "\\xdeAD", b"\xde\xad"),
        ("bytes", "é", "é".encode()),
    ],
)
def test_each_type_is_cast_by_the_server(tables: Tables, file: Path, kind: str, text: str, expected: Any) -> None:
    types = {
        "boolean": "boolean",
        "integer": "bigint",
        "decimal(9,2)": "decimal(12,4)",
        "double": tables.pick(postgres="double precision", mysql="double"),
        "date": "date",
        "timestamp": tables.pick(postgres="timestamp", mysql="datetime(6)"),
        "timestamptz": tables.pick(postgres="timestamp", mysql="datetime(6)"),
        "bytes": tables.pick(postgres="bytea", mysql="varbinary(99)"),
    }
    if tables.service == "postgres":
        tables.query("SET timezone = 'UTC'; ALTER ROLE CURRENT_USER SET timezone = 'UTC'")
    tables.query(f"CREATE TABLE t (id int, v {types.get(kind, 'varchar(99)')})")
    file.write_text('v,id\n"{}",1\n"",2\n,3\n'.format(text.replace('"', '""')))
    copy(LocalFile(file, columns={"v": Field("v", type=kind), "id": "id"}), tables.table())

    found = [bytes(value) if isinstance(value, memoryview) else value for (value,) in rows(tables, "v")]
    empty = {"text": "", "bytes": b""}.get(kind)
    assert found == [expected, empty, None]


BAD: dict[str, tuple[bytes, Any, str, int]] = {
    "a cast": (b'id,n\n1,"1"\n2,x\n3,3\n', {"id": "id", "n": Field("n", "integer")}, "x", 3),
    "a date": (b"id,n\n1,2026-01-01\n2,2026-02-30\n", {"id": "id", "n": Field("d", "date")}, "2026-02-30", 3),
    "a column's own type": (b"id,j,n\n1,,1\n2,,y\n", {"id": "id", "n": "n"}, "y", 3),
    "a text that is too long": (b"id,j,n\n1,,1\n2,,12345678901\n", {"id": "id", "n": "name"}, "", 3),
    "a key twice": (b"id,j,n\n1,,1\n2,,2\n1,,3\n", {"id": "id", "n": "n"}, "1", 4),
    "too few fields": (b"id,j,n\n1,,1\n2,\n", {"id": "id", "n": "n"}, "", 3),
    "too many fields": (b"id,j,n\n1,,1,4\n2,,2\n", {"id": "id", "n": "n"}, "", 2),
    "after a long text": (b'id,j,n\n1,"\n\n\n",1\n2,,y\n', {"id": "id", "n": "n"}, "y", 6),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_named_and_can_be_set_aside(name: str, target: Tables, file: Path) -> None:
    body, columns, value, line = BAD[name]
    file.write_bytes(body)
    source = LocalFile(file, columns=columns, constants={"file": "f"})
    with pytest.raises(DataError) as caught:
        copy(source, target.table())
    assert (caught.value.source, caught.value.line) == (str(file), line), str(caught.value)
    assert value in str(caught.value)
    assert f"{file}, line {line}" in str(caught.value)
    assert rows(target) == []

    sink = MemorySink()
    result = copy(source, target.table(), max_errors=1, open_rejects=lambda: sink)
    records = body.decode().split("\n", 1)[1]
    assert (result.rejected, len(rows(target))) == (1, result.rows)
    assert result.rows == (2 if name in ("a cast", "a key twice") else 1)
    assert f"{file},{line}," in sink.data.decode()
    whole = sink.data.decode().rsplit(',"', 1)[1].strip('"\r\n')
    assert whole.split(",")[0] in records


def test_a_table_is_made_of_the_columns(tables: Tables, file: Path) -> None:
    file.write_bytes(b"key,junk,day,who\n1,x,2026-01-02,a\n2,y,,b\n")
    columns: Columns = {"key": "id", "day": Field("at", "timestamp"), "who": "who"}
    copy(
        LocalFile(file, columns=columns, constants={"day": "2026-01-05", "file": FILE_NAME}),
        tables.table(),
        create=True,
    )

    assert tables.query("SELECT id, at, who, day, file FROM t ORDER BY id") == [
        (1, datetime(2026, 1, 2), "a", date(2026, 1, 5), str(file)),
        (2, None, "b", date(2026, 1, 5), str(file)),
    ]


def test_what_the_file_or_the_table_lacks_is_named(target: Tables, file: Path) -> None:
    file.write_bytes(b"id,name\n1,a\n")
    for how, words in (
        ({"columns": {"id": "id", "nmae": "name"}}, "has no column 'nmae': did you mean 'name'"),
        ({"columns": {"id": "id", "name": "nmae"}}, "table .*t has no column 'nmae': did you mean 'name'"),
        ({"constants": {"Name": "x"}}, "has a column 'name', which is a constant too"),
        ({"columns": {"id": "id"}, "constants": {"nothing": "x"}}, "table .*t has no column 'nothing'"),
    ):
        with pytest.raises(DataError, match=words):
            copy(LocalFile(file, **how), target.table())  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"key: .* has no column 'id'"):
        copy(LocalFile(file, columns={"name": "name"}), target.table(), mode="merge", key=("id",))
    assert rows(target) == []


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "parquet"])
def test_other_formats_give_columns_and_constants_too(target: Tables, tmp_path: Path, ending: str) -> None:
    target.query(
        "INSERT INTO t (id, name, n, d) VALUES (1, 'a', 5, '2026-01-02'), (2, NULL, 6, NULL), (3, '', 7, NULL)"
    )
    whole, made = tmp_path / f"whole.{ending}", tmp_path / f"made.{ending}"
    copy(target.table(), LocalFile(whole))
    columns: Columns = {"name": "who", "id": Field("key", "bigint"), "d": "day"}
    copy(LocalFile(whole, columns=columns, constants={"x": "1", "f": FILE_NAME}), LocalFile(made))
    copy(LocalFile(made), LocalFile(tmp_path / "made.csv"))
    with (tmp_path / "made.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["who", "key", "day", "x", "f"],
            ["a", "1", "2026-01-02", "1", str(whole)],
            ["", "2", "", "1", str(whole)],
            ["", "3", "", "1", str(whole)],
        ]

    with pytest.raises(DataError, match=rf"whole.{ending}, record 1, column name: 'a' is no integer"):
        copy(LocalFile(whole, columns={"name": Field("n", "integer")}), LocalFile(made))

    target.query("DELETE FROM t")
    back: Columns = {"key": "id", "who": Field("name", "text"), "f": "file"}
    copy(LocalFile(made, columns=back, constants={"d": "2026-01-05"}), target.table())
    assert rows(target) == [
        (1, "a", None, date(2026, 1, 5), str(whole)),
        (2, None, None, date(2026, 1, 5), str(whole)),
        (3, "", None, date(2026, 1, 5), str(whole)),
    ]
