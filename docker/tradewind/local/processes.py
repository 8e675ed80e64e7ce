"""Processes that end with the one who started them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tradewind.local import guard as guard_script
from tradewind.local.errors import LocalError, StartFailed


class Child:
    """One process under a guard.

    :param pid: its process id, which is its session and process group too
    """

    def __init__(self, guard: Guard, name: str, pid: int) -> None:
        self.guard = guard
        self.name = name
        self.pid = pid
        self.status: int | None = None

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal that ended it), or None while it runs."""
        return self.status

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end.

        :param timeout: seconds
        :return: the exit status, or None when the time ran out
        """
        with self.guard.changed:
            self.guard.changed.wait_for(lambda: self.status is not None or self.guard.closed, timeout)
        return self.status

    def signal(self, number: int) -> None:
        """Send a signal, to the whole group for SIGKILL."""
        if self.status is None:
            self.guard.ask(do="signal", pid=self.pid, signal=int(number))

    def renice(self, nice: int) -> None:
        """Set how much it gives way to other processes, where the system allows it."""
        if self.status is None:
            self.guard.ask(do="nice", pid=self.pid, nice=nice)

    def stop(self, *numbers: int, timeout: float = 10.0) -> None:
        """Send one signal after the other until the process is gone; SIGKILL is the last.

        :param timeout: seconds to wait after each
        """
        for number in (*(numbers or (signal.SIGTERM,)), signal.SIGKILL):
            self.signal(number)
            if self.wait(timeout) is not None:
                return
        raise LocalError(f"{self.name} (pid {self.pid}) does not end")


class Guard:
    """A small process that starts others and ends them when this one goes away, however it goes.

    :param keep: descriptors (of locks) that it holds open until everything has ended
    :param talks: whether what it starts without an output of its own writes to ours
    """

    def __init__(self, keep: Sequence[int] = (), *, talks: bool = False) -> None:
        self._talks = talks
        self.changed = threading.Condition()
        self.closed = False
        self._children: dict[int, Child] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._early: dict[int, int] = {}
        self._next = 0
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard_script.__file__, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno(), *keep],
                stdin=subprocess.DEVNULL,
                stdout=None if talks else subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        self._channel = ours
        self._reader = threading.Thread(target=self._read, name="tradewind-guard", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The guard's own process id."""
        return self._process.pid

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: Path | None = None,
        nice: int = 0,
        user: tuple[int, int] | None = None,
        capability: int | None = None,
        stop: int = signal.SIGTERM,
        death: int = signal.SIGKILL,
    ) -> Child:
        """Start a process.

        :param name: what to call it in messages
        :param env: its whole environment; ours when None
        :param output: the file to which its output is appended; dropped when None, unless the guard talks
        :param user: uid and gid to become
        :param capability: the one Linux capability to keep for that user
        :param stop: the signal that ends it in good order, used when we are gone
        :param death: the signal it gets from the kernel should the guard itself die
        :raises StartFailed: when it cannot be started
        """
        uid, gid = user or (None, None)
        answer = self.ask(
            do="start",
            argv=[str(part) for part in argv],
            env=dict(os.environ if env is None else env),
            cwd=str(cwd or "/"),
            output=str(output) if output is not None else guard_script.STDOUT if self._talks else None,
            nice=nice,
            uid=uid,
            gid=gid,
            capability=capability,
            stop=int(stop),
            death=int(death),
        )
        if "error" in answer:
            raise StartFailed(f"cannot start {name}: {answer['error']}")
        with self.changed:
            child = Child(self, name, answer["pid"])
            child.status = self._early.pop(child.pid, None)
            self._children[child.pid] = child
        return child

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        with self.changed:
            self._next += 1
            number = self._next
            try:
                self._channel.sendall(json.dumps({"id": number, **request}).encode() + b"\n")
            except OSError as error:
                raise LocalError("the guard of the local processes is gone") from error
            self.changed.wait_for(lambda: number in self._answers or self.closed, 60)
            if number not in self._answers:
                raise LocalError("the guard of the local processes does not answer")
            return self._answers.pop(number)

    def sweep(self) -> None:
        """Kill whatever is left below the guard, children of children that lost their parents included."""
        self.ask(do="sweep")

    def close(self) -> None:
        """End everything that is left and the guard itself."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._channel.close()

    def _read(self) -> None:
        try:
            with self._channel.makefile("rb") as lines:
                for line in lines:
                    self._take(json.loads(line))
        except (OSError, ValueError):
            pass
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        with self.changed:
            if "exited" not in message:
                self._answers[message["id"]] = message
            elif child := self._children.pop(message["exited"], None):
                child.status = message["status"]
            else:
                self._early[message["exited"]] = message["status"]
            self.changed.notify_all()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def tail(path: Path, lines: int = 15, width: int = 300) -> str:
    """Return the last lines of a log, each cut at a width."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(line[:width] for line in text.splitlines()[-lines:])


def describe(status: int) -> str:
    """Say in words how a process ended."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def port_is_free(port: int) -> bool:
    """Say whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
