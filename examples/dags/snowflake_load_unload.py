"""Snowflake: SQL, files loaded from S3, a table unloaded into S3.

The SQL is submitted once, however often its task is killed. ``load`` reads the files through the worker and puts them
into a temporary stage; with ``stage=`` or ``storage_integration=`` the warehouse fetches them itself. ``unload`` is
written by the warehouse: its stage must lead to the bucket.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.amazon.s3.files import S3File
from tradewind.operators.copy import CopyOperator
from tradewind.snowflake.operators import SnowflakeOperator
from tradewind.snowflake.queries import SnowflakeQuery
from tradewind.snowflake.tables import SnowflakeTable
from tradewind.snowflake.unload_operators import SnowflakeUnloadOperator

BUCKET = "s3://{{ params.bucket }}"

with DAG(
    dag_id="snowflake_load_unload",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={"bucket": "mwaa-local"},
    tags=["example"],
):
    table = SnowflakeOperator(
        task_id="table",
        sql="CREATE TABLE IF NOT EXISTS orders"
        " (id NUMBER(9, 0), customer_id NUMBER(9, 0), amount NUMBER(10, 2), ordered_at TIMESTAMP_NTZ)",
    )
    stage = SnowflakeOperator(
        task_id="stage", sql=f"CREATE OR REPLACE STAGE exports URL = '{BUCKET}/exports/snowflake/'"
    )
    load = CopyOperator(
        task_id="load",
        source=S3File(f"{BUCKET}/dags/data/orders-*.csv"),
        target=SnowflakeTable("orders"),
        mode="merge",
        key="id",
        duplicates="last",
    )
    unload = SnowflakeUnloadOperator(
        task_id="unload",
        source=SnowflakeQuery("SELECT customer_id, SUM(amount)::NUMBER(12, 2) AS amount FROM orders GROUP BY 1"),
        to=S3File(f"{BUCKET}/exports/snowflake/_manifest.json", manifest=True),
        stage="exports",
        format="csv",
    )

    [table >> load, stage] >> unload
