"""SQL, Python and Bash, one after the other.

The SQL file is one transaction; its last SELECT is the task's XCom, which the next tasks take up. A task that is killed
leaves nothing behind: its query is cancelled in the server, its processes end. Run ``load_files`` before.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.operators.bash import BashOperator
from tradewind.operators.python import PythonOperator
from tradewind.postgres.operators import PostgresOperator


def best_day(conn_id: str) -> str:
    """Return the day that sold most."""
    from tradewind.postgres.hooks import PostgresHook

    row = PostgresHook(conn_id).get_first("SELECT day, amount FROM shop.daily ORDER BY amount DESC LIMIT 1")
    return f"{row[0]}: {row[1]}"


with DAG(
    dag_id="sql_bash_python",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["example"],
):
    daily = PostgresOperator(task_id="daily", conn_id="warehouse", sql="sql/daily.sql")
    best = PythonOperator(task_id="best", python_callable=best_day, op_kwargs={"conn_id": "warehouse"})
    tell = BashOperator(
        task_id="tell",
        bash_command='echo "$DAYS days, best $BEST"',
        env={"DAYS": "{{ ti.xcom_pull('daily')[0][0] }}", "BEST": "{{ ti.xcom_pull('best') }}"},
    )

    daily >> best >> tell
