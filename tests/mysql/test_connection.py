"""What a connection asks for: options, TLS, sign-in, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fix_mysql import MySqlDatabase, MySqlServer
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    InvalidArgument,
    NotFound,
    TradewindError,
)
from tradewind.mysql.hooks import MySqlHook
from tradewind.mysql.options import duration
from tradewind.mysql.tls import read_tls

Define = Callable[..., str]

BAD: list[tuple[dict[str, Any], str]] = [
    ({"charest": "utf8"}, "unknown option 'charest': did you mean 'charset'?"),
    ({"statment_timeout": 3}, "did you mean 'statement_timeout'?"),
    ({"SSL_MODE": "REQUIRED"}, "unknown option 'SSL_MODE': did you mean 'ssl_mode'?"),
    ({"sslmode": "require"}, "did you mean 'ssl_mode'?"),
    ({"read_default_file": "/etc/my.cnf"}, "unknown option 'read_default_file'"),
    ({"wibble'; x=": 3}, "unknown option"),
    ({"passwd": "hidden-in-extra"}, "unknown option 'passwd'"),
    ({"charset": "klingon"}, "unknown charset 'klingon'"),
    ({"charset": 7}, "unknown charset 7"),
    ({"collation": "a; DROP"}, "collation must be one word"),
    ({"cursor": "dictcursr"}, "unknown cursor 'dictcursr': did you mean 'dictcursor'?"),
    ({"cursor": "namedtuple"}, "unknown cursor 'namedtuple': use one of"),
    ({"client": "oracle"}, "unknown client 'oracle'"),
    ({"connect_timeout": "long"}, 'connect_timeout must be seconds, or a text with a unit as "30s"'),
    ({"connect_timeout": 0}, "connect_timeout must be seconds"),
    ({"connect_timeout": -1}, "connect_timeout must be seconds"),
    ({"connect_timeout": True}, "connect_timeout must be seconds"),
    ({"read_timeout": "10 parsecs"}, "read_timeout must be seconds"),
    ({"write_timeout": [1]}, "write_timeout must be seconds"),
    ({"statement_timeout": "soon"}, "statement_timeout must be seconds"),
    ({"lock_timeout": "nan"}, "lock_timeout must be seconds"),
    ({"lock_timeout": 1e12}, "lock_timeout must be seconds"),
    ({"local_infile": "maybe"}, "local_infile must be true or false"),
    ({"init_command": ["SET x"]}, "init_command must be a text, not list"),
    ({"unix_socket": 3306}, "unix_socket must be a text, not int"),
    ({"sql_mode": 1}, "sql_mode must be a text, not int"),
    ({"client_flag": "FOUND_ROW"}, "unknown client_flag 'FOUND_ROW': did you mean 'FOUND_ROWS'?"),
    ({"client_flag": 1.5}, "client_flag must be a number or names"),
    ({"client_flag": True}, "client_flag must be a number or names"),
    ({"client_flag": "MULTI_STATEMENTS"}, "client_flag MULTI_STATEMENTS cannot be set"),
    ({"client_flag": ["FOUND_ROWS", "LOCAL_FILES"]}, "client_flag LOCAL_FILES cannot be set: set local_infile"),
    ({"client_flag": 2048}, "client_flag SSL cannot be set: set ssl_mode"),
    ({"client_flag": "COMPRESS"}, "PyMySQL cannot compress"),
    ({"ssl_mode": "sometimes"}, "unknown ssl_mode 'sometimes': use DISABLED, PREFERRED"),
    ({"ssl_mode": ["REQUIRED"]}, "unknown ssl_mode"),
    ({"ssl": "{not json"}, "ssl must be a mapping or JSON text"),
    ({"ssl": [1]}, "ssl must be a mapping"),
    ({"ssl": "7"}, "ssl must be a mapping"),
    ({"ssl": {"cafile": "/ca.pem"}}, "ssl has an unknown key 'cafile'"),
    ({"ssl": {"ca": 7}}, "ssl ca must be a text, not int"),
    ({"ssl": {"ca": "/nowhere/ca.pem"}}, "ssl ca '/nowhere/ca.pem' is not there"),
    ({"ssl_ca": "/nowhere/ca.pem"}, "ssl ca '/nowhere/ca.pem' is not there"),
    ({"ssl_capath": "/nowhere"}, "ssl capath '/nowhere' is not there"),
    ({"ssl_ca": "/etc/hostname"}, "ssl_ca|ca '/etc/hostname' cannot be used"),
    ({"ssl_cert": "/etc/hostname"}, "cert '/etc/hostname' cannot be used"),
    ({"ssl_key": "/etc/hostname"}, "ssl key is given without ssl cert"),
    ({"ssl_mode": "DISABLED", "ssl_ca": "/etc/hostname"}, "TLS is disabled, but ssl ca is given"),
    ({"ssl_disabled": True, "ssl": {"cert": "/etc/hostname"}}, "TLS is disabled, but ssl cert is given"),
    ({"ssl": {"cipher": "NONSENSE"}}, "ssl cannot be used"),
]


@pytest.mark.parametrize(("extra", "message"), BAD, ids=lambda value: str(value)[:40])
def test_options_that_cannot_work(
    connection: Define, extra: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused before anything is sent."""
    monkeypatch.setattr("tradewind.mysql.driver.open_socket", lambda *_: pytest.fail("it connected"))
    connection("wrong", {"conn_type": "mysql", "host": "127.0.0.1", "password": "pass-word", "extra": extra})
    with pytest.raises(InvalidArgument) as failure:
        MySqlHook("wrong").get_conn()
    assert any(part in str(failure.value) for part in message.split("|"))
    assert "hidden-in-extra" not in str(failure.value)
    assert "pass-word" not in str(failure.value)


def test_arguments_that_contradict_each_other() -> None:
    with pytest.raises(InvalidArgument, match="differ: give one"):
        MySqlHook("a", conn_id="b")
    with pytest.raises(InvalidArgument, match="differ: give one"):
        MySqlHook("a", database="b", schema="c")


@pytest.mark.parametrize("name", ["", "a b", "a; DROP", "a=1, b", "`a`", "@@x", "1"])
def test_a_setting_that_is_no_variable(mysql_database: MySqlDatabase, name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not the name of a session variable"):
        MySqlHook(mysql_database.conn_id, settings={name: 1}).get_conn()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"no_such_variable": 1}, "no_such_variable"),
        ({"wait_timeout": "long"}, "wait_timeout"),
        ({"hostname": "x"}, "hostname"),
    ],
)
def test_a_setting_that_the_server_refuses(
    mysql_database: MySqlDatabase, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        MySqlHook(mysql_database.conn_id, settings=settings).get_conn()


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"password": "not-the-password"}, AccessDenied, "Access denied for user"),
        ({"login": "nobody_here"}, AccessDenied, "nobody_here"),
        ({"login": None}, AccessDenied, "Access denied"),
        ({"password": None}, AccessDenied, "Access denied"),
        ({"schema": "no_such_database"}, NotFound, "no_such_database"),
        ({"host": "no-such-host.invalid"}, ConnectionFailed, "cannot connect to no-such-host.invalid:"),
        ({"port": 1}, ConnectionFailed, "Connection refused"),
        ({"host": "a,b"}, InvalidArgument, "names several hosts"),
        ({"port": 70000}, InvalidArgument, "port must be between 1 and 65535"),
        ({"host": "/nowhere/s.sock"}, ConnectionFailed, "No such file"),
        ({"extra": {"unix_socket": "/nowhere/s.sock"}}, ConnectionFailed, "No such file"),
        ({"extra": {"bind_address": "192.0.2.1"}}, ConnectionFailed, "Cannot assign requested address"),
        ({"extra": {"init_command": "SET nothing"}}, InvalidArgument, "syntax error"),
        ({"extra": {"sql_mode": "NO_SUCH_MODE"}}, InvalidArgument, "NO_SUCH_MODE"),
        ({"extra": {"collation": "no_such_collation"}}, InvalidArgument, "no_such_collation"),
    ],
    ids=str,
)
def test_connections_that_fail(
    mysql_database: MySqlDatabase,
    connection: Define,
    change: dict[str, Any],
    kind: type[TradewindError],
    message: str,
) -> None:
    connection("fails", {**mysql_database.connection(), **change})
    with pytest.raises(kind, match=message) as failure:
        MySqlHook("fails").get_conn()
    told = f"{failure.value!r} {failure.value.__cause__!r}"
    assert mysql_database.address.password not in told
    assert "not-the-password" not in told
    copied = pickle.loads(pickle.dumps(failure.value))
    assert (type(copied), str(copied)) == (kind, str(failure.value))
    works, told = MySqlHook("fails").test_connection()
    assert not works
    assert message.split(":")[0] in told


def test_a_unix_socket(mysql_server: MySqlServer, mysql_database: MySqlDatabase, connection: Define) -> None:
    if mysql_database.address != mysql_server.address:
        pytest.skip("the server is not of this machine")
    for change in ({"extra": {"unix_socket": str(mysql_server.socket)}}, {"host": str(mysql_server.socket)}):
        connection("local", {**mysql_database.connection(), **change})
        hook = MySqlHook("local")
        assert hook.get_first("SELECT DATABASE()") == (mysql_database.name,)
        many = "SELECT 1 FROM information_schema.columns a, information_schema.columns b"
        assert hook.get_first(many) == (1,)  # the rest is ended over a second connection


def test_options_of_the_official_provider(mysql_database: MySqlDatabase, connection: Define) -> None:
    extra = {"charset": "utf8", "cursor": "SSCursor", "client": "mysqlclient", "local_infile": True, "ssl": {}}
    connection("users", mysql_database.connection(**extra))
    assert MySqlHook("users").get_first("SELECT 'é', @@character_set_client") == ("é", "utf8mb4")
    connection("users", mysql_database.connection(client_flag="FOUND_ROWS"))
    hook = MySqlHook("users")
    hook.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    with hook.session() as session:
        assert session.execute("UPDATE t SET a = 1") == 1  # found, though not changed


@pytest.mark.parametrize(
    ("extra", "mode"),
    [
        ({}, "PREFERRED"),
        ({"ssl": ""}, "PREFERRED"),
        ({"ssl": None}, "PREFERRED"),
        ({"ssl": {}}, "PREFERRED"),
        ({"ssl": False}, "PREFERRED"),
        ({"ssl": True}, "REQUIRED"),
        ({"ssl": "true"}, "REQUIRED"),
        ({"ssl_mode": "verify-ca"}, "VERIFY_CA"),
        ({"ssl_mode": "required", "ssl_ca": "/ca"}, "REQUIRED"),
        ({"ssl": '{"ca": "/ca"}'}, "VERIFY_CA"),
        ({"ssl": {"ca": "/ca", "check_hostname": True}}, "VERIFY_IDENTITY"),
        ({"ssl": {"ca": "/ca", "check_hostname": False}}, "VERIFY_CA"),
        ({"ssl": {"ca": "/ca", "verify_mode": "none"}}, "REQUIRED"),
        ({"ssl": {"cert": "/c", "key": "/k"}}, "REQUIRED"),
        ({"ssl_capath": "/ca"}, "VERIFY_CA"),
        ({"ssl_verify_cert": True}, "VERIFY_CA"),
        ({"ssl_verify_identity": "true"}, "VERIFY_IDENTITY"),
        ({"ssl_disabled": True}, "DISABLED"),
        ({"ssl_cipher": "ECDHE+AESGCM"}, "REQUIRED"),
    ],
    ids=str,
)
def test_the_mode_of_tls(extra: dict[str, Any], mode: str) -> None:
    assert read_tls(extra).mode == mode


@pytest.mark.parametrize(
    ("value", "seconds"), [(3, 3.0), ("3", 3.0), ("250ms", 0.25), ("2 min", 120.0), (0.5, 0.5), ("1.5h", 5400.0)]
)
def test_durations(value: Any, seconds: float) -> None:
    assert duration("x", value) == seconds


class TlsServer:
    """A server with a certificate for ``localhost``, its CA, another CA, and a client's certificate."""

    def __init__(self, folder: Path) -> None:
        import trustme

        ours, other = trustme.CA(), trustme.CA()
        self.ca, self.other = folder / "ca.pem", folder / "other.pem"
        self.cert, self.key, self.client = folder / "server.pem", folder / "server.key", folder / "client.pem"
        ours.cert_pem.write_to_path(self.ca)
        other.cert_pem.write_to_path(self.other)
        made = ours.issue_cert("localhost")
        made.cert_chain_pems[0].write_to_path(self.cert)
        made.private_key_pem.write_to_path(self.key)
        ours.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(self.client)
        files = {"ssl-ca": self.ca, "ssl-cert": self.cert, "ssl-key": self.key}
        self.server = MySqlServer(folder / "server", {name: str(path) for name, path in files.items()})
        self.server.folder.mkdir()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, mysql_server: MySqlServer) -> Iterator[TlsServer]:
    made = TlsServer(tmp_path_factory.mktemp("tls"))
    with made.server:
        yield made


@pytest.fixture
def tls_hook(tls: TlsServer, connection: Define) -> Callable[..., MySqlHook]:
    def make(host: str = "localhost", user: str = "tradewind", **extra: Any) -> MySqlHook:
        given = {"conn_type": "mysql", "host": host, "port": tls.server.port, "login": user}
        connection("tls", {**given, "password": tls.server.password, "extra": json.dumps(extra)})
        return MySqlHook("tls")

    return make


CIPHER = "SHOW SESSION STATUS LIKE 'Ssl_cipher'"


def test_tls_verifies_the_server(tls: TlsServer, tls_hook: Callable[..., MySqlHook]) -> None:
    ca, other = str(tls.ca), str(tls.other)
    for extra in (
        {},
        {"ssl": True},
        {"ssl_mode": "REQUIRED"},
        {"ssl": {"ca": ca}},
        {"ssl": json.dumps({"ca": ca, "check_hostname": True})},
        {"ssl_mode": "VERIFY_IDENTITY", "ssl_ca": ca},
    ):
        hook = tls_hook(**extra)
        assert hook.get_first(CIPHER)[1], extra
        assert hook.test_connection()[1].endswith("with TLS")
    assert tls_hook(ssl_mode="DISABLED").get_first(CIPHER)[1] == ""
    assert tls_hook("127.0.0.1", ssl_mode="VERIFY_CA", ssl_ca=ca).get_first(CIPHER)[1]
    assert tls_hook(ssl_mode="REQUIRED", ssl_ca=other).get_first(CIPHER)[1]  # encrypted, and trusted by nobody
    with pytest.raises(AccessDenied, match="certificate"):
        tls_hook(ssl_mode="VERIFY_CA", ssl_ca=other).get_conn()
    with pytest.raises(AccessDenied, match="certificate"):
        tls_hook(ssl_mode="VERIFY_CA").get_conn()  # the system's CAs do not know it
    with pytest.raises(AccessDenied, match=r"IP address mismatch|doesn't match"):
        tls_hook("127.0.0.1", ssl_mode="VERIFY_IDENTITY", ssl_ca=ca).get_conn()


def test_a_statement_is_ended_over_tls(tls_hook: Callable[..., MySqlHook], tls: TlsServer) -> None:
    hook = tls_hook(ssl_mode="VERIFY_IDENTITY", ssl_ca=str(tls.ca), statement_timeout=0.3)
    with pytest.raises(TradewindError, match=r"ran longer than 0\.3 s|max_statement_time"):
        hook.run("SELECT BENCHMARK(100000000000, MD5('x'))")
    many = "SELECT 1 FROM information_schema.columns a, information_schema.columns b"
    assert tls_hook(ssl_mode="VERIFY_IDENTITY", ssl_ca=str(tls.ca)).get_first(many) == (1,)


def test_a_clients_certificate(tls: TlsServer, tls_hook: Callable[..., MySqlHook]) -> None:
    tls.server.address.query("CREATE USER signed IDENTIFIED BY %s REQUIRE X509", (tls.server.password,))
    client = str(tls.client)
    assert tls_hook(user="signed", ssl={"ca": str(tls.ca), "cert": client, "key": client}).get_first("SELECT 1")
    with pytest.raises(AccessDenied):
        tls_hook(user="signed", ssl={"ca": str(tls.ca)}).get_conn()


def test_a_user_who_must_use_tls(tls: TlsServer, tls_hook: Callable[..., MySqlHook]) -> None:
    tls.server.address.query("CREATE USER private IDENTIFIED BY %s REQUIRE SSL", (tls.server.password,))
    assert tls_hook(user="private").get_first("SELECT 1") == (1,)
    with pytest.raises(AccessDenied):
        tls_hook(user="private", ssl_mode="DISABLED").get_conn()


@pytest.mark.parametrize("mode", ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"])
def test_tls_is_required_of_a_server_without(mysql_database: MySqlDatabase, connection: Define, mode: str) -> None:
    """Nothing is sent then: PyMySQL 1.1 would sign in without TLS."""
    if mysql_database.query("SHOW VARIABLES LIKE 'have_ssl'") == [("have_ssl", "YES")]:
        pytest.skip("this server has TLS")
    connection("tls", mysql_database.connection(ssl_mode=mode))
    with pytest.raises(InvalidArgument, match="does not support TLS"):
        MySqlHook("tls").get_conn()
    connection("tls", mysql_database.connection(ssl_mode="PREFERRED"))
    assert MySqlHook("tls").test_connection()[1].endswith("without TLS")


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def greeting(plugin: bytes, capabilities: int) -> bytes:
    """Greet as protocol::HandshakeV10 does."""
    salt = b"abcdefgh"
    low, high = struct.pack("<H", capabilities & 0xFFFF), struct.pack("<H", capabilities >> 16)
    rest = b"ijklmnopqrst\0" + plugin + b"\0"
    return (
        b"\x0a8.4.0\0" + struct.pack("<I", 7) + salt + b"\0" + low + b"\x2d\x02\0" + high + b"\x15" + b"\0" * 10 + rest
    )


@contextmanager
def speaking(*answers: bytes, plugin: bytes = b"mysql_native_password") -> Iterator[tuple[int, list[bytes]]]:
    """Be a server that greets, and after each packet gives the next answer; keep what the client sent."""
    heard: list[bytes] = []
    plain = 0x000FA20F & ~0x800 | 0x80000 | 0x200000  # PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH; no SSL

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            sock, _ = listener.accept()
            with sock:
                sock.sendall(packet(0, greeting(plugin, plain)))
                for answer in answers:
                    heard.append(sock.recv(65536))
                    sock.sendall(packet(heard[-1][3] + 1, answer))
                heard.append(sock.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(5)


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog"])
def test_a_password_is_not_sent_in_the_clear(connection: Define, plugin: bytes) -> None:
    """A server, or somebody who plays one, asks for it without TLS."""
    password = secrets.token_hex(8)
    with speaking(b"\xfe" + plugin + b"\0\2Password: \0") as (port, heard):
        given = {"conn_type": "mysql", "host": "127.0.0.1", "port": port, "login": "me", "password": password}
        connection("clear", given)
        with pytest.raises(AccessDenied, match="asks for the password in the clear"):
            MySqlHook("clear").get_conn()
    assert heard
    assert password.encode() not in b"".join(heard)


def test_the_handshake_of_caching_sha2_password(connection: Define) -> None:
    """MySQL 8's own: the scramble first, then the password under the server's RSA key where there is no TLS."""
    import hashlib

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    password = "é" + secrets.token_hex(8)
    denied = b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied for user 'me'"
    with speaking(b"\x01\x04", b"\x01" + public, denied, plugin=b"caching_sha2_password") as (port, heard):
        given = {"conn_type": "mysql", "host": "127.0.0.1", "port": port, "login": "me", "password": password}
        connection("sha2", given)
        with pytest.raises(AccessDenied, match="Access denied for user 'me'"):
            MySqlHook("sha2").get_conn()
    salt = b"abcdefghijklmnopqrst"
    digest = hashlib.sha256(password.encode()).digest()
    mask = hashlib.sha256(hashlib.sha256(digest).digest() + salt).digest()
    assert bytes(a ^ b for a, b in zip(digest, mask, strict=True)) in heard[0]
    assert heard[1][4:] == b"\x02"  # the public key, please
    sealed = key.decrypt(heard[2][4:], padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    assert bytes(a ^ salt[i % 20] for i, a in enumerate(sealed)) == password.encode() + b"\0"
    assert not any(password.encode() in data for data in heard)


def test_a_peer_that_speaks_nonsense(connection: Define) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.close()

        threading.Thread(target=serve, daemon=True).start()
        connection(
            "http", {"conn_type": "mysql", "host": "127.0.0.1", "port": listener.getsockname()[1], "login": "me"}
        )
        with pytest.raises(TradewindError):
            MySqlHook("http").get_conn()


def test_no_environment_is_read(mysql_database: MySqlDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's own my.cnf, which other clients read, changes nothing."""
    (tmp_path / ".my.cnf").write_text("[client]\nuser=somebody\npassword=else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert os.path.expanduser("~/.my.cnf") == str(tmp_path / ".my.cnf")
    assert MySqlHook(mysql_database.conn_id).get_first("SELECT 1") == (1,)
