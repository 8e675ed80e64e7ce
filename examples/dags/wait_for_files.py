"""Files that come some time: wait for them without a worker, then load them.

A deferrable sensor waits in the triggerer, where thousands share a process. ``whole`` waits on until a function of
yours is content: here, until no file is empty.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.operators.copy import CopyOperator
from tradewind.postgres.tables import PostgresTable

FILES = "s3://{{ params.bucket }}/dags/data"


def none_empty(files: list[dict[str, Any]]) -> bool:
    """Say whether there is something in each file."""
    return all(file["Size"] > 0 for file in files)


with DAG(
    dag_id="wait_for_files",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={"bucket": "mwaa-local"},
    default_args={"deferrable": True, "poke_interval": 10, "timeout": timedelta(hours=6).total_seconds()},
    tags=["example"],
):
    both = S3KeySensor(task_id="both", bucket_key=[f"{FILES}/customers.csv", f"{FILES}/visits.jsonl"])
    whole = S3KeySensor(task_id="whole", bucket_key=f"{FILES}/orders-*.csv", check_fn=none_empty)

    load = CopyOperator(
        task_id="load",
        source=S3File(f"{FILES}/orders-*.csv"),
        target=PostgresTable("arrived_orders", conn_id="warehouse"),
        mode="merge",
        key="id",
        duplicates="last",
        create=True,
    )

    [both, whole] >> load
