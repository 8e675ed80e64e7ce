"""A Snowflake that executes, shared by the run; a database of its own and the connection to it for each test."""

from __future__ import annotations

import secrets
import subprocess
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.services import require
from tests.snowflake.server import ACCOUNT, OAUTH, PASSWORD, PAT, SnowflakeServer

if TYPE_CHECKING:
    from tradewind.snowflake.hooks import SnowflakeHook

PASSPHRASE = "open sesame"


@dataclass(frozen=True)
class KeyPair:
    """A user's keys.

    :param pem: the private key
    :param encrypted: the same, encrypted with ``PASSPHRASE``
    :param public: the public one
    """

    pem: str
    encrypted: str
    public: str


@pytest.fixture(scope="session")
def key_pair() -> KeyPair:
    """Make a user's keys."""
    from cryptography.hazmat.primitives import serialization as formats
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)

    def pem(encryption: Any) -> str:
        return key.private_bytes(formats.Encoding.PEM, formats.PrivateFormat.PKCS8, encryption).decode()

    public = key.public_key().public_bytes(formats.Encoding.PEM, formats.PublicFormat.SubjectPublicKeyInfo)
    encrypted = pem(formats.BestAvailableEncryption(PASSPHRASE.encode()))
    return KeyPair(pem(formats.NoEncryption()), encrypted, public.decode())


@pytest.fixture(scope="session")
def snowflake_server(
    key_pair: KeyPair, s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SnowflakeServer]:
    """Start the service."""
    users = {
        "ETL": {"password": PASSWORD, "public_key": key_pair.public, "oauth": OAUTH, "pat": PAT},
        "OTHER": {"password": PASSWORD},
    }
    server = SnowflakeServer(s3_endpoint, users, tmp_path_factory.mktemp("snowflake") / "log")
    try:
        server.__enter__()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        require("snowflake", f"its environment cannot be made ({error}): {getattr(error, 'stderr', '')[-500:]}")
    yield server
    server.__exit__()


@dataclass(frozen=True)
class SnowflakeDatabase:
    """A database of one test.

    :param name: its name, in upper case; its schema is ``S``
    :param server: where it is
    :param conn_id: the connection that leads to it
    """

    name: str
    server: SnowflakeServer
    conn_id: str
    define: Callable[..., str]

    def connect(self, **extra: Any) -> str:
        """Define the connection anew, with more in its extra; see ``SnowflakeServer.connection``."""
        return self.define(self.conn_id, self.server.connection(**{"database": self.name, "schema": "S", **extra}))

    def hook(self, **given: Any) -> SnowflakeHook:
        """Make a hook."""
        from tradewind.snowflake.hooks import SnowflakeHook

        return SnowflakeHook(self.conn_id, **given)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement past the code under test."""
        import snowflake.connector

        place = {"account": ACCOUNT, "host": self.server.host, "port": self.server.port, "protocol": "http"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # connector 5 tells of its future
            connection = snowflake.connector.connect(
                user="other", password=PASSWORD, database=self.name, schema="S", login_timeout=30, **place
            )
            try:
                return list(connection.cursor().execute(sql).fetchall())  # type: ignore[union-attr]
            finally:
                connection.close()


@pytest.fixture
def snowflake_database(
    snowflake_server: SnowflakeServer, connection: Callable[..., str]
) -> Iterator[SnowflakeDatabase]:
    """Return a new database and the connection ``snowflake_default`` to it."""
    snowflake_server.faults()
    snowflake_server.set_history(delay=0)
    made = SnowflakeDatabase(f"T{secrets.token_hex(6)}".upper(), snowflake_server, "snowflake_default", connection)
    made.connect()
    yield made
    snowflake_server.faults()
