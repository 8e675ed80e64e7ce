"""Who is measured: each contender loads the file from S3 into the table, or unloads the table into S3."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.flights import COLUMNS, NULL, TABLE
from tests.stage import LAKE, WAREHOUSE, Stage

FORMATS = ("csv", "parquet")


def source_key(kind: str) -> str:
    """Return where the input of a load lies.

    :param kind: its format
    """
    return f"in/flights.{kind}"


def result_key(kind: str) -> str:
    """Return where an unload writes.

    :param kind: the file's format
    """
    return f"out/flights.{kind}"


@dataclass(frozen=True)
class Task:
    """What a contender is asked to do.

    :param direction: load or unload
    :param stage: the servers
    :param file: the local file that holds what the object holds
    :param result: the local file that the raw client may write
    :param run_id: new for each run, so that nothing counts as loaded before
    :param kind: the format of the object; the local files are CSV
    """

    direction: str
    stage: Stage
    file: Path
    result: Path
    run_id: str
    kind: str = "csv"


class Contender(ABC):
    """One way to copy.

    :param task: what is asked
    """

    name: ClassVar[str]
    label: ClassVar[str]
    external = False
    """Whether the work is done in a program of its own."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @abstractmethod
    def load(self) -> Callable[[], object]:
        """Import everything, and return what loads."""

    @abstractmethod
    def unload(self) -> Callable[[], object]:
        """Import everything, and return what unloads."""


class Raw(Contender):
    """psql between the table and a local file: no S3 at all."""

    name = "raw"
    label = "psql \\copy (local file)"
    external = True

    def load(self) -> Callable[[], object]:
        return self._psql(f"\\copy {TABLE} from '{self.task.file}' (format csv, header, null '{NULL}')")

    def unload(self) -> Callable[[], object]:
        return self._psql(f"\\copy {TABLE} to '{self.task.result}' (format csv, header)")

    def _psql(self, command: str) -> Callable[[], object]:
        from tradewind.local.postgres import binaries

        environment = {**os.environ, "PGPASSWORD": urlsplit(self.task.stage.dsn).password or ""}
        arguments = [str(binaries() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.task.stage.dsn]
        return lambda: subprocess.Popen([*arguments, "-c", command], env=environment)


class Idle(Raw):
    """psql that does next to nothing: what psql takes by itself."""

    name = "idle"
    label = "idle psql"

    def load(self) -> Callable[[], object]:
        return self._psql("select pg_sleep(0.2)")

    unload = load


class Ours(Contender):
    """CopyOperator."""

    name = "ours"
    label = "**Tradewind** `CopyOperator`"

    def _ends(self, key: str) -> tuple[Any, Any]:
        import boto3  # noqa: F401
        import psycopg2  # noqa: F401

        from tradewind.amazon.s3.files import S3File
        from tradewind.amazon.s3.hooks import S3Hook  # noqa: F401
        from tradewind.operators.dialect import CsvDialect
        from tradewind.postgres import loading, unloading  # noqa: F401
        from tradewind.postgres.hooks import PostgresHook  # noqa: F401
        from tradewind.postgres.tables import PostgresTable

        options: dict[str, Any] = {}
        if self.task.kind == "parquet":
            from tradewind.operators.formats.parquet.arrow import pyarrow

            pyarrow()
        elif key == source_key("csv"):
            options["dialect"] = CsvDialect(null=NULL)
        file = S3File(f"s3://{self.task.stage.bucket}/{key}", conn_id=LAKE, **options)
        return file, PostgresTable(f"public.{TABLE}", conn_id=WAREHOUSE)

    def load(self) -> Callable[[], object]:
        file, table = self._ends(source_key(self.task.kind))
        return self._copy(file, table)

    def unload(self) -> Callable[[], object]:
        file, table = self._ends(result_key(self.task.kind))
        return self._copy(table, file)

    def _copy(self, source: Any, target: Any) -> Callable[[], object]:
        from tradewind.operators.copy import CopyOperator

        operator = CopyOperator(task_id=self.task.direction, source=source, target=target)
        return execute(operator, self.task.run_id)


class Official(Contender):
    """S3ToSqlOperator and SqlToS3Operator of the official providers."""

    name = "official"
    label = "official `S3ToSqlOperator` / `SqlToS3Operator`"

    def load(self) -> Callable[[], object]:
        import boto3  # noqa: F401
        import psycopg2  # noqa: F401
        from airflow.providers.amazon.aws.transfers.s3_to_sql import S3ToSqlOperator
        from airflow.providers.postgres.hooks.postgres import PostgresHook  # noqa: F401

        operator = S3ToSqlOperator(
            task_id="load",
            s3_bucket=self.task.stage.bucket,
            s3_key=source_key("csv"),
            table=TABLE,
            column_list=list(COLUMNS),
            parser=parse_csv,
            sql_conn_id=WAREHOUSE,
            aws_conn_id=LAKE,
        )
        return execute(operator, self.task.run_id)

    def unload(self) -> Callable[[], object]:
        import boto3  # noqa: F401
        import pandas  # type: ignore[import-untyped]  # noqa: F401
        import psycopg2  # noqa: F401
        from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator
        from airflow.providers.postgres.hooks.postgres import PostgresHook  # noqa: F401

        operator = SqlToS3Operator(
            task_id="unload",
            query=f"select * from {TABLE}",
            s3_bucket=self.task.stage.bucket,
            s3_key=result_key("csv"),
            sql_conn_id=WAREHOUSE,
            aws_conn_id=LAKE,
            df_kwargs={"index": False},
            replace=True,
        )
        return execute(operator, self.task.run_id)


class DuckDb(Contender):
    """DuckDB with its extensions httpfs and postgres, out of their wheels."""

    name = "duckdb"
    label = "DuckDB (httpfs, postgres)"

    def _loaded(self) -> Any:
        import duckdb

        connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        for name in ("httpfs", "postgres_scanner"):
            connection.load_extension(str(extension(name)))
        return connection

    def _ends(self) -> str:
        stage = self.task.stage
        return (
            f"create secret (type s3, key_id '{stage.access_key}', secret '{stage.secret_key}', region 'us-east-1', "
            f"endpoint '{urlsplit(stage.endpoint).netloc}', url_style 'path', use_ssl false); "
            f"attach '{stage.dsn}' as pg (type postgres)"
        )

    def load(self) -> Callable[[], object]:
        url = f"s3://{self.task.stage.bucket}/{source_key(self.task.kind)}"
        reads = {"csv": f"read_csv('{url}', header=true, nullstr='{NULL}')", "parquet": f"read_parquet('{url}')"}
        source = reads[self.task.kind]
        return self._run(f"insert into pg.public.{TABLE} select * from {source}")

    def unload(self) -> Callable[[], object]:
        target = f"s3://{self.task.stage.bucket}/{result_key(self.task.kind)}"
        options = {"csv": "format csv, header", "parquet": "format parquet, compression zstd"}[self.task.kind]
        return self._run(f"copy (select * from pg.public.{TABLE}) to '{target}' ({options})")

    def _run(self, statement: str) -> Callable[[], object]:
        connection, ends = self._loaded(), self._ends()
        return lambda: (connection.execute(ends), connection.execute(statement))


def execute(operator: Any, run_id: str) -> Callable[[], object]:
    """Return what runs an operator.

    :param run_id: the run
    """
    from tests.fix_airflow import make_context

    context = make_context(operator, run_id=run_id)
    return lambda: operator.execute(context)


def extension(name: str) -> Path:
    """Return the file of an extension of DuckDB.

    :param name: as ``httpfs``
    """
    from importlib.util import find_spec

    spec = find_spec(f"duckdb_extension_{name}")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"duckdb-extension-{name} is not installed: run with `uv run --group bench`")
    return next(Path(next(iter(spec.submodule_search_locations))).rglob("*.duckdb_extension"))


def parse_csv(path: str) -> Any:
    """Read rows as the official operator's documentation shows, with the file's mark for NULL."""
    import csv

    with open(path, newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            yield [None if field == NULL else field for field in row]


def parse_without_zone(path: str) -> Any:
    """Read rows for a server that knows no Z: the moment comes last."""
    for *row, moment in parse_csv(path):
        yield [*row, moment.removesuffix("Z")]


CONTENDERS: dict[str, type[Contender]] = {made.name: made for made in (Raw, Ours, DuckDb, Official, Idle)}
