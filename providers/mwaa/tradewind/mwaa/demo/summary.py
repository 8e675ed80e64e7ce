"""What a run of the demo came to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from tradewind.mwaa.demo.dataset import ROWS
from tradewind.operators.progress import megabytes

ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
MISSING = "not started"


@dataclass
class Task:
    """One task instance.

    :param task_id: the task
    :param map_index: its number among the mapped ones, -1 for one that is not mapped
    :param state: as Airflow calls it
    :param started: when its last try began
    :param ended: when it ended
    :param seconds: how long it ran; of a copy, the copy itself
    :param result: what it left as its XCom, of a copy alone
    """

    task_id: str
    map_index: int
    state: str
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_api(cls, found: Mapping[str, Any]) -> Task:
        """Read the answer of Airflow's REST API."""
        return cls(
            task_id=found["task_id"],
            map_index=found["map_index"],
            state=found["state"] or MISSING,
            started=_time(found["start_date"]),
            ended=_time(found["end_date"]),
            seconds=float(found["duration"] or 0),
        )

    @property
    def rows(self) -> int | None:
        """Rows moved, None for a task that is no copy."""
        return self.result.get("rows")

    @property
    def bytes(self) -> int | None:
        """Bytes moved, uncompressed, None for a task that is no copy."""
        return self.result.get("bytes")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "task_id": self.task_id,
            "map_index": self.map_index,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "rows": self.rows,
            "bytes": self.bytes,
        }


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


@dataclass
class Line:
    """One line of the table of tasks: a task, its mapped instances together.

    :param task_id: the task
    :param state: the state of all, or how many are through
    :param seconds: how long it was at work, from the first start to the last end
    :param rows: rows of all
    :param bytes: bytes of all
    :param rate: MB/s of the copies themselves
    """

    task_id: str
    state: str
    seconds: float
    rows: int | None
    bytes: int | None
    rate: float | None

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return what the table shows."""
        return (
            self.task_id,
            self.state,
            f"{self.seconds:.1f} s" if self.seconds else "",
            "" if self.rows is None else f"{self.rows:,}",
            _speed(self.rate),
        )


def _speed(rate: float | None) -> str:
    """Write MB/s; a file of a few lines has no speed worth telling."""
    if rate is None or rate < 0.005:
        return ""
    return f"{rate:.1f} MB/s" if rate >= 1 else f"{rate:.2f} MB/s"


COLUMNS = ("task", "state", "time", "rows", "speed")


def lines(tasks: Iterable[Task]) -> list[Line]:
    """Fold task instances into lines, in the order given."""
    return [_line(task_id, list(group)) for task_id, group in groupby(tasks, key=lambda task: task.task_id)]


def _line(task_id: str, group: list[Task]) -> Line:
    states = [task.state for task in group]
    state = states[0]
    if len(group) > 1:
        state = f"{states.count('success')} of {len(group)}"
        waiting = states.count("deferred")
        others = [other for other in states if other in ("failed", "upstream_failed", "up_for_retry")]
        state += f", {waiting} waiting" if waiting else ""
        state += f", {len(others)} {others[0]}" if others else ""
    started = [task.started for task in group if task.started]
    ended = [task.ended for task in group if task.ended and task.state in ENDED]
    copies = [task for task in group if task.rows is not None]
    moved = sum(task.bytes or 0 for task in copies)
    at_work = sum(float(task.result.get("seconds") or 0) for task in copies)
    return Line(
        task_id=task_id,
        state=state,
        seconds=(max(ended) - min(started)).total_seconds() if started and ended else 0.0,
        rows=sum(task.rows or 0 for task in copies) if copies else None,
        bytes=moved if copies else None,
        rate=moved / at_work / 1e6 if at_work else None,
    )


@dataclass
class Summary:
    """A run of the demo.

    :param airflow: the version
    :param run_id: the DAG run
    :param state: its state
    :param tasks: its task instances, in their order in the DAG
    :param tables: rows of each table in the warehouse
    :param days: rows of the daily table
    :param report: the report's path on this machine
    :param result: the result's path on this machine
    :param report_url: where it is in the bucket
    :param result_url: alike
    :param web: the address of Airflow's UI
    :param folder: the demo's folder
    :param timeline: seconds from the start of the command to each event
    :param peak_memory: bytes, of all processes together, pages they share counted once
    :param problems: what is not right
    """

    airflow: str
    run_id: str
    state: str
    tasks: list[Task]
    tables: dict[str, int]
    days: int
    report: str
    result: str
    report_url: str
    result_url: str
    web: str
    folder: str
    timeline: dict[str, float]
    peak_memory: int
    problems: list[str] = field(default_factory=list)

    @property
    def loaded(self) -> dict[str, int]:
        """Rows of the months by what the merge did with them."""
        months = [task.result for task in self.tasks if task.task_id == "months.load"]
        return {
            name: sum(int(result.get(name) or 0) for result in months) for name in ("inserted", "updated", "unchanged")
        }

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "airflow": self.airflow,
            "run_id": self.run_id,
            "state": self.state,
            "tasks": [task.as_dict() for task in self.tasks],
            "rows": self.tables.get("flights", 0),
            "tables": self.tables,
            "days": self.days,
            **self.loaded,
            "report": self.report,
            "result": self.result,
            "report_url": self.report_url,
            "result_url": self.result_url,
            "web": self.web,
            "folder": self.folder,
            "timeline": {name: round(seconds, 1) for name, seconds in self.timeline.items()},
            "peak_memory": self.peak_memory,
            "problems": self.problems,
        }


def check(summary: Summary) -> list[str]:
    """Compare a run with the data set.

    :return: what is not right, nothing where all is
    """
    problems = [
        f"task {task.task_id}{f'[{task.map_index}]' if task.map_index >= 0 else ''} is {task.state}"
        for task in summary.tasks
        if task.state != "success"
    ]
    if summary.state != "success":
        problems.append(f"the run {summary.run_id} is {summary.state}")
    for table, wanted in ROWS.items():
        found = summary.tables.get(table, 0)
        if found != wanted:
            problems.append(f"staging.{table} has {found:,} rows, the data set {wanted:,}")
    brought = sum(summary.loaded.values())
    if brought != ROWS["flights"]:
        problems.append(f"the loads of the months account for {brought:,} rows, the data set has {ROWS['flights']:,}")
    return problems


def as_text(summary: Summary, login: tuple[str, str] | None) -> str:
    """Write the summary for a person.

    :param login: user and password of the UI, where it stays up
    """
    parts = [table(lines(summary.tasks)), "", *_rows(summary), "", *_places(summary, login), *_cost(summary)]
    if summary.problems:
        parts += ["", *(f"wrong: {problem}" for problem in summary.problems)]
    return "\n".join(parts)


def table(shown: list[Line]) -> str:
    """Set the lines as a table of plain text."""
    cells = [COLUMNS, *(line.cells() for line in shown)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def _rows(summary: Summary) -> list[str]:
    loaded = summary.loaded
    said = []
    for name, wanted in ROWS.items():
        found = summary.tables.get(name, 0)
        verdict = "as in the data set" if found == wanted else f"WRONG, the data set has {wanted:,}"
        said.append(f"staging.{name:<9} {found:>8,} rows, {verdict}")
    said.append(
        f"the months: {loaded['inserted']:,} inserted, {loaded['updated']:,} updated, {loaded['unchanged']:,} unchanged"
    )
    if loaded["unchanged"] == ROWS["flights"]:
        said.append("every flight was there from an earlier run: nothing was loaded twice")
    return said


def _places(summary: Summary, login: tuple[str, str] | None) -> list[str]:
    said = [
        f"report  {summary.report}  ({summary.report_url})",
        f"result  {summary.result}  ({summary.result_url})",
    ]
    if login is not None:
        said.append(f"web     {summary.web}/dags/flights  (user {login[0]}, password {login[1]}); Ctrl-C stops it")
    else:
        said.append("web     run it again with --keep to look around in Airflow's UI")
    return said


def _cost(summary: Summary) -> list[str]:
    steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary.timeline.items())
    return [f"time    {steps}", f"memory  {megabytes(summary.peak_memory)} at its peak, all processes together"]
