"""A report that somebody opens in a spreadsheet: a query's rows as CSV, one file a day.

Semicolons are what spreadsheets of much of Europe ask for. A run of a day writes the file of that day again, whole.
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
from tradewind.postgres.tables import PostgresQuery

CUSTOMERS = """
SELECT c.name AS customer, c.country, count(*) AS orders, sum(o.amount) AS amount
FROM shop.orders o JOIN shop.customers c ON c.id = o.customer_id
GROUP BY c.name, c.country ORDER BY amount DESC
"""

with DAG(
    dag_id="report_by_csv",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule="@daily",
    catchup=False,
    params={"bucket": "mwaa-local"},
    tags=["example"],
):
    CopyOperator(
        task_id="report",
        source=PostgresQuery(CUSTOMERS, conn_id="warehouse"),
        target=S3File("s3://{{ params.bucket }}/reports/{{ ds }}/customers.csv", delimiter=";"),
    )
