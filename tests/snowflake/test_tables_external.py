"""Loading tables in Snowflake from objects that the service reads from S3 by itself."""

from __future__ import annotations

import datetime as dt
import gzip
import inspect
import io
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, SourceChanged
from tradewind.operators.copy import CopyOperator
from tradewind.operators.expectations import NotNull
from tradewind.operators.local_files import LocalFile
from tradewind.snowflake import external
from tradewind.snowflake.tables import SnowflakeTable

Load = Callable[..., dict[str, Any]]


@pytest.fixture
def landing(snowflake_database: SnowflakeDatabase, bucket: str) -> str:
    """Make a table, a stage that leads to the bucket's folder ``in/``, and an integration for all of the bucket."""
    snowflake_database.query(
        "CREATE TABLE t (id INTEGER, name VARCHAR(20), amount NUMBER(10,2), ratio FLOAT, day DATE)"
    )
    snowflake_database.query(
        f"CREATE OR REPLACE STORAGE INTEGRATION lake TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE "
        f"STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::1:role/x' STORAGE_ALLOWED_LOCATIONS = ('s3://{bucket}/')"
    )
    snowflake_database.query(f"CREATE STAGE landing URL = 's3://{bucket}/in/' STORAGE_INTEGRATION = lake")
    return f"s3://{bucket}/in/"


@pytest.fixture
def load(landing: str, s3_hook: S3Hook, context: Callable[..., Any]) -> Load:
    """Return what puts objects into the folder and copies them into the table."""

    def run(
        objects: dict[str, str | bytes],
        *,
        number: int = 1,
        run_id: str = "run",
        file: dict[str, Any] | None = None,
        target: dict[str, Any] | None = None,
        table: str = "t",
        **arguments: Any,
    ) -> dict[str, Any]:
        bucket = landing.split("/")[2]
        for name, data in objects.items():
            s3_hook.put(bucket, f"in/{name}", data)
        source = S3File([f"{landing}{name}" for name in objects], **(file or {}))
        operator = CopyOperator(
            task_id="load",
            source=source,
            target=SnowflakeTable(table, **(target or {"stage": "landing"})),
            **arguments,
        )
        result: dict[str, Any] = operator.execute(context(operator, run_id=run_id, try_number=number, max_tries=3))
        return result

    return run


def mine(database: SnowflakeDatabase) -> list[str]:
    """Return what the loads have run."""
    return [each["sql"] for each in database.server.journal() if each["user"] == "ETL" and database.name in each["sql"]]


def words(database: SnowflakeDatabase) -> list[str]:
    return [each.split()[0] for each in mine(database)]


PLACES = [
    pytest.param(lambda folder: {"stage": "landing"}, id="stage"),
    pytest.param(lambda folder: {"stage": "@S.Landing"}, id="stage with a schema"),
    pytest.param(lambda folder: {"storage_integration": "lake"}, id="integration"),
    pytest.param(lambda folder: {"stage": folder, "storage_integration": "LAKE"}, id="URL by an integration"),
    pytest.param(lambda folder: {"stage": folder}, id="URL alone"),
]


@pytest.mark.parametrize("place", PLACES)
def test_no_byte_passes_through_the_worker(
    load: Load, snowflake_database: SnowflakeDatabase, landing: str, place: Callable[[str], dict[str, str]]
) -> None:
    one, two = 'id,name,amount\n1,a,0.10\n2,"",\n', b'name,id\n"x ""y"", z\nw",3\n,4\n'
    result = load({"2024/one.csv": one, "2024/two 'x'.csv.gz": gzip.compress(two)}, target=place(landing))

    assert snowflake_database.query("SELECT id, name, amount FROM t ORDER BY id") == [
        (1, "a", Decimal("0.10")),
        (2, "", None),
        (3, 'x "y", z\nw', None),
        (4, None, None),
    ]
    assert (result["rows"], result["inserted"], result["bytes"] > 0) == (4, 4, True)
    assert result["plan"] == f"COPY from {landing if 'stage' in place(landing) else landing + '2024/'} into " + (
        f"{snowflake_database.name}.S.T"
    )
    assert "PUT" not in words(snowflake_database)


def test_the_transaction_holds_the_copies_alone(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    load({"a.csv": "id,name\n1,a\n"}, mode="replace", target={"storage_integration": "lake"})

    touching = [sql for sql in mine(snowflake_database) if "TRADEWIND_S3" in sql or "FORMAT" in sql or '"T"' in sql]
    kinds = [sql.split()[0] for sql in touching if not sql.startswith("DESC")]
    assert kinds == ["CREATE", "CREATE", "SELECT", "DELETE", "COPY"]
    [copy] = [sql for sql in mine(snowflake_database) if sql.startswith("COPY")]
    assert "FORCE = TRUE" in copy
    assert "ON_ERROR = ABORT_STATEMENT" in copy


def test_a_retry_after_success_loads_nothing_and_other_objects_do(
    load: Load, snowflake_database: SnowflakeDatabase
) -> None:
    load({"a.csv": "id,name\n1,a\n"})
    again = load({"a.csv": "id,name\n1,a\n"}, number=2)
    assert again["loaded_before"] is not None
    load({"a.csv": "id,name\n2,b\n"}, run_id="next")
    load({"a.csv": "id,name\n2,b\n"}, run_id="next but one")
    assert [row[0] for row in snowflake_database.query("SELECT id FROM t ORDER BY id")] == [1, 2, 2]


def test_many_objects_take_several_statements_of_one_transaction(
    load: Load, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "MOST_FILES", 3)
    result = load({f"{number}.csv": f"id,name\n{number},a\n" for number in range(8)})

    assert result["rows"] == 8
    copies = [sql for sql in mine(snowflake_database) if sql.startswith("COPY")]
    assert [sql.count(".csv'") for sql in copies] == [3, 3, 2]
    with pytest.raises(DataError):
        load({f"{number}.csv": f"id,day\n{number},{'x' if number == 7 else ''}\n" for number in range(8)}, run_id="bad")
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(8,)]


def test_empty_objects_and_headers_alone_are_no_rows(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    result = load({"a.csv": "", "b.csv": "id,name\n", "c.csv": "id,name\n1,a\n"})
    assert result["rows"] == 1
    assert load({"a.csv": ""}, run_id="empty", mode="replace")["rows"] == 0
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(0,)]


def test_merge(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    load({"a.csv": "id,name\n1,a\n2,b\n3,c\n"})
    result = load({"b.csv": "id,name\n2,B\n", "c.csv": "name,id\nc,3\nd,4\n"}, mode="merge", key="id")

    found = snowflake_database.query("SELECT id, name FROM t ORDER BY id")
    assert found == [(1, "a"), (2, "B"), (3, "c"), (4, "d")]
    assert [result[name] for name in ("rows", "inserted", "updated", "unchanged")] == [3, 1, 1, 1]
    assert "PUT" not in words(snowflake_database)


def test_expectations_of_the_load(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    with pytest.raises(DataError, match="NotNull"):
        load({"a.csv": "id,name\n1,a\n2,\n"}, expect=NotNull("name", of="load"))
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(0,)]


def test_create_makes_the_table(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    load({"a.csv": "id,name,day\n1,a,2024-02-03\n"}, table="made", create=True)
    assert snowflake_database.query("SELECT * FROM made") == [(1, "a", dt.date(2024, 2, 3))]
    assert "PUT" not in words(snowflake_database)


@pytest.mark.parametrize("arguments", [{}, {"mode": "merge", "key": "id"}], ids=["append", "merge"])
def test_of_two_tries_at_once_one_loads(
    landing: str,
    s3_hook: S3Hook,
    snowflake_database: SnowflakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
    context: Callable[..., Any],
    arguments: dict[str, Any],
) -> None:
    s3_hook.put(landing.split("/")[2], "in/a.csv", "id,name\n1,a\n2,b\n")
    barrier, plain = threading.Barrier(2, timeout=60), external.ExternalLoad.copy

    def copy(*given: Any, **named: Any) -> int:
        rows = plain(*given, **named)
        barrier.wait()  # both have their rows in open transactions
        return rows

    def run(number: int) -> dict[str, Any]:
        operator = CopyOperator(
            task_id="load",
            source=S3File(f"{landing}*.csv"),
            target=SnowflakeTable("t", stage="landing"),
            **arguments,
        )
        made = context(operator, run_id="run", try_number=number, max_tries=3)
        # In any thread: what Airflow 2 wraps around it knows the main one alone.
        result: dict[str, Any] = inspect.unwrap(type(operator).execute)(operator, made)
        return result

    monkeypatch.setattr(external.ExternalLoad, "copy", copy)
    with ThreadPoolExecutor(2) as pool:
        results = [each.result() for each in [pool.submit(run, number) for number in (1, 2)]]

    assert snowflake_database.query("SELECT id, name FROM t ORDER BY id") == [(1, "a"), (2, "b")]
    assert [each["rows"] for each in results] == [2, 2]
    assert [each["loaded_before"] for each in results].count(None) == 1


# what does not fit


@pytest.mark.parametrize(
    ("record", "column", "said"),
    [
        ("1.5,a,", "ID", r"b\.csv, record 2, column ID: value '1\.5' has more digits after the point than NUMBER"),
        ('"1e2",a,', "ID", r"record 2, column ID: value '1e2' has more digits"),
        ("1,a,1.005", "AMOUNT", r"record 2, column AMOUNT: value '1\.005' has more digits"),
        ("1,a", None, r"b\.csv, line 3.*: Number of columns in file \(2\) does not match"),
        ("1,a,123456789.10", "AMOUNT", r"b\.csv, line 3, column AMOUNT: .*out of range"),
        ("x,a,", "ID", r"b\.csv, line 3, column ID: Numeric value 'x' is not recognized"),
        (f"1,{'a' * 21},", "NAME", r"b\.csv, line 3, column NAME: String .* is too long"),
    ],
)
def test_nothing_is_rounded_or_cut(
    load: Load, snowflake_database: SnowflakeDatabase, record: str, column: str | None, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        load({"a.csv": "id,name\n7,b\n", "b.csv": f"id,name,amount\n7,b,2.50\n{record}\n"})
    assert caught.value.column == column or column is None
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(0,)]


def test_zeros_after_the_point_are_kept_apart_from_digits(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    load({"a.csv": "id,amount\n1.000,2.500000\n2,-0.25\n"})
    assert snowflake_database.query("SELECT id, amount FROM t ORDER BY id") == [
        (1, Decimal("2.50")),
        (2, Decimal("-0.25")),
    ]


def test_other_objects_beside_are_not_looked_at(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    load({"a.csv": "id,name\n1,a\n"})
    bad, good = {"ab.csv": "id,name\n1.5,a\n"}, {"a.csv": "id,name\n2,a\n"}
    with pytest.raises(DataError):
        load(bad, run_id="bad")
    load(good, run_id="good")
    assert snowflake_database.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_what_changes_meanwhile_is_not_committed(
    load: Load, landing: str, s3_hook: S3Hook, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = external.ExternalLoad.prepare

    def prepare(self: external.ExternalLoad) -> None:
        plain(self)
        s3_hook.put(landing.split("/")[2], "in/a.csv", "id,name\n2,b\n")

    monkeypatch.setattr(external.ExternalLoad, "prepare", prepare)
    with pytest.raises(SourceChanged, match=r"a\.csv changed while it was loaded"):
        load({"a.csv": "id,name\n1,a\n"})
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(0,)]


def test_records_that_nobody_looked_at_are_not_committed(
    load: Load, snowflake_database: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external.ExternalLoad, "_looked", lambda self, batch: 1)
    with pytest.raises(DataError, match="loaded 2 records of 1 that the objects"):
        load({"a.csv": "id,name\n1,a\n2,b\n"})
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(0,)]


# Parquet


def parquet(**columns: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def test_parquet(load: Load, snowflake_database: SnowflakeDatabase) -> None:
    import pyarrow as pa

    data = parquet(
        day=pa.array([dt.date(2024, 2, 3), None]),
        id=pa.array([1, 2], pa.int32()),
        Name=pa.array(["", None]),
        amount=pa.array([Decimal("1.50"), None], pa.decimal128(8, 2)),
        ratio=pa.array([0.1, float("inf")]),
    )
    result = load({"a.parquet": data})

    assert result["rows"] == 2
    assert snowflake_database.query("SELECT * FROM t ORDER BY id") == [
        (1, "", Decimal("1.50"), 0.1, dt.date(2024, 2, 3)),
        (2, None, None, float("inf"), None),
    ]
    assert "PUT" not in words(snowflake_database)


@pytest.mark.parametrize(("which", "name"), [("last", "y"), ("first", "x")])
def test_of_parquets_records_of_one_key_the_last_or_the_first_counts(
    load: Load, snowflake_database: SnowflakeDatabase, which: str, name: str
) -> None:
    data = parquet(id=[1, 2], name=["x", "b"])
    objects: dict[str, str | bytes] = {"a.parquet": data, "b.parquet": parquet(id=[1], name=["y"])}
    result = load(objects, mode="merge", key="id", duplicates=which)

    assert snowflake_database.query("SELECT id, name FROM t ORDER BY id") == [(1, name), (2, "b")]
    assert (result["rows"], result["duplicates"]) == (2, 1)
    assert "PUT" not in words(snowflake_database)


# what passes through the worker, and is the same then


@pytest.mark.parametrize(
    ("objects", "file", "arguments", "why"),
    [
        ({"a.csv": "id;name\n1;a\n"}, {"delimiter": ";", "null": "-"}, {}, "does not read this dialect"),
        ({"a.csv": "id,name\n1,a\n"}, {"encoding": "latin-1"}, {}, "is encoded as latin-1"),
        ({"a.csv": "id,name\r1,a\r"}, {}, {}, "lines end with CR alone"),
        ({"a.csv": "id,name\n1,a\n"}, {"columns": {"id": "id", "name": "name"}}, {}, "columns= or constants="),
        ({"a.jsonl": '{"id": 1, "name": "a"}\n'}, {}, {}, "is neither CSV nor Parquet"),
        ({"a.csv": "id,name\n1,a\n"}, {}, {"mode": "merge", "key": "id", "duplicates": "last"}, "numbers the records"),
        ({"a.parquet": parquet(id=[1.0], name=["a"])}, {}, {}, "what it holds for ID is not known to come into"),
    ],
)
def test_what_has_no_exact_form_passes_through_the_worker(
    load: Load,
    snowflake_database: SnowflakeDatabase,
    caplog: pytest.LogCaptureFixture,
    objects: dict[str, Any],
    file: dict[str, Any],
    arguments: dict[str, Any],
    why: str,
) -> None:
    with caplog.at_level(logging.INFO):
        load(objects, file=file, **arguments)

    assert snowflake_database.query("SELECT id, name FROM t") == [(1, "a")]
    assert "PUT" in words(snowflake_database)
    [told] = [text for record in caplog.records if "pass through the worker" in (text := record.getMessage())]
    assert why in told


def test_columns_that_texts_are_made_into_pass_through_the_worker(
    load: Load, snowflake_database: SnowflakeDatabase
) -> None:
    snowflake_database.query("CREATE TABLE docs (id INTEGER, doc VARIANT)")
    load({"a.csv": 'id,doc\n1,"[1]"\n'}, table="docs")
    puts = words(snowflake_database).count("PUT")
    assert puts
    load({"b.csv": "id\n2\n"}, table="docs", run_id="ids alone")
    assert words(snowflake_database).count("PUT") == puts


def test_other_sources_pass_through_the_worker(
    landing: str, snowflake_database: SnowflakeDatabase, tmp_path: Any, context: Callable[..., Any]
) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,a\n")
    operator = CopyOperator(
        task_id="load", source=LocalFile(str(tmp_path / "a.csv")), target=SnowflakeTable("t", stage="landing")
    )
    operator.execute(context(operator))
    assert snowflake_database.query("SELECT id, name FROM t") == [(1, "a")]


# stages


def test_a_stage_that_does_not_cover_the_objects_is_refused(
    load: Load, snowflake_database: SnowflakeDatabase, landing: str
) -> None:
    snowflake_database.query(f"CREATE STAGE elsewhere URL = '{landing}deeper' STORAGE_INTEGRATION = lake")
    with pytest.raises(InvalidArgument, match=rf"stage elsewhere leads to {landing}deeper/, which does not cover"):
        load({"a.csv": "id,name\n1,a\n"}, target={"stage": "elsewhere"})
    snowflake_database.query("CREATE STAGE inside")
    with pytest.raises(InvalidArgument, match="INSIDE is internal: name an external stage"):
        load({"a.csv": "id,name\n1,a\n"}, target={"stage": "inside"})
    with pytest.raises(NotFound, match=r"there is no stage .*NOWHERE"):
        load({"a.csv": "id,name\n1,a\n"}, target={"stage": "nowhere"})
    with pytest.raises(InvalidArgument, match=r"stage s3://other/ leads to s3://other/, which does not cover"):
        load({"a.csv": "id,name\n1,a\n"}, target={"stage": "s3://other/"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stage": "s3://landing/flights"}, "a URL must end with '/'"),
        ({"stage": "landing", "storage_integration": "lake"}, "has credentials of its own"),
        ({"stage": "landing/2024"}, "neither @ nor a path in it"),
        ({"stage": " "}, "stage must be a name"),
        ({"storage_integration": "a.b"}, "give its name alone"),
        ({"storage_integration": "a b"}, "is no name"),
    ],
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        CopyOperator(task_id="load", source=S3File("s3://a/b.csv"), target=SnowflakeTable("t", **given))  # type: ignore[arg-type]


def test_a_source_has_no_stage() -> None:
    with pytest.raises(InvalidArgument, match="stage= and storage_integration= are the target's"):
        CopyOperator(task_id="read", source=SnowflakeTable("t", stage="landing"), target=LocalFile("/tmp/out.csv"))


def test_no_objects_at_all_are_no_rows(
    landing: str, snowflake_database: SnowflakeDatabase, context: Callable[..., Any]
) -> None:
    source = S3File(f"{landing}*.csv", allow_empty=True)
    operator = CopyOperator(task_id="load", source=source, target=SnowflakeTable("t", storage_integration="lake"))
    assert operator.execute(context(operator))["rows"] == 0
    assert "COPY" not in words(snowflake_database)


def test_a_dry_run_tells_all_and_changes_nothing(
    load: Load, snowflake_database: SnowflakeDatabase, landing: str
) -> None:
    plan = load({"a.csv": "id,name\n1,a\n"}, dry_run=True, target={"storage_integration": "lake"})

    assert plan["plan"].startswith(f"COPY from {landing} into")
    assert [text.split()[0] for text in plan["statements"]] == ["CREATE", "CREATE", "SELECT", "COPY"]
    sqlglot = pytest.importorskip("sqlglot")
    kinds = [type(sqlglot.parse_one(text, read="snowflake")).__name__ for text in plan["statements"]]
    assert kinds == ["Create", "Create", "Select", "Copy"]
    assert any(right.startswith("USAGE on integration lake") for right in plan["rights"])
    assert snowflake_database.query("SELECT COUNT(*) FROM t") == [(0,)]
