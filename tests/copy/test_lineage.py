"""What a copy tells OpenLineage, through the real provider's own classes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tradewind.amazon.s3.files import S3File
from tradewind.hooks.compat import AIRFLOW_VERSION
from tradewind.operators.copy import CopyOperator
from tradewind.operators.ends import CopyResult
from tradewind.postgres.tables import PostgresQuery, PostgresTable

pytest.importorskip("airflow.providers.openlineage")


@pytest.fixture(autouse=True)
def warehouse(connection: Callable[[str, str | Mapping[str, Any]], str]) -> None:
    connection("warehouse", {"conn_type": "postgres", "host": "db.example.com", "port": 5433, "schema": "dw"})


def test_a_load_names_its_file_its_table_and_its_rows() -> None:
    task = CopyOperator(
        task_id="t",
        source=S3File("s3://landing/flights/2013-01.csv"),
        target=PostgresTable("staging.flights", conn_id="warehouse"),
    )
    task._result = CopyResult(rows=27_004, bytes=2_400_000)
    lineage = task.get_openlineage_facets_on_complete(None)

    assert lineage is not None
    assert [(item.namespace, item.name) for item in lineage.inputs] == [("s3://landing", "flights/2013-01.csv")]
    assert [(item.namespace, item.name) for item in lineage.outputs] == [
        ("postgres://db.example.com:5433", "dw.staging.flights")
    ]
    statistics = lineage.outputs[0].outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.size) == (27_004, 2_400_000)


def test_an_unload_names_its_object() -> None:
    task = CopyOperator(
        task_id="t",
        source=PostgresQuery("select 1", conn_id="warehouse"),
        target=S3File("s3://results/daily.csv.gz"),
    )
    lineage = task.get_openlineage_facets_on_complete(None)

    assert lineage is not None
    assert lineage.inputs == []
    assert [(item.namespace, item.name) for item in lineage.outputs] == [("s3://results", "daily.csv.gz")]
    assert "password" not in json.dumps([item.name for item in lineage.outputs])


def test_the_ends_are_assets() -> None:
    task = CopyOperator(
        task_id="t",
        source=S3File(["s3://landing/a.csv", "s3://landing/{{ ds }}.csv", "s3://landing/*.csv"]),
        target=S3File("s3://results/all.csv"),
    )

    assert [asset.uri for asset in task.inlets] == ["s3://landing/a.csv"]
    assert [asset.uri for asset in task.outlets] == ["s3://results/all.csv"]


def test_a_key_in_any_letters_is_an_asset() -> None:
    task = CopyOperator(
        task_id="t", source=S3File("s3://landing/a.csv"), target=S3File("s3://results/größe & more+(1) = 100%.csv")
    )

    # Airflow 3.0 takes ASCII alone.
    as_it_is, encoded = "s3://results/größe & more+(1) = 100%.csv", "s3://results/gr%C3%B6%C3%9Fe & more+(1) = 100%.csv"
    assert [asset.uri for asset in task.outlets] == [encoded if AIRFLOW_VERSION == (3, 0) else as_it_is]


def test_naming_assets_costs_no_look_at_all_providers() -> None:
    # Airflow 2 would import every provider when it is given a URI.
    code = """if True:
        import sys
        from tradewind.amazon.s3.files import S3File
        from tradewind.operators.copy import CopyOperator
        copy = CopyOperator(task_id="t", source=S3File("s3://a/b.csv"), target=S3File("s3://c/d.csv"))
        print(copy.inlets[0].uri, "airflow.providers.amazon" in sys.modules or "airflow.www" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout.split()[-2:] == ["s3://a/b.csv", "False"]
