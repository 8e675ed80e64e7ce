"""A year of flights: from files that arrive to a report.

Twelve monthly files land in S3, one after the other. Each is loaded as soon as it is there, the days are counted
together with their weather, and a report and a CSV file go back into the bucket.

Every step can be run again at any time: a month is merged by its key, the small tables and the daily table are
replaced, the files in S3 are written whole. Kill a task, clear it, run the DAG twice: no row is lost, none is there
twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

try:
    from airflow.sdk import DAG, TaskGroup, task_group
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task_group
    from airflow.utils.task_group import TaskGroup

from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.operators.bash import BashOperator
from tradewind.operators.copy import CopyOperator
from tradewind.operators.python import PythonOperator
from tradewind.postgres.operators import PostgresOperator
from tradewind.postgres.tables import PostgresTable

# Airflow fills in what stands in braces when a task runs. The bucket is a parameter of the run, so the same file works
# in every environment; a mapped task knows its number.
LANDING = "s3://{{ params.bucket }}/landing"
MONTH = "2013-{{ '%02d' % (ti.map_index + 1) }}"

WAREHOUSE = "warehouse"  # an Airflow connection of type postgres


def draw_report(bucket: str, key: str, conn_id: str) -> str:
    """Draw the report and put it into the bucket.

    What a task needs alone is imported in the task: the scheduler reads this file every few seconds.
    """
    from flights_report.facts import gather
    from flights_report.page import draw
    from tradewind.amazon.s3.hooks import S3Hook
    from tradewind.postgres.hooks import PostgresHook

    page = draw(gather(PostgresHook(conn_id).get_records))
    S3Hook().put(bucket, key, page, content_type="text/html; charset=utf-8")
    return f"s3://{bucket}/{key}"


with DAG(
    dag_id="flights",
    doc_md=__doc__,
    start_date=datetime(2024, 1, 1),
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    params={"bucket": "mwaa-local", "late_minutes": 15},
    tags=["demo"],
) as dag:
    tables = PostgresOperator(task_id="tables", conn_id=WAREHOUSE, sql="sql/tables.sql")

    # Once for each month: wait, then load. A mapped group goes on with a month as soon as that month is there.
    @task_group(group_id="months")
    def load_month(month: Any) -> None:
        """Wait for the file of a month and merge it."""
        file = f"{LANDING}/flights-{MONTH}.csv.gz"
        arrived = S3KeySensor(
            task_id="arrived",
            bucket_key=file,
            deferrable=True,  # waits in the triggerer: a waiting month takes no worker
            do_xcom_push=False,  # nobody reads which file it was, so the trigger ends the wait without a worker
            poke_interval=1,
            timeout=timedelta(hours=1).total_seconds(),
            map_index_template=MONTH,
        )
        load = CopyOperator(
            task_id="load",
            source=S3File(file, null="NA"),
            target=PostgresTable("staging.flights", conn_id=WAREHOUSE),
            mode="merge",
            key=["carrier", "flight", "time_hour"],
            map_index_template=MONTH,
        )
        arrived >> load

    months = load_month.expand(month=list(range(1, 13)))

    with TaskGroup("small") as small:
        for table in ("airlines", "airports", "planes", "weather"):
            CopyOperator(
                task_id=table,
                source=S3File(f"{LANDING}/{table}.csv.gz", null="NA"),
                target=PostgresTable(f"staging.{table}", conn_id=WAREHOUSE),
                mode="replace",
            )

    daily_delays = PostgresOperator(task_id="daily_delays", conn_id=WAREHOUSE, sql="sql/daily_delays.sql")

    report = PythonOperator(
        task_id="report",
        python_callable=draw_report,
        op_kwargs={"bucket": "{{ params.bucket }}", "key": "reports/flights-2013.html", "conn_id": WAREHOUSE},
    )

    unload = CopyOperator(
        task_id="unload",
        source=PostgresTable("reports.daily_delays", conn_id=WAREHOUSE),
        target=S3File("s3://{{ params.bucket }}/results/daily_delays.csv.gz"),
    )

    # Close the run by counting: what was loaded, what the warehouse has, what the file holds. XComs say what tasks did.
    close = BashOperator(
        task_id="close",
        bash_command="close.sh",
        env={
            "LOADED": "{{ ti.xcom_pull(task_ids='months.load') | sum(attribute='rows') }}",
            "COUNTED": "{{ ti.xcom_pull(task_ids='daily_delays')[0][1] }}",
            "DAYS": "{{ ti.xcom_pull(task_ids='daily_delays')[0][0] }}",
            "BUCKET": "{{ params.bucket }}",
            "KEY": "results/daily_delays.csv.gz",
        },
        append_env=True,
    )

    tables >> [months, small] >> daily_delays >> [report, unload] >> close
