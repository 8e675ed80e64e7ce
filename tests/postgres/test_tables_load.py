"""Loading a table: matching, modes, dialects, and what is left when it fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.fix_postgres import Database
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.operators.dialect import CsvDialect
from tradewind.postgres.tables import PostgresTable

pytestmark = pytest.mark.anywhere


@pytest.fixture
def target(database: Database) -> PostgresTable:
    database.query("CREATE SCHEMA staging; CREATE TABLE staging.t (id bigint PRIMARY KEY, name text, n int DEFAULT 7)")
    return PostgresTable("staging.t", conn_id=database.conn_id)


def rows(database: Database, what: str = "staging.t") -> list[Any]:
    return database.query(f"SELECT * FROM {what} ORDER BY 1")


def test_append_matches_columns_by_name_and_gives_defaults_to_the_others(
    database: Database, target: PostgresTable
) -> None:
    result = copy(MemoryFiles(b'NAME,id\nanna,1\n,2\n"",3\n'), target)
    assert rows(database) == [(1, "anna", 7), (2, None, 7), (3, "", 7)]
    assert (result.rows, result.inserted, result.bytes, result.files) == (3, 3, 23, ["memory/1.csv"])


def test_files_may_have_different_columns_and_orders(database: Database, target: PostgresTable) -> None:
    result = copy(MemoryFiles(b"id,name\n1,a\n", b"n,id\r\n5,2\r\n", b"", b"id,name\n", b"\xef\xbb\xbfid\n3"), target)
    assert rows(database) == [(1, "a", 7), (2, None, 5), (3, None, 7)]
    assert result.rows == 3


def test_the_same_work_is_loaded_once(database: Database, target: PostgresTable) -> None:
    first = copy(MemoryFiles(b"id\n1\n"), target)
    second = copy(
        MemoryFiles(b"id\n1\n"), target, work=WORK.__class__("dag", "run 1", "load", try_number=2, max_tries=5)
    )
    assert first.loaded_before is None
    assert second.loaded_before is not None
    assert (second.rows, second.files) == (1, ["memory/1.csv"])
    assert rows(database) == [(1, None, 7)]
    copy(MemoryFiles(b"id\n2\n"), target)
    assert len(rows(database)) == 2


def test_replace_puts_the_input_in_place_of_the_rows(database: Database, target: PostgresTable) -> None:
    database.query("INSERT INTO staging.t VALUES (8, 'old')")
    result = copy(MemoryFiles(b"id,name\n1,a\n"), target, mode="replace")
    assert rows(database) == [(1, "a", 7)]
    assert result.rows == 1
    copy(MemoryFiles(b""), target, mode="replace")
    assert rows(database) == []


def test_merge_counts_exactly(database: Database, target: PostgresTable) -> None:
    database.query("INSERT INTO staging.t VALUES (1, 'same', 1), (2, 'old', 2), (9, NULL, 3)")
    before = dict(database.query("SELECT id, xmin::text FROM staging.t"))
    result = copy(MemoryFiles(b"id,name\n1,same\n2,new\n3,more\n9,\n"), target, mode="merge", key=("ID",))
    assert (result.rows, result.inserted, result.updated, result.unchanged) == (4, 1, 1, 2)
    assert rows(database) == [(1, "same", 1), (2, "new", 2), (3, "more", 7), (9, None, 3)]
    after = dict(database.query("SELECT id, xmin::text FROM staging.t"))
    assert {row for row in before if after[row] == before[row]} == {1, 9}


@pytest.mark.parametrize("index", ["", "CREATE INDEX ON m (a, b)", "CREATE UNIQUE INDEX ON m (b, a)"])
def test_merge_is_right_with_and_without_an_index(database: Database, index: str) -> None:
    database.query(f"CREATE TABLE m (a int, b text, j json, p point); {index}")
    database.query("INSERT INTO m VALUES (1, 'x', '{}', '(1,2)'), (1, 'y', '[1]', '(1,2)')")
    target = PostgresTable("m", conn_id=database.conn_id)
    data = b'a,b,j,p\n1,x,{},"(1,2)"\n1,y,[2],"(1,2)"\n2,x,1,"(0,0)"\n'
    result = copy(MemoryFiles(data), target, mode="merge", key=("a", "b"))
    assert (result.inserted, result.updated, result.unchanged) == (1, 1, 1)
    assert database.query("SELECT a, b, j::text FROM m ORDER BY 1, 2") == [
        (1, "x", "{}"), (1, "y", "[2]"), (2, "x", "1")
    ]  # fmt: skip


def test_merge_refuses_duplicate_and_null_keys(database: Database, target: PostgresTable) -> None:
    with pytest.raises(DataError, match=r"key \(id\) is not unique in the input: 1 keys .*\(5\) 2 times"):
        copy(MemoryFiles(b"id,name\n5,a\n6,a\n5,b\n"), target, mode="merge", key=("id",))
    with pytest.raises(DataError, match="column 'name' is NULL in 2 records"):
        copy(MemoryFiles(b"id,name\n5,\n6,\n7,x\n"), target, mode="merge", key=("name",))
    with pytest.raises(InvalidArgument, match="no column 'name'"):
        copy(MemoryFiles(b"id\n5\n"), target, mode="merge", key=("name",))
    with pytest.raises(InvalidArgument, match="did you mean 'name'"):
        copy(MemoryFiles(b"id\n5\n"), target, mode="merge", key=("nam",))
    assert rows(database) == []


def test_reload_loads_again_but_once_for_each_clear(database: Database, target: PostgresTable) -> None:
    database.query("ALTER TABLE staging.t DROP CONSTRAINT t_pkey")
    data = MemoryFiles(b"id\n1\n")
    copy(data, target)
    assert copy(data, target, reload=True).loaded_before is None
    assert copy(data, target, reload=True).loaded_before is not None
    assert copy(data, target, work=WORK.__class__("dag", "run 1", "load", max_tries=5)).loaded_before is not None
    assert len(rows(database)) == 2
    assert copy(data, target, work=WORK.__class__("dag", "run 1", "load", max_tries=5), reload=True).rows == 1
    assert len(rows(database)) == 3


BAD = [
    (b"id,name\n1,a\nx,b\n", {}, r"memory/1.csv, line 3, column id: invalid input syntax for type bigint: \"x\"", 3),
    (b'id,name\r\n1,"a\r\nb"\r\nx,b\r\n', {}, r"line 4, column id", 4),
    (b'\xef\xbb\xbfid,name\n1,"a\n\nb"\nx,b\n', {}, r"line 5, column id", 5),
    (b'id,name\r\n1,"a\nb\n"\r\nx,b\r\n', {}, r"line 5, column id", 5),
    (b"id,name\n1,a\n1,b\n", {}, r"line 3: duplicate key value .*\(Key \(id\)=\(1\) already exists\)", 3),
    (b"id,name\n1,a\n,b\n", {}, r"null value in column \"id\"", 3),
    (b"id,name\n1,a,c\n", {}, "line 2: extra data after last expected column", 2),
    (b"id,name\n1\n", {}, 'missing data for column "name"', 2),
    (b"id,name\n1,a\xff\n", {}, 'invalid byte sequence for encoding "UTF8": 0xff', 2),
    (b"id,name\n1,a\0b\n", {}, "a NUL byte, which PostgreSQL cannot store", 2),
    (b'id,name\n1,"abc\n2,b\n', {}, "unterminated CSV quoted field", 4),
    (b"id,name\n2\n1,b\r\n", {}, "line 2", 2),
    (b"id;name\n1;a\n", {}, r"delimiter=';'", 1),
    (b"id\tname\n1\ta\n", {}, r"delimiter='\\t'", 1),
    (b"id,nmae\n1,a\n", {}, "table staging.t has no column 'nmae': did you mean 'name'", 1),
    (b"id,,name\n1,a,b\n", {}, "column 2 of 3 has no name", 1),
    (b"id,id\n1,2\n", {}, "names the column 'id' 2 times", 1),
    (b"id,ID\n1,2\n", {}, "'id' and 'ID' are both the column 'id'", 1),
    (b"\n1,2\n", {}, "empty line", 1),
    (b"i\0d\0\n", {}, "NUL", 1),
    (b"id,n\xe4me\n", {}, "not UTF-8 .*0xe4 at offset 4", 1),
    (b"id,name\n1,a\n\\.\n2,b\n", {}, r"line 3: the record is nothing but \\\.", 3),
    (b"\xff\xfei\0d\0\n\0" + b"\x00\xd8\n\0", {}, "not utf-16-le: .* offset 8 \\(line 2\\)", 2),
    ("id,name\n1,ä\n".encode(), {"encoding": "ascii"}, None, None),
    ("id,name\n1,ä\n2,\x81\n".encode("latin-1"), {"encoding": "cp1252"}, "not cp1252: bytes 81 at offset 14", 3),
]


@pytest.mark.parametrize("most", [1 << 20, 5])
@pytest.mark.parametrize(("data", "how", "message", "line"), BAD)
def test_bad_input_is_named_and_leaves_the_table_as_it_was(
    database: Database,
    target: PostgresTable,
    data: bytes,
    how: dict[str, Any],
    message: str | None,
    line: int,
    most: int,
) -> None:
    database.query("INSERT INTO staging.t VALUES (77, 'old')")
    source = MemoryFiles(data, dialect=CsvDialect(**how), most=most)
    if message is None:
        assert copy(source, target).rows == 1
        return
    for mode in ("append", "replace"):
        with pytest.raises(DataError, match=message) as caught:
            copy(source, target, mode=mode)
        assert (caught.value.line, caught.value.source) == (line, "memory/1.csv")
    assert rows(database) == [(77, "old", 7)]
    assert database.query("SELECT count(*) FROM staging.tradewind_ledger") == [(0,)]


def test_missing_tables_and_schemas_are_named(database: Database, target: PostgresTable) -> None:
    with pytest.raises(NotFound, match=r"no table staging.tt: did you mean 't'"):
        copy(MemoryFiles(b"id\n"), PostgresTable("staging.tt", conn_id=database.conn_id))
    with pytest.raises(NotFound, match="no schema nope"):
        copy(MemoryFiles(b"id\n"), PostgresTable("nope.t", conn_id=database.conn_id))


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("id|name\n1|'it''s | ä'\n2|NULL\n3|'NULL'\n", {"delimiter": "|", "quote": "'", "null": "NULL"}),
        ("id;name\n1;'it\\'s | ä'\n2;\\N\n3;NULL\n", {"delimiter": ";", "quote": "'", "escape": "\\", "null": "\\N"}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "latin-1"])
def test_dialects_and_encodings(
    database: Database, target: PostgresTable, text: str, how: dict[str, Any], encoding: str
) -> None:
    stated = "latin-1" if encoding == "latin-1" else "utf-8"
    for most in (1, 3, 1 << 20):
        database.query("DELETE FROM staging.t")
        source = MemoryFiles(text.encode(encoding), dialect=CsvDialect(encoding=stated, **how), most=most)
        copy(source, target, mode="replace", work=WORK.__class__("dag", str(most), "t"))
        assert rows(database) == [(1, "it's | ä", 7), (2, None, 7), (3, "NULL", 7)]


def test_files_without_a_header_go_by_given_names_or_by_position(database: Database, target: PostgresTable) -> None:
    headless = CsvDialect(header=False)
    copy(MemoryFiles(b"a,1\n", dialect=headless, columns=("name", "id")), target)
    copy(MemoryFiles(b"2,b,3\n", dialect=headless), target)
    assert rows(database) == [(1, "a", 7), (2, "b", 3)]


def test_quoted_empty_fields_are_null_where_they_can_be_nothing_else(database: Database) -> None:
    database.query("CREATE TABLE q (a int, d date, t text, b boolean, u uuid)")
    copy(MemoryFiles(b'a,d,t,b,u\n"","","","",""\n'), PostgresTable("q", conn_id=database.conn_id))
    assert database.query("SELECT * FROM q") == [(None, None, "", None, None)]


def test_hostile_names_are_quoted(database: Database) -> None:
    database.query('CREATE SCHEMA "S.1 %s"; CREATE TABLE "S.1 %s"."a""b" ("x %(y)s" int PRIMARY KEY, "Q""" text)')
    target = PostgresTable('"S.1 %s"."a""b"', conn_id=database.conn_id)
    data = b'x %(y)s,"Q"""\n1,a\n'
    assert copy(MemoryFiles(data), target).rows == 1
    assert copy(MemoryFiles(data), target, mode="merge", key=("x %(y)s",)).unchanged == 1


def test_generated_and_identity_columns(database: Database) -> None:
    database.query(
        "CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int NOT NULL, "
        "twice int GENERATED ALWAYS AS (a * 2) STORED)"
    )
    target = PostgresTable("g", conn_id=database.conn_id)
    copy(MemoryFiles(b"a\n5\n"), target)
    result = copy(MemoryFiles(b"id,a\n1,6\n30,7\n"), target, mode="merge", key=("id",))
    assert (result.inserted, result.updated) == (1, 1)
    assert database.query("SELECT * FROM g ORDER BY 1") == [(1, 6, 12), (30, 7, 14)]
    result = copy(MemoryFiles(b"a\n7\n8\n"), target, mode="merge", key=("a",))
    assert (result.inserted, result.unchanged) == (1, 1)
    with pytest.raises(DataError, match=r"column 'twice' of public.g is generated"):
        copy(MemoryFiles(b"a,twice\n5,10\n"), target)


def test_replace_keeps_foreign_keys_working(database: Database) -> None:
    database.query("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int REFERENCES p); "
                   "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)")  # fmt: skip
    target = PostgresTable("p", conn_id=database.conn_id)
    with pytest.raises(DataError, match="violates foreign key"):
        copy(MemoryFiles(b"id\n2\n"), target, mode="replace")
    assert rows(database, "p") == [(1,)]


@pytest.mark.parametrize("most", [1 << 20, 1])
def test_no_record_is_taken_for_the_end_of_the_input(database: Database, most: int) -> None:
    database.query("CREATE TABLE one (a text)")
    target = PostgresTable("one", conn_id=database.conn_id)
    with pytest.raises(DataError, match="line 2: the record is nothing"):
        copy(MemoryFiles(b"a\n\\.\nb\n", most=most), target)
    headless = CsvDialect(header=False)
    with pytest.raises(DataError, match="line 1: the record is nothing"):
        copy(MemoryFiles(b"\\.\nb\n", dialect=headless, most=most), target)
    copy(MemoryFiles(b'a\n"x\n\\.\ny"\n"\\."\n\\.z\n\\.', most=most), target)
    assert database.query("TABLE one") == [("x\n\\.\ny",), ("\\.",), ("\\.z",), ("\\.",)]
