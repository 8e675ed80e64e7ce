"""Proving who we are, and who the server is: IAM's tokens and TLS."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fix_postgres import Database
from tradewind.hooks.errors import (
    AccessDenied,
    InvalidArgument,
    TradewindError,
)
from tradewind.postgres.hooks import PostgresHook

if TYPE_CHECKING:
    from tradewind.local.postgres import PostgresServer

Define = Callable[..., str]


def test_a_token_of_iam_is_the_password(
    database: Database, connection: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore signs it without a network; the region is read off the host's name."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    host = "warehouse.abc123.eu-west-3.rds.amazonaws.com"
    connection("aws_x", {"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "aws-secret"})
    connection(
        "iam",
        {
            "conn_type": "postgres",
            "host": host,
            "login": "me",
            "schema": "d",
            "extra": {"iam": True, "aws_conn_id": "aws_x"},
        },
    )
    url = PostgresHook("iam").sqlalchemy_url
    token = urlsplit(f"https://{url.password}")
    query = parse_qs(token.query)
    assert token.netloc == f"{host}:5432"
    assert (query["Action"], query["DBUser"]) == (["connect"], ["me"])
    assert query["X-Amz-Credential"][0].startswith("AKIAEXAMPLE/")
    assert query["X-Amz-Credential"][0].endswith("/eu-west-3/rds-db/aws4_request")
    assert len(query["X-Amz-Signature"][0]) == 64
    assert "aws-secret" not in str(url.password)
    assert url.query["sslmode"] == "require"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"host": "a,b"}, InvalidArgument, "needs one host name"),
        ({"login": None}, InvalidArgument, "needs the database user"),
        ({"host": "db.example.com"}, InvalidArgument, "needs a region"),
        ({"extra": {"iam": True, "region": "eu-west-3"}}, AccessDenied, "no aws credentials"),
    ],
)
def test_iam_that_cannot_work(
    connection: Define,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: dict[str, Any],
    kind: type[TradewindError],
    message: str,
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    connection("aws_x", {"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "aws-secret"})
    connection(
        "iam",
        {
            "conn_type": "postgres",
            "host": "db.example.com",
            "login": "me",
            "extra": {"iam": True, "aws_conn_id": "aws_x"},
            **change,
        },
    )
    with pytest.raises(kind, match=message):
        PostgresHook("iam").get_conn()


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, Path, Path]]:
    """A server with a certificate for ``localhost``, its CA's file, and that of another CA."""
    import trustme

    from tradewind.local.postgres import PostgresServer

    folder = tmp_path_factory.mktemp("tls")
    ours, other = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other.pem")
    made = ours.issue_cert("localhost")
    server = PostgresServer(
        tmp_path_factory.mktemp("tls_server"),
        settings={"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"},
    )
    certificate, key = folder / "server.pem", folder / "server.key"
    made.cert_chain_pems[0].write_to_path(certificate)
    made.private_key_pem.write_to_path(key)
    with PostgresServer(server.folder):
        pass  # makes the cluster, into which the certificate goes
    for path in (certificate, key):
        target = server.data / path.name
        target.write_bytes(path.read_bytes())
        target.chmod(0o600)
        if os.geteuid() == 0:
            owner = server.data.stat()
            os.chown(target, owner.st_uid, owner.st_gid)
    with server:
        yield server, folder / "ca.pem", folder / "other.pem"


def test_tls_verifies_the_server(tls_server: tuple[PostgresServer, Path, Path], connection: Define) -> None:
    server, ca, other = tls_server

    def hook(host: str, ca: Path, **extra: Any) -> PostgresHook:
        options = {"sslmode": "verify-full", "sslrootcert": str(ca), **extra}
        connection(
            "tls",
            {
                "conn_type": "postgres",
                "host": host,
                "port": server.port,
                "login": "tradewind",
                "password": server.password,
                "schema": "postgres",
                "extra": json.dumps(options),
            },
        )
        return PostgresHook("tls")

    assert hook("localhost", ca).get_first("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == (True,)
    assert hook("localhost", ca).test_connection()[1].endswith("with TLS")
    assert hook("127.0.0.1", ca, sslmode="verify-ca").get_first("SELECT 1") == (1,)
    with pytest.raises(AccessDenied, match=r"certificate verify failed"):
        hook("localhost", other).get_conn()
    with pytest.raises(AccessDenied, match="does not match host name"):
        hook("127.0.0.1", ca).get_conn()
    with pytest.raises(InvalidArgument, match="root certificate file"):
        hook("localhost", ca.with_name("missing.pem")).get_conn()


def test_tls_is_required_of_a_server_without(database: Database, connection: Define) -> None:
    connection("tls", database.connection(sslmode="require"))
    with pytest.raises(InvalidArgument, match="does not support SSL"):
        PostgresHook("tls").get_conn()
