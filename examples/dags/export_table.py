"""A table, and a query, out of PostgreSQL into files in S3.

A file appears when it is whole. The rows stream through the worker in constant memory, whatever the table's size.
Run ``load_files`` before.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.amazon.s3.files import S3File
from tradewind.operators.copy import CopyOperator
from tradewind.postgres.tables import PostgresQuery, PostgresTable

EXPORTS = "s3://{{ params.bucket }}/exports"

with DAG(
    dag_id="export_table",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={"bucket": "mwaa-local", "country": "GB"},
    tags=["example"],
):
    CopyOperator(
        task_id="whole",
        source=PostgresTable("shop.orders", conn_id="warehouse"),
        target=S3File(f"{EXPORTS}/orders.csv.gz"),
    )
    CopyOperator(
        task_id="some",
        source=PostgresQuery(
            "SELECT o.* FROM shop.orders o JOIN shop.customers c ON c.id = o.customer_id"
            " WHERE c.country = %(country)s ORDER BY o.id",
            {"country": "{{ params.country }}"},
            conn_id="warehouse",
        ),
        target=S3File(f"{EXPORTS}/orders-{{{{ params.country }}}}.jsonl"),
    )
