"""What the providers tell Airflow: valid by its schema, and taken without a warning."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

POINTS = [point for point in entry_points(group="apache_airflow_provider") if point.value.startswith("tradewind.")]

LIST = """
import logging, json, warnings
seen = []
class Log(logging.Handler):
    def emit(self, record): seen.append(record.getMessage())
from airflow.providers_manager import ProvidersManager
logger = logging.getLogger("airflow.providers_manager")
logger.addHandler(Log(logging.WARNING))
manager = ProvidersManager()
names = [name for name in manager.providers if name.startswith("tradewind")]
hooks = {key: hook is not None for key, hook in manager.hooks.items()}
print("RESULT" + json.dumps([names, [text for text in seen if "tradewind" in text]]))
"""


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.value)
def test_info_is_valid(point: EntryPoint) -> None:
    import airflow
    import jsonschema  # type: ignore[import-untyped]

    schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
    info = point.load()()

    jsonschema.validate(info, schema)
    assert point.dist is not None
    assert info["package-name"] == point.dist.name


def test_airflow_lists_all_without_a_warning() -> None:
    done = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, timeout=120, check=True)
    answer = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    names, warned = json.loads(answer.removeprefix("RESULT"))

    assert sorted(names) == sorted({point.dist.name for point in POINTS if point.dist})
    assert warned == []
