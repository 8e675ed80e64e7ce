"""Data that is looked at: before a load commits, and when it is there.

What ``expect`` names holds or nothing is loaded. The checks beside it fail with all that is wrong in one error.
Run ``load_files`` before.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.amazon.s3.files import S3File
from tradewind.operators.checks import SqlColumnCheckOperator, SqlRowCountCheckOperator, SqlTableCheckOperator
from tradewind.operators.copy import CopyOperator
from tradewind.operators.expectations import ForeignKey, NotNull, RowCount
from tradewind.postgres.tables import PostgresTable

with DAG(
    dag_id="check_data",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={"bucket": "mwaa-local"},
    default_args={"conn_id": "warehouse"},
    tags=["example"],
):
    load = CopyOperator(
        task_id="load",
        source=S3File("s3://{{ params.bucket }}/dags/data/orders-*.csv"),
        target=PostgresTable("shop.orders", conn_id="warehouse"),
        mode="merge",
        key="id",
        duplicates="last",
        expect=[RowCount(min=1), NotNull("amount"), ForeignKey("customer_id", references="shop.customers(id)")],
    )
    columns = SqlColumnCheckOperator(
        task_id="columns",
        table="shop.orders",
        column_mapping={"id": {"unique_check": {"equal_to": 0}}, "amount": {"min": {"greater_than": 0}}},
    )
    conditions = SqlTableCheckOperator(
        task_id="conditions",
        table="shop.orders",
        checks={"not of the future": {"check_statement": "ordered_at <= now()"}},
    )
    rows = SqlRowCountCheckOperator(task_id="rows", table="shop.customers", min_rows=3)

    load >> [columns, conditions, rows]
