"""A stand-in for Redshift for each test, reached over the wire and through the Data API, and a bucket beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.fix_postgres import Database
from tests.fix_s3 import AWS
from tests.redshift.data_api import DataApi, DataApiServer
from tests.redshift.standin.server import Redshift, prepare

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook

ROLE = "arn:aws:iam::123456789012:role/loads"
CLUSTER = {"cluster_identifier": "sales", "database": "dev", "db_user": "etl"}


@dataclass(frozen=True)
class Warehouse:
    """What a test of Redshift has.

    :param server: the wire proxy: its journal, its faults
    :param api: the Data API's inside
    :param database: the PostgreSQL behind
    :param conn_id: an Airflow connection of type ``redshift`` to the proxy
    :param s3: a hook on the S3 server
    :param bucket: an empty bucket
    """

    server: Redshift
    api: DataApi
    database: Database
    conn_id: str
    s3: S3Hook
    bucket: str

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run SQL with the plain driver, past the stand-in, and commit."""
        return self.database.query(sql, parameters)

    def put(self, key: str, data: bytes | str) -> str:
        """Write an object; return its URL."""
        self.s3.put(self.bucket, key, data)
        return f"s3://{self.bucket}/{key}"

    def keys(self, prefix: str = "") -> list[str]:
        """List the bucket."""
        return [found.key for found in self.s3.list_objects(self.bucket, prefix)]

    def manifest(self, key: str) -> dict[str, Any]:
        """Read a manifest."""
        found: dict[str, Any] = json.loads(self.s3.read_key(key, self.bucket))
        return found


@pytest.fixture
def standin(database: Database, s3_hook: S3Hook) -> Iterator[Redshift]:
    """Start the wire proxy before the test's database."""
    prepare(database.query, database.name)

    def record(name: str, sql: str, parameters: list[Any]) -> None:
        assert name == database.name
        database.query(sql, parameters)

    with Redshift((database.host, database.port), s3_hook.client(), record) as server:
        yield server


@pytest.fixture
def warehouse(
    standin: Redshift,
    database: Database,
    s3_hook: S3Hook,
    s3_endpoint: str,
    bucket: str,
    connection: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Warehouse]:
    """Return a warehouse: ``aws_default`` reaches S3 and the Data API, whose statements go by the wire proxy."""
    dsn = f"host=127.0.0.1 port={standin.port} dbname={database.name} user={database.user}"
    api = DataApi(f"{dsn} password={database.password} sslmode=disable", page=100)
    api.strict_sessions = True
    monkeypatch.setattr("tradewind.amazon.redshift.sessions.FIRST_PAUSE", 0.01)
    with DataApiServer(api) as server:
        services = {"redshift-data": {"endpoint_url": server.url}}
        extra = {"endpoint_url": s3_endpoint, "region_name": "us-east-1", "service_config": services}
        connection("aws_default", {**AWS, "extra": extra})
        conn_id = connection(
            f"rs_{database.name}",
            {
                **database.connection(sslmode="disable"),
                "conn_type": "redshift",
                "host": "127.0.0.1",
                "port": standin.port,
            },
        )
        yield Warehouse(standin, api, database, conn_id, s3_hook, bucket)
