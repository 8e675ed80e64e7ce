"""What README promises to a reader who copies from it."""

from __future__ import annotations

import re
from datetime import datetime
from importlib import import_module
from pathlib import Path

import pytest

from tradewind.hooks.compat import AIRFLOW_3

README = (Path(__file__).parent.parent / "README.md").read_text()


EXAMPLES: list[dict[str, set[str]]] = [{"arrived": set(), "load": {"arrived"}, "build": {"load"}}, {"load": set()}]
"""The tasks of each example, with those that run before them."""


def test_the_examples_are_dags() -> None:
    codes = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    dag_class = import_module("airflow.sdk" if AIRFLOW_3 else "airflow").DAG
    found = []
    for code in codes:
        with dag_class("readme", start_date=datetime(2026, 1, 1), schedule=None, template_searchpath=".") as dag:
            exec(compile(code, "README.md", "exec"), {})
        found.append({task.task_id: task.upstream_task_ids for task in dag.tasks})

    assert found == EXAMPLES


@pytest.mark.parametrize("module", sorted(set(re.findall(r"^\| `(tradewind\.[a-z0-9_.]+)`", README, re.MULTILINE))))
def test_what_the_table_names_is_there(module: str) -> None:
    (row,) = re.findall(rf"^\| `{re.escape(module)}` \| (.*?) \|", README, re.MULTILINE)
    names = re.findall(r"`([A-Z]\w+)`", row)

    assert names
    for name in names:
        assert hasattr(import_module(module), name)


@pytest.mark.parametrize("path", re.findall(r"\]\(([a-zA-Z][\w./-]+)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    root = Path(__file__).parent.parent
    if not (root / "docs").is_dir():
        pytest.skip("the documents are not beside these tests")

    assert (root / path).exists()
