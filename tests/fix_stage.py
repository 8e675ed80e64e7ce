"""A stage for proofs: a database of their own and a private S3 server, shared by the tests of a module."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import pytest

from tests.fix_mysql import Address
from tests.flights import write_csv
from tests.services import require
from tests.stage import Stage

ENDPOINT = "TRADEWIND_S3_ENDPOINT"


@pytest.fixture(scope="session")
def s3_endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of an S3 server: the one that the environment names, else a private one."""
    if endpoint := os.environ.get(ENDPOINT):
        request.getfixturevalue("parsed_once")
        yield endpoint
        return
    try:
        import moto  # noqa: F401

        from tradewind.local.s3 import S3Server
    except ImportError as error:
        require("s3", f"{error}: install moto[s3,server], or name a server in {ENDPOINT}")
    request.getfixturevalue("parsed_once")
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server.endpoint_url


@pytest.fixture(scope="module")
def stage(postgres_dsn: str, s3_endpoint: str) -> Iterator[Stage]:
    """Give a database and a bucket to one module."""
    import psycopg2

    name = f"stage_{secrets.token_hex(6)}"
    admin = psycopg2.connect(postgres_dsn, connect_timeout=10)
    admin.autocommit = True
    try:
        with admin.cursor() as cursor:
            cursor.execute(f"create database {name}")
        dsn = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
        made = Stage(dsn, s3_endpoint, bucket=f"stage-{secrets.token_hex(6)}")
        made.client().create_bucket(Bucket=made.bucket)
        yield made
        with admin.cursor() as cursor:
            cursor.execute(f"drop database {name} with (force)")
    finally:
        admin.close()


@pytest.fixture(scope="module")
def full_stage(stage: Stage, mysql_address: Address) -> Iterator[Stage]:
    """Give a MySQL database to one module too."""
    name = f"stage_{secrets.token_hex(6)}"
    mysql_address.query(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    place = f"{quote(mysql_address.user)}:{quote(mysql_address.password)}@{mysql_address.host}:{mysql_address.port}"
    yield replace(stage, mysql=f"mysql://{place}/{name}")
    mysql_address.query(f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def redshift_stage(full_stage: Stage) -> Iterator[Stage]:
    """Give a stand-in for Redshift to one module too."""
    import psycopg2

    from tests.redshift.standin.server import Redshift, prepare

    name = f"shift_{secrets.token_hex(6)}"
    url = urlsplit(full_stage.dsn)
    behind = urlunsplit(url._replace(path=f"/{name}"))

    def run(dsn: str, sql: str, parameters: list[object] | None = None) -> None:
        connection = psycopg2.connect(dsn, connect_timeout=10)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
        connection.close()

    run(full_stage.dsn, f"create database {name}")
    prepare(lambda sql: run(behind, sql), name)
    address = (url.hostname or "127.0.0.1", url.port or 5432)
    with Redshift(address, full_stage.client(), lambda _, sql, values: run(behind, sql, values)) as server:
        place = f"{url.username}:{url.password or ''}@127.0.0.1:{server.port}"
        yield replace(full_stage, redshift=f"postgresql://{place}/{name}", behind=behind)
    run(full_stage.dsn, f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def flights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the year of flights as one CSV file."""
    return write_csv(tmp_path_factory.mktemp("flights") / "flights.csv")
