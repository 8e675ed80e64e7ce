"""What a copy promises, tried on every pair of ends."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance.pairs import PAIRS, TABLES, Pair, each
from tests.conformance.rows import plain, rows
from tests.conformance.tables import Table
from tradewind.hooks.errors import DataError, NotFound, TransientError
from tradewind.operators.progress import Progress

MANY = 3_000
"""Rows enough that a source is read, and a target written, in more than one piece."""


def counts(result: dict[str, Any]) -> tuple[int | None, ...]:
    """Return the rows that a result tells; None where bytes went from file to file uncounted."""
    if not result["counted"]:
        return (None,) * 4
    return tuple(result[name] for name in ("rows", "inserted", "updated", "unchanged"))


def told(pair: Pair, count: int, *more: int) -> tuple[int | None, ...]:
    """Return what a result must tell of so many rows: of files that S3 itself copies nothing is known."""
    whole = (count, *(more or (count, 0, 0)))
    return whole if pair.source.kind != pair.target.kind or isinstance(pair.target, Table) else (None,) * 4


@each(PAIRS)
def test_rows_arrive_equal_and_are_counted(pair: Pair) -> None:
    wanted = rows()
    pair.source.fill(wanted)

    result = pair.copy()

    assert pair.target.rows() == wanted
    assert counts(result) == told(pair, len(wanted))
    assert (result["rejected"], result["loaded_before"]) == (0, None)
    assert result["bytes"] > 0
    assert pair.leftovers() == []


@each(PAIRS)
def test_a_retry_after_success_changes_nothing(pair: Pair) -> None:
    pair.source.fill(rows())
    first = pair.copy()
    before = pair.target.state()

    second = pair.copy(number=2)

    assert pair.target.state() == before
    assert counts(second) == counts(first)
    assert (second["loaded_before"] is not None) == pair.target.keeps_ledger


@each(PAIRS)
def test_another_run_loads_again(pair: Pair) -> None:
    wanted = rows()
    pair.source.fill(wanted)
    pair.copy()

    pair.copy(run="another")

    times = 2 if pair.target.keeps_ledger else 1
    assert pair.target.rows() == sorted(wanted * times, key=lambda row: row.id)


@each(PAIRS)
def test_changed_input_is_new_work(pair: Pair) -> None:
    pair.source.fill(rows(20))
    pair.copy()
    more = rows(5, start=1000)

    result = pair.copy(number=2, source=pair.source.changed(more))

    assert result["loaded_before"] is None
    assert pair.target.rows() == ([*rows(20), *more] if pair.target.keeps_ledger else more)


@each(PAIRS)
def test_replace_puts_the_rows_in_place_of_the_others(pair: Pair) -> None:
    pair.target.fill(rows(30, start=500))
    wanted = rows(40)
    pair.source.fill(wanted)

    result = pair.copy(mode="replace")

    assert pair.target.rows() == wanted
    assert counts(result) == told(pair, 40)


@each(TABLES)
def test_merge_inserts_updates_and_leaves_alone(pair: Pair) -> None:
    there = rows(60)
    changed = [row._replace(name="another name", amount=None) for row in there[40:50]]
    new = rows(25, start=1000)
    pair.target.fill(there)
    pair.source.fill([*there[:40], *changed, *new])

    result = pair.copy(mode="merge", key="id")

    assert pair.target.rows() == [*there[:40], *changed, *there[50:], *new]
    assert counts(result) == told(pair, 75, 25, 10, 40)


@each(TABLES)
def test_the_ledger_says_what_was_loaded(pair: Pair) -> None:
    assert isinstance(pair.target, Table)
    pair.source.fill(rows(12))

    pair.copy(number=2)
    pair.copy(number=3)
    pair.copy(mode="merge", key="id", run="another", source=pair.source.changed(rows(3, start=2000)))

    assert pair.target.ledger() == [(2, "append", 12), (1, "merge", 3)]


@each([pair for pair in PAIRS if pair != ("s3parquet", "s3parquet")])  # S3 copies holes too
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_source_that_fails_half_way_leaves_the_target_as_it_was(pair: Pair, mode: str) -> None:
    pair.target.fill(rows(30))
    before = pair.target.state()
    source = pair.source.failing(plain(MANY, start=1000))

    with pytest.raises(DataError) as caught:
        pair.copy(source=source, mode=mode)

    assert caught.value.source == source.describe()
    assert pair.target.state() == before
    assert pair.leftovers() == []


@each(TABLES)
@pytest.mark.parametrize("mode", ["append", "replace", "merge"])
def test_a_record_that_does_not_fit_leaves_the_table_as_it_was(pair: Pair, mode: str) -> None:
    assert isinstance(pair.target, Table)
    pair.target.refuse_large_ids()
    pair.target.fill(rows(30))
    before = pair.target.state()
    pair.copy(run="an-earlier-one", source=pair.source.changed([]))  # makes the ledger
    pair.source.fill(plain(MANY, start=1000))

    with pytest.raises(DataError, match=pair.target.refusal):
        pair.copy(mode=mode, key="id" if mode == "merge" else None)

    assert pair.target.state() == before
    assert len(pair.target.ledger()) == 1
    assert pair.leftovers() == []


class Gate(Progress):
    """Holds a copy where its first bytes have passed."""

    reached: threading.Event
    opened: threading.Event

    def add(self, data: int = 0, *, rows: int = 0) -> None:
        super().add(data, rows=rows)
        if self.bytes > 0 and not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(30)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> type[Gate]:
    """Put a gate into the next copy."""
    made = type("OneGate", (Gate,), {"reached": threading.Event(), "opened": threading.Event()})
    monkeypatch.setattr("tradewind.operators.copy.Progress", made)
    return made


@each(PAIRS)
def test_a_cancelled_copy_leaves_nothing_running(pair: Pair, gate: type[Gate]) -> None:
    pair.target.fill(rows(30))
    before = pair.target.state()
    pair.source.fill(plain(MANY, start=1000))
    operator = pair.operator(mode="replace")

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(pair.execute, operator, pair.make_context(operator))
        assert gate.reached.wait(30)
        operator.on_kill()
        gate.opened.set()
        failure = running.exception(30)

    if pair.source.kind != pair.target.kind or isinstance(pair.target, Table):
        assert failure is not None
    assert pair.leftovers() == []
    assert pair.target.state() == before or failure is None


@each([("s3jsonl", "s3parquet")])
def test_no_lines_of_json_name_no_columns_for_a_file_that_needs_some(pair: Pair) -> None:
    pair.target.fill(rows(10))
    before = pair.target.state()
    pair.source.fill([])

    with pytest.raises(DataError, match="no records to name its columns"):
        pair.copy()

    assert pair.target.state() == before


@each([pair for pair in PAIRS if pair != ("s3jsonl", "s3parquet")])
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_no_rows_are_a_result(pair: Pair, mode: str) -> None:
    there = rows(10)
    pair.target.fill(there)
    pair.source.fill([])

    result = pair.copy(mode=mode)

    assert pair.target.rows() == (there if mode == "append" and pair.target.keeps_ledger else [])
    assert counts(result) == told(pair, 0)


@each(PAIRS)
def test_a_source_that_is_not_there_is_named(pair: Pair) -> None:
    pair.target.fill(rows(10))
    before = pair.target.state()

    with pytest.raises(NotFound, match=f"(?i){pair.source.name}.*none"):
        pair.copy(source=pair.source.missing())

    assert pair.target.state() == before


@each(TABLES)
def test_two_tries_at_once_load_once(pair: Pair) -> None:
    wanted = plain(500)
    pair.source.fill(wanted)

    with ThreadPoolExecutor(2) as pool:
        older, newer = (pool.submit(pair.copy, number=number) for number in (1, 2))

    assert pair.target.rows() == wanted
    assert newer.result()["rows"] == 500
    if failure := older.exception():  # a retry may end what it takes for the rest of a lost try
        assert isinstance(failure, TransientError)
    else:
        assert [older.result()["loaded_before"], newer.result()["loaded_before"]].count(None) == 1
