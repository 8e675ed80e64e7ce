"""A real MySQL or MariaDB: the one that TRADEWIND_MYSQL_DSN names, else a private one; a database for each test."""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.fix_postgres import Child
from tests.services import require
from tradewind.local.guard import become
from tradewind.local.postgres import CAP_DAC_READ_SEARCH

if TYPE_CHECKING:
    from tradewind.mysql.hooks import MySqlHook

DSN = "TRADEWIND_MYSQL_DSN"
PROGRAMS = ("mariadbd", "mysqld")
NOBODY = 65534
# PyMySQL reads all certificates of the system for each connection; a private server speaks no TLS.
PLAIN: Mapping[str, Any] = {} if DSN in os.environ else {"ssl_disabled": True}
# A server of tests: a crash of its process loses nothing, a power cut may.
FAST: Mapping[str, str] = {
    "bind-address": "127.0.0.1",
    "skip-name-resolve": "1",
    "local-infile": "1",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-doublewrite": "0",
    "innodb-buffer-pool-size": "128M",
    "max-connections": "100",
    "performance-schema": "1",
}


def program() -> str | None:
    """Return the server's program, None where there is none."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"))
    return next((found for name in PROGRAMS if (found := shutil.which(name, path=places))), None)


@dataclass(frozen=True)
class Address:
    """Where a server is and how to get in.

    :param user: a user who may do everything
    """

    host: str
    port: int
    user: str
    password: str

    def connect(self, database: str | None = None, **options: Any) -> Any:
        """Connect with the plain driver, past the code under test."""
        import pymysql

        given = {"connect_timeout": 10, "read_timeout": 60, "autocommit": True, **PLAIN, **options}
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, database=database, **given
        )

    def query(self, sql: str, parameters: Any = None, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement with the plain driver, and commit.

        :return: the rows, if there are any
        """
        with contextlib.closing(self.connect(database)) as conn, conn.cursor() as cur:
            cur.execute(sql, parameters)
            return list(cur.fetchall()) if cur.description else []


class MySqlServer:
    """A private server on 127.0.0.1 with a random password; it ends with this process.

    :param folder: its state, made when missing
    :param settings: options over :data:`FAST`
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket = folder / "s.sock"
        self.log = folder / "server.log"
        self.settings = {**FAST, **(settings or {})}
        self.password = secrets.token_hex(12)
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port, "tradewind", self.password)

    def start(self) -> MySqlServer:
        """Make the data folder where there is none, start, and wait until the server answers."""
        path = program()
        assert path is not None
        if not self.data.exists():
            self._make(path)
        if not self.port:  # a server that starts again keeps its port
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        options = {
            "datadir": self.data,
            "socket": self.socket,
            "pid-file": self.folder / "pid",
            "port": self.port,
            "log-error": self.log,
            **self.settings,
        }
        self.process = self._spawn(path, "--no-defaults", *(f"--{name}={value}" for name, value in options.items()))
        self._wait()
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the server."""
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def _make(self, path: str) -> None:
        self._own()
        if "mariadb" in Path(path).name:
            made = self._spawn(
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={self.data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=0",
            )
        else:
            made = self._spawn(path, "--no-defaults", f"--datadir={self.data}", "--initialize-insecure")
        assert made.wait(120) == 0, (self.folder / "output").read_text()
        self._first = True

    def _wait(self) -> None:
        import pymysql

        assert self.process is not None
        deadline = time.monotonic() + 60
        while not _listens(self.socket):
            log = self.log.read_text() if self.log.exists() else ""
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)
        while True:
            try:
                first = getattr(self, "_first", False)
                user, password = ("root", "") if first else ("tradewind", self.password)
                with contextlib.closing(
                    pymysql.connect(unix_socket=str(self.socket), user=user, password=password, connect_timeout=5)
                ) as conn:
                    if first:
                        with conn.cursor() as cur:
                            cur.execute("CREATE USER tradewind IDENTIFIED BY %s", (self.password,))
                            cur.execute("GRANT ALL ON *.* TO tradewind WITH GRANT OPTION")
                        self._first = False
                return
            except pymysql.OperationalError:
                log = self.log.read_text() if self.log.exists() else ""
                assert self.process.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.05)

    def _spawn(self, path: str, *arguments: str) -> subprocess.Popen[bytes]:
        root = os.geteuid() == 0
        environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C", "TMPDIR": str(self.folder)}
        with open(self.folder / "output", "ab") as output:
            return subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=environment,
                preexec_fn=_become_nobody if root else _die_with_parent,
            )

    def _own(self) -> None:
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)

    def __enter__(self) -> MySqlServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


_LIBC = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _become_nobody() -> None:
    # The folders above the server's own may be closed to others, and closed again while it runs.
    become(NOBODY, NOBODY, CAP_DAC_READ_SEARCH)
    _die_with_parent()


@dataclass(frozen=True)
class MySqlDatabase:
    """A database of a test's own.

    :param address: the server
    :param name: the database
    :param conn_id: an Airflow connection to it, defined in the environment
    """

    address: Address
    name: str
    conn_id: str

    def connection(self, **extra: Any) -> dict[str, Any]:
        """Return Airflow's connection as a mapping.

        :param extra: the connection's extra
        """
        return {
            "conn_type": "mysql",
            "host": self.address.host,
            "port": self.address.port,
            "login": self.address.user,
            "password": self.address.password,
            "schema": self.name,
            "extra": extra,
        }

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run statements, one or separated by ``;``, with the plain driver."""
        rows: list[tuple[Any, ...]] = []
        with contextlib.closing(self.address.connect(self.name)) as conn, conn.cursor() as cur:
            for statement in [sql] if parameters else sql.split(";"):
                cur.execute(statement, parameters)
                rows = list(cur.fetchall()) if cur.description else []
        return rows

    def tables(self) -> list[str]:
        """List the tables."""
        return [row[0] for row in self.query("SHOW TABLES")]

    def running(self) -> list[tuple[Any, ...]]:
        """List what other sessions run or keep open on this database: number, command, statement.

        Who looked before and has hung up may be in the list for a moment yet, at work on this very statement.
        """
        return self.query(
            "SELECT id, command, info FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID() "
            "AND COALESCE(info NOT LIKE '%information_schema.processlist%', TRUE)"
        )


@pytest.fixture(scope="session")
def mysql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySqlServer]:
    """Start a private server that ends with the run."""
    if program() is None:
        require("mysql", f"no {' or '.join(PROGRAMS)}: install mariadb-server-core, or name a server in {DSN}")
    with MySqlServer(tmp_path_factory.mktemp("mysql")) as server:
        yield server


@pytest.fixture(scope="session")
def mysql_address(request: pytest.FixtureRequest) -> Address:
    """Return a server on which databases and users may be made."""
    if dsn := os.environ.get(DSN):
        parts = urlsplit(dsn)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return Address(parts.hostname or "127.0.0.1", parts.port or 3306, user, password)
    server: MySqlServer = request.getfixturevalue("mysql_server")
    return server.address


@pytest.fixture
def mysql_database(mysql_address: Address, connection: Callable[..., str]) -> Iterator[MySqlDatabase]:
    """Create a database for one test, and an Airflow connection to it."""
    name = f"test_{secrets.token_hex(6)}"
    mysql_address.query(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    made = MySqlDatabase(mysql_address, name, f"my_{name}")
    connection(made.conn_id, made.connection())
    yield made
    for number, *_ in made.running():
        with contextlib.suppress(Exception):
            mysql_address.query(f"KILL CONNECTION {number}")
    mysql_address.query(f"DROP DATABASE {name}")


@pytest.fixture
def mysql_hook(mysql_database: MySqlDatabase) -> MySqlHook:
    """Return a hook on the test's database."""
    from tradewind.mysql.hooks import MySqlHook

    return MySqlHook(mysql_database.conn_id)


@contextmanager
def mysql_child(database: MySqlDatabase, program: str) -> Iterator[Child]:
    """Run a program in a process of its own, as a task would: SIGTERM cancels its hook's sessions.

    :param program: Python that uses ``hook`` and prints ``ready`` when its statement is about to run
    """
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.fix_mysql", "tradewind.mysql.hooks", "pymysql"])
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
    from tradewind.hooks.work import Work
    from tradewind.mysql.hooks import MySqlHook

    hook = MySqlHook(conn_id, log_sql=False)

    def terminate(number: int, frame: Any) -> None:
        os.write(1, b"on_kill\n")
        hook.cancel()
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, terminate)
    exec(program, {"hook": hook, "signal": signal, "time": time, "Work": Work})
