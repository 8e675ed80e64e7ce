"""The servers that proofs and benchmarks run against, and what both ends look like from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WAREHOUSE = "warehouse"
LAKE = "lake"
BUCKET = "landing"


@dataclass(frozen=True)
class Stage:
    """A PostgreSQL database and an S3 server.

    :param dsn: the database as a libpq URI
    :param endpoint: the address of the S3 server
    :param bucket: a bucket that exists
    """

    dsn: str
    endpoint: str
    access_key: str = "test"
    secret_key: str = "test"
    bucket: str = BUCKET

    def connections(self) -> dict[str, str]:
        """Return both ends as Airflow connections, in environment variables."""
        url = urlsplit(self.dsn)
        postgres = {
            "conn_type": "postgres",
            "host": url.hostname,
            "port": url.port,
            "login": unquote(url.username or ""),
            "password": unquote(url.password or ""),
            "schema": url.path.lstrip("/"),
        }
        extra = {"endpoint_url": self.endpoint, "region_name": "us-east-1"}
        aws = {"conn_type": "aws", "login": self.access_key, "password": self.secret_key, "extra": extra}
        return {
            f"AIRFLOW_CONN_{WAREHOUSE.upper()}": json.dumps(postgres),
            f"AIRFLOW_CONN_{LAKE.upper()}": json.dumps(aws),
        }

    def connect(self) -> Any:
        """Open a connection of the onlooker's own, in autocommit."""
        import psycopg2

        connection = psycopg2.connect(self.dsn, connect_timeout=10, application_name="onlooker")
        connection.autocommit = True
        return connection

    def client(self) -> S3Client:
        """Return a plain boto3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(connect_timeout=5, read_timeout=60, s3={"addressing_style": "path"}),
        )


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
