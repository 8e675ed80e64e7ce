"""A table as Parquet and back, its types kept: numbers stay decimals, times stay times.

Parquet needs ``tradewind[parquet]`` in requirements.txt. Run ``load_files`` before.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.amazon.s3.files import S3File
from tradewind.operators.copy import CopyOperator
from tradewind.operators.projection import Field
from tradewind.postgres.tables import PostgresTable

FILE = "s3://{{ params.bucket }}/exports/orders.parquet"

with DAG(
    dag_id="parquet_files",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={"bucket": "mwaa-local"},
    tags=["example"],
):
    write = CopyOperator(
        task_id="write",
        source=PostgresTable("shop.orders", conn_id="warehouse"),
        target=S3File(FILE),
    )
    read = CopyOperator(
        task_id="read",
        source=S3File(FILE, columns={"id": "order_id", "amount": Field("price", type="decimal(10,2)")}),
        target=PostgresTable("shop.prices", conn_id="warehouse"),
        mode="replace",
        create=True,
    )

    write >> read
