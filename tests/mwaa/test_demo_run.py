"""``tradewind demo`` as a person runs it: the whole way, on a real Airflow, twice in the same folder."""

from __future__ import annotations

import csv
import gzip
import json
import re
import signal
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.services import require
from tradewind.local.interpreter import running_version
from tradewind.local.versions import VERSIONS
from tradewind.mwaa.demo import dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TASKS = Counter(
    {
        "tables": 1,
        "months.arrived": 12,
        "months.load": 12,
        "small.airlines": 1,
        "small.airports": 1,
        "small.planes": 1,
        "small.weather": 1,
        "daily_delays": 1,
        "report": 1,
        "unload": 1,
        "close": 1,
    }
)


@dataclass(frozen=True)
class Run:
    """What a run said.

    :param summary: the object on stdout
    :param talk: stderr
    :param code: the exit code
    """

    summary: dict[str, Any]
    talk: str
    code: int


def command(folder: Path, *arguments: str) -> list[str]:
    version = running_version()
    if version not in VERSIONS:
        require("airflow", f"MWAA does not offer Airflow {version}")
    return [
        *(sys.executable, "-m", "tradewind.mwaa.cli", "demo", "--json"),
        *("--airflow", version, "--state", str(folder), *arguments),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "state"


@pytest.fixture(scope="module")
def first(folder: Path) -> Run:
    """The first run, in a new folder."""
    done = subprocess.run(command(folder), capture_output=True, text=True, timeout=420)
    return Run(json.loads(done.stdout or "{}"), done.stderr, done.returncode)


@pytest.fixture(scope="module")
def second(folder: Path, first: Run) -> Iterator[Run]:
    """The second run, left running until the tests are through."""
    talk = folder.with_name("talk")
    with (
        talk.open("w") as stderr,
        subprocess.Popen(command(folder, "--keep"), stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            summary = json.loads(process.stdout.readline() or "{}")
            yield Run(summary, talk.read_text(), process.poll() or 0)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
            assert not left_over(folder)
        finally:
            process.kill()


def left_over(folder: Path) -> list[str]:
    """Return the processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            known = [*process.cmdline(), process.environ().get("AIRFLOW_HOME", "")]
        except psutil.Error:
            continue
        if any(part.startswith(str(folder)) for part in known) and process.pid != psutil.Process().pid:
            found.append(" ".join(known))
    return found


def test_all_is_right(first: Run) -> None:
    assert first.code == 0, first.talk
    assert first.summary["problems"] == []
    assert Counter(task["task_id"] for task in first.summary["tasks"]) == TASKS
    assert {task["state"] for task in first.summary["tasks"]} == {"success"}
    assert "up_for_retry" not in first.talk, "a task needed a second try"
    assert first.summary["tables"] == dataset.ROWS
    assert first.summary["rows"] == 336_776
    assert first.summary["airflow"] == running_version()
    assert (first.summary["inserted"], first.summary["updated"], first.summary["unchanged"]) == (336_776, 0, 0)


def test_each_month_is_loaded_by_its_own_task(first: Run) -> None:
    loads = {task["map_index"]: task for task in first.summary["tasks"] if task["task_id"] == "months.load"}

    assert [loads[index]["rows"] for index in range(12)] == [month.rows for month in dataset.months()]
    assert [loads[index]["bytes"] for index in range(12)] == [
        len(gzip.decompress(month.body)) for month in dataset.months()
    ]


def test_files_arrive_while_the_dag_waits(first: Run) -> None:
    waiting = re.search(r"months\.arrived: .*\bwaiting", first.talk)
    arrived = re.search(r"flights-2013-01\.csv\.gz arrived", first.talk)

    assert waiting is not None
    assert arrived is not None
    assert waiting.start() < arrived.start()


def test_report_is_there(first: Run, folder: Path) -> None:
    page = (folder / "flights-2013.html").read_text()

    assert first.summary["report"] == str(folder / "flights-2013.html")
    assert "336,776" in page
    assert len([ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]) == 8


def test_result_counts_every_flight(first: Run, folder: Path) -> None:
    with gzip.open(first.summary["result"], "rt") as file:
        rows = list(csv.DictReader(file))

    assert first.summary["result"] == str(folder / "daily_delays.csv.gz")
    assert len(rows) == first.summary["days"] == 3 * 365
    assert sum(int(row["flights"]) for row in rows) == 336_776
    assert sum(int(row["cancelled"]) for row in rows) == 8_255
    assert len({(row["day"], row["origin"]) for row in rows}) == len(rows)


def test_cost_is_told(first: Run) -> None:
    timeline = first.summary["timeline"]

    assert list(timeline) == ["ready", "triggered", "first task", "last file", "end of the DAG"]
    assert list(timeline.values()) == sorted(timeline.values())
    assert 200e6 < first.summary["peak_memory"] < 4e9


def test_talk_names_what_a_person_looks_for(first: Run) -> None:
    for text in ("staging.flights    336,776 rows, as in the data set", "MB/s", first.summary["report"], "--keep"):
        assert text in first.talk


def test_second_run_loads_nothing_twice(second: Run) -> None:
    assert second.code == 0, second.talk
    assert second.summary["problems"] == []
    assert second.summary["tables"] == dataset.ROWS
    assert (second.summary["inserted"], second.summary["updated"], second.summary["unchanged"]) == (0, 0, 336_776)
    assert "nothing was loaded twice" in second.talk


def test_kept_environment_is_up(second: Run, folder: Path) -> None:
    with urllib.request.urlopen(second.summary["web"], timeout=20) as answer:
        assert answer.status == 200
    secrets = json.loads((folder / ".tradewind" / "secrets.json").read_text())

    assert f"user {secrets['user']}, password {secrets['password']}" in second.talk
    assert secrets["password"] not in json.dumps(second.summary)
    assert left_over(folder)
