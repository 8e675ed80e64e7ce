"""A table goes out to the worker's disk and back, through the operator; bad records are set aside there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fix_mysql import MySqlDatabase
from tests.fix_postgres import Database
from tradewind.hooks.errors import DataError
from tradewind.operators.copy import CopyOperator
from tradewind.operators.ends import Source, Target
from tradewind.operators.local_files import LocalFile

ROWS = [(1, "a", None), (2, "", 'x,"y"\nz'), (3, None, "größe")]


def move(source: Source, target: Target, context: Callable[..., Any], **asked: Any) -> Any:
    operator = CopyOperator(task_id="copy", source=source, target=target, **asked)
    return operator.execute(context(operator))


def test_postgres_out_and_back(database: Database, tmp_path: Path, context: Callable[..., Any]) -> None:
    from tradewind.postgres.tables import PostgresTable

    database.query("CREATE TABLE a (id int PRIMARY KEY, name text, more text); CREATE TABLE b (LIKE a)")
    for row in ROWS:
        database.query("INSERT INTO a VALUES (%s, %s, %s)", row)
    for name in ("a.csv", "a.csv.zst"):
        out = move(PostgresTable("a", conn_id=database.conn_id), LocalFile(tmp_path / name), context)
        back = move(
            LocalFile(f"{tmp_path}/{name[:-1]}*"), PostgresTable("b", conn_id=database.conn_id), context, mode="replace"
        )

        assert (out["rows"], out["plan"]) == (3, f"streamed to {tmp_path}/{name}")
        assert (back["rows"], back["loaded_before"]) == (3, None)
        assert database.query("SELECT * FROM b ORDER BY id") == ROWS


def test_mysql_out_and_back(mysql_database: MySqlDatabase, tmp_path: Path, context: Callable[..., Any]) -> None:
    from tradewind.mysql.tables import MySqlTable

    mysql_database.query("CREATE TABLE a (id int PRIMARY KEY, name text, more text); CREATE TABLE b LIKE a")
    conn_id = mysql_database.conn_id
    for row in ROWS:
        mysql_database.query("INSERT INTO a VALUES (%s, %s, %s)", row)
    move(MySqlTable("a", conn_id=conn_id), LocalFile(tmp_path / "a.csv.gz"), context)
    for again in (False, True):
        result = move(LocalFile(tmp_path / "a.csv.gz"), MySqlTable("b", conn_id=conn_id), context)

        assert (result["rows"], result["loaded_before"] is not None) == (3, again)
        assert mysql_database.query("SELECT * FROM b ORDER BY id") == ROWS


def test_bad_records_are_set_aside_on_the_disk(database: Database, tmp_path: Path, context: Callable[..., Any]) -> None:
    from tradewind.postgres.tables import PostgresTable

    database.query("CREATE TABLE t (id int)")
    (tmp_path / "in.csv").write_text("id\n1\nx\n2\n")
    rejects = LocalFile(tmp_path / "rejects" / "bad.csv")
    target = PostgresTable("t", conn_id=database.conn_id)
    result = move(LocalFile(tmp_path / "in.csv"), target, context, max_errors=1, rejects=rejects)

    assert (result["rows"], result["rejected"]) == (2, 1)
    assert f"{tmp_path}/in.csv,3,id," in (tmp_path / "rejects" / "bad.csv").read_text()
    (tmp_path / "in.csv").write_text("id\n1\nx\ny\n")
    with pytest.raises(DataError, match="more than 1 bad records"):
        move(LocalFile(tmp_path / "in.csv"), target, context, max_errors=1, rejects=rejects)
    assert [path.name for path in (tmp_path / "rejects").iterdir()] == ["bad.csv"]


def test_an_empty_hour_becomes_parquet_where_its_columns_are_named(tmp_path: Path, context: Callable[..., Any]) -> None:
    pytest.importorskip("pyarrow", reason="no pyarrow")
    from pyarrow import parquet

    (tmp_path / "in.jsonl").write_text("")
    target = LocalFile(tmp_path / "out.parquet")
    with pytest.raises(DataError, match=r"no records to name its columns.*, so a Parquet file cannot be made"):
        move(LocalFile(tmp_path / "in.jsonl"), target, context)
    assert not (tmp_path / "out.parquet").exists()

    named = LocalFile(tmp_path / "in.jsonl", columns=["id", "name"])
    assert move(named, target, context)["rows"] == 0
    assert parquet.read_table(tmp_path / "out.parquet").column_names == ["id", "name"]


def test_a_decimal_that_comes_after_a_long_text_keeps_its_digits(tmp_path: Path, context: Callable[..., Any]) -> None:
    pytest.importorskip("pyarrow", reason="no pyarrow")
    from pyarrow import parquet

    long = "x" * (3 << 19)
    (tmp_path / "in.jsonl").write_text(f'{{"n":1,"a":"{long}"}}\n{{"n":1.5,"a":""}}\n')
    target = LocalFile(tmp_path / "out.parquet")
    assert move(LocalFile(tmp_path / "in.jsonl"), target, context)["rows"] == 2
    assert [str(each) for each in parquet.read_table(tmp_path / "out.parquet")["n"].to_pylist()] == ["1.0", "1.5"]
