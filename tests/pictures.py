"""Make README's pictures again: ``python -m tests.pictures`` (Airflow 3, Chromium and the group ``browser``).

Runs ``tradewind demo --keep`` in a folder of its own, photographs the report and the finished DAG in Airflow's UI, and
ends it.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import browser

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"


@contextmanager
def demo(folder: Path) -> Iterator[tuple[dict[str, Any], tuple[str, str]]]:
    """Run the demo and keep it.

    :return: its summary; user and password of the UI
    """
    command = [sys.executable, "-m", "tradewind.mwaa.cli", "demo", "--keep", "--json", "--state", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            summary = json.loads(process.stdout.readline())
            if summary["problems"]:
                raise SystemExit("the demo went wrong: no pictures")
            secrets = json.loads((folder / ".tradewind" / "secrets.json").read_text())
            yield summary, (secrets["user"], secrets["password"])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def photograph_report(path: str) -> None:
    """Make ``report.png`` and ``report-dark.png``: the page from its head to the hours and months."""
    for dark in (False, True):
        with browser.page(1148, 900, dark=dark) as page:
            page.goto(Path(path).as_uri())
            end = page.locator("section.pair").first.bounding_box()
            assert end is not None
            height = end["y"] + end["height"] + 40
            page.screenshot(
                path=FOLDER / f"report{'-dark' if dark else ''}.png",
                full_page=True,
                clip={"x": 0, "y": 0, "width": 1148, "height": height},
            )


def photograph_dag(summary: dict[str, Any], login: tuple[str, str]) -> None:
    """Make ``dag.png``: the graph of the finished run."""
    with browser.page(1680, 640) as page:
        browser.log_in(page, summary["web"], *login)
        # What a person chose in the UI before: the graph, its groups open.
        for key, value in (("default_dag_view", "graph"), ("flights/open-groups", ["months", "small"])):
            page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, json.dumps(value)])
        page.goto(f"{summary['web']}/dags/flights/runs/{summary['run_id']}")
        page.wait_for_selector("text=BashOperator")
        page.wait_for_timeout(3_000)  # the layout is computed in a worker, then zoomed to
        page.screenshot(path=FOLDER / "dag.png")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, help="the demo's folder (default: a temporary one)")
    arguments = parser.parse_args()
    if reason := browser.missing():
        raise SystemExit(reason)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as temporary,
        demo(arguments.state or Path(temporary) / "demo") as (summary, login),
    ):
        photograph_report(summary["report"])
        photograph_dag(summary, login)
    for picture in sorted(FOLDER.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
