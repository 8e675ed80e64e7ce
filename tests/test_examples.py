"""The examples: each is a DAG that says what it shows, and that a reader finds."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tradewind.hooks.compat import AIRFLOW_VERSION

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
FILES = sorted(FOLDER.glob("dags/*.py"))

if not FILES:
    pytest.skip("the examples are not beside these tests", allow_module_level=True)


def parsed(path: Path) -> list[Any]:
    """Return the DAGs of a file, as Airflow's processor finds them."""
    place = "airflow.dag_processing.dagbag" if AIRFLOW_VERSION >= (3, 2) else "airflow.models.dagbag"
    bag = import_module(place).DagBag(dag_folder=str(path))
    assert bag.import_errors == {}
    return list(bag.dags.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_a_dag_that_says_what_it_shows(path: Path) -> None:
    (dag,) = parsed(path)

    assert dag.dag_id == path.stem
    assert "example" in dag.tags
    assert len(dag.doc_md.strip().splitlines()) > 2
    assert len(path.read_text().splitlines()) < 100
    assert all(task.__class__.__module__.startswith("tradewind.") for task in dag.tasks)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_names_files_that_are_there(path: Path) -> None:
    for name in re.findall(r'"(sql/[^"]+)"', path.read_text()):
        assert (FOLDER / "dags" / name).is_file()
    for name in re.findall(r"\{(?:FILES|BUCKET)\}/(?:dags/data/)?([\w*-]+\.(?:csv|jsonl))", path.read_text()):
        assert list(FOLDER.glob(f"dags/data/{name}"))


@pytest.mark.parametrize("page", ["README.md", "docs/examples.md"])
def test_a_reader_finds_the_examples(page: str) -> None:
    text = (ROOT / page).read_text()

    assert [path.name for path in FILES if path.name not in text and page != "README.md"] == []
    assert "examples" in text
