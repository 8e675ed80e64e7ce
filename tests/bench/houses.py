"""Who is measured with a warehouse at one end: by hand with the driver, Tradewind, the official operators.

The warehouses are stand-ins: what they take says nothing. The client's CPU and memory are what counts.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.contenders import execute
from tests.bench.pairs import COPY, RESULT, SOURCE, PairContender
from tests.flights import COLUMNS, NULL, TABLE
from tests.redshift.fix_standin import ROLE
from tests.snowflake.server import ACCOUNT, PASSWORD
from tests.stage import LAKE, LODGE, SHIFT, WAREHOUSE

HOUSES = ("s3-redshift", "redshift-s3", "postgres-redshift", "s3-snowflake", "snowflake-s3", "postgres-snowflake")
UNLOADED = "out/flights"
"""How the names of what UNLOAD writes by hand begin."""
_PIECE = 1 << 20
SNOWFLAKE_TYPES = {"int": "NUMBER(10,0)", "text": "VARCHAR", "timestamptz": "TIMESTAMP_TZ(9)"}


class House(PairContender):
    """A way between a warehouse and another end."""

    @staticmethod
    def can(direction: str) -> bool:
        return direction in HOUSES

    def work(self) -> Callable[[], Any]:
        import boto3  # noqa: F401
        import psycopg2  # noqa: F401
        import snowflake.connector

        del snowflake
        return self.copying()

    @abstractmethod
    def copying(self) -> Callable[[], Any]:
        """Return what copies."""


class RawHouse(House):
    """The driver, by hand, as the services' manuals show."""

    name = "raw"
    label = "by hand: psycopg2 or snowflake-connector, boto3"

    def copying(self) -> Callable[[], Any]:
        import pyarrow.csv  # noqa: F401

        return getattr(self, f"_{self.source}_{self.target}")  # type: ignore[no-any-return]

    def _s3_redshift(self) -> None:
        self._copy(SOURCE, f"IGNOREHEADER 1 NULL AS '{NULL}' TIMEFORMAT 'auto'")

    def _redshift_s3(self) -> None:
        to = f"s3://{self.task.stage.bucket}/{UNLOADED}"
        query = f"SELECT * FROM {TABLE}"
        self._redshift(f"UNLOAD ('{query}') TO '{to}' IAM_ROLE '{ROLE}' FORMAT AS CSV HEADER")

    def _postgres_redshift(self) -> None:
        key = f"{UNLOADED}.csv.gz"
        with tempfile.TemporaryDirectory() as folder:
            path = self._dumped(Path(folder))
            self.task.stage.client().upload_file(str(path), self.task.stage.bucket, key)
        self._copy(key, "GZIP NULL AS '@null@'")

    def _copy(self, key: str, options: str) -> None:
        place = f"s3://{self.task.stage.bucket}/{key}"
        self._redshift(f"COPY {COPY} FROM '{place}' IAM_ROLE '{ROLE}' FORMAT AS CSV {options}")

    def _redshift(self, statement: str) -> None:
        import psycopg2

        connection = psycopg2.connect(self.task.stage.redshift, sslmode="disable")
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def _s3_snowflake(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            plain, path = Path(folder) / "flights.csv", Path(folder) / "flights.csv.gz"
            self.task.stage.client().download_file(self.task.stage.bucket, SOURCE, str(plain))
            with plain.open("rb") as source, gzip.open(path, "wb", 1) as target:
                shutil.copyfileobj(source, target, _PIECE)
            self._put(path, NULL, 1)

    def _postgres_snowflake(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._put(self._dumped(Path(folder)), "@null@", 0)

    def _snowflake_s3(self) -> None:
        from pyarrow import csv

        with tempfile.TemporaryDirectory() as folder:
            path, writer = Path(folder) / "flights.csv", None
            with self._snowflake() as connection, connection.cursor() as cursor:
                for table in cursor.execute(f"SELECT * FROM {TABLE}").fetch_arrow_batches():
                    writer = writer or csv.CSVWriter(path, table.schema)
                    writer.write_table(table)
            assert writer is not None
            writer.close()
            self.task.stage.client().upload_file(str(path), self.task.stage.bucket, RESULT)

    def _dumped(self, folder: Path) -> Path:
        """Write PostgreSQL's rows to a file of gzip."""
        path = folder / "flights.csv.gz"
        connection = self.task.stage.connect()
        with gzip.open(path, "wb", 1) as file, connection.cursor() as cursor:
            cursor.copy_expert(f"copy {TABLE} to stdout (format csv, null '@null@')", file, _PIECE)
        connection.close()
        return path

    def _put(self, path: Path, null: str, header: int) -> None:
        columns = ", ".join(f'"{name.upper()}"' for name in COLUMNS)
        values = ", ".join(f"NULLIF(${at}, '{null}')" for at in range(1, len(COLUMNS) + 1))
        read = f"TYPE = CSV COMPRESSION = GZIP SKIP_HEADER = {header} FIELD_OPTIONALLY_ENCLOSED_BY = '\"'"
        with self._snowflake() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY STAGE by_hand")
            cursor.execute(f"PUT file://{path} @by_hand AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = GZIP")
            cursor.execute(
                f"COPY INTO {COPY} ({columns}) FROM (SELECT {values} FROM @by_hand) FILES = ('{path.name}') "
                f"FILE_FORMAT = ({read}) ON_ERROR = ABORT_STATEMENT FORCE = TRUE"
            )

    def _snowflake(self) -> Any:
        import snowflake.connector

        server = self.task.stage.snowflake
        assert server is not None
        place: dict[str, Any] = {"account": ACCOUNT, "host": server.host, "port": server.port, "protocol": "http"}
        place |= {"database": self.task.stage.snowflake_database, "schema": "S"}
        return snowflake.connector.connect(user="etl", password=PASSWORD, login_timeout=30, **place)


class OurHouse(House):
    """CopyOperator."""

    name = "ours"
    label = "**Tradewind** `CopyOperator`"

    def copying(self) -> Callable[[], Any]:
        import importlib

        from tradewind.operators.copy import CopyOperator

        for kind in ("amazon.redshift", "snowflake"):
            for module in ("hooks", "loading", "unloading"):
                importlib.import_module(f"tradewind.{kind}.{module}")
        import tradewind.amazon.s3.hooks
        import tradewind.postgres.unloading  # noqa: F401

        source, target = self._end(self.source, TABLE, SOURCE), self._end(self.target, COPY, RESULT)
        return execute(CopyOperator(task_id="copy", source=source, target=target), self.task.run_id)

    def _end(self, kind: str, table: str, key: str) -> Any:
        from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
        from tradewind.amazon.s3.files import S3File
        from tradewind.postgres.tables import PostgresTable
        from tradewind.snowflake.queries import SnowflakeQuery
        from tradewind.snowflake.tables import SnowflakeTable

        reads = table == TABLE
        if kind == "redshift":
            place: dict[str, Any] = {"conn_id": SHIFT, "aws_conn_id": LAKE, "iam_role": ROLE}
            place["staging"] = f"s3://{self.task.stage.bucket}/staging/"
            return RedshiftQuery(f"SELECT * FROM {table}", **place) if reads else RedshiftTable(table, **place)
        if kind == "snowflake":
            return (
                SnowflakeQuery(f"SELECT * FROM {table}", conn_id=LODGE)
                if reads
                else SnowflakeTable(table, conn_id=LODGE)
            )
        if kind == "postgres":
            return PostgresTable(f"public.{table}", conn_id=WAREHOUSE)
        null = NULL if key == SOURCE else None
        return S3File(f"s3://{self.task.stage.bucket}/{key}", conn_id=LAKE, null=null)


class OfficialHouse(House):
    """SqlToS3Operator, from Snowflake; those of Redshift write keys into the SQL, which the stand-in refuses."""

    name = "official"
    label = "official `SqlToS3Operator`"

    @staticmethod
    def can(direction: str) -> bool:
        return direction == "snowflake-s3"

    def copying(self) -> Callable[[], Any]:
        import json

        import pandas  # type: ignore[import-untyped]  # noqa: F401
        from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator

        from tests.proofs.submit_rivals import prepare

        place = json.loads(os.environ[f"AIRFLOW_CONN_{LODGE.upper()}"])
        place["schema"] = place["extra"].pop("schema")
        os.environ["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"] = json.dumps(place)
        prepare()
        operator = SqlToS3Operator(
            task_id="copy",
            query=f"SELECT * FROM {TABLE}",
            s3_bucket=self.task.stage.bucket,
            s3_key=RESULT,
            sql_conn_id="snowflake_default",
            aws_conn_id=LAKE,
            df_kwargs={"index": False},
            replace=True,
        )
        return execute(operator, self.task.run_id)


def snowflake_ddl(table: str) -> str:
    """Return the statement that makes a table for the flights in Snowflake."""
    listed = ", ".join(f"{name} {SNOWFLAKE_TYPES[kind]}" for name, kind in COLUMNS.items())
    return f"CREATE OR REPLACE TABLE {table} ({listed})"


HOUSE_CONTENDERS: dict[str, type[House]] = {made.name: made for made in (RawHouse, OurHouse, OfficialHouse)}
