"""A local Amazon MWAA environment: Airflow, PostgreSQL and S3, started, watched and stopped together.

::

    with Environment(Path("project")) as environment:
        environment.wait_ready()
        api = environment.api()
        run_id = api.trigger("flights")
        api.wait_run("flights", run_id, timeout=120)
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from tradewind.local import interpreter, settings
from tradewind.local.api import Api, ApiError
from tradewind.local.errors import InvalidInput, LocalError, StartFailed
from tradewind.local.memory import Usage, usage
from tradewind.local.metadata import Metadata
from tradewind.local.postgres import PostgresServer
from tradewind.local.processes import Child, Guard, free_port, port_is_free, tail
from tradewind.local.project import Project
from tradewind.local.s3 import S3Server
from tradewind.local.settings import Component
from tradewind.local.state import Secrets, State, write_private
from tradewind.local.sync import Sync
from tradewind.local.versions import DEFAULT, version

BUCKET = "mwaa-local"
RESTARTS = 3
"""How often a component that crashed is started again before the environment gives up."""

LOG_LIMIT = 20 << 20
"""Bytes after which a component's log is moved aside."""


class Environment:
    """One environment for one folder.

    :param path: the user's folder, see :class:`tradewind.local.project.Project`
    :param state: the state folder, ``.tradewind`` in the user's folder when None
    :param airflow: the Airflow version, see :data:`tradewind.local.versions.VERSIONS`
    :param port: the web UI's port; the last one used or a free one when None
    :param constraints: a constraints file for the user's requirements
    :param options: Airflow configuration options with dotted keys, as MWAA takes them
    :param tell: called with a line (or several) for each thing worth telling
    """

    def __init__(
        self,
        path: Path,
        state: Path | None = None,
        airflow: str = DEFAULT,
        *,
        port: int | None = None,
        constraints: Path | None = None,
        options: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.version = version(airflow)
        self.project = Project(path)
        self.state = State(state or self.project.folder / ".tradewind")
        self.bucket = BUCKET
        self.failure: str | None = None
        """Why the environment cannot go on, None while it can."""
        self._constraints = constraints
        self._options = settings.option_variables(options or {})
        self._tell = tell
        self._wanted_port = port
        self._port = 0
        self._guard: Guard | None = None
        self._children: dict[str, Child] = {}
        self._components: dict[str, Component] = {}
        self._crashes: dict[str, int] = {}
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._sync: Sync | None = None
        self._ready = False

    @property
    def web_url(self) -> str:
        """The address of Airflow's web UI."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def login(self) -> tuple[str, str]:
        """User and password for the web UI and the REST API."""
        return self._secrets.user, self._secrets.password

    @property
    def s3_endpoint(self) -> str:
        """The address of the local S3 server."""
        return self._s3.endpoint_url

    @property
    def warehouse_dsn(self) -> str:
        """The address of the database ``warehouse``, its password in it: never log it."""
        return self._postgres.dsn("warehouse")

    @property
    def alive(self) -> bool:
        """Whether there is anything to stop."""
        return self._guard is not None

    def s3(self) -> S3Server:
        """Return the S3 server, for its ``client()``."""
        return self._s3

    def api(self) -> Api:
        """Return a client for Airflow's REST API, logged in as :attr:`login`."""
        return Api(self.web_url, self.version.major, *self.login)

    def log(self, component: str) -> Path:
        """Return the log file of a component (``scheduler``, ``triggerer`` ...)."""
        return self.state.logs / f"{component}.log"

    def start(self) -> Environment:
        """Start everything; return when the processes run, which is before they are ready.

        :raises LocalError: one of its kinds, with the reason; nothing is left running then
        """
        self.state.open()
        try:
            self._secrets = self.state.secrets()
            self._port = self._choose_port()
            self._guard = Guard(keep=[self.state.lock_descriptor])
            self._start_servers()
            self._start_airflow()
            self.state.announce(self._facts())
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self, timeout: float = 180.0, progress: Callable[[str], None] = lambda line: None) -> None:
        """Wait until the web server answers and every other component beats.

        :param timeout: seconds
        :param progress: called with the names of those not ready yet, whenever they change
        :raises StartFailed: when one ends, or the time is over
        """
        api, deadline, told = self.api(), time.monotonic() + timeout, ""
        while missing := self._missing(api):
            if self.failure:
                raise StartFailed(self.failure)
            if time.monotonic() > deadline:
                logs = "\n".join(f"{name}:\n{tail(self.log(name), 5)}" for name in missing)
                raise StartFailed(f"not ready after {timeout:.0f} s: {', '.join(missing)}\n{logs}")
            if told != (told := ", ".join(missing)):
                progress(told)
            self._stopping.wait(0.1)
        self._ready = True
        for child in self._children.values():
            child.renice(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the environment is stopped or cannot go on.

        :param timeout: seconds
        :return: whether it is stopped
        :raises StartFailed: when it cannot go on, with the reason
        """
        stopped = self._stopping.wait(timeout)
        if self.failure:
            raise StartFailed(self.failure)
        return stopped

    def stop(self) -> None:
        """Stop everything, in an order that loses nothing; no process is left."""
        self._stopping.set()
        if self._sync is not None:
            self._sync.stop()
        if self._watcher is not None:
            self._watcher.join(30)
        if self._guard is not None:
            self._stop_processes(self._guard)
            self._guard.close()
            self._guard = None
        self.state.retire()
        self.state.close()

    def processes(self) -> dict[str, Usage]:
        """Measure the memory of each component with its children, by name, this process and the guard included."""
        pids = {name: child.pid for name, child in self._children.items() if child.poll() is None}
        if self._guard is not None:
            pids["guard"] = self._guard.pid
        for name, server in (("postgres", self._postgres), ("s3", self._s3)):
            if server.pid is not None:
                pids[name] = server.pid
        return measure(pids, os.getpid())

    def _facts(self) -> dict[str, object]:
        """Return what `status` in another terminal needs to know."""
        pids = {name: child.pid for name, child in self._children.items()}
        return {
            "path": str(self.project.folder),
            "airflow": self.version.airflow,
            "web": self.web_url,
            "s3": self.s3_endpoint,
            "bucket": self.bucket,
            "components": {
                **pids,
                "postgres": self._postgres.pid,
                "s3": self._s3.pid,
                "guard": self._guard and self._guard.pid,
            },
        }

    def _choose_port(self) -> int:
        kept = self.state.folder / "port"
        if self._wanted_port is not None:
            if not port_is_free(self._wanted_port):
                raise InvalidInput(f"port {self._wanted_port} is in use: choose another with --port, or leave it out")
            port = self._wanted_port
        else:
            last = kept.read_text().strip() if kept.exists() else ""
            port = int(last) if last.isdigit() and port_is_free(int(last)) else free_port()
        kept.write_text(f"{port}\n")
        return port

    def _start_servers(self) -> None:
        """Start S3 and PostgreSQL, and bring the bucket up to date."""
        self._s3 = S3Server(self.state.s3, guard=self._guard)
        self._postgres = PostgresServer(self.state.postgres, guard=self._guard, databases=("warehouse",))
        self._s3.start(wait=False)
        self._postgres.start()
        self._metadata = Metadata(self._postgres, self.version)
        self._migrated = self._metadata.prepare()
        self._s3.wait_ready()
        self._sync = Sync(self.project, self.state, self._s3.client(), self.bucket, self._tell)
        self._sync.prepare()

    def _start_airflow(self) -> None:
        requirements = self.state.requirements if self.state.requirements.exists() else None
        found = interpreter.find(self.version, requirements, self._constraints, self._tell, self.state.plugins)
        self._python = found.python
        self._variables = self._write_variables()
        wanted = settings.components(self.version, self._port)
        self._components = {component.name: component for component in wanted}
        if self._migrated:
            self._metadata.end_jobs()
        self._launch(wanted[0])  # the slowest comes first, the migration beside it
        if not self._migrated:
            self._migrate()
        if self.version.major == 2:
            self._make_user()
        for component in wanted[1:]:
            self._launch(component)
        assert self._sync is not None  # noqa: S101
        self._sync.start()
        self._watcher = threading.Thread(target=self._watch, name="tradewind-watch", daemon=True)
        self._watcher.start()

    def _write_variables(self) -> dict[str, str]:
        """Lay out what Airflow is told; what `startup.sh` may not change is read after it."""
        secrets: Secrets = self._secrets
        forced = settings.forced_variables(self.version, self.state, secrets, self._metadata.dsn, self._port)
        write_private(self.state.airflow / "forced.sh", settings.export_script(forced))
        write_private(self.state.airflow / "passwords.json", json.dumps({secrets.user: secrets.password}) + "\n")
        write_private(self.state.airflow / "airflow.cfg", "# every option is given by an environment variable\n")
        return {
            **settings.inherited(self._python),
            **settings.fast_variables(),
            **settings.connections(self._postgres, self.s3_endpoint),
            **self._options,
            **forced,
        }

    def _airflow(self, *arguments: str) -> list[str | Path]:
        command: list[str | Path] = [self._python, self._python.parent / "airflow", *arguments]
        if not self.state.startup.exists():
            return command
        sourced = (
            'source "$1" || { echo "startup.sh ended with status $?" >&2; exit 1; }; source "$2"; shift 2; exec "$@"'
        )
        return ["bash", "-c", sourced, "startup.sh", self.state.startup, self.state.airflow / "forced.sh", *command]

    def _spawn(self, name: str, arguments: tuple[str, ...], nice: int = 0, mwaa: str = "scheduler") -> Child:
        assert self._guard is not None  # noqa: S101
        return self._guard.start(
            name,
            self._airflow(*arguments),
            env={**self._variables, "MWAA_AIRFLOW_COMPONENT": mwaa},
            cwd=self.state.airflow,
            output=self.log(name),
            nice=nice,
        )

    def _launch(self, component: Component) -> None:
        if component.name not in self._children:
            self.log(component.name).unlink(missing_ok=True)
        self._children[component.name] = self._spawn(
            component.name, component.arguments, component.nice, component.mwaa
        )

    def _once(self, name: str, *arguments: str) -> None:
        """Run a command of Airflow to its end.

        :raises StartFailed: when it fails, with the last lines of its output
        """
        self.log(name).unlink(missing_ok=True)
        child = self._spawn(name, arguments)
        status = child.wait(300)
        if status != 0:
            child.stop(signal.SIGKILL)
            raise StartFailed(f"`airflow {arguments[0]} {arguments[1]}` failed:\n{tail(self.log(name))}")

    def _migrate(self) -> None:
        self._once("migrate", "db", "migrate")
        threading.Thread(target=self._metadata.keep, name="tradewind-keep", daemon=True).start()

    def _make_user(self) -> None:
        """Make the login on Airflow 2, where it lives in the database."""
        marker = self.state.airflow / f"user-{self._metadata.name}"
        if marker.exists() and self._migrated:
            return
        user, password = self.login
        names = ("--firstname", "Local", "--lastname", "Admin", "--email", "admin@localhost", "--role", "Admin")
        # Its password is set afterwards, for everybody can read the arguments of a command.
        self._once("user", "users", "create", "--username", user, *names, "--use-random-password")
        self._metadata.set_password(user, password)
        marker.touch()

    def _missing(self, api: Api) -> list[str]:
        """Return the components that are not ready yet."""
        names = list(self._components)
        try:
            health = api.get("/monitor/health" if self.version.major == 3 else "/health")
        except (OSError, ApiError, ValueError):
            return names
        beating = {name.replace("_", "-") for name, facts in health.items() if (facts or {}).get("status") == "healthy"}
        return [name for name in names[1:] if name not in beating]

    def _watch(self) -> None:
        """See a process end: start it again, or give up."""
        guard = self._guard
        assert guard is not None  # noqa: S101
        checked = time.monotonic()
        while not self._stopping.is_set():
            with guard.changed:
                guard.changed.wait(0.5)
            if self._stopping.is_set():
                return
            if guard.closed:
                self._fail("the guard of the processes was killed, and everything with it: start again")
                return
            for name, server in (("postgres", self._postgres), ("s3", self._s3)):
                if server.pid is None and not self._stopping.is_set():
                    self._fail(f"{name} ended by itself, its last lines:\n{tail(server.log)}")
            for name, child in list(self._children.items()):
                status = child.poll()
                if status is not None:
                    self._crashed(name, status)
            if time.monotonic() - checked > 60:
                checked = time.monotonic()
                self._rotate()

    def _crashed(self, name: str, status: int) -> None:
        if self._stopping.is_set():
            return
        self._crashes[name] = count = self._crashes.get(name, 0) + 1
        what = f"{name} ended with {describe(status)}, the last lines of {self.log(name)}:\n{tail(self.log(name))}"
        if not self._ready or count > RESTARTS:
            self._fail(what)
            return
        self._tell(f"{what}\nstarting {name} again ({count} of {RESTARTS})")
        component = self._components[name]
        try:
            if component.job:
                self._metadata.end_jobs(component.job)
            self._launch(component)
        except LocalError as error:
            self._fail(str(error))
            return
        self.state.announce(self._facts())

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self._stopping.set()

    def _rotate(self) -> None:
        for path in self.state.logs.glob("*.log"):
            if path.stat().st_size > LOG_LIMIT:
                path.with_suffix(".log.1").write_bytes(path.read_bytes())
                os.truncate(path, 0)  # its writer appends

    def _stop_processes(self, guard: Guard) -> None:
        if guard.closed:
            return
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        asked = time.monotonic()
        for name, child in self._children.items():
            # The scheduler ends its tasks; the triggerer now and then misses the signal, and has nothing to lose.
            grace = 8.0 if name == "scheduler" else 3.0
            if child.wait(max(0.0, asked + grace - time.monotonic())) is None:
                child.signal(signal.SIGKILL)
                child.wait(5)
        for server in ("_s3", "_postgres"):
            if hasattr(self, server):
                getattr(self, server).stop()
        guard.sweep()

    def __enter__(self) -> Environment:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def measure(pids: Mapping[str, int], supervisor: int) -> dict[str, Usage]:
    """Measure processes by name; the supervisor and the guard are counted without what they started.

    :param pids: process ids by name
    :param supervisor: the process id of the one who started them
    """
    alone = {"guard"}
    found = {name: usage(pid, alone=name in alone) for name, pid in pids.items()}
    found["tradewind"] = usage(supervisor, alone=True)
    return {name: measured for name, measured in found.items() if measured is not None}


def describe(status: int) -> str:
    """Say in words how a process ended."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
