"""S3KeySensor in a whole DAG."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.amazon.s3_sensors.waits import SECRET, Bucket
from tradewind.local.s3 import S3Server

DAG_FILE = """
import json, sys, threading
import boto3
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.amazon.s3.sensors import S3KeySensor

bucket, endpoint, out = sys.argv[1:] if len(sys.argv) > 1 else ("none", "http://127.0.0.1:1", "none")
asked = []

def put(key, body):
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                          aws_access_key_id="a", aws_secret_access_key="b")
    client.put_object(Bucket=bucket, Key=key, Body=body)

def enough(files, **context):
    asked.append([context["ti"].task_id, files[0]["Size"]])
    grown = files[0]["Size"] > 3
    if not grown:
        put("in/a.csv", b"12345")
    return grown

common = dict(bucket_name=bucket, deferrable=True, poke_interval=0.5)
with DAG("waits", schedule=None) as dag:
    grows = S3KeySensor(task_id="grows", bucket_key="in/{{ 'a' }}*.csv", check_fn=enough, timeout=60, **common)
    late = S3KeySensor(task_id="late", bucket_key="late/{{ 'b' }}", timeout=60,
                       on_execute_callback=lambda context: threading.Timer(3, put, ("late/b", b"")).start(), **common)
    never = S3KeySensor(task_id="never", bucket_key="never", timeout=1, soft_fail=True, **common)
    wrong = S3KeySensor(task_id="wrong", bucket_key="s3://nirvana-nirvana/x", timeout=60, retries=3, deferrable=True)
    grows >> late >> never
    late >> wrong

if __name__ == "__main__":
    run = dag.test()
    found = {ti.task_id: [str(ti.state), ti.xcom_pull(task_ids=ti.task_id) if ti.state == "success" else None]
             for ti in run.get_task_instances()}
    open(out, "w").write(json.dumps({"tasks": found, "asked": asked}))
"""


@pytest.mark.slow
def test_a_dag_with_deferred_sensors_runs(bucket: Bucket, server: S3Server, migrated_airflow: Path) -> None:
    """Airflow itself defers the tasks, runs their triggers, resumes them and stores their XComs."""
    bucket.put("in/a.csv", body=b"1")
    file, out = migrated_airflow / "dags" / "waits_dag.py", migrated_airflow / "waits.json"
    file.write_text(DAG_FILE)

    done = subprocess.run(
        [sys.executable, str(file), bucket.name, server.endpoint_url, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    told = json.loads(out.read_text())
    assert told["asked"] == [["grows", 1], ["grows", 5]]
    assert told["tasks"] == {
        "grows": ["success", [bucket.url("in/a.csv")]],
        "late": ["success", [bucket.url("late/b")]],
        "never": ["skipped", None],
        "wrong": ["failed", None],
    }, done.stdout[-6000:]
    assert SECRET not in done.stdout
