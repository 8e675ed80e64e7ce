"""What a copy leaves for others to see: its XCom, its link, and how far it is while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fix_copies import WORK, drain
from tests.fix_tables import Tables
from tests.stage import LAKE, Stage
from tradewind.amazon.s3.console import console_url
from tradewind.amazon.s3.files import S3File
from tradewind.hooks.compat import AIRFLOW_3
from tradewind.operators.copy import CopyOperator
from tradewind.operators.ends import CopyResult
from tradewind.operators.links import TARGET_LINK, TargetLink
from tradewind.operators.local_files import LocalFile
from tradewind.operators.plan import FILES_TOLD
from tradewind.operators.tables.ledger import recalled, recorded


def test_the_result_says_what_was_read_and_what_was_written(
    tables: Tables, tmp_path: Path, context: Callable[..., Any]
) -> None:
    tables.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(9))")
    tables.query("INSERT INTO t VALUES (1, 'same'), (2, 'old')")
    (tmp_path / "a.csv").write_bytes(b"id,name\n1,same\n2,x\nz,bad\n2,new\n3,more\n")
    operator = CopyOperator(
        task_id="copy",
        source=LocalFile(f"{tmp_path}/a.csv"),
        target=tables.table(),
        mode="merge",
        key="id",
        duplicates="last",
        max_errors=1,
        rejects=LocalFile(f"{tmp_path}/rejects.csv"),
    )
    result = operator.execute(context(operator))
    counts = {"rows": 3, "inserted": 1, "updated": 1, "unchanged": 1, "duplicates": 1, "rejected": 1}
    counts |= {"rows_read": 5, "rows_written": 2, "file_count": 1}
    assert {name: result[name] for name in counts} == counts
    assert result["dry_run"] is False
    assert json.loads(json.dumps(result)) == result
    again = operator.execute(context(operator, try_number=2))
    # The clock of this try is its own; all else is what the first one recorded.
    assert {**again, "seconds": 0, "loaded_before": None} == {**result, "seconds": 0}


def test_a_result_of_many_files_stays_small() -> None:
    result = CopyResult(rows=5, inserted=5, files=[f"s3://b/{number}" for number in range(5000)])
    for told in (result.as_dict(), recalled(recorded(result), "2026-01-01").as_dict()):
        assert (len(told["files"]), told["file_count"]) == (FILES_TOLD, 5000)
        assert (told["rows_read"], told["rows_written"]) == (5, 5)
    assert CopyResult(counted=False).as_dict()["rows_read"] is None


@pytest.mark.parametrize(
    ("url", "region", "page"),
    [
        ("s3://b/a/k.csv", None, "console.aws.amazon.com/s3/object/b?prefix=a%2Fk.csv"),
        ("s3://b/ä&=#", "eu-west-1", "console.aws.amazon.com/s3/object/b?region=eu-west-1&prefix=%C3%A4%26%3D%23"),
        ("s3://b/out/", "cn-north-1", "console.amazonaws.cn/s3/buckets/b?region=cn-north-1&prefix=out%2F"),
        ("s3://b/k", "us-gov-west-1", "console.amazonaws-us-gov.com/s3/object/b?region=us-gov-west-1&prefix=k"),
    ],
)
def test_the_page_of_an_object(url: str, region: str | None, page: str) -> None:
    assert console_url(url, region) == f"https://{page}"


def test_a_copy_into_s3_links_to_it(
    stage: Stage, connection: Callable[..., str], context: Callable[..., Any], tmp_path: Path
) -> None:
    connection(LAKE, stage.connections()[f"AIRFLOW_CONN_{LAKE.upper()}"])
    (tmp_path / "a.csv").write_bytes(b"id\n1\n")
    operator = CopyOperator(
        task_id="copy",
        source=LocalFile(f"{tmp_path}/a.csv"),
        target=S3File(f"s3://{stage.bucket}/{{{{ ds }}}}/a.csv", conn_id=LAKE),
    )
    run = context(operator, render=True)
    operator.execute(run)
    page = f"https://console.aws.amazon.com/s3/object/{stage.bucket}?region=us-east-1&prefix=2026-01-02%2Fa.csv"
    assert operator.target.link() == page
    if AIRFLOW_3:
        assert TargetLink().get_link(operator, ti_key=None) == page
    else:
        assert run["ti"].xcom_pull(key=TARGET_LINK, task_ids="copy") == page


def test_a_link_is_no_reason_to_fail() -> None:
    from tradewind.operators.links import link_of

    assert link_of(LocalFile("/a")) == ""
    assert link_of(S3File("no url at all")) == ""


STORED = """
import json
from datetime import datetime
from airflow.providers_manager import ProvidersManager
from airflow.serialization import serialized_objects
from tradewind.hooks.compat import AIRFLOW_3
if AIRFLOW_3:
    from airflow.sdk import DAG
else:
    from airflow.models.dag import DAG
from tradewind.operators.copy import CopyOperator
from tradewind.operators.local_files import LocalFile
with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    CopyOperator(task_id="copy", source=LocalFile("/a"), target=LocalFile("/b"))
module = vars(serialized_objects)
serializer = module.get("DagSerialization", module["SerializedDAG"])
stored = serializer.from_dict(json.loads(json.dumps(serializer.to_dict(dag))))
links = [link.name for link in stored.get_task("copy").operator_extra_links]
known = sorted(name for name in ProvidersManager().extra_links_class_names if name.startswith("tradewind."))
print("RESULT" + json.dumps([links, known]))
"""


def test_airflow_knows_the_link_of_a_dag_that_it_has_stored() -> None:
    done = subprocess.run([sys.executable, "-c", STORED], capture_output=True, text=True, timeout=120, check=True)
    answer = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    assert json.loads(answer.removeprefix("RESULT")) == [["Target"], ["tradewind.operators.links.TargetLink"]]


def test_a_table_says_how_far_it_is_read(tables: Tables) -> None:
    tables.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(200))")
    many = tables.pick(postgres="generate_series(1, 40000) AS seq", mysql="seq_1_to_40000")
    tables.query(f"INSERT INTO t SELECT seq, REPEAT('x', 150) FROM {many}")
    source = tables.table()
    with source.open(WORK) as reading:
        assert (reading.share, len(drain(source)) > 40_000) == (None, True)
    tables.query(tables.pick(postgres="ANALYZE t", mysql="ANALYZE TABLE t"))
    with source.open(WORK) as reading:
        [part] = reading.parts()
        stream = part.open()
        assert reading.share is None or reading.share < 1
        first = stream.read(1 << 16)
        halfway = reading.share
        while data := stream.read(1 << 20):
            first = data
        stream.close()
        assert first
        assert halfway is not None
        assert 0 < halfway < 1
        assert reading.share == pytest.approx(1, abs=0.3)  # statistics are samples


def test_a_query_tells_nothing_beforehand(tables: Tables) -> None:
    if tables.service == "postgres":
        from tradewind.postgres.tables import PostgresQuery as Query
    else:
        from tradewind.mysql.queries import MySqlQuery as Query  # type: ignore[assignment]
    with Query("SELECT 1 AS a", conn_id=tables.conn_id).open(WORK) as reading:
        [part] = reading.parts()
        part.open().close()
        assert reading.share is None
