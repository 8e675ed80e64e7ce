"""The task's side of the guard: start it, speak with it, read what a command writes."""

from __future__ import annotations

import contextlib
import logging
import marshal
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tradewind.hooks.errors import TransientError
from tradewind.operators.processes import guard, kernel

LINE_LIMIT = 1 << 20
"""Bytes after which a line is handed on in pieces."""
GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL; Airflow 3 leaves a task that is told to end 5 seconds."""
FAREWELL = 0.5
"""Seconds in which a guard that has reported ends, on a busy machine."""
PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from tradewind.operators.processes.guard import main; main(sys.argv[2])"
)
"""The guard as a program: an import finds its compiled code, a script would be compiled at each start."""

log = logging.getLogger(__name__)


class GuardProcess:
    """A running guard.

    :param mode: ``run`` or ``watch``
    :param order: what it is asked to do
    :param stdout: where its standard output goes, as for ``subprocess.Popen``
    """

    def __init__(self, mode: str, order: Mapping[str, Any], stdout: int) -> None:
        self.status, status = os.pipe()
        try:
            # A session of its own: a signal for the task's process group must not end the guard.
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", PROGRAM, str(Path(guard.__file__).parents[3]), mode],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                pass_fds=[status],
                start_new_session=True,
            )
        except BaseException:
            os.close(self.status)
            raise
        finally:
            os.close(status)
        self.owner = os.getpid()
        self.result: tuple[int | None, int] | None = None
        """The exit code, and how many processes it ended."""
        self._heard = b""
        data = marshal.dumps({**order, "task": os.getpid(), "status": status})
        self.say(b"%d\n" % len(data) + data)

    def say(self, data: bytes) -> None:
        """Write to the guard; it may be gone."""
        assert self.process.stdin is not None  # noqa: S101 (a pipe was asked for)
        with contextlib.suppress(OSError):
            os.write(self.process.stdin.fileno(), data) if len(data) < 512 else self._say_all(data)

    def _say_all(self, data: bytes) -> None:
        assert self.process.stdin is not None  # noqa: S101
        view = memoryview(data)
        while view:
            view = view[os.write(self.process.stdin.fileno(), view) :]

    def wait(self, seconds: float) -> tuple[int | None, int] | None:
        """Wait for the guard's report.

        :return: the report; None if it did not come in time
        :raises TransientError: where the guard was killed
        """
        deadline = time.monotonic() + seconds
        while self.result is None:
            left = max(0.0, deadline - time.monotonic())
            poll = select.poll()
            poll.register(self.status, select.POLLIN)
            if not poll.poll(left * 1000):
                return None
            self.read_status()
        return self.result

    def read_status(self) -> None:
        """Read what there is of the report."""
        if self.result is not None:
            return
        chunk = os.read(self.status, 4096)
        if not chunk:
            self._await_end()
            raise TransientError("the guard of the task's processes is gone: it was killed")
        self._heard += chunk
        if self._heard.endswith(b"\n"):
            code, ended = self._heard.split()
            self.result = None if code == b"-" else int(code), int(ended)

    def _await_end(self) -> None:
        """Wait until the guard is dead: until then what was below it has not come below this process.

        Not by ``Popen.wait``: its lock is not reentrant, and a signal's handler that stops the command while the
        lock is held would wait for it for ever.
        """
        while self.process.returncode is None and kernel.look(self.process.pid):
            time.sleep(0.002)

    def close(self) -> None:
        """Let go of the pipes; a guard that still runs takes it as the task's end."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        if self.status >= 0:
            os.close(self.status)
            self.status = -1
        # After its report it may go on for a task that is about to end: nothing to wait for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(FAREWELL if self.result else guard.HARD + 2 * GRACE)


class Command:
    """A command below a guard: it ends, with all its descendants, when this process does.

    :param argv: the program, by its path, and its arguments
    :param env: its whole environment
    :param cwd: the folder it runs in
    :param grace: seconds between SIGTERM and SIGKILL when it is stopped
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, grace: float = GRACE) -> None:
        order = {"argv": list(argv), "env": dict(env), "cwd": cwd, "grace": grace}
        self.grace = grace
        self.cut = False
        self._before = set(kernel.children(os.getpid()))
        # Should the guard be killed, what was below it comes below this process.
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        self.guard = GuardProcess("run", order, subprocess.PIPE)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of its output, without line ends, while they come.

        A line over ``LINE_LIMIT`` comes in pieces. The end is the guard's report: a process that escaped the guard
        and holds the output open does not keep the task waiting.
        """
        buffer = bytearray()
        for chunk in self._chunks():
            buffer += chunk
            *whole, rest = buffer.split(b"\n") if b"\n" in chunk else [buffer]
            for line in whole:
                yield from self._pieces(line)
            buffer = bytearray(rest)
            while len(buffer) > LINE_LIMIT:
                self.cut = True
                yield bytes(buffer[:LINE_LIMIT])
                del buffer[:LINE_LIMIT]
        if buffer:
            yield bytes(buffer)

    def _pieces(self, line: bytearray) -> Iterator[bytes]:
        self.cut = len(line) > LINE_LIMIT
        for start in range(0, len(line) or 1, LINE_LIMIT):
            yield bytes(line[start : start + LINE_LIMIT])

    def _chunks(self) -> Iterator[bytes]:
        out = self.guard.process.stdout
        assert out is not None  # noqa: S101 (a pipe was asked for)
        poll = select.poll()
        poll.register(out.fileno(), select.POLLIN)
        poll.register(self.guard.status, select.POLLIN)
        while True:
            ready = dict(poll.poll(0 if self.guard.result else None))
            if out.fileno() in ready:
                chunk = os.read(out.fileno(), 1 << 16)
                if chunk:
                    yield chunk
                    continue
                poll.unregister(out.fileno())
                self.guard.wait(guard.HARD + guard.SETTLE + self.grace)
                return
            if self.guard.result is not None:
                return
            if self.guard.status in ready:
                self.guard.read_status()

    def result(self) -> tuple[int | None, int]:
        """Return the exit code, -N for signal N, and how many processes were ended after it.

        :raises TransientError: where the guard was killed
        """
        done = self.guard.wait(guard.HARD + self.grace)
        if done is None:
            raise TransientError("the command closed its output but neither it nor its guard ended")
        return done

    def stop(self) -> int:
        """End the command and all its descendants.

        :return: how many processes were ended
        """
        if self.guard.owner != os.getpid():
            return 0
        if self.guard.result is None:
            self.guard.say(b"k")
            try:
                self.guard.wait(self.grace + guard.HARD)
            except TransientError:
                return _end_orphans(self._before)
        return self.guard.result[1] if self.guard.result else 0

    def close(self) -> None:
        """Let go of everything; what still runs is ended."""
        self.guard.close()
        if self.guard.owner == os.getpid():
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 0)


def _end_orphans(spared: Container[int], seconds: float = guard.HARD) -> int:
    """End what a guard that was killed has left to this process.

    :param spared: children of this process that were there before
    :param seconds: after which it is given up
    :return: how many were ended
    """
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    empty = 0
    while empty < 2 and time.monotonic() < deadline:  # one look can miss a child while another ends
        orphans = [pid for pid in kernel.children(os.getpid()) if pid not in spared]
        empty = 0 if orphans else empty + 1
        everyone = kernel.processes()
        for pid in kernel.below(set(orphans), everyone) | {pid for pid in orphans if pid in everyone}:
            kernel.send(pid, signal.SIGKILL)
            ended.add(pid)
        for pid in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    return len(ended)


class Watch:
    """A guard over the processes that this process starts itself, by whatever means, from now on.

    It finds them below this process, in its process group where it leads one, by a mark in the environment, and by
    the word of children that Python forked. One kind is missed: a program that is started with an emptied environment
    and in a session of its own, less than ``guard.SNAPSHOT`` seconds before the task gets SIGKILL. Only root could be
    told of each start by the kernel (the proc connector of netlink(7)).

    :param grace: seconds between SIGTERM and SIGKILL when the processes are ended
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self.mark = uuid.uuid4().hex
        self._before = os.environ.get(guard.MARK)
        # What was there before is not the task's: it may be the one who runs the task in a test.
        self._spared = set(kernel.children(os.getpid()))
        spared = [found.key for found in map(kernel.look, self._spared) if found]
        order = {"grace": grace, "mark": self.mark, "leader": os.getpgrp() == os.getpid(), "spared": spared}
        self.guard = GuardProcess("watch", order, subprocess.DEVNULL)
        os.environ[guard.MARK] = self.mark
        # Orphans stay below this process, so that the guard sees them.
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        _announce_to(self.guard)

    @classmethod
    def start(cls, grace: float = GRACE) -> Watch | None:
        """Start watching, None where the system cannot (no Linux)."""
        if not kernel.LINUX:
            log.info("processes started by the task are not watched on %s: that needs Linux", sys.platform)
            return None
        return cls(grace)

    def goodbye(self) -> None:
        """Stop watching; what runs is left alone."""
        self._finish(b"b")

    def stop(self) -> int:
        """End all processes that this process has started since.

        :return: how many were ended
        """
        return self._finish(b"k")

    def _finish(self, word: bytes) -> int:
        # A forked child inherits the task's signal handlers, and with them on_kill: the guard is not its own.
        if self.guard.status < 0 or self.guard.owner != os.getpid():
            return 0
        _announce_to(None)
        self.guard.say(word)
        ended = 0
        try:
            ended = (self.guard.wait(self.grace + guard.HARD) or (None, 0))[1]
        except TransientError:
            if word == b"k":
                ended = _end_orphans(self._spared, 2.0)
        self.guard.close()
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 0)
        if self._before is None:
            os.environ.pop(guard.MARK, None)
        else:
            os.environ[guard.MARK] = self._before
        return ended


_watching: GuardProcess | None = None
_hooked = False


def _announce_to(process: GuardProcess | None) -> None:
    global _watching, _hooked
    _watching = process
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=_announce)


def _announce() -> None:
    if _watching is not None:
        _watching.say(b"+%d;" % os.getpid())
