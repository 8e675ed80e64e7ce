"""The demo's DAG file: it imports, its parts fit, and what it names is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import flights
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.mwaa.demo import dataset, runner
from tradewind.operators.copy import CopyOperator

FOLDER = Path(flights.__file__).parent


def test_shape() -> None:
    """Months and small tables lie between the tables and the daily table; the run is closed last."""
    dag: Any = flights.dag
    order = [task.task_id for task in dag.topological_sort()]

    assert set(order) == set(runner.ORDER)
    assert order[0] == "tables"
    assert order[-1] == "close"
    assert flights.dag.get_task("months.load").upstream_task_ids == {"months.arrived"}
    assert flights.dag.get_task("daily_delays").upstream_task_ids == {
        "months.load",
        *(f"small.{table}" for table in dataset.SMALL),
    }


def test_sensor_waits_in_the_triggerer() -> None:
    sensor = flights.dag.get_task("months.arrived")

    assert isinstance(sensor, S3KeySensor)
    assert sensor.deferrable


def test_months_are_merged_by_their_key() -> None:
    load = flights.dag.get_task("months.load")

    assert isinstance(load, CopyOperator)
    assert (load.mode, load.key) == ("merge", ["carrier", "flight", "time_hour"])


@pytest.mark.parametrize("month", range(1, 13))
def test_mapped_task_names_the_file_that_arrives(month: int) -> None:
    """The sensor's template, rendered for one of the mapped instances, is the key that the demo uploads."""

    class Instance:
        map_index = month - 1

    sensor: Any = flights.dag.get_task("months.arrived")
    rendered = sensor.render_template(sensor.bucket_key, {"params": {"bucket": "b"}, "ti": Instance})

    assert rendered == f"s3://b/{runner.LANDING}{dataset.month_name(month)}"


def test_files_that_tasks_name_are_there() -> None:
    named = re.findall(r'"((?:sql/)?\w+\.(?:sql|sh))"', (FOLDER / "flights.py").read_text())

    assert sorted(named) == ["close.sh", "sql/daily_delays.sql", "sql/tables.sql"]
    assert all((FOLDER / name).is_file() for name in named)


def test_closing_script_is_bash() -> None:
    subprocess.run(["bash", "-n", FOLDER / "close.sh"], check=True)


def test_layout_of_the_folder(tmp_path: Path) -> None:
    """What the demo uploads: the DAG, its SQL, the report's code out of Airflow's sight, no compiled files."""
    runner.lay_out(tmp_path / "new" / "demo")
    runner.lay_out(tmp_path / "new" / "demo")
    found = {str(path.relative_to(tmp_path / "new" / "demo")) for path in (tmp_path / "new").rglob("*.*")}

    assert {"dags/flights.py", "dags/.airflowignore", "dags/sql/tables.sql", "requirements.txt"} <= found
    assert not [name for name in found if "__pycache__" in name]
    assert (FOLDER / ".airflowignore").read_text() == "flights_report/\n"
