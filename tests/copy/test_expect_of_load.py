"""Expectations of the rows of one load: what else is in the table does not count."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.copy.fix_people import HEADER, load, rows
from tests.fix_copies import MemoryFiles, copy
from tests.fix_tables import Tables
from tradewind.hooks.errors import DataError, InvalidArgument, TradewindError
from tradewind.operators.copy import CopyOperator
from tradewind.operators.expectations import Check, ForeignKey, Freshness, NotNull, RowCount, Unique, Values
from tradewind.operators.expecting import Expectation
from tradewind.operators.local_files import LocalFile
from tradewind.postgres.tables import PostgresTable

MODES: dict[str, dict[str, Any]] = {
    "append": {},
    "replace": {"mode": "replace"},
    "merge": {"mode": "merge", "key": ("id",)},
}
OF_LOAD: dict[str, tuple[Expectation, str]] = {
    "nulls": (NotNull("code", of="load"), "NotNull('code', of='load'): code is NULL in 1 rows, as where (id) is (13)"),
    "twice": (Unique("code", of="load"), "Unique('code', of='load'): 1 of them stand more than once: (B) 2 times"),
    "old": (Freshness("at", within=timedelta(days=1), of="load"), "of='load'): the newest value is"),
    "other values": (
        Values("code", in_=["B"], of="load"),
        "Values('code', in_=['B'], of='load'): 1 rows hold something else: (C)",
    ),
    "no such team": (
        ForeignKey("team", references="teams(id)", of="load"),
        "ForeignKey('team', references='teams(id)', of='load'): 1 rows reference nothing: (7) in 1 rows",
    ),
    "a query": (
        Check("SELECT l.id FROM loaded AS l JOIN loaded AS m ON m.id = l.id + 1 WHERE l.code = m.code", of="load"),
        "1 rows should not be there: (10)",
    ),
}
BEFORE = (
    "INSERT INTO t (id, code, at, team) VALUES (1, NULL, '2090-01-01', 9), (2, 'A', NULL, NULL), (3, 'A', NULL, NULL)"
)
LOADED = b"id,code,at,team\n10,B,2020-01-01 00:00:00,1\n11,B,,2\n12,C,,7\n13,,,\n"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OF_LOAD)
def test_the_rows_of_the_load_alone_are_looked_at(name: str, mode: str, people: Tables) -> None:
    """What was in the table breaks each of these too, but for the dates."""
    people.query(BEFORE)
    expectation, says = OF_LOAD[name]
    with pytest.raises(DataError, match=r"1 of 1 expectations on .*t fail, nothing is committed") as caught:
        load(people, LOADED, expectation, **MODES[mode])
    assert says in str(caught.value)
    assert ("rows that are loaded into" in str(caught.value)) == (mode != "replace")
    assert rows(people) == 3
    assert people.query("SELECT count(*) FROM tradewind_ledger") == [(0,)]


@pytest.mark.parametrize("mode", MODES)
def test_rows_of_other_loads_may_break_what_is_expected_of_this_one(mode: str, people: Tables) -> None:
    people.query(BEFORE)
    expect = [
        NotNull("code", of="load"),
        Unique("code", of="load"),
        Values("code", in_=["B", "C"], of="load"),
        ForeignKey("team", references="teams(id)", of="load"),
        Check("SELECT id FROM loaded WHERE id < 10", of="load"),
        RowCount(min=2, max=2),
        RowCount(min=2 if mode == "replace" else 5, of="table"),
    ]
    body = b"id,code,team\n10,B,1\n11,C,2\n"
    result = load(people, body, *expect, **MODES[mode])
    assert (result.rows, result.inserted, rows(people)) == (2, 2, 2 if mode == "replace" else 5)
    if mode != "replace":
        assert "temporary table" in result.plan
        assert people.query("SELECT id, code, team, price FROM t WHERE id > 9 ORDER BY id") == [
            (10, "B", 1, None),
            (11, "C", 2, None),
        ]
        with pytest.raises(DataError, match="code is NULL"):
            load(people, b"id,code\n20,\n", NotNull("code"), **MODES[mode])


def test_records_that_do_not_count_are_not_looked_at(people: Tables) -> None:
    body = b"id,code\n1,\n1,A\n2,B\n"
    asked: dict[str, Any] = {**MODES["merge"], "duplicates": "last"}
    assert load(people, body, NotNull("code", of="load"), Unique("code", of="load"), **asked).rows == 2
    with pytest.raises(DataError, match="code is NULL in 1 rows"):
        load(people, body + b"3,X\n", NotNull("code", of="load"), **{**asked, "duplicates": "first"})
    equal = b"id,code\n2,B\n1,A\n"
    assert load(people, equal, RowCount(min=2), Values("code", in_=["A", "B"], of="load"), **asked).unchanged == 2
    with pytest.raises(DataError, match="1 rows hold something else"):
        load(people, equal + b"3,B\n", Values("code", in_=["B", "x"], of="load"), **asked)


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_load_has_no_rows_to_look_at(mode: str, people: Tables) -> None:
    people.query(BEFORE)
    for body in (b"", HEADER):
        with pytest.raises(DataError, match="no row has a value there"):
            load(people, body, Freshness("at", within=timedelta(days=1), of="load"), **MODES[mode])
        expect = [NotNull("code", of="load"), Check("SELECT id FROM loaded", of="load")]
        assert load(people, body, *expect, RowCount(max=0), **MODES[mode]).rows == 0


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_a_column_that_the_load_does_not_give_cannot_be_looked_at(mode: str, people: Tables) -> None:
    with pytest.raises(InvalidArgument, match="this load gives column 'team' no value: it has id, code"):
        load(people, b"id,code\n1,A\n", NotNull("TEAM", of="load"), **MODES[mode])
    with pytest.raises(TradewindError, match="nope"):
        load(people, b"id,code\n1,A\n", Check("SELECT nope FROM loaded", of="load"), **MODES[mode])
    with pytest.raises(DataError, match="has other columns than the files before it"):
        copy(
            MemoryFiles(b"id\n1\n", b"id,code\n2,A\n"),
            people.table(),
            expect=(NotNull("id", of="load"),),
            **MODES[mode],
        )
    assert rows(people) == 0


def test_an_append_that_is_looked_at_keeps_defaults_and_identities(tables: Tables) -> None:
    number = tables.pick(postgres="int GENERATED ALWAYS AS IDENTITY", mysql="int AUTO_INCREMENT")
    tables.query(f"CREATE TABLE t (n {number} PRIMARY KEY, a varchar(9) NOT NULL DEFAULT 'x', b int UNIQUE)")
    assert load(tables, b"b\n5\n6\n", NotNull("b", of="load")).inserted == 2
    assert tables.query("SELECT n, a, b FROM t ORDER BY n") == [(1, "x", 5), (2, "x", 6)]
    with pytest.raises(DataError):
        load(tables, b"b\n7\n6\n", NotNull("b", of="load"))
    assert rows(tables) == 2
    assert load(tables, b"n,b\n9,7\n", NotNull("b", of="load")).inserted == 1
    assert tables.query("SELECT n, a, b FROM t WHERE n > 2") == [(9, "x", 7)]


def test_what_cannot_be_told_of_a_load_is_refused_when_the_dag_is_parsed() -> None:
    target, rejects = PostgresTable("t", conn_id="p"), LocalFile("/tmp/rejects.csv")
    asked: dict[str, Any] = {"source": MemoryFiles(), "max_errors": 1, "rejects": rejects}
    with pytest.raises(
        InvalidArgument, match=r"of='load'\) looks at the rows before they are appended, and max_errors="
    ):
        CopyOperator(task_id="copy", target=target, expect=NotNull("id", of="load"), **asked)
    CopyOperator(task_id="copy", target=target, expect=NotNull("id", of="load"), mode="replace", **asked)
    with pytest.raises(InvalidArgument, match="of must be 'load' or 'table', not 'rows'"):
        CopyOperator(task_id="copy", source=MemoryFiles(), target=target, expect=Unique("id", of="rows"))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"looks at a table, which .* is not"):
        CopyOperator(task_id="copy", source=MemoryFiles(), target=rejects, expect=Check("SELECT 1", of="load"))


@pytest.mark.parametrize("mode", MODES)
def test_a_dry_run_says_how_the_rows_are_looked_at(
    mode: str, people: Tables, context: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_bytes(LOADED)
    task = CopyOperator(
        task_id="copy",
        source=LocalFile(tmp_path / "in.csv"),
        target=people.table(),
        expect=[NotNull("code", of="load"), Check("SELECT id FROM loaded", of="load")],
        dry_run=True,
        **MODES[mode],
    )
    plan = task.execute(context(task))
    staged = [text for text in plan["statements"] if "tradewind_stage" in text]
    assert bool(staged) == (mode != "replace")
    if mode == "append":
        assert plan["statements"][-1].startswith("INSERT INTO")
        assert "INSERT into" in plan["plan"]
    assert "before the commit NotNull('code', of='load') must hold" in plan["notes"]
    assert rows(people) == 0
