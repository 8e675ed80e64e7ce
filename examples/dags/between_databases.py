"""Rows of PostgreSQL into MySQL and back: the bytes stream from one server into the other.

No file lies in between, and no row passes through Python. Run ``load_files`` before.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.mysql.operators import MySqlOperator
from tradewind.mysql.queries import MySqlQuery
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.copy import CopyOperator
from tradewind.postgres.tables import PostgresTable

with DAG(
    dag_id="between_databases",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["example"],
):
    table = MySqlOperator(
        task_id="table",
        sql="CREATE TABLE IF NOT EXISTS orders (id INT PRIMARY KEY, customer_id INT, amount DECIMAL(10, 2))",
    )
    there = CopyOperator(
        task_id="there",
        source=PostgresTable("shop.orders", conn_id="warehouse", columns=["id", "customer_id", "amount"]),
        target=MySqlTable("orders"),
        mode="merge",
        key="id",
    )
    back = CopyOperator(
        task_id="back",
        source=MySqlQuery("SELECT customer_id, SUM(amount) AS amount FROM orders GROUP BY customer_id"),
        target=PostgresTable("shop.totals", conn_id="warehouse"),
        mode="replace",
        create=True,
    )

    table >> there >> back
