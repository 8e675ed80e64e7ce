"""Files in S3 into tables of PostgreSQL, in the three ways there are.

``visits`` come once and are appended: however often the task is tried, each file of a run is in the table once.
``orders`` come again when they change and are merged by their key, the later file's row counts. ``customers`` are few
and replaced as a whole; who reads meanwhile sees the old rows or the new ones.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.amazon.s3.files import S3File
from tradewind.operators.copy import CopyOperator
from tradewind.postgres.operators import PostgresOperator
from tradewind.postgres.tables import PostgresTable

FILES = "s3://{{ params.bucket }}/dags/data"

with DAG(
    dag_id="load_files",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={"bucket": "mwaa-local"},
    tags=["example"],
):
    schema = PostgresOperator(task_id="schema", conn_id="warehouse", sql="CREATE SCHEMA IF NOT EXISTS shop")

    visits = CopyOperator(
        task_id="visits",
        source=S3File(f"{FILES}/visits.jsonl"),
        target=PostgresTable("shop.visits", conn_id="warehouse"),
        mode="append",
        create=True,
    )
    orders = CopyOperator(
        task_id="orders",
        source=S3File(f"{FILES}/orders-*.csv"),
        target=PostgresTable("shop.orders", conn_id="warehouse"),
        mode="merge",
        key="id",
        duplicates="last",
        create=True,
    )
    customers = CopyOperator(
        task_id="customers",
        source=S3File(f"{FILES}/customers.csv"),
        target=PostgresTable("shop.customers", conn_id="warehouse"),
        mode="replace",
        create=True,
    )

    schema >> [visits, orders, customers]
