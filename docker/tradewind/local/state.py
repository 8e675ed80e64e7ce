"""The state folder of one environment: its files, its secrets, and who runs it now."""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradewind.local.errors import AlreadyRunning, InvalidInput, OutOfSpace

FORMAT = 1
ROOM = 300 << 20
"""Bytes that must be free on the disk before a start: a new environment takes about 100 MB."""


@dataclass(frozen=True)
class Secrets:
    """What is drawn at random once for an environment and kept in a file that its owner alone reads."""

    fernet_key: str
    jwt_secret: str
    web_secret: str
    user: str
    password: str


class State:
    """A state folder.

    :param folder: by default ``.tradewind`` in the project's folder, which git does not see
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.postgres = self.folder / "postgres"
        self.s3 = self.folder / "s3"
        self.logs = self.folder / "logs"
        self.airflow = self.folder / "airflow"
        self.dags = self.airflow / "dags"
        self.plugins = self.airflow / "plugins"
        self.requirements = self.airflow / "requirements.txt"
        self.startup = self.airflow / "startup.sh"
        self._running = self.folder / "running.json"
        self._lock: int | None = None

    @property
    def lock_descriptor(self) -> int:
        """The descriptor of the lock, to be handed to whoever must end before the next start."""
        assert self._lock is not None  # noqa: S101
        return self._lock

    def open(self, wait: float = 20.0) -> None:
        """Make the folder where it is missing and take its lock.

        :param wait: seconds to wait for an environment that is just ending
        :raises AlreadyRunning: when another one holds it
        :raises InvalidInput: when the folder cannot be used
        :raises OutOfSpace: when its disk is full
        """
        try:
            self._make()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutOfSpace(
                    f"no space left for the state folder {self.folder}: free some, or choose --state"
                ) from error
            raise InvalidInput(
                f"cannot use the state folder {self.folder}: {error.strerror}: choose another with --state"
            ) from error
        self._take_lock(wait)
        free = os.statvfs(self.folder)
        if free.f_bavail * free.f_frsize < ROOM:
            self.close()
            raise OutOfSpace(
                f"the disk of the state folder {self.folder} has {free.f_bavail * free.f_frsize >> 20} MB left: "
                f"an environment needs {ROOM >> 20} MB; free some, or choose --state"
            )

    def close(self) -> None:
        """Let the lock go; it stays with those who inherited it until they end."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make(self) -> None:
        # Others may pass through, for as root the database runs as another user; what lies in it is private.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        marker = self.folder / "format"
        if not marker.exists() and any(entry.name not in (".gitignore", "lock") for entry in self.folder.iterdir()):
            raise InvalidInput(
                f"{self.folder} holds files that are not an environment's state: choose another with --state"
            )
        if marker.exists() and marker.read_text().strip() not in ("", str(FORMAT)):
            raise InvalidInput(
                f"{self.folder} was written by another version of tradewind: remove it, or choose another with --state"
            )
        (self.folder / ".gitignore").write_text("*\n")
        marker.write_text(f"{FORMAT}\n")
        for folder in (self.logs, self.airflow, self.dags, self.plugins):
            folder.mkdir(exist_ok=True, mode=0o700)

    def _take_lock(self, wait: float) -> None:
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                running = self.running()
                if running is not None or time.monotonic() > deadline:
                    self.close()
                    who = f" (pid {running['pid']}, {running['web']})" if running else ""
                    raise AlreadyRunning(
                        f"an environment runs in {self.folder}{who} already: `tradewind down` ends it"
                    ) from None
                time.sleep(0.1)
            else:
                return

    def wait_free(self, timeout: float) -> bool:
        """Wait until nobody runs the environment and everything that it started has ended.

        :param timeout: seconds
        :return: whether that came in time
        """
        deadline = time.monotonic() + timeout
        with (self.folder / "lock").open("a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        return False
                    time.sleep(0.05)
                else:
                    return True

    def secrets(self) -> Secrets:
        """Return the environment's secrets, drawn at the first call."""
        path = self.folder / "secrets.json"
        try:
            return Secrets(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            drawn = Secrets(
                fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                jwt_secret=secrets.token_hex(32),
                web_secret=secrets.token_hex(32),
                user="admin",
                password=secrets.token_urlsafe(12),
            )
            write_private(path, json.dumps(drawn.__dict__))
            return drawn

    def announce(self, facts: dict[str, Any]) -> None:
        """Write who runs the environment and where, for other terminals.

        :param facts: ``web``, ``s3``, ``components`` ...; process id and start time are added
        """
        import psutil

        me = psutil.Process()
        write_private(self._running, json.dumps({"pid": me.pid, "started": me.create_time(), **facts}))

    def retire(self) -> None:
        """Take the announcement back, if it is ours."""
        if self._lock is not None:
            self._running.unlink(missing_ok=True)

    def running(self) -> dict[str, Any] | None:
        """Return what :meth:`announce` wrote, or None when that process is gone (or its number belongs to another)."""
        import psutil

        try:
            facts: dict[str, Any] = json.loads(self._running.read_text())
            process = psutil.Process(facts["pid"])
            if abs(process.create_time() - facts["started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return facts
        except (OSError, ValueError, KeyError, psutil.Error):
            return None
        return None


def drawn(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return passwords that are drawn at the first call and kept in a file.

    :param path: the file
    :param names: what they are for
    """
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if missing := [name for name in names if name not in kept]:
        kept |= {name: secrets.token_hex(16) for name in missing}
        write_private(path, json.dumps(kept))
    return {name: kept[name] for name in names}


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone reads, whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def cache_folder() -> Path:
    """Return the user's cache folder for what every environment shares (XDG base directory specification)."""
    base = os.environ.get("TRADEWIND_CACHE_DIR")
    if base:
        return Path(base)
    home = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):
        return Path(home or Path.home() / ".cache") / "tradewind"
    raise InvalidInput("there is no home folder for the cache: set TRADEWIND_CACHE_DIR")
