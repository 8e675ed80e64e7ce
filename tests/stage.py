"""The servers that proofs and benchmarks run against, and what the ends look like from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.snowflake.server import SnowflakeServer

WAREHOUSE = "warehouse"
LAKE = "lake"
MART = "mart"
SHIFT = "shift"
LODGE = "lodge"
BUCKET = "landing"


@dataclass(frozen=True)
class Stage:
    """A PostgreSQL database, an S3 server, and a MySQL database where one is needed.

    :param dsn: the database as a libpq URI
    :param endpoint: the address of the S3 server
    :param bucket: a bucket that exists
    :param mysql: the MySQL database as a URI, ``mysql://user:password@host:port/database``; empty for none
    :param redshift: a stand-in for Redshift as a libpq URI; empty for none
    :param behind: the database behind it, alike
    :param data_api: the address of a Data API that runs statements there; empty for none
    :param snowflake: the Snowflake of the tests, None for none
    :param snowflake_database: a database of its own there
    """

    dsn: str
    endpoint: str
    access_key: str = "test"
    secret_key: str = "test"
    bucket: str = BUCKET
    mysql: str = ""
    redshift: str = ""
    behind: str = ""
    data_api: str = ""
    snowflake: SnowflakeServer | None = None
    snowflake_database: str = ""

    def connections(self) -> dict[str, str]:
        """Return the ends as Airflow connections, in environment variables."""
        extra: dict[str, Any] = {"endpoint_url": self.endpoint, "region_name": "us-east-1"}
        if self.data_api:
            extra["service_config"] = {"redshift-data": {"endpoint_url": self.data_api}}
        aws = {"conn_type": "aws", "login": self.access_key, "password": self.secret_key, "extra": extra}
        made = {WAREHOUSE: _connection("postgres", self.dsn), LAKE: aws}
        if self.mysql:
            made[MART] = _connection("mysql", self.mysql)
        if self.redshift:
            made[SHIFT] = {**_connection("redshift", self.redshift), "extra": {"sslmode": "disable"}}
        if self.snowflake:
            made[LODGE] = self.snowflake.connection(database=self.snowflake_database, schema="S")
        return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in made.items()}

    def connect(self) -> Any:
        """Open a connection of the onlooker's own, in autocommit."""
        import psycopg2

        connection = psycopg2.connect(self.dsn, connect_timeout=10, application_name="onlooker")
        connection.autocommit = True
        return connection

    def connect_mysql(self, **options: Any) -> Any:
        """Open a connection of the onlooker's own to MySQL, in autocommit.

        :param options: more arguments of PyMySQL's
        """
        import pymysql

        from tests.fix_mysql import PLAIN

        url = urlsplit(self.mysql)
        return pymysql.connect(
            host=url.hostname,
            port=url.port or 3306,
            user=unquote(url.username or ""),
            password=unquote(url.password or ""),
            database=url.path.lstrip("/"),
            connect_timeout=10,
            read_timeout=120,
            autocommit=True,
            init_command="SET time_zone = '+00:00'",
            **PLAIN,
            **options,
        )

    def client(self) -> S3Client:
        """Return a plain boto3 client, the same for each call."""
        return _client(self.endpoint, self.access_key, self.secret_key)


@cache
def _client(endpoint: str, access_key: str, secret_key: str) -> S3Client:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(connect_timeout=5, read_timeout=60, s3={"addressing_style": "path"}),
    )


def _connection(kind: str, dsn: str) -> dict[str, Any]:
    url = urlsplit(dsn)
    return {
        "conn_type": kind,
        "host": url.hostname,
        "port": url.port,
        "login": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "schema": url.path.lstrip("/"),
    }


@contextmanager
def open_stage(folder: Path, **settings: str) -> Iterator[Stage]:
    """Start a private PostgreSQL and moto's S3 server, both of which end with this process.

    :param folder: where their state goes
    :param settings: configuration parameters of PostgreSQL
    """
    from tradewind.local.postgres import PostgresServer
    from tradewind.local.s3 import S3Server

    database = PostgresServer(folder / "postgres", settings=settings, databases=(WAREHOUSE,))
    with database, S3Server(folder / "s3") as s3:
        stage = Stage(database.dsn(WAREHOUSE), s3.endpoint_url)
        stage.client().create_bucket(Bucket=BUCKET)
        yield stage
