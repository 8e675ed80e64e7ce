"""Plain records go through COPY's text format: what arrives is what the CSV format would have brought."""

from __future__ import annotations

import io
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.fix_postgres import Database
from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import open_csv
from tradewind.postgres.plain import PlainHead, suits
from tradewind.postgres.tables import PostgresTable

pytestmark = pytest.mark.anywhere

FIELDS = st.sampled_from(
    [
        "",
        "a",
        "NA",
        "\\N",
        "x\\ty",
        " b ",
        '"q"',
        '"a,b"',
        '"two\n\nlines"',
        '"d""q"',
        "é",
        "\\",
        "1\t2",
        "c\rr",
        "l\nf",
    ]
)
DIALECTS = st.sampled_from([
    CsvDialect(),
    CsvDialect(null="NA"),
    CsvDialect(null="\\N"),
    CsvDialect(delimiter=";", header=False),
    CsvDialect(delimiter="\t", quote="'"),
    CsvDialect(delimiter="|", escape="\\"),
    CsvDialect(delimiter="x"),
])  # fmt: skip


def head_of(data: bytes, most: int = 1 << 20, dialect: CsvDialect | None = None) -> tuple[PlainHead, bytes]:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size, most) if size and size > 0 else most)

    head = PlainHead(open_csv(Part("f", lambda: Slow(data), dialect or CsvDialect())))
    return head, b"".join(iter(lambda: head.read(1 << 18), b""))


@pytest.mark.parametrize("most", [1, 3, 1 << 20])
def test_the_head_ends_before_the_first_record_that_is_not_plain(most: int) -> None:
    head, plain = head_of(b'a,b\n1,2\n3,4\n5,"6"\n7,8\n', most)
    assert (plain, head.lines, head.bytes) == (b"1,2\n3,4\n", 2, 8)
    assert head.rest is not None
    assert b"".join(iter(lambda: head.rest.read(1), b"")) == b'5,"6"\n7,8\n'  # type: ignore[union-attr]


@pytest.mark.parametrize("most", [1, 3, 1 << 20])
def test_a_plain_file_has_no_rest(most: int) -> None:
    head, plain = head_of(b"a,b\r\n1,2\r\n3,4", most)
    assert (plain, head.rest, head.empty) == (b"1,2\r\n3,4", None, False)


def test_a_record_without_an_end_is_not_held_in_memory() -> None:
    head, plain = head_of(b"a\n" + b"x" * (3 << 20))
    assert (plain, head.empty) == (b"", True)
    assert head.rest is not None


def test_delimiters_that_the_text_format_refuses() -> None:
    assert [d for d in ",;\t|^ aZ0.:" if not suits(CsvDialect(delimiter=d))] == ["a", "0", "."]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=12),
    dialect=DIALECTS,
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.booleans(),
    most=st.sampled_from([1, 7, 1 << 20]),
)
def test_what_arrives_is_what_csv_means(
    database: Database, rows: list[tuple[str, ...]], dialect: CsvDialect, end: str, last: bool, most: int
) -> None:
    lines = [dialect.delimiter.join(row).replace('"', dialect.quote) for row in rows]
    if dialect.header:
        lines.insert(0, dialect.delimiter.join(("c1", "c2", "c3")))
    data = (end.join(lines) + (end if last else "")).encode()
    columns = None if dialect.header else ("c1", "c2", "c3")
    database.query(
        "DROP TABLE IF EXISTS t, u; CREATE TABLE t (n serial, c1 text, c2 text, c3 text); "
        "CREATE TABLE u (n serial, c1 text, c2 text, c3 text)"
    )
    quote, escape = (f"E'\\{mark}'" for mark in (dialect.quote, dialect.escape_char))
    written = f"DELIMITER E'{dialect.delimiter}', QUOTE {quote}, ESCAPE {escape}, NULL '{dialect.null}'"
    expected = copy_in(
        database, f"COPY u (c1, c2, c3) FROM STDIN (FORMAT csv, HEADER {dialect.header}, {written})", data
    )
    source = MemoryFiles(data, dialect=dialect, columns=columns, most=most)
    target = PostgresTable("t", conn_id=database.conn_id)
    work = replace(WORK, run_id=uuid4().hex)  # each example is new work to the ledger
    if expected:
        assert copy(source, target, work=work).rows == len(rows)
        assert database.query("SELECT c1, c2, c3 FROM t ORDER BY n") == database.query(
            "SELECT c1, c2, c3 FROM u ORDER BY n"
        )
    else:
        with pytest.raises(DataError):
            copy(source, target, work=work)
        assert database.query("TABLE t") == []


def copy_in(database: Database, statement: str, data: bytes) -> bool:
    """Copy with nothing of ours in between; say whether the server took it."""
    import psycopg2

    connection = psycopg2.connect(
        host=database.host, port=database.port, user=database.user, password=database.password, dbname=database.name
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.copy_expert(statement, io.BytesIO(data))
    except psycopg2.DataError:
        return False
    finally:
        connection.close()
    return True


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("header", [b"id,name\n", b'id,"na\nme"\n', b""])
@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([b"1,a", b"x,b", b'2,"c"'], 2),
        ([b"1,a", b'2,"b\nb"', b"3,c", b"x,d"], 5),
        ([b'1,"a\n\n"', b"x,b"], 4),
        ([b'1,"a"', b"2,b\\", b'x,"c"'], 3),
    ],
)
def test_errors_name_the_line_of_the_file(
    database: Database, end: bytes, header: bytes, records: list[bytes], line: int
) -> None:
    name = f"na{end.decode()}me" if b"na\nme" in header else "name"
    database.query(f'CREATE TABLE t (id int, "{name}" text)')
    data = (header + b"\n".join(records) + b"\n").replace(b"\n", end)
    dialect = CsvDialect(header=bool(header))
    columns = None if header else ("id", "name")
    with pytest.raises(DataError, match="invalid input syntax for type integer") as caught:
        copy(MemoryFiles(data, dialect=dialect, columns=columns), PostgresTable("t", conn_id=database.conn_id))
    assert caught.value.line == line + header.count(b"\n")
    assert caught.value.column == "id"
    assert database.query("TABLE t") == []
