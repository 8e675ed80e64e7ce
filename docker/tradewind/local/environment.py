"""A local Amazon MWAA environment: Airflow, PostgreSQL and S3, started, watched and stopped together.

::

    with Environment(Path("project")) as environment:
        environment.wait_ready()
        api = environment.api()
        run_id = api.trigger("flights")
        api.wait_run("flights", run_id, timeout=120)
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tradewind.local import interpreter, settings
from tradewind.local.crashes import Crashes
from tradewind.local.engine import Engine
from tradewind.local.errors import LocalError, StartFailed
from tradewind.local.memory import Usage, usage
from tradewind.local.metadata import Metadata
from tradewind.local.postgres import PostgresServer
from tradewind.local.processes import Child, Guard, describe, tail
from tradewind.local.pull import Pull
from tradewind.local.push import Push
from tradewind.local.renewal import Renewal
from tradewind.local.s3 import S3Server
from tradewind.local.settings import Component
from tradewind.local.state import Secrets, write_private
from tradewind.local.sync import Sync

LOG_LIMIT = 20 << 20
"""Bytes after which a component's log is moved aside."""


class Environment(Engine):
    """One environment of processes on this machine, for one folder."""

    _guard: Guard | None = None
    _sync: Sync | None = None
    _renewing = False

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

    def start(self) -> Self:
        """Start everything; return when the processes run, which is before they are ready.

        :raises LocalError: one of its kinds, with the reason; nothing is left running then
        """
        self._children: dict[str, Child] = {}
        self._components: dict[str, Component] = {}
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

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait as every engine does; then all components are equals."""
        super().wait_ready(timeout)
        for child in self._children.values():
            child.renice(0)

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
            "engine": "embedded",
            "path": str(self.project.folder),
            "airflow": self.version.airflow,
            "web": self.web_url,
            "s3": self.s3_endpoint,
            "bucket": self.bucket,
            "database": {"port": self._postgres.port, "name": self._metadata.name},
            "slots": int(self._variables["AIRFLOW__CORE__PARALLELISM"]),
            "components": {
                **pids,
                "postgres": self._postgres.pid,
                "s3": self._s3.pid,
                "guard": self._guard and self._guard.pid,
            },
        }

    def _start_servers(self) -> None:
        """Start S3 and PostgreSQL, and bring the bucket up to date."""
        self._s3 = S3Server(self.state.s3, guard=self._guard)
        self._postgres = PostgresServer(self.state.postgres, guard=self._guard, databases=("warehouse",))
        self._s3.start(wait=False)
        self._postgres.start()
        self._metadata = Metadata(self._postgres, self.version)
        self._migrated = self._metadata.prepare()
        self._s3.wait_ready()
        client = self._s3.client()
        push = Push(self.project, self.state.folder / "sync.json", client, self.bucket)
        self._sync = Sync(push, Pull(self.state, client, self.bucket, self._tell), self._tell, self._update)
        self._sync.prepare()

    def _start_airflow(self) -> None:
        requirements = self.state.requirements if self.state.requirements.exists() else None
        found = interpreter.find(
            self.version, requirements, self._constraints, self._tell, self.state.plugins, bare=self._bare
        )
        self._python = found.python
        self._variables = self._write_variables()
        wanted = settings.components(self.version.major, self._port)
        self._components = {component.name: component for component in wanted}
        if self._migrated:
            self._metadata.tables.end_jobs()
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
        self._forced = forced
        write_private(self.state.airflow / "forced.sh", settings.export_script(forced))
        write_private(self.state.airflow / "passwords.json", settings.passwords_file(secrets.user, secrets.password))
        write_private(self.state.airflow / "airflow.cfg", "# every option is given by an environment variable\n")
        return {
            **settings.inherited(self._python),
            **settings.fast_variables(sum(1 for _ in self.state.dags.rglob("*.py"))),
            **settings.connections("127.0.0.1", self._postgres.port, self._postgres.password, self.s3_endpoint),
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

    def _update(self, what: str, found: Mapping[str, str]) -> bool:
        """Take over what Airflow reads at its start, as MWAA's update does; where it does not work, all stays."""
        while not self._ready and not self._stopping.wait(0.5):
            pass
        began, renewal = time.monotonic(), Renewal(self.state)
        self._tell(f"{what} changed: updating; Airflow works on until all is installed")
        try:
            renewal.fetch(self.s3_client(), self.bucket, found, self._tell)
            python = renewal.install(self.version, self._constraints, self._tell, bare=self._bare).python
            renewal.prove(python, {**self._variables, **settings.inherited(python)}, self._forced)
            self._renew(renewal, python)
        except LocalError as error:
            if not self._stopping.is_set():
                self._tell(f"the update of {what} failed, the environment works on with the files before it:\n{error}")
            return False
        finally:
            renewal.clear()
        self._tell(f"updated {what} in {time.monotonic() - began:.0f} s")
        return True

    def _renew(self, renewal: Renewal, python: Path) -> None:
        """Start Airflow's processes anew with other files, or with those before where they do not come up.

        :raises StartFailed: with the reason why they did not
        """
        before = self._python
        self._renewing = True
        try:
            self._stop_airflow()
            renewal.take_over()
            try:
                self._start_anew(python)
            except LocalError:
                if not self._stopping.is_set():
                    self._stop_airflow()
                    renewal.go_back()
                    self._start_anew(before)
                raise
        finally:
            self._crashes = Crashes()
            self._renewing = False

    def _start_anew(self, python: Path) -> None:
        """Start every process of Airflow, and wait until all are well."""
        self._python = python
        self._variables = self._write_variables()
        self._metadata.tables.end_jobs()
        for component in self._components.values():
            self._launch(component)
        self.state.announce(self._facts())
        api, deadline = self.api(), time.monotonic() + self.patience
        while missing := self._missing(self._health(api)):
            for name, child in self._children.items():
                if (status := child.poll()) is not None:
                    raise StartFailed(
                        f"{name} ended with {describe(status)}, its last lines:\n{self._last_lines(name)}"
                    )
            if time.monotonic() > deadline or self._stopping.wait(0.2):
                raise StartFailed(f"not ready after {self.patience:.0f} s: {', '.join(missing)}")
        for child in self._children.values():
            child.renice(0)

    def _migrate(self) -> None:
        self._once("migrate", "db", "migrate")
        threading.Thread(target=self._metadata.keep, name="tradewind-keep", daemon=True).start()

    def _make_user(self) -> None:
        """Make the login on Airflow 2, where it lives in the database."""
        marker = self.state.airflow / f"user-{self._metadata.name}"
        if marker.exists() and self._migrated:
            return
        user, password = self.login
        self._once("user", *settings.create_user(user))
        self._metadata.tables.set_password(user, password)
        marker.touch()

    def _missing(self, health: Mapping[str, Mapping[str, str | None]]) -> list[str]:
        """Return the components that are not ready yet."""
        names = list(self._components)
        beating = {name for name, facts in health.items() if facts.get("status") == "healthy"}
        return [name for name in names[1:] if name not in beating] if health else names

    def _last_lines(self, name: str, lines: int = 15) -> str:
        return tail(self.log(name), lines)

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
                status = child.poll() if not self._renewing else None
                if status is not None:
                    self._crashed(name, status)
            if time.monotonic() - checked > 60:
                checked = time.monotonic()
                self._rotate()

    def _crashed(self, name: str, status: int) -> None:
        if self._stopping.is_set() or self._renewing:
            return
        what = f"{name} ended with {describe(status)}, the last lines of {self.log(name)}:\n{tail(self.log(name))}"
        if not self._count_crash(name, what):
            return
        component = self._components[name]
        try:
            if component.job:
                self._metadata.tables.end_jobs(component.job)
            self._launch(component)
        except LocalError as error:
            self._fail(str(error))
            return
        self.state.announce(self._facts())

    def _rotate(self) -> None:
        for path in self.state.logs.glob("*.log"):
            if path.stat().st_size > LOG_LIMIT:
                path.with_suffix(".log.1").write_bytes(path.read_bytes())
                os.truncate(path, 0)  # its writer appends

    def _stop_processes(self, guard: Guard) -> None:
        if guard.closed:
            return
        self._stop_airflow()
        for server in ("_s3", "_postgres"):
            if hasattr(self, server):
                getattr(self, server).stop()
        guard.sweep()

    def _stop_airflow(self) -> None:
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        asked = time.monotonic()
        for name, child in self._children.items():
            # The scheduler ends its tasks; the triggerer now and then misses the signal, and has nothing to lose.
            grace = 8.0 if name == "scheduler" else 3.0
            if child.wait(max(0.0, asked + grace - time.monotonic())) is None:
                child.signal(signal.SIGKILL)
                child.wait(5)


def measure(pids: Mapping[str, int], supervisor: int) -> dict[str, Usage]:
    """Measure processes by name; the supervisor and the guard are counted without what they started.

    :param pids: process ids by name
    :param supervisor: the process id of the one who started them
    """
    alone = {"guard"}
    found = {name: usage(pid, alone=name in alone) for name, pid in pids.items()}
    found["tradewind"] = usage(supervisor, alone=True)
    return {name: measured for name, measured in found.items() if measured is not None}
