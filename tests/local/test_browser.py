"""What a person sees: she logs in to the UI of `tradewind up`, starts her DAG, sees it succeed and where it wrote."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests import browser
from tests.services import require

DAG = """
from datetime import datetime

from airflow.sdk import DAG
from tradewind.amazon.s3.files import S3File
from tradewind.operators.bash import BashOperator
from tradewind.operators.copy import CopyOperator
from tradewind.operators.local_files import LocalFile
from tradewind.operators.python import PythonOperator

with DAG("hello", start_date=datetime(2026, 1, 1), schedule=None):
    greet = BashOperator(task_id="greet", bash_command="echo hello")
    add = PythonOperator(task_id="add", python_callable=lambda: 40 + 2)
    copy = CopyOperator(
        task_id="copy", source=LocalFile("FOLDER/a.csv"), target=S3File("s3://mwaa-local/out/{{ run_id }}/a b.csv")
    )
    greet >> add >> copy
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("project")
    lacking = browser.missing()
    if lacking:
        require("chromium", lacking)
    (folder / "dags").mkdir()
    (folder / "a.csv").write_text("id\n1\n")
    (folder / "dags" / "hello.py").write_text(DAG.replace("FOLDER", str(folder)))
    command = [sys.executable, "-m", "tradewind.mwaa.cli", "up", str(folder), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "tradewind up ended without saying where it is"
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(
    900
)  # a time-out in the middle of it is worse than a long wait: Playwright then closes without end
def test_a_person_logs_in_and_sees_the_dag_succeed(running: dict[str, Any]) -> None:
    with browser.page() as page:
        browser.log_in(page, running["web"], running["user"], running["password"])
        page.goto(f"{running['web']}/dags/hello")
        page.get_by_role("button", name="Trigger").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Trigger").click()
        page.goto(f"{running['web']}/dags/hello/runs")
        page.get_by_text("Success", exact=True).first.wait_for(timeout=120_000)

        row = page.get_by_role("row").filter(has_text="Success")
        assert row.count() == 1
        run = str(row.get_by_role("link").first.get_attribute("href"))
        page.goto(f"{running['web']}{run}/tasks/copy/details")
        link = page.get_by_role("link", name="Target")
        address, opens = link.get_attribute("href"), link.get_attribute("target")

    assert run.startswith("/dags/hello/runs/")
    key = quote(f"out/{unquote(run.rpartition('/')[2])}/a b.csv", safe="")
    where = f"https://console.aws.amazon.com/s3/object/{running['bucket']}?region=us-east-1&prefix={key}"
    assert (address, opens) == (where, "_blank")


@pytest.mark.slow
def test_a_wrong_password_is_refused(running: dict[str, Any]) -> None:
    with browser.page() as page:
        page.goto(running["web"])
        page.fill("input[name=username]", running["user"])
        page.fill("input[name=password]", "not-" + running["password"])
        with page.expect_response(lambda answer: "/auth/" in answer.url and answer.request.method == "POST") as answer:
            page.keyboard.press("Enter")

        assert answer.value.status == 401
        assert "/auth/login" in page.url
