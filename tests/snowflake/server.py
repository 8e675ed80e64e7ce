"""The Snowflake of the tests: a process of its own, in an environment of its own that is made once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

FOLDER = Path(__file__).parent / "service"
ROOT = FOLDER.parents[2]
PYTHON = (3, 12)
ACCOUNT = "tests"
PASSWORD, PAT, OAUTH = "s3cret-Pass", "pat-7f31", "oauth-9c2e"


def _python() -> str:
    """Return a Python of the wanted version: this one, else one of pyenv's, else what uv finds."""
    if sys.version_info[:2] == PYTHON:
        return str(getattr(sys, "_base_executable", sys.executable))
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return str(next(iter(sorted(root.glob("versions/3.12.*/bin/python3.12"))), "3.12"))


def environment() -> Path:
    """Return the Python of the server's environment; it is made where it is not there yet, 5 s of a warm cache.

    :raises FileNotFoundError: without uv
    :raises subprocess.CalledProcessError: where it cannot be installed
    """
    uv = shutil.which("uv")
    if uv is None:
        raise FileNotFoundError("uv")
    wanted = (FOLDER / "requirements.txt").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradewind-tests"
    place = cache / f"fakesnow-{hashlib.sha256(wanted).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PYTHON")}
    with (cache / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = place / "bin" / "python"
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            for command in (
                ["venv", "-q", "--no-project", "--python", _python(), str(place)],
                ["pip", "install", "-q", "--no-deps", "--python", str(python), "-r", str(FOLDER / "requirements.txt")],
            ):
                subprocess.run([uv, *command], check=True, capture_output=True, text=True, env=clean, cwd=cache)
            (place / "complete").touch()
    return python


@dataclass
class SnowflakeServer:
    """A running service, and what it tells of itself.

    :param s3: the S3 server that ``s3://`` means
    :param users: who may log in, by name in upper case
    :param log: where it writes
    :param ids_of: whether a request's id is known to all sessions of a ``user``, or to its own ``session`` alone
    """

    s3: str | None
    users: Mapping[str, Mapping[str, str]]
    log: Path
    ids_of: str = "user"
    url: str = ""
    process: Any = field(default=None, repr=False)

    def __enter__(self) -> SnowflakeServer:
        python = environment()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, "-W", "ignore", "-m", "tests.snowflake.service"],
                cwd=ROOT,
                env=clean,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        asked = {"s3": self.s3, "account": ACCOUNT, "users": self.users, "ids_of": self.ids_of}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the Snowflake of the tests did not start:\n{self.log.read_text()[-2000:]}")
        self.url = json.loads(line)["url"]
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave the process out: another one speaks with the service, and cannot end it."""
        return {**self.__dict__, "process": None}

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()  # which ends it
        self.process.stdout.close()
        self.process.wait(10)

    @property
    def host(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    def connection(self, **extra: Any) -> dict[str, Any]:
        """Return a connection of Airflow's to it.

        :param extra: more of the extra; ``password`` and ``login`` are the connection's own
        """
        login, password = extra.pop("login", "etl"), extra.pop("password", PASSWORD)
        place = {"account": ACCOUNT, "host": self.host, "port": self.port, "protocol": "http", "warehouse": "WH"}
        return {"conn_type": "snowflake", "login": login, "password": password, "extra": {**place, **extra}}

    def journal(self) -> list[dict[str, Any]]:
        """Return what was executed: ``id sql tag type request_id parent asynchronous status code message ...``."""
        found: list[dict[str, Any]] = self._ask("journal")
        return found

    def jobs(self, text: str = "") -> list[dict[str, Any]]:
        """Return what was submitted by itself, parts of it left out."""
        return [each for each in self.journal() if each["asynchronous"] and text in each["sql"] + each["tag"]]

    def calls(self) -> dict[str, int]:
        """Count the calls by path."""
        found: dict[str, int] = self._ask("calls")
        return found

    def logins(self) -> list[dict[str, Any]]:
        """Return what clients asked for when they logged in."""
        found: list[dict[str, Any]] = self._ask("logins")
        return found

    def running(self) -> list[dict[str, Any]]:
        """Return what is being executed, as the journal has it."""
        found: list[dict[str, Any]] = self._ask("running")
        return found

    def expire(self, user: str) -> int:
        """End all sessions of a user, as the service does when they have been idle for four hours; return how many."""
        return int(self._ask("expire", {"user": user}))

    def stages(self) -> list[str]:
        """Return the stages that are there, by their whole names."""
        found: list[str] = self._ask("stages")
        return found

    def transactions(self) -> int:
        """Count the transactions that are open."""
        return int(self._ask("transactions"))

    def sum(self, database: str, table: str) -> list[int]:
        """Return how many rows a table has, and a sum over all of them that no order changes."""
        found: list[int] = self._ask("sum", {"database": database, "table": table})
        return found

    def sessions(self) -> list[dict[str, Any]]:
        """Return the sessions that are open."""
        found: list[dict[str, Any]] = self._ask("sessions")
        return found

    def faults(self, *rules: Mapping[str, Any], seed: int = 0) -> None:
        """Break calls from now on, see ``service/faults.py``; none without rules."""
        self._ask("faults", {"rules": rules, "seed": seed})

    def fill(self, database: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
        """Put rows of texts into a table, and nothing else, past SQL."""
        self._ask("fill", {"database": database, "table": table, "columns": list(columns), "rows": list(rows)})

    def set_history(self, *, delay: float) -> None:
        """Show statements in the history only after so many seconds."""
        self._ask("history", {"delay": delay})

    def wait_for(self, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.05)
        return found

    def _ask(self, what: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.url}/_control/{what}", data), timeout=30) as answer:
            return json.load(answer)
