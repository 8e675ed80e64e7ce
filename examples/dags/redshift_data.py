"""Redshift through its Data API: SQL without a connection held open, a load by COPY, an unload by UNLOAD.

The SQL is submitted once, however often its task is killed; while it runs no worker waits. Set the cluster, and roles
that read and write the bucket, by the parameters of the run.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.amazon.redshift.operators import RedshiftDataOperator
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
from tradewind.amazon.redshift.unload_operators import RedshiftUnloadOperator
from tradewind.amazon.s3.files import S3File
from tradewind.operators.copy import CopyOperator

BUCKET = "s3://{{ params.bucket }}"
CLUSTER: dict[str, Any] = {
    "cluster_identifier": "{{ params.cluster }}",
    "database": "{{ params.database }}",
    "db_user": "{{ params.user }}",
}
TOTALS = "SELECT customer_id, sum(amount)::numeric(12, 2) AS amount FROM orders GROUP BY customer_id"

with DAG(
    dag_id="redshift_data",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={"bucket": "mwaa-local", "cluster": "sales", "database": "dev", "user": "etl"},
    tags=["example"],
):
    table = RedshiftDataOperator(
        task_id="table",
        sql="CREATE TABLE IF NOT EXISTS orders (id int, customer_id int, amount numeric(10, 2), ordered_at timestamp)",
        **CLUSTER,
    )
    load = CopyOperator(
        task_id="load",
        source=S3File(f"{BUCKET}/dags/data/orders-*.csv"),
        target=RedshiftTable("orders", staging=f"{BUCKET}/staging/", **CLUSTER),
        mode="merge",
        key="id",
        duplicates="last",
    )
    unload = RedshiftUnloadOperator(
        task_id="unload",
        source=RedshiftQuery(TOTALS, **CLUSTER),
        to=f"{BUCKET}/exports/redshift/",
    )

    table >> load >> unload
