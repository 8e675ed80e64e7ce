"""Loading a table: matching, modes, dialects, and what is left when it fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.fix_mysql import MySqlDatabase
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.dialect import CsvDialect

pytestmark = pytest.mark.anywhere


@pytest.fixture
def target(mysql_database: MySqlDatabase) -> MySqlTable:
    mysql_database.query("CREATE TABLE t (id bigint PRIMARY KEY, name text, n int DEFAULT 7)")
    return MySqlTable("t", conn_id=mysql_database.conn_id)


def rows(mysql_database: MySqlDatabase, what: str = "t") -> list[Any]:
    return mysql_database.query(f"SELECT * FROM {what} ORDER BY 1")


def test_append_matches_columns_by_name_and_gives_defaults_to_the_others(
    mysql_database: MySqlDatabase, target: MySqlTable
) -> None:
    result = copy(MemoryFiles(b'NAME,id\nanna,1\n,2\n"",3\n'), target)
    assert rows(mysql_database) == [(1, "anna", 7), (2, None, 7), (3, "", 7)]
    assert (result.rows, result.inserted, result.bytes, result.files) == (3, 3, 23, ["memory/1.csv"])


def test_files_may_have_different_columns_and_orders(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    result = copy(MemoryFiles(b"id,name\n1,a\n", b"n,id\r\n5,2\r\n", b"", b"id,name\n", b"\xef\xbb\xbfid\n3"), target)
    assert rows(mysql_database) == [(1, "a", 7), (2, None, 5), (3, None, 7)]
    assert result.rows == 3


def test_the_same_work_is_loaded_once(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    first = copy(MemoryFiles(b"id\n1\n"), target)
    second = copy(
        MemoryFiles(b"id\n1\n"), target, work=WORK.__class__("dag", "run 1", "load", try_number=2, max_tries=5)
    )
    assert first.loaded_before is None
    assert second.loaded_before is not None
    assert (second.rows, second.files) == (1, ["memory/1.csv"])
    assert rows(mysql_database) == [(1, None, 7)]
    copy(MemoryFiles(b"id\n2\n"), target)
    assert len(rows(mysql_database)) == 2


def test_replace_puts_the_input_in_place_of_the_rows(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    mysql_database.query("INSERT INTO t (id, name) VALUES (8, 'old')")
    result = copy(MemoryFiles(b"id,name\n1,a\n"), target, mode="replace")
    assert rows(mysql_database) == [(1, "a", 7)]
    assert result.rows == 1
    copy(MemoryFiles(b""), target, mode="replace")
    assert rows(mysql_database) == []


def test_merge_counts_exactly(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    mysql_database.query("INSERT INTO t VALUES (1, 'same', 1), (2, 'old', 2), (9, NULL, 3)")
    mysql_database.query(
        "CREATE TABLE log (id int);"
        "CREATE TRIGGER written AFTER UPDATE ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id)"
    )
    result = copy(MemoryFiles(b"id,name\n1,same\n2,new\n3,more\n9,\n"), target, mode="merge", key=("ID",))
    assert (result.rows, result.inserted, result.updated, result.unchanged) == (4, 1, 1, 2)
    assert rows(mysql_database) == [(1, "same", 1), (2, "new", 2), (3, "more", 7), (9, None, 3)]
    assert rows(mysql_database, "log") == [(2,)]


@pytest.mark.parametrize("index", ["SELECT 1", "CREATE INDEX i ON m (a, b(9))", "CREATE UNIQUE INDEX i ON m (b(9), a)"])
def test_merge_is_right_with_and_without_an_index(mysql_database: MySqlDatabase, index: str) -> None:
    mysql_database.query(f"CREATE TABLE m (a int, b text, c varchar(9), d double); {index}")
    mysql_database.query("INSERT INTO m VALUES (1, 'x', 'same', 0.1), (1, 'y', 'case', NULL), (1, 'z', 'end', 1)")
    target = MySqlTable("m", conn_id=mysql_database.conn_id)
    data = b'a,b,c,d\n1,x,same,0.1\n1,y,Case,\n1,z,"end ",1\n2,x,new,\n'
    result = copy(MemoryFiles(data), target, mode="merge", key=("a", "b"))
    assert (result.inserted, result.updated, result.unchanged) == (1, 2, 1)
    assert mysql_database.query("SELECT * FROM m ORDER BY 1, 2") == [
        (1, "x", "same", 0.1), (1, "y", "Case", None), (1, "z", "end ", 1), (2, "x", "new", None)
    ]  # fmt: skip


def test_merge_refuses_a_key_that_stands_twice_in_the_table(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE m (a int, b int); INSERT INTO m VALUES (1, 1), (1, 2)")
    with pytest.raises(DataError, match=r"key \(a\) is not unique in table .*m: \(1\) stands there 2 times"):
        copy(MemoryFiles(b"a,b\n1,3\n"), MySqlTable("m", conn_id=mysql_database.conn_id), mode="merge", key=("a",))
    assert rows(mysql_database, "m") == [(1, 1), (1, 2)]


def test_merge_refuses_duplicate_and_null_keys(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    with pytest.raises(DataError, match=r"key \(id\) is not unique in the input: 1 keys .*\(5\) 2 times"):
        copy(MemoryFiles(b"id,name\n5,a\n6,a\n5,b\n"), target, mode="merge", key=("id",))
    with pytest.raises(DataError, match="column 'name' is NULL in 2 records"):
        copy(MemoryFiles(b"id,name\n5,\n6,\n7,x\n"), target, mode="merge", key=("name",))
    with pytest.raises(InvalidArgument, match="no column 'name'"):
        copy(MemoryFiles(b"id\n5\n"), target, mode="merge", key=("name",))
    with pytest.raises(InvalidArgument, match="did you mean 'name'"):
        copy(MemoryFiles(b"id\n5\n"), target, mode="merge", key=("nam",))
    assert rows(mysql_database) == []


def test_reload_loads_again_but_once_for_each_clear(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    mysql_database.query("ALTER TABLE t DROP PRIMARY KEY")
    data = MemoryFiles(b"id\n1\n")
    copy(data, target)
    assert copy(data, target, reload=True).loaded_before is None
    assert copy(data, target, reload=True).loaded_before is not None
    assert copy(data, target, work=WORK.__class__("dag", "run 1", "load", max_tries=5)).loaded_before is not None
    assert len(rows(mysql_database)) == 2
    assert copy(data, target, work=WORK.__class__("dag", "run 1", "load", max_tries=5), reload=True).rows == 1
    assert len(rows(mysql_database)) == 3


BAD = [
    (b"id,name\n1,a\nx,b\n", {}, r"memory/1.csv, line 3, column id: Incorrect integer value: 'x'", 3),
    (b'id,name\r\n1,"a\r\nb"\r\nx,b\r\n', {}, r"line 4, column id", 4),
    (b'\xef\xbb\xbfid,name\n1,"a\n\nb"\nx,b\n', {}, r"line 5, column id", 5),
    (b'id,name\r\n1,"a\nb\n"\r\nx,b\r\n', {}, r"line 5, column id", 5),
    (b'id,name\n1,""\n2,"a\nb"\nx,b\n', {}, r"line 5, column id", 5),
    (b"id,name\n1,a\n1,b\n", {}, r"line 3: Duplicate entry '1'", 3),
    (b"id,name\n1,a\n,b\n", {}, r"NULL supplied to NOT NULL column 'id'", 3),
    (
        b"id,name\n1,a,c\n",
        {},
        "line 2: the record was truncated; it contained more data than there were input columns",
        2,
    ),
    (b"id,name\n1\n", {}, "line 2: the record doesn't contain data for all columns", 2),
    (b"id,name\n1,a\n\n", {}, "line 3, column id: .*NULL supplied", 3),
    (b"id,name\n1,a\xff\n", {}, "invalid byte sequence for utf8: 0xff", 2),
    (b'id,name\n0,a\n1,"abc\n2,b\n', {}, "unterminated CSV quoted field", 3),
    (b"id,name\n2\n1,b\r\n", {}, "unquoted carriage return", 3),
    (b"id,name\r\n2,a\n1,b\r\n", {}, "unquoted newline", 2),
    (b"id,name\r2,a\n1,b\r", {}, "unquoted newline", 2),
    (b"id,n\n1,99999999999\n", {}, "line 2, column n: Out of range value", 2),
    (b"id;name\n1;a\n", {}, r"delimiter=';'", 1),
    (b"id\tname\n1\ta\n", {}, r"delimiter='\\t'", 1),
    (b"id,nmae\n1,a\n", {}, "table .*t has no column 'nmae': did you mean 'name'", 1),
    (b"id,,name\n1,a,b\n", {}, "column 2 of 3 has no name", 1),
    (b"id,id\n1,2\n", {}, "names the column 'id' 2 times", 1),
    (b"id,ID\n1,2\n", {}, "'id' and 'ID' are both the column 'id'", 1),
    (b"\n1,2\n", {}, "empty line", 1),
    (b"i\0d\0\n", {}, "NUL", 1),
    (b"id,n\xe4me\n", {}, "not UTF-8 .*0xe4 at offset 4", 1),
    (b"\xff\xfei\0d\0\n\0" + b"\x00\xd8\n\0", {}, "not utf-16-le: .* offset 8 \\(line 2\\)", 2),
    ("id,name\n1,ä\n".encode(), {"encoding": "ascii"}, None, None),
    ("id,name\n1,ä\n2,\x81\n".encode("latin-1"), {"encoding": "cp1252"}, "not cp1252: bytes 81 at offset 14", 3),
]


@pytest.mark.parametrize("most", [1 << 20, 5])
@pytest.mark.parametrize(("data", "how", "message", "line"), BAD)
def test_bad_input_is_named_and_leaves_the_table_as_it_was(
    mysql_database: MySqlDatabase,
    target: MySqlTable,
    data: bytes,
    how: dict[str, Any],
    message: str | None,
    line: int,
    most: int,
) -> None:
    mysql_database.query("INSERT INTO t (id, name) VALUES (77, 'old')")
    source = MemoryFiles(data, dialect=CsvDialect(**how), most=most)
    if message is None:
        assert copy(source, target).rows == 1
        return
    for mode in ("append", "replace"):
        with pytest.raises(DataError, match=message) as caught:
            copy(source, target, mode=mode)
        assert (caught.value.line, caught.value.source) == (line, "memory/1.csv")
    assert rows(mysql_database) == [(77, "old", 7)]
    assert mysql_database.query("SELECT count(*) FROM tradewind_ledger") == [(0,)]


def test_missing_tables_and_schemas_are_named(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    with pytest.raises(NotFound, match=r"no table .*tt: did you mean 't'"):
        copy(MemoryFiles(b"id\n"), MySqlTable("tt", conn_id=mysql_database.conn_id))
    with pytest.raises(NotFound, match="no database nope"):
        copy(MemoryFiles(b"id\n"), MySqlTable("nope.t", conn_id=mysql_database.conn_id))


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("id|name\n1|'it''s | ä'\n2|NULL\n3|'NULL'\n", {"delimiter": "|", "quote": "'", "null": "NULL"}),
        ("id;name\n1;'it\\'s | ä'\n2;\\N\n3;NULL\n", {"delimiter": ";", "quote": "'", "escape": "\\", "null": "\\N"}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "latin-1"])
def test_dialects_and_encodings(
    mysql_database: MySqlDatabase, target: MySqlTable, text: str, how: dict[str, Any], encoding: str
) -> None:
    stated = "latin-1" if encoding == "latin-1" else "utf-8"
    for most in (1, 3, 1 << 20):
        mysql_database.query("DELETE FROM t")
        source = MemoryFiles(text.encode(encoding), dialect=CsvDialect(encoding=stated, **how), most=most)
        copy(source, target, mode="replace", work=WORK.__class__("dag", str(most), "t"))
        assert rows(mysql_database) == [(1, "it's | ä", 7), (2, None, 7), (3, "NULL", 7)]


def test_files_without_a_header_go_by_given_names_or_by_position(
    mysql_database: MySqlDatabase, target: MySqlTable
) -> None:
    headless = CsvDialect(header=False)
    copy(MemoryFiles(b"a,1\n", dialect=headless, columns=("name", "id")), target)
    copy(MemoryFiles(b"2,b,3\n", dialect=headless), target)
    assert rows(mysql_database) == [(1, "a", 7), (2, "b", 3)]


def test_quoted_empty_fields_are_null_where_they_can_be_nothing_else(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE q (a int, d date, t text, b boolean, u datetime(6))")
    copy(MemoryFiles(b'a,d,t,b,u\n"","","","",""\n'), MySqlTable("q", conn_id=mysql_database.conn_id))
    assert mysql_database.query("SELECT * FROM q") == [(None, None, "", None, None)]


def test_hostile_names_are_quoted(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE `a %s``b` (`x %(y)s` int PRIMARY KEY, `Q'` text)")
    target = MySqlTable("`a %s``b`", conn_id=mysql_database.conn_id)
    data = b"x %(y)s,Q'\n1,a\n"
    assert copy(MemoryFiles(data), target).rows == 1
    assert copy(MemoryFiles(data), target, mode="merge", key=("x %(y)s",)).unchanged == 1


def test_generated_and_counted_columns(mysql_database: MySqlDatabase) -> None:
    mysql_database.query(
        "CREATE TABLE g (id int AUTO_INCREMENT PRIMARY KEY, a int NOT NULL, "
        "twice int GENERATED ALWAYS AS (a * 2) STORED)"
    )
    target = MySqlTable("g", conn_id=mysql_database.conn_id)
    copy(MemoryFiles(b"a\n5\n"), target)
    result = copy(MemoryFiles(b"id,a\n1,6\n30,7\n0,1\n"), target, mode="merge", key=("id",))
    assert (result.inserted, result.updated) == (2, 1)
    assert rows(mysql_database, "g") == [(0, 1, 2), (1, 6, 12), (30, 7, 14)]
    result = copy(MemoryFiles(b"a\n7\n8\n"), target, mode="merge", key=("a",))
    assert (result.inserted, result.unchanged) == (1, 1)
    with pytest.raises(DataError, match=r"column 'twice' of .*g is generated"):
        copy(MemoryFiles(b"a,twice\n5,10\n"), target)


def test_replace_keeps_foreign_keys_working(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE p (id int PRIMARY KEY); "
                   "CREATE TABLE c (id int, FOREIGN KEY (id) REFERENCES p (id)); "
                   "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)")  # fmt: skip
    target = MySqlTable("p", conn_id=mysql_database.conn_id)
    with pytest.raises(DataError, match="foreign key"):
        copy(MemoryFiles(b"id\n2\n"), target, mode="replace")
    assert rows(mysql_database, "p") == [(1,)]


def test_nothing_is_taken_for_the_end_of_the_input(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE one (n int AUTO_INCREMENT PRIMARY KEY, a text)")
    target = MySqlTable("one", conn_id=mysql_database.conn_id)
    copy(MemoryFiles(b'a\n"x\n\\.\ny"\n\\.\n\\N\n\x1a\nq\0q'), target)
    assert [row[1] for row in rows(mysql_database, "one")] == ["x\n\\.\ny", "\\.", "\\N", "\x1a", "q\0q"]


def test_booleans_and_times_are_read_as_other_databases_write_them(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE v (id int, b boolean, t datetime(6), s timestamp NULL)")
    data = (
        b"id,b,t,s\n1,t,2013-01-02T03:04:05Z,2013-01-02 03:04:05+02\n2,FALSE,1815-01-02 03:04:05.5-05:30,\n"
        b"3,1,2013-01-02,2013-01-02 03:04\n"
    )
    copy(MemoryFiles(data), MySqlTable("v", conn_id=mysql_database.conn_id))
    found = mysql_database.query(
        "SELECT id, b, CAST(t AS CHAR), CAST(CONVERT_TZ(s, @@time_zone, '+00:00') AS CHAR) FROM v"
    )
    assert found == [
        (1, 1, "2013-01-02 03:04:05.000000", "2013-01-02 01:04:05"),
        (2, 0, "1815-01-02 08:34:05.500000", None),
        (3, 1, "2013-01-02 00:00:00.000000", "2013-01-02 03:04:00"),
    ]
    for bad in (b"2013-99-02 03:04:05+02", b"2013-02-30", b"2013-01-02 03:04:05+xx", b"soon"):
        with pytest.raises(DataError, match="line 2"):
            copy(MemoryFiles(b"t\n" + bad + b"\n"), MySqlTable("v", conn_id=mysql_database.conn_id))
    with pytest.raises(DataError, match="line 2, column b"):
        copy(MemoryFiles(b"b\nperhaps\n"), MySqlTable("v", conn_id=mysql_database.conn_id))


@pytest.mark.parametrize("what", ["MyISAM", "view", "ledger"])
def test_what_cannot_roll_back_is_refused(mysql_database: MySqlDatabase, what: str) -> None:
    engine = "MyISAM" if what == "MyISAM" else "InnoDB"
    mysql_database.query(f"CREATE TABLE base (id int) ENGINE={engine}; CREATE VIEW v AS SELECT * FROM base")
    if what == "ledger":
        mysql_database.query("CREATE TABLE tradewind_ledger (token char(64) PRIMARY KEY) ENGINE=MyISAM")
    target = MySqlTable("v" if what == "view" else "base", conn_id=mysql_database.conn_id)
    with pytest.raises(InvalidArgument, match="is a view" if what == "view" else "MyISAM, which has no transactions"):
        copy(MemoryFiles(b"id\n1\n"), target)
    assert rows(mysql_database, "base") == []


def test_a_source_that_breaks_leaves_the_table_as_it_was(mysql_database: MySqlDatabase, target: MySqlTable) -> None:
    mysql_database.query("INSERT INTO t VALUES (77, 'old', 7)")
    good = b"".join(b"%d,x\n" % number for number in range(200_000))
    with pytest.raises(DataError, match="line 200,002, column id: invalid byte"):
        copy(MemoryFiles(b"id,name\n" + good + b"\xff,x\n"), target, mode="replace")
    assert rows(mysql_database) == [(77, "old", 7)]
