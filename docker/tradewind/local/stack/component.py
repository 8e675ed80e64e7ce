"""A container of Airflow: ``/entrypoint webserver|scheduler|worker|hybrid``.

It does what MWAA does in each of its containers: takes dags/, plugins.zip, requirements.txt and startup.sh from the
bucket, runs startup.sh, installs the requirements, starts its processes and keeps the DAGs as the bucket has them.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from tradewind.local import settings
from tradewind.local.crashes import RESTARTS, Crashes
from tradewind.local.engine import BUCKET
from tradewind.local.errors import LocalError, StartFailed
from tradewind.local.processes import Child, Guard, describe
from tradewind.local.pull import Pull, listing
from tradewind.local.s3 import client
from tradewind.local.settings import Component
from tradewind.local.stack import layout, plugins, requirements, startup, variables, vitals
from tradewind.local.state import write_private
from tradewind.local.sync import SHARE
from tradewind.local.tables import Tables
from tradewind.local.versions import version

PATIENCE = 300.0
"""Seconds to wait for the services beside Airflow."""
INTERVAL = 3.0
"""Seconds between two looks at the bucket."""
GRACE = {"worker": 85.0, "scheduler": 8.0}
"""Seconds for an orderly end of a process: a worker ends its tasks, MWAA kills after 90 s."""


class Stopped(Exception):
    """SIGTERM came before the start was over."""


class Container:
    """One container's life.

    :param name: MWAA's name of it
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = version(os.environ["TRADEWIND_AIRFLOW"])
        self.state = layout.AIRFLOW
        self.tables = Tables(variables.metadata_dsn(self.version))
        self.pull = Pull(self.state, client(layout.url(layout.AWS)), BUCKET, tell)
        self.stopping = threading.Event()
        self.starting = True
        self.full = ""
        """Why the DAGs cannot follow the bucket, empty while they do."""
        self.children: dict[str, Child] = {}
        self.crashes = Crashes()

    def run(self) -> None:
        """Start, watch, and end in good order at SIGTERM.

        :raises LocalError: with the reason why it cannot go on
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)
        environment = self._prepare()
        with Guard(talks=True) as guard:
            self._guard, self._environment = guard, environment
            self._launch_all()
            self.starting = False
            threading.Thread(target=self._follow, name="sync", daemon=True).start()
            threading.Thread(target=self._feel, name="health", daemon=True).start()
            try:
                self._watch()
            finally:
                self._end()

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.stopping.set()
        if self.starting:
            raise Stopped

    def _prepare(self) -> dict[str, str]:
        """Lay out the bucket's files, run startup.sh, install the requirements."""
        for folder in (self.state.dags, self.state.plugins, self.state.airflow / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self._until(lambda: bool(listing(self.pull.client, BUCKET)), "the bucket")
        self.pull.prepare(listing(self.pull.client, BUCKET), layout.pinned())
        forced = variables.forced(self.version, int(os.environ["TRADEWIND_PORT"]))
        environment = variables.environment(forced, self.name)
        if self.state.startup.exists():
            tell("running startup.sh")
            limit = float(os.environ.get("TRADEWIND_STARTUP_LIMIT") or startup.LIMIT)
            environment = {**startup.run(self.state.startup, environment, limit), **forced}
        if self.state.requirements.exists():
            tell("installing requirements.txt")
            private = os.environ.get("TRADEWIND_WEB_PRIVATE" if self.name == "webserver" else "TRADEWIND_PRIVATE")
            requirements.install(self.state.requirements, environment, private=private == "true")
        if self.name in ("scheduler", "hybrid"):  # one is enough: all have the same
            plugins.check(self.state.plugins, environment)
        return environment

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline, reason = time.monotonic() + PATIENCE, ""
        while True:
            try:
                if condition():
                    return
            except Exception as error:  # a service that is just starting fails in many ways
                reason = f": {error}"
            if time.monotonic() > deadline:
                raise StartFailed(f"{what} is not there after {PATIENCE:.0f} s{reason}")
            self.stopping.wait(0.2)

    def _launch_all(self) -> None:
        self._until(self.tables.migrated, "Airflow's database")
        self.components = {each.name: each for each in components(self.name, self.version.major)}
        if self.name == "webserver":
            self._make_login()
        for component in self.components.values():
            self._launch(component)

    def _launch(self, component: Component) -> None:
        beside = bool(os.environ.get("TRADEWIND_BESIDE")) and component.name not in self.children
        if component.job and not beside:
            self.tables.end_jobs(component.job)
        self.children[component.name] = self._spawn(component.name, *component.arguments)

    def _spawn(self, name: str, *arguments: str) -> Child:
        return self._guard.start(
            name, [sys.executable, "-m", "airflow", *arguments], env=self._environment, cwd=self.state.airflow
        )

    def _make_login(self) -> None:
        """Give the web server its one login: a file on Airflow 3, a row in the database on Airflow 2."""
        secrets = layout.secrets()
        user, password = secrets.user, secrets.password
        if self.version.major == 3:
            write_private(self.state.airflow / "passwords.json", settings.passwords_file(user, password))
            return
        if not self.tables.has_user(user):
            child = self._spawn("user", *settings.create_user(user))
            if child.wait(PATIENCE) != 0:
                raise StartFailed("`airflow users create` failed, see above")
        self.tables.set_password(user, password)

    def _follow(self) -> None:
        """Keep the DAGs as the bucket has them; the web server takes them from the database."""
        trouble, took = "", 0.0
        while self.name != "webserver" and not self.stopping.wait(max(INTERVAL, SHARE * took)):
            began = time.monotonic()
            try:
                self.pull.pull(listing(self.pull.client, BUCKET))
                trouble = self.full = ""
            except Exception as error:  # it outlives a full disk and a bucket that is away for a moment
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    self.full = f"the disk is full, and the DAGs are no longer as in the bucket: {error}"
                if str(error) != trouble:
                    trouble = str(error)
                    tell(f"sync: {error}")
            took = time.monotonic() - began

    def _feel(self) -> None:
        """Keep the date of the health file as young as the last sign of life of every process."""
        check = vitals.of(self.name, self.tables, [each.job for each in self.components.values()], self.version.major)
        trouble = ""
        while not self.stopping.wait(vitals.INTERVAL):
            try:
                check()
                if self.full:
                    raise LocalError(self.full)
                layout.HEALTH.touch()
                if trouble:
                    tell(f"{self.name} is well again")
                trouble = ""
            except Exception as error:  # whatever it is, it is the reason why the container is not healthy
                layout.ILLNESS.write_text(str(error))
                if str(error) != trouble and layout.HEALTH.exists():
                    trouble = str(error)
                    tell(f"{self.name} is not well: {error}")

    def _watch(self) -> None:
        while not self.stopping.is_set():
            with self._guard.changed:
                self._guard.changed.wait(0.5)
            if self._guard.closed:
                raise LocalError("the guard of the processes was killed, and everything with it")
            for name, child in self.children.items():
                status = child.poll()
                if status is not None and not self.stopping.is_set():
                    self._crashed(name, status)

    def _crashed(self, name: str, status: int) -> None:
        count = self.crashes.count(name)
        if count > RESTARTS or not layout.HEALTH.exists():
            raise StartFailed(f"{name} ended with {describe(status)}")
        tell(f"{name} ended with {describe(status)}: starting it again ({count} of {RESTARTS})")
        self._launch(self.components[name])

    def _end(self) -> None:
        self.stopping.set()
        if self._guard.closed:
            return
        for child in self.children.values():
            child.signal(signal.SIGTERM)
        began = time.monotonic()
        graces = [(GRACE.get(name, 8.0), child) for name, child in self.children.items()]
        for grace, child in sorted(graces, key=lambda each: each[0]):
            if child.wait(max(0.1, began + grace - time.monotonic())) is None:
                child.signal(signal.SIGKILL)


def components(name: str, major: int) -> list[Component]:
    """Return the processes of one of MWAA's containers.

    :param name: MWAA's name of it
    :param major: Airflow's major version
    """
    worker = Component("worker", ("celery", "worker", "--skip-serve-logs"), 0, "worker")
    if name == "worker":
        return [worker]
    found = settings.components(major, layout.WEB[1], "0.0.0.0")  # noqa: S104 - on the private network
    if name == "hybrid":  # MWAA's smallest class
        return [*(each for each in found if each.mwaa == "scheduler"), worker]
    return [each for each in found if each.mwaa == name]


def tell(text: str) -> None:
    """Write a line into the container's log, which the machine follows."""
    print(f"tradewind: {text}", flush=True)


def main() -> int:
    """Live."""
    container = Container(sys.argv[1])
    try:
        container.run()
    except Stopped:
        return 0
    except LocalError as error:
        print(f"{layout.FAILED}{container.name}: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
