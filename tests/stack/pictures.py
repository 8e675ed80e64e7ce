"""Photograph Airflow's UI on the stack: ``python -m tests.stack.pictures FOLDER`` (Docker, Chromium, playwright).

Runs the DAG with every operator and a copy of twelve years of flights, and keeps the grid of the first and the log of
the second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import browser
from tests.flights import NULL, write_csv
from tests.stack.fix_every import BUCKET, Every

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect

YEARS = 12
GROUPS = ["s3", "postgres", "checks", "mysql", "redshift", "clusters", "snowflake"]
COPY = f'''
from datetime import datetime
from airflow.sdk import DAG
from tradewind.amazon.s3.files import S3File
from tradewind.operators.copy import CopyOperator
from tradewind.postgres.tables import PostgresTable

with DAG(dag_id="flights", start_date=datetime(2026, 1, 1), schedule=None, catchup=False):
    CopyOperator(
        task_id="load",
        source=S3File("s3://{BUCKET}/landing/flights-*.csv", null="{NULL}"),
        target=PostgresTable("flights", conn_id="warehouse"),
        create=True,
    )
'''


def run_the_copy(every: Every, folder: Path) -> None:
    """Put the flights into the bucket, and load them."""
    year = write_csv(folder / "flights.csv")
    for number in range(YEARS):
        every.s3.upload_file(str(year), BUCKET, f"landing/flights-{2013 + number}.csv")
    (every.project / "dags" / "flights.py").write_text(COPY)
    every.finish("flights")


def photograph(every: Every, folder: Path) -> None:
    """Make ``every-operator.png`` and ``copy-log.png``."""
    login = every.facts["user"], every.facts["password"]
    for name, dag_id, place, shown, width, height in (
        ("every-operator", "every_operator", "", "resume_on_worker", 1280, 1240),
        ("copy-log", "flights", "/tasks/load", "MB/s", 1640, 580),
    ):
        with browser.page(width, height) as page:
            browser.log_in(page, every.facts["web"], *login)
            for key, value in (("default_dag_view", "grid"), (f"{dag_id}/open-groups", GROUPS)):
                page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, json.dumps(value)])
            page.goto(f"{every.facts['web']}/dags/{dag_id}/runs/{every.begin(dag_id)}{place}")
            page.wait_for_selector(f"text={shown}")
            page.wait_for_timeout(2_000)
            left, top = (395, 62) if place else (0, 0)  # of a task, without what is around its log
            clip: FloatRect = {"x": left, "y": top, "width": width - left, "height": height - top}
            page.screenshot(path=folder / f"{name}.png", clip=clip)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    folder = parser.parse_args().folder
    if reason := browser.missing():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as temporary:
        every = Every(Path(temporary), "3.3.1")
        try:
            every.finish("every_operator")
            run_the_copy(every, Path(temporary))
            photograph(every, folder)
        finally:
            every.close()
    for picture in sorted(folder.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
