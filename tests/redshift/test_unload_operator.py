"""Sets of objects that the warehouse writes by itself: whole or not there, once for each piece of work."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from typing import Any

import pytest

from tests.redshift.fix_standin import CLUSTER, ROLE, Warehouse
from tests.services import pyarrow
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
from tradewind.amazon.redshift.unload_operators import RedshiftUnloadOperator
from tradewind.hooks.errors import InvalidArgument, Superseded, TransientError


@pytest.fixture(params=["wire", "data api"])
def place(request: pytest.FixtureRequest, warehouse: Warehouse) -> dict[str, Any]:
    """Return the arguments that say where the warehouse is, in each of the two ways."""
    warehouse.query("CREATE TABLE t (id int, name varchar(10), day date)")
    warehouse.query("INSERT INTO t VALUES (1, 'a,b', '2026-01-01'), (2, NULL, '2026-01-02'), (3, '', NULL)")
    way: dict[str, Any] = {"conn_id": warehouse.conn_id} if request.param == "wire" else dict(CLUSTER)
    return {**way, "iam_role": ROLE}


@pytest.fixture
def run(warehouse: Warehouse, context: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a try."""

    def execute(source: Any, number: int = 1, run_id: str = "run", **given: Any) -> dict[str, Any]:
        given = {"to": f"s3://{warehouse.bucket}/daily/", **given}
        task = RedshiftUnloadOperator(task_id="unload", source=source, **given)
        # In any thread: what Airflow 2 wraps around it knows the main one alone.
        tried = inspect.unwrap(RedshiftUnloadOperator.execute)
        return dict(tried(task, context(task, run_id=run_id, try_number=number, max_tries=3)))

    return execute


def test_parquet_is_partitioned(
    place: dict[str, Any], warehouse: Warehouse, run: Callable[..., dict[str, Any]]
) -> None:
    result = run(RedshiftTable("t", **place), partition_by="day")
    assert (result["rows"], result["file_count"]) == (3, 3)
    found = warehouse.manifest("daily/_manifest.json")
    files = [entry["url"] for entry in found["entries"]]
    assert result["files"] == files
    assert sorted(url.removeprefix(result["folder"]).split("/")[0] for url in files) == [
        "day=2026-01-01",
        "day=2026-01-02",
        "day=__HIVE_DEFAULT_PARTITION__",
    ]
    first = next(url for url in files if "2026-01-01" in url)
    data = warehouse.s3.read(warehouse.bucket, first.removeprefix(f"s3://{warehouse.bucket}/")).read()
    assert pyarrow().parquet.read_table(io.BytesIO(data)).to_pydict() == {"id": [1], "name": ["a,b"]}


def test_the_manifest_is_one_that_copy_takes(
    place: dict[str, Any], warehouse: Warehouse, run: Callable[..., dict[str, Any]]
) -> None:
    result = run(
        RedshiftQuery("SELECT * FROM t WHERE id < %s", [3], **place), format="csv", compression="gzip", null="@"
    )
    warehouse.query("CREATE TABLE u (LIKE t)")
    import psycopg2

    base = warehouse.database
    wire = psycopg2.connect(
        host="127.0.0.1", port=warehouse.server.port, user=base.user, password=base.password, dbname=base.name
    )
    with wire, wire.cursor() as cursor:
        options = "MANIFEST FORMAT AS CSV IGNOREHEADER 1 GZIP NULL AS '@'"
        cursor.execute(f"COPY u FROM '{result['manifest']}' IAM_ROLE default {options}")
    wire.close()
    assert warehouse.query("SELECT * FROM u EXCEPT SELECT * FROM t") == []
    assert warehouse.query("SELECT count(*) FROM u") == [(2,)]


def test_a_retry_after_success_unloads_nothing(
    place: dict[str, Any], warehouse: Warehouse, run: Callable[..., dict[str, Any]]
) -> None:
    source = RedshiftTable("t", **place)
    first = run(source)
    assert run(source, 2) == first
    assert len(warehouse.server.statements(r"^\s*unload")) == 1


def test_another_run_takes_the_place_of_the_set_before(
    place: dict[str, Any], warehouse: Warehouse, run: Callable[..., dict[str, Any]]
) -> None:
    source = RedshiftTable("t", **place)
    mine = warehouse.put("daily/notes.txt", "mine")
    run(source)
    warehouse.query("DELETE FROM t WHERE id = 3")
    second = run(source, run_id="another")
    assert second["rows"] == 2
    keys = [f"s3://{warehouse.bucket}/{key}" for key in warehouse.keys("daily/")]
    assert sorted(keys) == sorted([second["manifest"], mine, *second["files"], f"{second['folder']}manifest"])


def test_of_twins_one_is_seen_whole(
    place: dict[str, Any], warehouse: Warehouse, run: Callable[..., dict[str, Any]]
) -> None:
    source = RedshiftTable("t", **place)
    others: list[dict[str, Any]] = []

    def overtake(sql: str, number: int) -> None:
        if "pg_last_unload_count" in sql and not others:
            others.append({})
            others[0] = run(RedshiftTable("t", **place), 2)

    warehouse.server.fault = overtake
    with pytest.raises(Superseded, match="another try of the same work has taken over"):
        run(source)
    assert warehouse.manifest("daily/_manifest.json")["author"]["folder"] == others[0]["folder"]
    assert len(warehouse.keys("daily/")) == others[0]["file_count"] + 2
    assert run(source, 3) == others[0]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_try_that_breaks_shows_nothing_and_the_next_one_clears_up(
    place: dict[str, Any], warehouse: Warehouse, run: Callable[..., dict[str, Any]], when: Any
) -> None:
    source = RedshiftTable("t", **place)
    old = run(source, run_id="before")
    warehouse.server.fault = lambda sql, number: when if sql.startswith("UNLOAD") else None
    with pytest.raises(TransientError):
        run(source)
    assert warehouse.manifest("daily/_manifest.json")["author"]["folder"] == old["folder"]
    warehouse.server.fault = lambda sql, number: None
    warehouse.put(f"daily/{'0' * 16}-1-{'0' * 8}/0000_part_00.parquet", "of a killed try")
    result = run(source, 2)
    assert len(warehouse.keys("daily/")) == result["file_count"] + 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "orc"}, "format must be parquet, csv or json"),
        ({"compression": "gzip"}, "Parquet is compressed within"),
        ({"format": "csv", "compression": "xz"}, "compression must be gzip"),
        ({"format": "csv", "delimiter": ";;"}, "delimiter must be one ASCII character"),
        ({"include_partitions": True}, "means nothing without partition_by"),
        ({"max_file_mb": 1}, "max_file_mb must be 5 to"),
        ({"to": "s3://b/x"}, "to must be a folder"),
        ({"source": "t"}, "source must be RedshiftTable"),
        ({"source": RedshiftTable("t", columns=["a"])}, "write them into the query"),
        ({"source": RedshiftQuery(" ")}, "sql must be a query"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        RedshiftUnloadOperator(**{"task_id": "x", "source": RedshiftTable("t"), "to": "s3://b/x/", **given})
