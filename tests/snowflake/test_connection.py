"""Every way to connect, on a service that checks: passwords, keys, tokens; and what is refused before it is asked."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.fix_snowflake import PASSPHRASE, KeyPair, SnowflakeDatabase
from tests.snowflake.server import OAUTH, PAT
from tradewind.hooks.errors import AccessDenied, ConnectionFailed, InvalidArgument, NotFound
from tradewind.snowflake.keys import load_key


def user(database: SnowflakeDatabase, **extra: Any) -> Any:
    database.connect(**extra)
    return database.hook().get_first("SELECT CURRENT_USER()")


def der(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


KEYS: dict[str, Any] = {
    "PEM": lambda keys: {"private_key_content": keys.pem},
    "PEM in one line": lambda keys: {"private_key_content": keys.pem.replace("\n", "\\n")},
    "base64 of PEM": lambda keys: {"private_key_content": base64.b64encode(keys.pem.encode()).decode()},
    "base64 of DER": lambda keys: {"private_key_content": der(keys.pem)},
    "encrypted, the password is its passphrase": lambda keys: {
        "private_key_content": keys.encrypted,
        "password": PASSPHRASE,
    },
    "encrypted": lambda keys: {"private_key_content": keys.encrypted, "private_key_passphrase": PASSPHRASE},
    "the old prefix": lambda keys: {"extra__snowflake__private_key_content": keys.pem},
    "with an authenticator": lambda keys: {"private_key_content": keys.pem, "authenticator": "snowflake_jwt"},
}


@pytest.mark.parametrize("case", KEYS)
def test_key_pairs(snowflake_database: SnowflakeDatabase, key_pair: KeyPair, case: str) -> None:
    assert user(snowflake_database, **{"password": None, **KEYS[case](key_pair)}) == ("ETL",)


def test_a_key_in_a_file(snowflake_database: SnowflakeDatabase, key_pair: KeyPair, tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    path.write_text(key_pair.encrypted)
    given = {"private_key_file": str(path), "password": PASSPHRASE}

    assert user(snowflake_database, **given) == ("ETL",)
    with pytest.raises(NotFound, match=r"missing\.p8 does not exist on this worker"):
        user(snowflake_database, private_key_file=str(tmp_path / "missing.p8"))


def test_somebody_else_s_key_is_refused(snowflake_database: SnowflakeDatabase, key_pair: KeyPair) -> None:
    with pytest.raises(AccessDenied, match="JWT token is invalid"):
        user(snowflake_database, login="other", password=None, private_key_content=key_pair.pem)


def test_keys_that_cannot_be_read(key_pair: KeyPair) -> None:
    with pytest.raises(InvalidArgument, match="wrong passphrase") as caught:
        load_key(None, key_pair.encrypted, "wrong-word")
    assert "wrong-word" not in str(caught.value)
    with pytest.raises(InvalidArgument, match="is encrypted: give its passphrase"):
        load_key(None, key_pair.encrypted, None)
    with pytest.raises(InvalidArgument, match="neither PEM text nor base64"):
        load_key(None, "no key at all!", None)
    assert load_key(None, key_pair.pem, "not needed") == load_key(None, key_pair.encrypted, PASSPHRASE)


TOKENS: dict[str, dict[str, Any]] = {
    "a token": {"token": OAUTH},
    "OAuth": {"token": OAUTH, "authenticator": "oauth", "login": ""},
    "a programmatic access token": {"programmatic_access_token": PAT},
    "with an authenticator": {"token": PAT, "authenticator": "programmatic_access_token"},
    "as the password": {"password": PAT, "authenticator": "PROGRAMMATIC_ACCESS_TOKEN"},
    "in the password's place": {"password": PAT},
}


@pytest.mark.parametrize("case", TOKENS)
def test_tokens(snowflake_database: SnowflakeDatabase, case: str) -> None:
    assert user(snowflake_database, **TOKENS[case]) == ("ETL",)


@pytest.mark.parametrize(
    "given", [{"token": "wrong-token"}, {"programmatic_access_token": "wrong-token"}, {"password": "wrong-token"}]
)
def test_wrong_credentials_are_permanent_and_not_shown(
    snowflake_database: SnowflakeDatabase, given: dict[str, str]
) -> None:
    with pytest.raises(AccessDenied) as caught:
        user(snowflake_database, **given)
    assert "wrong-token" not in str(caught.value)
    assert "wrong-token" not in repr(snowflake_database.hook().connect_options())


class OAuthServer(ThreadingHTTPServer):
    """An OAuth server: it remembers what it was asked, and refuses as often as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _OAuthHandler)
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.failing: list[int] = []


class _OAuthHandler(BaseHTTPRequestHandler):
    server: OAuthServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.asked.append((self.headers["Authorization"], form))
        status = self.server.failing.pop(0) if self.server.failing else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"access_token": OAUTH, "expires_in": 600}).encode())


@pytest.fixture
def oauth_server() -> Iterator[OAuthServer]:
    with OAuthServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def oauth(server: OAuthServer, **given: Any) -> dict[str, Any]:
    endpoint = f"http://127.0.0.1:{server.server_address[1]}/token"
    return {"authenticator": "oauth", "client_id": "me", "client_secret": "cs", "token_endpoint": endpoint, **given}


def test_an_oauth_server_gives_a_token(snowflake_database: SnowflakeDatabase, oauth_server: OAuthServer) -> None:
    oauth_server.failing = [503]
    given = oauth(oauth_server, refresh_token="refresh-me", scope="session:role:x")

    assert user(snowflake_database, **given) == ("ETL",)
    login, form = oauth_server.asked[-1]
    assert len(oauth_server.asked) == 2
    assert base64.b64decode(login.removeprefix("Basic ")) == b"me:cs"
    assert form["refresh_token"] == ["refresh-me"]
    assert form["grant_type"] == ["refresh_token"]
    assert form["scope"] == ["session:role:x"]


def test_an_oauth_server_that_refuses(snowflake_database: SnowflakeDatabase, oauth_server: OAuthServer) -> None:
    oauth_server.failing = [401]
    with pytest.raises(AccessDenied, match="HTTP 401"):
        user(snowflake_database, **oauth(oauth_server, grant_type="client_credentials"))
    oauth_server.failing = [500, 502, 503]
    with pytest.raises(ConnectionFailed, match="no token in 3 tries: HTTP 503"):
        user(snowflake_database, **oauth(oauth_server, grant_type="client_credentials"))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown option": ({"warehous": "x"}, "unknown option 'warehous': did you mean 'warehouse'"),
    "no credentials": ({"password": None}, "has no credentials"),
    "two keys": ({"private_key_file": "a", "private_key_content": "b"}, "both given"),
    "a key that is not there": ({"authenticator": "SNOWFLAKE_JWT"}, "needs private_key_file"),
    "a browser": ({"authenticator": "externalbrowser"}, "a worker has none"),
    "an address as an account": ({"account": "https://x"}, "no address"),
    "OAuth without a client": ({"authenticator": "oauth", "refresh_token": "x"}, "needs client_id, client_secret"),
    "an unknown grant": ({"authenticator": "oauth", "grant_type": "device"}, "grant_type 'device' is unknown"),
    "a time-out of nothing": ({"login_timeout": 0}, "login_timeout must be a whole number above 0"),
    "parameters in a text": ({"session_parameters": "a=b"}, "must be a mapping"),
    "half a truth": ({"insecure_mode": "perhaps"}, "must be true or false"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused(snowflake_database: SnowflakeDatabase, case: str) -> None:
    given, says = REFUSED[case]
    calls = snowflake_database.server.calls().get("/session/v1/login-request", 0)
    with pytest.raises(InvalidArgument, match=says):
        user(snowflake_database, **given)
    assert snowflake_database.server.calls().get("/session/v1/login-request", 0) == calls


def test_places(snowflake_database: SnowflakeDatabase) -> None:
    def place(**given: Any) -> Any:
        return snowflake_database.hook(**given).connect_options().connect

    assert place(account="xy1", region="eu-west-1")["account"] == "xy1.eu-west-1"
    assert place(account="xy1.eu-west-1", region="us-east-1")["account"] == "xy1.eu-west-1"
    snowflake_database.connect(account=None, host="org-acc.snowflakecomputing.com", port=None)
    assert place()["account"] == "org-acc"
    snowflake_database.connect(extra__snowflake__warehouse="old", warehouse=None, proxy_host="p", proxy_port="3128")
    assert place()["proxy_port"] == 3128
    assert place(warehouse="new")["warehouse"] == "new"


def test_revocation_is_checked_unless_somebody_says_otherwise(
    snowflake_database: SnowflakeDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    assert snowflake_database.hook().connect_options().checks_revocation
    assert user(snowflake_database, insecure_mode="true") == ("ETL",)
    assert "insecure_mode: whether the server's certificate was revoked is not checked" in caplog.text
