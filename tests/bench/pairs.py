"""Who is measured between two ends: PostgreSQL, MySQL and CSV in S3, each into each other."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from tests.bench.contenders import Task, execute, extension, parse_csv, parse_without_zone, result_key, source_key
from tests.flights import COLUMNS, NULL, TABLE
from tests.stage import LAKE, MART, WAREHOUSE

COPY = f"{TABLE}_copy"
SOURCE, RESULT = source_key("csv"), result_key("csv")
KINDS = ("postgres", "mysql", "s3")
PAIRS = tuple(f"{source}-{target}" for source in KINDS for target in KINDS if (source, target) != ("s3", "s3"))
PRELOADED = [f"tradewind.{kind}.{name}" for kind in ("mysql", "postgres") for name in ("hooks", "loading", "unloading")]
PRELOADED.append("tradewind.amazon.s3.hooks")
MYSQL_TYPES = {"int": "int", "text": "varchar(20)", "timestamptz": "datetime"}


def mysql_ddl(table: str) -> str:
    """Return the statement that makes a table for the flights in MySQL."""
    return f"CREATE TABLE {table} ({', '.join(f'`{name}` {MYSQL_TYPES[kind]}' for name, kind in COLUMNS.items())})"


class PairContender(ABC):
    """One way to copy between two ends.

    :param task: what is asked; its direction is one of :data:`PAIRS`
    """

    name: ClassVar[str]
    label: ClassVar[str]
    external: ClassVar[bool] = False
    """Whether the work is done in programs of its own."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.source, self.target = task.direction.split("-")

    @staticmethod
    def can(direction: str) -> bool:
        """Say whether it can copy between two ends."""
        return True

    @abstractmethod
    def work(self) -> Callable[[], Any]:
        """Import everything, and return what copies."""


class RawPair(PairContender):
    """The databases' own clients, one piped into the other; files in place of S3."""

    name = "raw"
    label = "psql, mariadb (piped; local files)"
    external = True

    def work(self) -> Callable[[], Any]:
        loads = {"mysql": self._load_file, "postgres": self._copy_file}
        command = loads[self.target]() if self.source == "s3" else f"{self._read()} {self._write()}"
        environment = {
            **os.environ,
            "PGPASSWORD": urlsplit(self.task.stage.dsn).password or "",
            "MYSQL_PWD": unquote(urlsplit(self.task.stage.mysql).password or ""),
        }
        return lambda: subprocess.Popen(["bash", "-o", "pipefail", "-c", command], env=environment)

    def _read(self) -> str:
        if self.source == "postgres":
            moment = "time_hour at time zone 'UTC'" if self.target == "mysql" else "time_hour"
            listed = ", ".join(moment if name == "time_hour" else f'"{name}"' for name in COLUMNS)
            options = " (format csv, header)" if self.target == "s3" else ""
            return self._psql(f"\\copy (select {listed} from {TABLE}) to stdout{options}")
        null = "" if self.target == "s3" else "\\\\N"
        texts = ", ".join(f"IFNULL(`{name}`, '{null}')" for name in COLUMNS)
        row = f"CONCAT_WS(',', {texts})" if self.target == "s3" else texts
        return self._mysql(f"SELECT {row} FROM {TABLE}", "--quick --raw")

    def _write(self) -> str:
        if self.target == "postgres":
            return "| " + self._psql(f"\\copy {COPY} from stdin")
        if self.target == "mysql":
            return "| " + self._mysql(f"LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE {COPY}")
        return f"> {shlex.quote(str(self.task.result))}"

    def _load_file(self) -> str:
        fields = ", ".join(f"@{name}" for name in COLUMNS)
        sets = ", ".join(f"`{name}` = NULLIF(@{name}, '{NULL}')" for name in COLUMNS if name != "time_hour")
        sets += ", time_hour = LEFT(@time_hour, 19)"  # MariaDB knows no Z
        how = "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' IGNORE 1 LINES"
        return self._mysql(f"LOAD DATA LOCAL INFILE '{self.task.file}' INTO TABLE {COPY} {how} ({fields}) SET {sets}")

    def _copy_file(self) -> str:
        return self._psql(f"\\copy {COPY} from '{self.task.file}' (format csv, header, null '{NULL}')")

    def _psql(self, statement: str) -> str:
        from tradewind.local.postgres import binaries

        arguments = [str(binaries() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.task.stage.dsn]
        return shlex.join([*arguments, "-c", statement])

    def _mysql(self, statement: str, more: str = "") -> str:
        url = urlsplit(self.task.stage.mysql)
        arguments = ["mariadb", "--no-defaults", "-h", url.hostname, "-P", str(url.port), "-u", url.username]
        arguments += ["--local-infile=1", "-N", "-B", *more.split(), url.path.lstrip("/"), "-e", statement]
        return shlex.join(map(str, arguments))


class RawUpload(RawPair):
    """The database's own client, piped into a multipart upload that does nothing else."""

    name = "raw-s3"
    label = "psql, mariadb piped into a bare multipart upload"

    @staticmethod
    def can(direction: str) -> bool:
        return direction.endswith("-s3")

    def _write(self) -> str:
        stage = self.task.stage
        arguments = [stage.endpoint, stage.access_key, stage.secret_key, stage.bucket, RESULT]
        return f"| {shlex.join([sys.executable, '-m', 'tests.bench.bare_upload', *arguments])}"


class OurPair(PairContender):
    """CopyOperator."""

    name = "ours"
    label = "**Tradewind** `CopyOperator`"

    def work(self) -> Callable[[], Any]:
        import boto3  # noqa: F401
        import psycopg2  # noqa: F401
        import pymysql  # noqa: F401

        from tradewind.operators.copy import CopyOperator

        for module in PRELOADED:
            importlib.import_module(module)
        source = self._end(self.source, TABLE, SOURCE)
        operator = CopyOperator(task_id="copy", source=source, target=self._end(self.target, COPY, RESULT))
        return execute(operator, self.task.run_id)

    def _end(self, kind: str, table: str, key: str) -> Any:
        from tradewind.amazon.s3.files import S3File
        from tradewind.mysql.tables import MySqlTable
        from tradewind.postgres.tables import PostgresTable

        if kind == "postgres":
            return PostgresTable(f"public.{table}", conn_id=WAREHOUSE)
        if kind == "mysql":
            return MySqlTable(table, conn_id=MART)
        null = NULL if key == SOURCE else None
        return S3File(f"s3://{self.task.stage.bucket}/{key}", conn_id=LAKE, null=null)


class DuckDbPair(PairContender):
    """DuckDB with its extensions, out of their wheels."""

    name = "duckdb"
    label = "DuckDB (httpfs, postgres, mysql)"

    def work(self) -> Callable[[], Any]:
        import duckdb

        connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        for name in ("httpfs", "postgres_scanner", "mysql_scanner"):
            connection.load_extension(str(extension(name)))
        stage, url = self.task.stage, urlsplit(self.task.stage.mysql)
        mysql = f"host={url.hostname} port={url.port} user={url.username} password={unquote(url.password or '')}"
        ends = (
            f"create secret (type s3, key_id '{stage.access_key}', secret '{stage.secret_key}', region 'us-east-1', "
            f"endpoint '{urlsplit(stage.endpoint).netloc}', url_style 'path', use_ssl false); "
            f"attach '{stage.dsn}' as pg (type postgres); "
            f"attach '{mysql} database={url.path.lstrip('/')}' as my (type mysql); set timezone = 'UTC'"
        )
        statement = self._statement()
        return lambda: (connection.execute(ends), connection.execute(statement))

    def _statement(self) -> str:
        tables = {"postgres": "pg.public", "mysql": f"my.{urlsplit(self.task.stage.mysql).path.lstrip('/')}"}
        if self.source == "s3":
            rows = f"read_csv('s3://{self.task.stage.bucket}/{SOURCE}', header=true, nullstr='{NULL}')"
        else:
            rows = f"{tables[self.source]}.{TABLE}"
        if self.target == "s3":
            return f"copy (select * from {rows}) to 's3://{self.task.stage.bucket}/{RESULT}' (format csv, header)"
        return f"insert into {tables[self.target]}.{COPY} select * from {rows}"


class OfficialPair(PairContender):
    """GenericTransfer, S3ToSqlOperator and SqlToS3Operator of the official providers."""

    name = "official"
    label = "official `GenericTransfer` / `S3ToSqlOperator` / `SqlToS3Operator`"

    @staticmethod
    def can(direction: str) -> bool:
        from importlib.util import find_spec

        return "mysql" not in direction or find_spec("airflow.providers.mysql") is not None

    def work(self) -> Callable[[], Any]:
        if self.source == "s3":
            return self._load()
        if self.target == "s3":
            return self._unload()
        from airflow.providers.common.sql.operators.generic_transfer import GenericTransfer

        operator = GenericTransfer(
            task_id="copy",
            sql=f"select * from {TABLE}",
            destination_table=COPY,
            source_conn_id=self._conn(self.source),
            destination_conn_id=self._conn(self.target),
            insert_args={"commit_every": 1000},
        )
        return execute(operator, self.task.run_id)

    def _conn(self, kind: str) -> str:
        return WAREHOUSE if kind == "postgres" else MART

    def _load(self) -> Callable[[], Any]:
        from airflow.providers.amazon.aws.transfers.s3_to_sql import S3ToSqlOperator

        operator = S3ToSqlOperator(
            task_id="copy",
            s3_bucket=self.task.stage.bucket,
            s3_key=SOURCE,
            table=COPY,
            column_list=list(COLUMNS),
            parser=parse_csv if self.target == "postgres" else parse_without_zone,
            sql_conn_id=self._conn(self.target),
            aws_conn_id=LAKE,
        )
        return execute(operator, self.task.run_id)

    def _unload(self) -> Callable[[], Any]:
        from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator

        operator = SqlToS3Operator(
            task_id="copy",
            query=f"select * from {TABLE}",
            s3_bucket=self.task.stage.bucket,
            s3_key=RESULT,
            sql_conn_id=self._conn(self.source),
            aws_conn_id=LAKE,
            df_kwargs={"index": False},
            replace=True,
        )
        return execute(operator, self.task.run_id)


PAIR_CONTENDERS: dict[str, type[PairContender]] = {
    made.name: made for made in (RawPair, RawUpload, OurPair, DuckDbPair, OfficialPair)
}
