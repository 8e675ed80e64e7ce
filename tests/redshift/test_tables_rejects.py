"""Bad records set aside in loads into Redshift: which ones, how many, where they are told, and what is loaded."""

from __future__ import annotations

import csv
import gzip
import io
import random
import threading
from typing import Any

import pytest

from tests.fix_copies import MemoryFiles, MemorySink, copy
from tests.redshift.fix_standin import CLUSTER, ROLE, Warehouse
from tests.redshift.test_tables_load import plan_of
from tradewind.amazon.redshift import load_errors
from tradewind.amazon.redshift.tables import RedshiftTable
from tradewind.amazon.s3.files import S3File
from tradewind.hooks.errors import DataError, InvalidArgument, TransientError

pytestmark = pytest.mark.anywhere

BAD = (
    b"id,name,born\r\n"
    b"1,a,\r\n"
    b'2,"two\nlines",2026-01-01\r\n'
    b"x,type,\r\n"
    b"3,ragged\r\n"
    b"4,ragged,,1\r\n"
    b'5,"a ""long"",\r\nname",\r\n'
    b"6,enc\xff,\r\n"
    b"7,,2026-02-31\r\n"
    b'8,"",'
)
GOOD = [(1, "a"), (2, "two\nlines"), (8, "")]
TOLD = [
    (5, "id", "Invalid value for the column's type", b"x,type,"),
    (6, "born", "Missing data for not-null field", b"3,ragged"),
    (7, "", "Extra column(s) found", b"4,ragged,,1"),
    (8, "name", "String length exceeds DDL length", b'5,"a ""long"",\r\nname",'),
    (10, "name", "invalid or unsupported UTF8 codepoints", b"6,enc\xff,"),
    (11, "born", "Invalid value for the column's type", b"7,,2026-02-31"),
]


@pytest.fixture(params=["wire", "data api"])
def target(request: pytest.FixtureRequest, warehouse: Warehouse) -> RedshiftTable:
    """Return a table that is there, in each of the two ways to reach it."""
    warehouse.query("CREATE TABLE t (id int, name varchar(10), born date)")
    way: dict[str, Any] = {"conn_id": warehouse.conn_id} if request.param == "wire" else dict(CLUSTER)
    return RedshiftTable("t", staging=f"s3://{warehouse.bucket}/staging/", iam_role=ROLE, **way)


@pytest.fixture
def wired(warehouse: Warehouse) -> RedshiftTable:
    """Return a table that is there, over the wire."""
    warehouse.query("CREATE TABLE t (id int, name varchar(10), born date)")
    return RedshiftTable("t", conn_id=warehouse.conn_id, staging=f"s3://{warehouse.bucket}/staging/", iam_role=ROLE)


def found(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.query("SELECT id, name FROM t ORDER BY id, name")


def told(sink: MemorySink) -> list[list[str]]:
    text = sink.data.decode("latin-1")
    return list(csv.reader(io.StringIO(text, newline="")))


def test_every_kind_of_bad_record_is_set_aside(target: RedshiftTable, warehouse: Warehouse) -> None:
    warehouse.s3.put(warehouse.bucket, "in/bad.csv.gz", gzip.compress(BAD))
    url = f"s3://{warehouse.bucket}/in/bad.csv.gz"
    sink = MemorySink()
    result = copy(S3File(url), target, max_errors=6, open_rejects=lambda: sink)
    assert found(warehouse) == GOOD
    assert (result.rows, result.rejected, result.rows_read, sink.state) == (3, 6, 9, "committed")
    rows = told(sink)
    assert rows[0] == ["file", "line", "column", "reason", "record"]
    assert [(int(line), column) for _, line, column, _, _ in rows[1:]] == [each[:2] for each in TOLD]
    assert all(reason in row[3] for row, (_, _, reason, _) in zip(rows[1:], TOLD, strict=True))
    assert [row[4].encode("latin-1") for row in rows[1:]] == [each[3] for each in TOLD]
    assert {row[0] for row in rows[1:]} == {url}
    assert warehouse.keys("staging/") == []
    again = copy(S3File(url), target, max_errors=6, open_rejects=lambda: sink)
    assert (again.loaded_before is not None, again.rows, again.rejected) == (True, 3, 6)


def test_one_more_is_too_many_and_nothing_is_loaded(target: RedshiftTable, warehouse: Warehouse) -> None:
    sink = MemorySink()
    with pytest.raises(
        DataError, match=r"more than 5 bad records, nothing is loaded; one of them: memory/1\.csv, line"
    ):
        copy(MemoryFiles(BAD), target, max_errors=5, open_rejects=lambda: sink)
    assert found(warehouse) == []
    assert (sink.data, sink.state) == (b"", "open")
    assert warehouse.keys("staging/") == []


def test_no_file_is_made_where_nothing_is_bad(wired: RedshiftTable, warehouse: Warehouse) -> None:
    def never() -> MemorySink:
        raise AssertionError

    result = copy(MemoryFiles(b"id,name\n1,a\n", b"NAME,id\nb,2\n"), wired, max_errors=2, open_rejects=never)
    assert (result.rows, result.rejected, result.plan) == (2, 0, "rows staged in S3, COPY into public.t")
    assert found(warehouse) == [(1, "a"), (2, "b")]


def test_a_merge_sets_aside_and_the_last_of_the_others_counts(target: RedshiftTable, warehouse: Warehouse) -> None:
    warehouse.query("INSERT INTO t VALUES (1, 'old'), (2, 'same')")
    files = [b"id,name\n1,a\n2,same\nx,bad\n1,b\n", b"name,id\ny,3\nc,1\nmuch too long,9\nz,3\n"]
    sink = MemorySink()
    result = copy(
        MemoryFiles(*files),
        target,
        mode="merge",
        key=("id",),
        duplicates="last",
        max_errors=9,
        open_rejects=lambda: sink,
    )
    assert found(warehouse) == [(1, "c"), (2, "same"), (3, "z")]
    assert (result.rows, result.duplicates, result.rejected, result.rows_read) == (3, 3, 2, 8)
    assert (result.inserted, result.updated, result.unchanged) == (1, 1, 1)
    assert [(row[0], row[1], row[2], row[4]) for row in told(sink)[1:]] == [
        ("memory/1.csv", "4", "id", "x,bad"),
        ("memory/2.csv", "4", "name", "much too long,9"),
    ]


def test_a_record_without_lines_is_told_by_its_number(wired: RedshiftTable, warehouse: Warehouse) -> None:
    lines = ['{"id": 1, "name": "a\\nb"}', '{"id": 2, "name": "a name too long"}', '{"id": 3, "name": null}']
    warehouse.put("in/1.jsonl", "\n".join([*lines, ""]))
    warehouse.put("in/2.jsonl", "\n".join([*lines[::-1], ""]))
    sink = MemorySink()
    source = S3File(f"s3://{warehouse.bucket}/in/*.jsonl")
    assert copy(source, wired, max_errors=2, open_rejects=lambda: sink).rejected == 2
    place = f"s3://{warehouse.bucket}/in"
    expected = [[f"{place}/1.jsonl", "2"], [f"{place}/2.jsonl", "2"]]
    assert [row[:2] for row in told(sink)[1:]] == expected
    assert {row[4] for row in told(sink)[1:]} == {"2,a name too long"}


def test_rows_of_a_query_are_told_by_number_and_shown_without_marks(wired: RedshiftTable, warehouse: Warehouse) -> None:
    data = b'1,,\nx,"a ""b""",\n,"",y\n'
    sink = MemorySink()
    source = MemoryFiles(data, columns=("id", "name", "born"))
    source.dialect = type(source.dialect)(header=False)
    result = copy(source, wired, mode="merge", key=("id",), duplicates="first", max_errors=9, open_rejects=lambda: sink)
    assert (result.rows, result.rejected) == (1, 2)
    assert sink.data.splitlines()[1:] == [
        b'memory/1.csv,2,id,Invalid value for the column\'s type,"x,""a """"b"""""","',
        b'memory/1.csv,3,born,Invalid value for the column\'s type,","""",y"',
    ]


def test_what_is_loaded_and_what_is_set_aside_are_all_of_it(wired: RedshiftTable, warehouse: Warehouse) -> None:
    seed = random.randrange(1 << 32)
    generator = random.Random(seed)
    kinds = ("%d,ok", "x%d,no", '%d,"a\n""b"', "%d,much too long", "%d")
    chosen = [generator.choices(kinds, (70, 5, 15, 5, 5))[0] for _ in range(3000)]
    data = "id,name\n" + "".join(kind % number + "\n" for number, kind in enumerate(chosen))
    bad = [number for number, kind in enumerate(chosen) if kind in ("x%d,no", "%d,much too long", "%d")]
    sink = MemorySink()
    result = copy(MemoryFiles(data.encode()), wired, max_errors=len(bad), open_rejects=lambda: sink)
    assert [int(row[4].lstrip("x").split(",")[0]) for row in told(sink)[1:]] == bad, seed
    assert [row[0] for row in found(warehouse)] == sorted(set(range(3000)) - set(bad)), seed
    assert result.rows_read == 3000


def test_errors_that_are_told_late_are_waited_for(wired: RedshiftTable, warehouse: Warehouse) -> None:
    now = warehouse.server.record
    late: list[threading.Timer] = []

    def after(*given: Any) -> None:
        late.append(threading.Timer(1.0 + len(late) / 5, now, given))
        late[-1].start()

    warehouse.server.record = after
    sink = MemorySink()
    assert copy(MemoryFiles(b"id\n1\nx\ny\n"), wired, max_errors=2, open_rejects=lambda: sink).rejected == 2
    assert [row[1] for row in told(sink)[1:]] == ["3", "4"]
    for timer in late:
        timer.join()


def test_errors_that_are_never_told_fail_the_load(
    wired: RedshiftTable, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = load_errors.refused_records
    monkeypatch.setattr(
        "tradewind.amazon.redshift.rejecting.refused_records", lambda *given: patient(*given, patience=0.5)
    )
    warehouse.server.record = lambda *given: None
    with pytest.raises(TransientError, match=r"COPY refused 1 records, of which the service tells 0 after 0\.5 s"):
        copy(MemoryFiles(b"id\n1\nx\n"), wired, max_errors=2, open_rejects=MemorySink)
    assert found(warehouse) == []


def test_errors_of_another_try_are_not_taken_for_those_of_this(wired: RedshiftTable, warehouse: Warehouse) -> None:
    sink = MemorySink()
    for _ in range(2):
        with pytest.raises(DataError, match="more than 1 bad records"):
            copy(MemoryFiles(b"id\nx\ny\n"), wired, max_errors=1, open_rejects=lambda: sink)
    assert copy(MemoryFiles(b"id\nx\n1\n"), wired, max_errors=1, open_rejects=lambda: sink).rejected == 1
    assert [row[1] for row in told(sink)[1:]] == ["2"]


def test_the_plan_says_how_many_may_be_bad(wired: RedshiftTable, warehouse: Warehouse) -> None:
    url = warehouse.put("in/a.csv", "id,name\n1,a\n")
    plan = plan_of(S3File(url), wired, max_errors=3, mode="merge", key=("id",), duplicates="last")
    assert plan.way.startswith("rows staged in S3, COPY into a temporary table")
    assert any("MAXERROR 4" in text and '("tradewind_ordinal", "id", "name")' in text for text in plan.statements)
    assert any(text.startswith('CREATE TEMPORARY TABLE "tradewind_kept"') for text in plan.statements)
    assert not any("MAXERROR" in text for text in plan_of(S3File(url), wired).statements)


def test_a_folder_whose_objects_the_service_cannot_name_whole_is_refused(wired: RedshiftTable) -> None:
    wired.staging = f"{wired.staging}{'x' * 200}/"
    with pytest.raises(InvalidArgument, match="staging has a name too long for max_errors= by"):
        copy(MemoryFiles(b"id\n1\n"), wired, max_errors=1, open_rejects=MemorySink)


def test_hundreds_of_bad_records_are_set_aside(wired: RedshiftTable) -> None:
    sink = MemorySink()
    data = b"id\n" + b"x\n" * 400 + b"1\n"
    assert copy(MemoryFiles(data), wired, max_errors=400, open_rejects=lambda: sink).rejected == 400
    assert len(told(sink)) == 401
