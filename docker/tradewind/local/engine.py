"""What every way of running a local environment has in common: processes of this machine, or containers."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tradewind.local import settings
from tradewind.local.api import Api, ApiError
from tradewind.local.crashes import RESTARTS, Crashes
from tradewind.local.errors import InvalidInput, StartFailed
from tradewind.local.processes import free_port, port_is_free
from tradewind.local.project import Project
from tradewind.local.s3 import client
from tradewind.local.state import Secrets, State
from tradewind.local.versions import DEFAULT, version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "mwaa-local"


class Engine(ABC):
    """One environment for one folder: started, watched and stopped together.

    :param path: the user's folder, see :class:`tradewind.local.project.Project`
    :param state: the state folder, ``.tradewind`` in the user's folder when None
    :param airflow: the Airflow version, see :data:`tradewind.local.versions.VERSIONS`
    :param port: the web UI's port; the last one used or a free one when None
    :param constraints: a constraints file for the user's requirements
    :param options: Airflow configuration options with dotted keys, as MWAA takes them
    :param bare: whether Airflow has none of our packages beforehand, as on MWAA: requirements.txt or plugins bring them
    :param tell: called with a line (or several) for each thing worth telling
    :param progress: called with what is going on while it starts, whenever that changes
    """

    patience = 180.0
    """Seconds that a start may take, installations aside."""

    def __init__(
        self,
        path: Path,
        state: Path | None = None,
        airflow: str = DEFAULT,
        *,
        port: int | None = None,
        constraints: Path | None = None,
        options: Mapping[str, str] | None = None,
        bare: bool = False,
        tell: Callable[[str], None] = lambda line: None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.version = version(airflow)
        self.project = Project(path)
        self.state = State(state or self.project.folder / ".tradewind")
        self.bucket = BUCKET
        self.failure: str | None = None
        """Why the environment cannot go on, None while it can."""
        self._constraints = constraints
        self._bare = bare
        self._options = settings.option_variables(options or {})
        self._tell = tell
        self._progress = progress
        self._wanted_port = port
        self._port = 0
        self._secrets: Secrets
        self._crashes = Crashes()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._ready = False

    @abstractmethod
    def start(self) -> Self:
        """Start everything; return when the parts run, which is before they are ready.

        :raises LocalError: one of its kinds, with the reason; nothing is left running then
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop everything, in an order that loses nothing; nothing is left running."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether there is anything to stop."""

    @property
    @abstractmethod
    def s3_endpoint(self) -> str:
        """The address of the local S3 server."""

    @property
    @abstractmethod
    def warehouse_dsn(self) -> str:
        """The address of the database ``warehouse``, its password in it: never log it."""

    @abstractmethod
    def _missing(self, health: Mapping[str, Mapping[str, str | None]]) -> list[str]:
        """Return the parts that are not ready yet.

        :param health: what the web server knows of the others; empty where it does not answer
        """

    @abstractmethod
    def _last_lines(self, name: str, lines: int = 15) -> str:
        """Return the end of what a part wrote."""

    @property
    def size(self) -> dict[str, object]:
        """What the environment has room for, as names and figures; empty where it has no limits of its own."""
        return {}

    @property
    def beside(self) -> dict[str, str]:
        """The addresses of further services by their names, the passwords in them."""
        return {}

    @property
    def web_url(self) -> str:
        """The address of Airflow's web UI."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def login(self) -> tuple[str, str]:
        """User and password for the web UI and the REST API."""
        return self._secrets.user, self._secrets.password

    def s3_client(self) -> S3Client:
        """Return a client for the local S3 server."""
        return client(self.s3_endpoint)

    def api(self) -> Api:
        """Return a client for Airflow's REST API, logged in as :attr:`login`."""
        return Api(self.web_url, self.version.major, *self.login)

    def log(self, component: str) -> Path:
        """Return the log file of a component (``scheduler``, ``triggerer`` ...)."""
        return self.state.logs / f"{component}.log"

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the web server answers and every other part beats.

        :param timeout: seconds, :attr:`patience` when None
        :raises StartFailed: when one ends, or the time is over
        """
        patience = self.patience if timeout is None else timeout
        api, deadline, told = self.api(), time.monotonic() + patience, ""
        while missing := self._missing(self._health(api)):
            if self.failure:
                raise StartFailed(self.failure)
            if time.monotonic() > deadline:
                logs = "\n".join(f"{name}:\n{self._last_lines(name, 5)}" for name in missing)
                raise StartFailed(f"not ready after {patience:.0f} s: {', '.join(missing)}\n{logs}")
            if told != (told := ", ".join(missing)):
                self._progress(f"starting {told}")
            self._stopping.wait(0.1)
        self._ready = True

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

    def _health(self, api: Api) -> Mapping[str, Mapping[str, str | None]]:
        try:
            found = api.get("/monitor/health" if self.version.major == 3 else "/health")
        except (OSError, ApiError, ValueError):
            return {}
        return {name.replace("_", "-"): facts or {} for name, facts in found.items()}

    def _count_crash(self, name: str, what: str, times: int = RESTARTS) -> bool:
        """Say whether a part that crashed is to be started again, and tell it.

        :param name: the part
        :param what: how it ended, with its last lines
        :param times: how often in a row it may be
        """
        count = self._crashes.count(name)
        if not self._ready or count > times:
            self._fail(what)
            return False
        self._tell(f"{what}\nstarting {name} again ({count} of {times})")
        return True

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

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self._stopping.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
