"""The demo's verdict: what is wrong is named, and what is right is not."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Any

import pytest

from tradewind.mwaa.demo import dataset, runner
from tradewind.mwaa.demo.summary import Summary, Task, as_text, check, lines


def load(index: int, state: str = "success", **result: Any) -> Task:
    return Task("months.load", index, state, seconds=2.0, result={"seconds": 0.5, **result})


@pytest.fixture
def right() -> Summary:
    """A run in which all is right."""
    return Summary(
        airflow="3.3.1",
        run_id="run",
        state="success",
        tasks=[
            Task("tables", -1, "success"),
            load(0, rows=300_000, bytes=30_000_000, inserted=300_000),
            load(1, rows=36_776, bytes=1_000_000, inserted=36_000, unchanged=776),
        ],
        tables=dict(dataset.ROWS),
        days=1095,
        report="/r.html",
        result="/r.csv.gz",
        report_url="s3://b/r.html",
        result_url="s3://b/r.csv.gz",
        web="http://127.0.0.1:1",
        folder="/f",
        timeline={"ready": 10.0},
        peak_memory=10**9,
    )


def test_nothing_wrong(right: Summary) -> None:
    assert check(right) == []


def test_one_row_too_many_is_wrong(right: Summary) -> None:
    found = check(replace(right, tables={**right.tables, "flights": 336_777}))

    assert found == ["staging.flights has 336,777 rows, the data set 336,776"]


def test_a_table_that_is_missing_is_wrong(right: Summary) -> None:
    tables = {name: rows for name, rows in right.tables.items() if name != "weather"}

    assert check(replace(right, tables=tables)) == ["staging.weather has 0 rows, the data set 26,115"]


def test_a_failed_task_is_wrong(right: Summary) -> None:
    right.tasks[2].state = "failed"

    assert check(replace(right, state="failed")) == ["task months.load[1] is failed", "the run run is failed"]


def test_loads_that_do_not_add_up_are_wrong(right: Summary) -> None:
    right.tasks.pop()

    assert check(right) == ["the loads of the months account for 300,000 rows, the data set has 336,776"]


def test_wrong_things_are_told(right: Summary) -> None:
    right.tables["planes"] = 1
    right.problems = check(right)
    text = as_text(right, None)

    assert "staging.planes           1 rows, WRONG, the data set has 3,322" in text
    assert "wrong: staging.planes has 1 rows, the data set 3,322" in text


def test_mapped_tasks_are_one_line(right: Summary) -> None:
    right.tasks.append(Task("months.load", 2, "deferred"))
    line = lines(right.tasks)[1]

    assert line.cells() == ("months.load", "2 of 3, 1 waiting", "", "336,776", "31.0 MB/s")


@pytest.mark.parametrize(
    ("body", "days", "problem"),
    [
        (gzip.compress(b"day\n1\n2\n", mtime=0), 2, []),
        (gzip.compress(b"day\n1\n2\n", mtime=0), 3, ["the result has 2 rows, reports.daily_delays 3"]),
        (gzip.compress(b"day\n1\n2\n", mtime=0)[:-4], 2, ["the result is no whole gzip file"]),
        (gzip.compress(b"day\n1\n2\n", mtime=0)[:10] + b"\xff" * 20, 2, ["the result is no whole gzip file"]),
        (b"day\n1\n2\n", 2, ["the result is no whole gzip file"]),
    ],
)
def test_result_is_checked(body: bytes, days: int, problem: list[str]) -> None:
    found = list(runner._result_problems(body, days))

    assert len(found) == len(problem)
    assert all(text.startswith(start) for text, start in zip(found, problem, strict=True))
