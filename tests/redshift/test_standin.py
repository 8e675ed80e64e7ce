"""The stand-in itself: what it loads, unloads, refuses and remembers, as the manual says."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

import pytest

from tests.redshift.fix_standin import ROLE, Warehouse
from tests.redshift.standin.commands import Refusal, command
from tests.services import pyarrow

pytestmark = pytest.mark.anywhere

psycopg2: Any = import_module("psycopg2")
AS = f"IAM_ROLE '{ROLE}'"


@pytest.fixture
def wire(warehouse: Warehouse) -> Iterator[Any]:
    """Return a plain connection over the wire."""
    base = warehouse.database
    connection = psycopg2.connect(
        host="127.0.0.1", port=warehouse.server.port, user=base.user, password=base.password, dbname=base.name
    )
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int ENCODE zstd, name varchar(10)) DISTSTYLE KEY DISTKEY(id) SORTKEY(id)")
    connection.commit()
    yield connection
    connection.close()


def _at_insert(when: Any, sql: str, number: int) -> Any:
    return when if "INSERT" in sql else None


def run(wire: Any, sql: str) -> list[tuple[Any, ...]]:
    with wire.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def test_it_says_what_redshift_says(wire: Any) -> None:
    assert wire.server_version == 80002
    assert run(wire, "SELECT getdate() IS NOT NULL") == [(True,)]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b'id,name\r\n1,"a,b"\r\n2,\r\n', "CSV IGNOREHEADER 1 NULL AS ''"),
        (gzip.compress(b"1|a,b\n2|\\N\n", mtime=0), "GZIP DELIMITER '|'"),
        (b'{"name": "a,b", "id": 1}\n{"id": 2}\n', "FORMAT AS JSON 'auto'"),
        (b"1;'a,b'\n2;@null\n", "FORMAT AS CSV DELIMITER ';' QUOTE AS '''' NULL '@null'"),
    ],
)
def test_copy_loads_within_the_clients_transaction(wire: Any, warehouse: Warehouse, data: bytes, options: str) -> None:
    url = warehouse.put("in/a", data)
    for _ in range(2):
        run(wire, f"COPY t FROM '{url}' {AS} {options}")
        assert run(wire, "SELECT * FROM t ORDER BY id") == [(1, "a,b"), (2, None)]
        assert run(wire, "SELECT pg_last_copy_count()") == [(2,)]
        wire.rollback()
    assert warehouse.query("SELECT count(*) FROM t") == [(0,)]


def test_a_quoted_empty_text_is_not_empty(wire: Any, warehouse: Warehouse) -> None:
    url = warehouse.put("in/a", '1,""\n2,\n"",a\n')
    run(wire, f"COPY t FROM '{url}' {AS} CSV NULL AS ''")
    assert run(wire, "SELECT * FROM t ORDER BY id") == [(1, ""), (2, None), (None, "a")]


def test_a_manifest_names_what_is_loaded(wire: Any, warehouse: Warehouse) -> None:
    first = warehouse.put("in/a.csv", "1,a\n")
    warehouse.put("in/a.csv.old", "2,b\n")
    gone = f"s3://{warehouse.bucket}/in/gone"
    entries = [{"url": first, "mandatory": True}]
    manifest = warehouse.put("in/m", json.dumps({"entries": [*entries, {"url": gone, "mandatory": False}]}))
    run(wire, f"COPY t (id, name) FROM '{manifest}' {AS} MANIFEST CSV")
    assert run(wire, "SELECT * FROM t") == [(1, "a")]

    manifest = warehouse.put("in/m", json.dumps({"entries": [*entries, {"url": gone, "mandatory": True}]}))
    with pytest.raises(psycopg2.Error, match="The specified key does not exist"):
        run(wire, f"COPY t FROM '{manifest}' {AS} MANIFEST CSV")
    wire.rollback()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("COPY t FROM 's3://{bucket}/none/' {role} CSV", "The specified S3 prefix 'none/' does not exist"),
        ("COPY t FROM 's3://{bucket}/none/' CSV", "CREDENTIALS/IAM_ROLE argument is required"),
        ("COPY t FROM 's3://{bucket}/in/' {role} SPEEDY", 'syntax error at or near "SPEEDY"'),
        ("UNLOAD ('SELECT 1') TO 's3://{bucket}/in/' {role}", "is not empty"),
    ],
)
def test_a_refusal_fails_the_transaction(wire: Any, warehouse: Warehouse, sql: str, message: str) -> None:
    warehouse.put("in/a.csv", "1,a\n")
    run(wire, "INSERT INTO t VALUES (9, 'i')")
    with pytest.raises(psycopg2.Error, match=message):
        run(wire, sql.format(bucket=warehouse.bucket, role=AS))
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        run(wire, "SELECT 1")
    wire.rollback()
    assert run(wire, "SELECT * FROM t") == []


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ("x,a", ("id", 1207, "Invalid value for the column's type")),
        ("2,elf letters", ("name", 1204, "String length exceeds DDL length")),
        ("2,ééééé¶", ("name", 1204, "String length exceeds DDL length")),
        ("2", ("name", 1213, "Missing data for not-null field")),
        ("2,b,c", ("", 1202, "Extra column(s) found")),
    ],
)
def test_a_load_error_is_recorded_beside_the_transaction(
    wire: Any, warehouse: Warehouse, record: str, found: tuple[str, int, str]
) -> None:
    url = warehouse.put("in/a.csv", f'id,name\n1,"a\nb"\n{record}\n')
    with pytest.raises(psycopg2.Error, match="Load into table 't' failed"):
        run(wire, f"COPY t FROM '{url}' {AS} CSV IGNOREHEADER 1")
    wire.rollback()
    told = "file_name, line_number, column_name, error_code, error_message"
    [error] = run(wire, f"SELECT {told} FROM sys_load_error_detail WHERE session_id = pg_backend_pid()")
    assert error == (url, 4, *found)
    assert run(wire, "SELECT filename, line_number, colname FROM stl_load_errors") == [error[:3]]


def test_unload_writes_what_copy_reads(wire: Any, warehouse: Warehouse) -> None:
    run(
        wire,
        "INSERT INTO t SELECT n, CASE n WHEN 1 THEN NULL WHEN 2 THEN 'a,\"b' ELSE 'x' END FROM generate_series(1, 5) n",
    )
    to = f"s3://{warehouse.bucket}/out/p_"
    run(
        wire,
        f"UNLOAD ($$SELECT * FROM t ORDER BY id$$) TO '{to}' {AS} FORMAT CSV HEADER GZIP NULL '@' MANIFEST VERBOSE",
    )
    assert warehouse.keys("out/") == ["out/p_0000_part_00.gz", "out/p_0001_part_00.gz", "out/p_manifest"]
    told = warehouse.manifest("out/p_manifest")
    assert [each["meta"]["record_count"] for each in told["entries"]] == [3, 2]
    assert told["meta"]["record_count"] == 5
    assert told["schema"]["elements"][0] == {"name": "id", "type": {"base": "integer"}}
    assert run(wire, "SELECT pg_last_unload_count()") == [(5,)]
    run(wire, "CREATE TABLE u (LIKE t)")
    run(wire, f"COPY u FROM '{to}manifest' {AS} MANIFEST CSV GZIP IGNOREHEADER 1 NULL '@'")
    assert run(wire, "SELECT * FROM u EXCEPT SELECT * FROM t") == []
    assert run(wire, "SELECT count(*) FROM u") == [(5,)]


def test_parquet_is_partitioned_and_the_path_is_cleaned(wire: Any, warehouse: Warehouse) -> None:
    run(wire, "INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, NULL)")
    warehouse.put("out/old", "x")
    to = f"s3://{warehouse.bucket}/out/"
    run(wire, f"UNLOAD ('SELECT * FROM t') TO '{to}' {AS} FORMAT PARQUET PARTITION BY (name) CLEANPATH")
    keys = warehouse.keys("out/")
    assert keys == ["out/name=__HIVE_DEFAULT_PARTITION__/0000_part_00.parquet", "out/name=a/0000_part_00.parquet"]
    data = warehouse.s3.read(warehouse.bucket, keys[1]).read()
    assert pyarrow().parquet.read_table(io.BytesIO(data)).to_pydict() == {"id": [1, 2]}


def test_a_connection_drops_before_or_after_its_statement(wire: Any, warehouse: Warehouse) -> None:
    wire.autocommit = True
    for when, count in (("before", 0), ("after", 1)):
        warehouse.server.fault = partial(_at_insert, when)
        base = warehouse.database
        other = psycopg2.connect(
            host="127.0.0.1", port=warehouse.server.port, user=base.user, password=base.password, dbname=base.name
        )
        other.autocommit = True
        with pytest.raises(psycopg2.OperationalError):
            run(other, "INSERT INTO t VALUES (1, 'a')")
        assert run(wire, "SELECT count(*) FROM t") == [(count,)]
    assert [entry.state for entry in warehouse.server.journal if "INSERT" in entry.sql] == ["dropped", "dropped"]


def test_the_reader_of_copy_is_strict() -> None:
    assert command("SELECT 1") is None
    with pytest.raises(Refusal, match="end of input"):
        command("COPY t FROM 's3://b/k' IAM_ROLE")
    found = command("copy s.\"T\" (a, b) from 's3://b/k' iam_role default manifest format as csv null as 'it''s'")
    assert found is not None
    assert (found.table, found.columns, found.options["null"]) == ('s."T"', ["a", "b"], "it's")
