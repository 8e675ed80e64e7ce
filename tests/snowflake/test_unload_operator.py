"""Sets of objects that Snowflake writes by itself: whole or not there, once for each piece of work."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tests.services import pyarrow
from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.hooks.errors import DataError, InvalidArgument, Superseded
from tradewind.operators.copy import CopyOperator
from tradewind.operators.files import datasets
from tradewind.operators.local_files import LocalFile
from tradewind.snowflake.queries import SnowflakeQuery
from tradewind.snowflake.tables import SnowflakeTable
from tradewind.snowflake.unload_operators import SnowflakeUnloadOperator

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def lake(snowflake_database: SnowflakeDatabase, bucket: str) -> str:
    """Make a table and a stage that leads to the bucket; return the URL of the set's folder."""
    snowflake_database.query("CREATE TABLE t (id NUMBER(9,0), name VARCHAR, day DATE)")
    snowflake_database.query("INSERT INTO t VALUES (1, 'a,\"b', '2026-01-01'), (2, NULL, '2026-01-02'), (3, '', NULL)")
    snowflake_database.query(f"CREATE STAGE lake URL = 's3://{bucket}/lake/'")
    return f"s3://{bucket}/lake/daily/"


@pytest.fixture
def run(lake: str, context: Callable[..., Any]) -> Run:
    """Return a function that runs a try."""

    def execute(source: Any = None, number: int = 1, run_id: str = "run", **given: Any) -> dict[str, Any]:
        given = {"stage": "lake", **given}
        to = S3File(f"{lake}_manifest.json", manifest=True)
        task = SnowflakeUnloadOperator(task_id="unload", source=source or SnowflakeTable("t"), to=to, **given)
        # In any thread: what Airflow 2 wraps around it knows the main one alone.
        tried = inspect.unwrap(SnowflakeUnloadOperator.execute)
        return dict(tried(task, context(task, run_id=run_id, try_number=number, max_tries=3)))

    return execute


@pytest.fixture
def read(lake: str, tmp_path: Any, context: Callable[..., Any]) -> Callable[..., str]:
    """Return what copies the set into a local file of CSV, by its manifest."""

    def copied(**how: Any) -> str:
        source = S3File(f"{lake}_manifest.json", manifest=True, **how)
        task = CopyOperator(task_id="read", source=source, target=LocalFile(str(tmp_path / "out.csv"), **how))
        task.execute(context(task))
        return str((tmp_path / "out.csv").read_text())

    return copied


def keys(hook: S3Hook, lake: str) -> list[str]:
    bucket = lake.split("/")[2]
    return sorted(found.url for found in hook.list_objects(bucket, "lake/"))


def unloads(database: SnowflakeDatabase) -> list[str]:
    return [
        each["sql"]
        for each in database.server.journal()
        if each["sql"].startswith("COPY INTO @") and database.name in each["sql"]
    ]


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_the_set_is_read_by_its_manifest(run: Run, read: Callable[..., str], lake: str, format: str) -> None:
    result = run(format=format, **({"null": "-", "compression": "gzip"} if format == "csv" else {}))

    assert result["rows"] == 3
    assert result["file_count"] == len(result["files"]) == 2
    assert result["manifest"] == f"{lake}_manifest.json"
    assert all(file.startswith(result["folder"]) for file in result["files"])
    rows = read(null="-") if format == "csv" else read()
    null, quote = ("-", "") if format == "csv" else ("", '"')  # decimals of Parquet are quoted
    expected = [("1", '"a,""b"', "2026-01-01"), ("2", null, "2026-01-02"), ("3", '""', null)]
    assert sorted(rows.splitlines()[1:]) == [f"{quote}{id}{quote},{name},{day}" for id, name, day in expected]


def test_parquet_is_partitioned(run: Run, s3_hook: S3Hook, lake: str) -> None:
    result = run(partition_by="DAY")

    assert sorted(url.removeprefix(result["folder"]).split("/")[0] for url in result["files"]) == [
        "DAY=2026-01-01",
        "DAY=2026-01-02",
        "DAY=__HIVE_DEFAULT_PARTITION__",
    ]
    first = next(url for url in result["files"] if "2026-01-01" in url)
    bucket, _, key = first.removeprefix("s3://").partition("/")
    found = pyarrow().parquet.ParquetFile(io.BytesIO(s3_hook.read(bucket, key).read())).read()
    assert found.select(["ID", "NAME"]).to_pydict() == {"ID": [1], "NAME": ['a,"b']}


def test_a_query_has_its_values_bound(run: Run, read: Callable[..., str]) -> None:
    source = SnowflakeQuery("SELECT id, name || '%%' AS text FROM t WHERE id < %(most)s ORDER BY id;", {"most": 2})
    result = run(source, format="csv", parallel=False)
    assert result["file_count"] == 1
    assert result["files"][0].endswith("/data.csv")
    assert read() == '"ID","TEXT"\n1,"a,""b%"\n'


def test_a_retry_after_success_unloads_nothing(run: Run, snowflake_database: SnowflakeDatabase) -> None:
    first = run()
    assert run(number=2) == first
    assert len(unloads(snowflake_database)) == 1


def test_another_run_takes_the_place_of_the_set_before(
    run: Run, s3_hook: S3Hook, lake: str, snowflake_database: SnowflakeDatabase
) -> None:
    s3_hook.put(lake.split("/")[2], "lake/daily/notes.txt", "mine")
    run()
    snowflake_database.query("DELETE FROM t WHERE id = 3")
    second = run(run_id="another")

    assert second["rows"] == 2
    assert keys(s3_hook, lake) == sorted([second["manifest"], f"{lake}notes.txt", *second["files"]])


def test_no_rows_are_a_set_without_objects(run: Run, s3_hook: S3Hook, lake: str) -> None:
    result = run(SnowflakeQuery("SELECT id FROM t WHERE id > 9"))
    assert (result["rows"], result["files"]) == (0, [])
    assert keys(s3_hook, lake) == [result["manifest"]]


def test_of_twins_one_is_seen_whole(run: Run, s3_hook: S3Hook, lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[dict[str, Any]] = []
    plain = datasets.ServiceSet.finish

    def overtaken(self: Any, *given: Any) -> Any:
        if not others:
            others.append({})
            others[0] = run(number=2)
        return plain(self, *given)

    monkeypatch.setattr(datasets.ServiceSet, "finish", overtaken)
    with pytest.raises(Superseded, match="another try of the same work has taken over"):
        run()
    assert keys(s3_hook, lake) == sorted([others[0]["manifest"], *others[0]["files"]])
    assert run(number=3) == others[0]


def test_a_try_that_breaks_shows_nothing_and_the_next_one_clears_up(
    run: Run, s3_hook: S3Hook, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = run(run_id="before")
    plain = datasets.ServiceSet.finish

    def broken(self: Any, *given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets.ServiceSet, "finish", broken)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert keys(s3_hook, lake) == sorted([old["manifest"], *old["files"]])

    monkeypatch.setattr(datasets.ServiceSet, "finish", plain)
    s3_hook.put(lake.split("/")[2], f"lake/daily/{'0' * 16}-1-{'0' * 8}/data_0.parquet", "of a killed try")
    result = run(number=2)
    assert keys(s3_hook, lake) == sorted([result["manifest"], *result["files"]])


def test_what_is_there_must_be_what_the_service_says(
    run: Run, s3_hook: S3Hook, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = datasets.ServiceSet.finish

    def spoilt(self: Any, *given: Any) -> Any:
        bucket, _, key = self.own.files()[0].url.removeprefix("s3://").partition("/")
        s3_hook.put(bucket, key, "other")
        return plain(self, *given)

    monkeypatch.setattr(datasets.ServiceSet, "finish", spoilt)
    with pytest.raises(DataError, match="has 5 bytes, and not"):
        run()
    assert keys(s3_hook, lake) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "json"}, "format must be parquet or csv"),
        ({"compression": "gzip"}, "Parquet is compressed within"),
        ({"format": "csv", "compression": "xz"}, "compression must be gzip"),
        ({"format": "csv", "delimiter": ";;"}, "delimiter must be one ASCII character"),
        ({"partition_by": "a", "parallel": False}, "leave parallel=False out"),
        ({"max_file_mb": 6000}, "max_file_mb must be above 0 and up to 5120"),
        ({"to": "s3://b/x/"}, "to must be a set in S3, by its manifest"),
        ({"to": LocalFile("/tmp/x.json")}, "to must be a set in S3, by its manifest"),
        ({"source": "t"}, "source must be SnowflakeTable"),
        ({"source": SnowflakeTable("t", columns=["a"])}, "write them into the query"),
        ({"source": SnowflakeTable("t", stage="lake")}, "are the target's"),
        ({"source": SnowflakeQuery(" ")}, "sql must be a query"),
        ({"stage": None}, "say how Snowflake reaches S3"),
        ({"storage_integration": "x"}, "has credentials of its own"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    to = S3File("s3://b/x/_manifest.json", manifest=True)
    with pytest.raises(InvalidArgument, match=message):
        SnowflakeUnloadOperator(**{"task_id": "x", "source": SnowflakeTable("t"), "to": to, "stage": "lake", **given})
