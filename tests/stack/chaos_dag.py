"""The DAG that meets chaos: copies, SQL, Bash and Python, half of them behind sensors whose files come meanwhile.

It is laid into dags/ as it stands, ``chaos.json`` beside it. Each task writes rows that can be told from its name.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.operators.bash import BashOperator
from tradewind.operators.copy import CopyOperator
from tradewind.operators.python import PythonOperator
from tradewind.postgres.operators import PostgresOperator
from tradewind.postgres.tables import PostgresQuery, PostgresTable

if TYPE_CHECKING:
    from tradewind.hooks.compat import BaseOperator

BUCKET = "chaos"
KINDS = ("append", "merge", "unload", "sql", "bash", "python")
ROWS = 1200
"""Rows that each task writes."""
PAUSE = 0.002
"""Seconds that the warehouse takes for a row, so that what is under way is under way for seconds."""
LONG = 15
"""One task of so many takes half a minute: longer than a worker that is cut off is waited for."""
WIDE = 6000
"""Bytes of a row of every other file, which is then an upload of several parts."""


def kind(number: int) -> str:
    """Return what a task is."""
    return KINDS[number % len(KINDS)]


def name(number: int) -> str:
    """Return a task's name."""
    return f"{kind(number)}_{number:03d}"


def is_long(number: int) -> bool:
    """Say whether a task is one of the long ones."""
    return number % LONG == LONG // 2


def width(number: int) -> int:
    """Return how many characters more than its name and number a task's rows have."""
    return WIDE if kind(number) == "unload" and number // len(KINDS) % 2 else 20


def seconds(number: int) -> float:
    """Return how long a Bash or Python task works."""
    return 30.0 if is_long(number) else 1.0 + number % 7


def payload(number: int, n: int) -> str:
    """Return what a row holds besides the task's name and its number."""
    return f"{name(number)}-{n}{'x' * width(number)}"


def select(number: int) -> str:
    """Return the query whose rows a task writes; the server takes its time for each."""
    pause = PAUSE * 10 if is_long(number) else PAUSE
    pad = f"repeat('x', {width(number)})"
    return (
        f"select '{name(number)}'::text as task, n, '{name(number)}-' || n || {pad} as payload "
        f"from generate_series(1, {ROWS}) n where pg_sleep({pause}) is not null"
    )


def write_rows(key: str, pause: float) -> int:
    """Work for a while, then write the rows, those aside that another try of this task wrote."""
    from tradewind.postgres.hooks import PostgresHook

    time.sleep(pause)
    statement = (
        "insert into python_rows select %(key)s, n, %(key)s || '-' || n || repeat('x', 20) "
        f"from generate_series(1, {ROWS}) n on conflict do nothing"
    )
    with PostgresHook("warehouse").session() as session:
        session.run(statement, {"key": key}, lambda cursor: None)
    return ROWS


BASH = f"""
sleep {{seconds}} &
for n in $(seq 1 {ROWS}); do echo "{{task}},$n,{{task}}-${{{{n}}}}{"x" * 20}"; done > rows.csv
wait
exec python3 -c "
import boto3
boto3.client('s3').upload_file('rows.csv', '{BUCKET}', 'out/{{task}}.csv')
"
"""


def work(number: int) -> BaseOperator:
    """Make a task."""
    what, task = kind(number), name(number)
    if what in ("append", "merge"):
        key: dict[str, Any] = {"mode": "merge", "key": ["task", "n"]} if what == "merge" else {"mode": "append"}
        table = PostgresTable("merged" if what == "merge" else "appended", conn_id="warehouse")
        return CopyOperator(task_id=task, source=S3File(f"s3://{BUCKET}/in/{task}.csv"), target=table, **key)
    if what == "unload":
        query = PostgresQuery(select(number), conn_id="warehouse")
        return CopyOperator(task_id=task, source=query, target=S3File(f"s3://{BUCKET}/out/{task}.csv"))
    if what == "sql":
        once = [
            f"select pg_advisory_xact_lock(hashtext('{task}'))",  # of two tries at once one waits for the other
            f"delete from sql_rows where task = '{task}'",
            f"insert into sql_rows {select(number)}",
        ]
        return PostgresOperator(task_id=task, conn_id="warehouse", sql=once)
    if what == "bash":
        return BashOperator(task_id=task, bash_command=BASH.format(task=task, seconds=seconds(number)))
    return PythonOperator(task_id=task, python_callable=write_rows, op_args=[task, seconds(number)])


def sign(number: int) -> str:
    """Return the key that a sensor waits for."""
    return f"sign/{number:03d}/ready"


def sensor_name(number: int) -> str:
    """Return a sensor's name."""
    return f"arrived_{number:03d}"


def arrived(number: int) -> BaseOperator:
    """Make a sensor, one of several kinds."""
    key, form = f"s3://{BUCKET}/{sign(number)}", number % 10
    common: dict[str, Any] = {"task_id": sensor_name(number), "timeout": 3600}
    if form == 0:  # its worker's slot is free between two looks
        return S3KeySensor(bucket_key=key, mode="reschedule", poke_interval=20, **common)
    common |= {"deferrable": True, "poke_interval": 2}
    if form in (1, 2, 3):
        return S3KeySensor(bucket_key=key.replace("ready", "re*"), **common)
    if form in (4, 5):
        return S3KeySensor(bucket_key=key, check_fn=lambda found: all(each["Size"] for each in found), **common)
    return S3KeySensor(bucket_key=key, do_xcom_push=form > 7, **common)


def chaos(tasks: int, sensors: int) -> DAG:
    """Make the DAG.

    :param tasks: how many tasks, besides
    :param sensors: how many sensors; the first tasks wait for one each
    """
    with DAG(
        "chaos",
        start_date=datetime(2024, 1, 1),
        schedule=None,
        catchup=False,
        max_active_tasks=500,
        is_paused_upon_creation=False,
        # What a person gives tasks that run where machines end at any time.
        default_args={
            "retries": 6,
            "weight_rule": "absolute",
            "retry_delay": timedelta(seconds=3),
            "execution_timeout": timedelta(minutes=5),
        },
    ) as dag:
        for number in range(max(tasks, sensors)):
            ends = [arrived(number)] if number < sensors else []
            done = [work(number)] if number < tasks else []
            for each in (*ends, *done):  # waiting and working side by side from the beginning
                each.priority_weight = 1 + -number % max(1, sensors)
            if ends and done:
                ends >> done[0]
    return dag


PLAN = Path(__file__).with_name("chaos.json")
if PLAN.exists():
    dag = chaos(**json.loads(PLAN.read_text()))
