"""The process that stands between a task and the processes it starts, and ends them when the task is gone.

It is run as a program of its own (``python -I -S guard.py``), so it imports the standard library alone, and little of
that: it starts within some 15 ms. A task that gets SIGKILL cannot clean up; this process can, for it lives outside the
task's process group and learns of the task's end from the kernel, by a pidfd (pidfd_open(2)), by PR_SET_PDEATHSIG
(prctl(2)) and by the end of its input.

::

    guard.py run    starts a command and keeps all its descendants below itself (PR_SET_CHILD_SUBREAPER)
    guard.py watch  keeps an eye on the descendants of the task itself

The task writes one JSON line (what to do) and then at most one letter to the guard's standard input: ``k`` asks to
end the processes, ``b`` says goodbye, an end without it means that the task died. The guard answers with one JSON line.
Without Linux's prctl and /proc (macOS) a command is ended by its process group, and nothing is watched.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

LINUX = sys.platform.startswith("linux")
MARK = "TRADEWIND_GUARD"
"""The environment variable by which the processes of a watched task are known."""
AFTER_DEATH = 0.7
"""Seconds between SIGTERM and SIGKILL when the task has died."""
SETTLE = 2.0
"""Seconds in which what a command left in the background may end by itself (``> >(tee log)`` writes to the last)."""
HARD = 10.0
"""Seconds after which SIGKILL is given up: a process of another user, or one that hangs in the kernel."""
OUTLAST = 60.0
"""Seconds to wait for the end of a task that goes on starting processes while they are being ended."""
SNAPSHOT = 0.2
"""Seconds between two looks at the children of a watched task."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; nothing happens where the system has none."""
    if not LINUX:
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


class Process:
    """One line of /proc: enough to know a process again.

    :param started: its start in clock ticks since boot: a reused pid has another
    """

    __slots__ = ("group", "parent", "pid", "started", "state")

    def __init__(self, pid: int, stat: str) -> None:
        fields = stat[stat.rindex(")") + 2 :].split()
        self.pid = pid
        self.state = fields[0]
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.started = int(fields[19])

    @property
    def key(self) -> tuple[int, int]:
        """The identity of the process."""
        return self.pid, self.started


def look(pid: int) -> Process | None:
    """Read one process off /proc, None where it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            found = Process(pid, file.read())
    except (OSError, ValueError, IndexError):
        return None
    return None if found.state in "ZX" else found


def processes() -> dict[int, Process]:
    """List all living processes by pid."""
    if not LINUX:
        return {}
    found = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process}


def below(roots: set[int], everyone: dict[int, Process]) -> set[int]:
    """Return the descendants of ``roots``, without themselves."""
    children: dict[int, list[int]] = {}
    for process in everyone.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    queue = list(roots)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found - roots


def marked(pid: int, mark: bytes) -> bool:
    """Tell whether a process carries the mark in the environment it was started with."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False


class Guard:
    """What both ways share: the signals, the wait for the task, the end of the processes.

    :param order: what the task asks for
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self.task: int = order["task"]
        self.grace: float = order["grace"]
        self.status: int = order["status"]
        os.set_inheritable(self.status, False)
        self.ended: set[tuple[int, int]] = set()
        self.died = False
        self.hurry = False
        self.heard: bytes = order["heard"]
        self.wake, self.waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if LINUX else os.pipe()
        if not LINUX:
            os.set_blocking(self.waker, False)
            os.set_blocking(self.wake, False)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self.on_signal)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        self.pidfd = self.open_pidfd()
        # The parent may have died before prctl: then nobody tells us.
        self.died = self.died or os.getppid() != self.task

    def open_pidfd(self) -> int | None:
        """Open the task's pidfd, None where the kernel has none (before Linux 5.3)."""
        try:
            return os.pidfd_open(self.task)
        except (AttributeError, OSError):
            return None

    def on_signal(self, number: int, _: object) -> None:
        """Take a signal: all but SIGCHLD mean that the task is gone, or that we are to go."""
        if number != signal.SIGCHLD:
            self.died = True

    def wait(self, seconds: float | None) -> str:
        """Wait for a word of the task, its death or a child's.

        :return: ``k``, ``b``, ``dead``, or nothing
        """
        if self.died:
            return "dead"
        if self.heard:
            heard, self.heard = self.heard, b""
            return self.hear(heard)
        watched = [0, self.wake] + ([self.pidfd] if self.pidfd is not None else [])
        ready, _, _ = select.select(watched, [], [], seconds)
        if self.wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)
        if self.died:
            return "dead"
        if 0 in ready:
            return self.hear(os.read(0, 4096))
        return "dead" if self.pidfd in ready else ""

    def hear(self, data: bytes) -> str:
        """Understand what the task, or a forked child of it, says."""
        if not data:
            return "dead"
        return next((word for word in ("k", "b") if word.encode() in data), "")

    def targets(self) -> dict[int, Process]:
        """Return the living processes that are to end."""
        raise NotImplementedError

    def reap(self) -> None:
        """Let zombies go."""

    def end(self, grace: float, hard: float = HARD) -> None:
        """End all targets: SIGTERM, a pause, SIGKILL until none is left.

        :param grace: seconds between the two
        :param hard: seconds after which SIGKILL is given up
        """
        self.signal_all(signal.SIGTERM)
        self.until_none(min(grace, AFTER_DEATH) if self.hurry else grace)
        deadline = time.monotonic() + hard
        while self.signal_all(signal.SIGKILL) and time.monotonic() < deadline:
            self.until_none(0.05)

    def signal_all(self, number: int) -> int:
        """Send a signal to each target, and say how many there were."""
        targets = self.targets()
        for process in targets.values():
            self.ended.add(process.key)
            with contextlib.suppress(OSError):
                os.kill(process.pid, number)
            if number == signal.SIGTERM:
                with contextlib.suppress(OSError):
                    os.kill(process.pid, signal.SIGCONT)  # a stopped process would not hear it
        return len(targets)

    def until_none(self, seconds: float) -> bool:
        """Wait until no target is left, or the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            self.reap()
            if not self.targets():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self.hurry:
                self.pause(min(left, 0.05))
            elif self.wait(min(left, 0.05)) in ("k", "dead"):
                self.hurry = True
                deadline = min(deadline, time.monotonic() + AFTER_DEATH)

    def pause(self, seconds: float) -> None:
        """Wait for a child's end, deaf to everything else."""
        select.select([self.wake], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake, 4096)

    def report(self, **words: Any) -> None:
        """Tell the task how it went; it may be gone."""
        line = json.dumps({**words, "ended": len(self.ended)}) + "\n"
        with contextlib.suppress(OSError):
            os.write(self.status, line.encode())


class Runner(Guard):
    """Runs a command, and ends with it."""

    def __init__(self, order: dict[str, Any]) -> None:
        super().__init__(order)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.code: int | None = None
        self.argv: list[str] = order["argv"]
        self.env: dict[str, str] = order["env"]
        self.cwd: str = order["cwd"]
        self.child = 0

    def start(self) -> int:
        """Start the command in a session of its own, with its output where ours went."""
        null = os.open(os.devnull, os.O_RDWR)
        guard = os.getpid()
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != guard:
                    os._exit(137)
                signal.set_wakeup_fd(-1)
                for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGXFSZ"):
                    signal.signal(getattr(signal, name), signal.SIG_DFL)
                os.dup2(null, 0)
                os.chdir(self.cwd)
                os.execve(self.argv[0], self.argv, self.env)  # noqa: S606 (the argv is the caller's)
            except OSError as error:
                os.write(2, f"cannot start {self.argv[0]}: {error}\n".encode())
            finally:
                os._exit(127)
        # Our copies of the output would keep it open after the command's end.
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)
        return child

    def reap(self) -> None:
        """Let zombies go, and keep the command's exit code."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.child:
                    self.code = os.waitstatus_to_exitcode(status)

    def targets(self) -> dict[int, Process]:
        """Return all living descendants of ours."""
        if not LINUX:
            return self.group()
        everyone = processes()
        return {pid: everyone[pid] for pid in below({os.getpid()}, everyone)}

    def group(self) -> dict[int, Process]:
        """Stand in for /proc: the command's process group is one target."""
        try:
            os.killpg(self.child, 0)
        except OSError:
            return {}
        return {-self.child: Process(-self.child, f"() S 0 {self.child} " + "0 " * 20)}

    def run(self) -> None:
        """Wait for the command, the task or its word, then clear up and report."""
        if self.died:
            return
        self.child = self.start()
        word = ""
        while not word:
            self.reap()
            if self.code is not None:
                break
            word = self.wait(None)
        if not word:
            # A normal end: what it left in the background may write its last lines, then it ends too.
            self.until_none(SETTLE)
            grace = self.grace
        else:
            self.hurry = word == "dead"
            grace = self.grace
        self.end(grace)
        self.reap()
        self.report(code=self.code)


class Watcher(Guard):
    """Watches the descendants of the task."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.known: set[tuple[int, int]] = set()
        self.mark = f"{MARK}={order['mark']}".encode()
        super().__init__(order)
        # A task that leads a process group (as under a worker) owns all of it.
        self.group: int | None = self.task if order["leader"] else None

    def hear(self, data: bytes) -> str:
        """Note the pids that forked children announce (``+123;``)."""
        for part in data.split(b";"):
            if part.startswith(b"+") and part[1:].isdigit() and (process := look(int(part[1:]))):
                self.known.add(process.key)
        return super().hear(data)

    def listen(self) -> None:
        """Take in what forked children have said by now."""
        while self.hurry and select.select([0], [], [], 0)[0] and (data := os.read(0, 4096)):
            self.hear(data)

    def snapshot(self) -> None:
        """Remember the task's descendants: once it is dead, they are no longer below it."""
        queue = [self.task]
        while queue:
            pid = queue.pop()
            for child in children(pid):
                queue.append(child)
                if child != os.getpid() and (process := look(child)):
                    self.known.add(process.key)

    def targets(self) -> dict[int, Process]:
        """Return what is known, marked, or in the task's process group, and all below."""
        self.listen()
        everyone = processes()
        own = {os.getpid(), self.task}
        found = {process.pid for process in everyone.values() if self.is_ours(process)}
        found |= below(found | {self.task}, everyone)
        for pid in found - own:
            self.known.add(everyone[pid].key)
        return {pid: everyone[pid] for pid in found - own}

    def is_ours(self, process: Process) -> bool:
        """Tell whether a process belongs to the task, whoever is its parent by now."""
        if process.pid in (os.getpid(), self.task):
            return False
        return process.key in self.known or process.group == self.group or marked(process.pid, self.mark)

    def run(self) -> None:
        """Watch until the task dies, fails or says goodbye."""
        word = "dead" if self.died else ""
        while not word:
            self.snapshot()
            word = self.wait(SNAPSHOT)
        self.hurry = word == "dead"
        if word == "dead":
            self.end(self.grace)
        if word == "k":
            self.end(self.grace, hard=0.5)
        self.report()
        if word == "k" and self.targets():
            self.outlast()

    def outlast(self) -> None:
        """Wait for the task's death, then end what it started anew (a pool replaces workers that die)."""
        if self.pidfd is not None:
            select.select([self.pidfd], [], [], OUTLAST)
            self.hurry = True
            self.end(0)


def children(pid: int) -> list[int]:
    """List the children of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(text) for text in file.read().split()]
    return found


def main() -> None:
    """Read the order and carry it out."""
    data = b""
    while b"\n" not in data:
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        data += chunk
    line, _, heard = data.partition(b"\n")
    order = {**json.loads(line), "heard": heard}
    (Runner if sys.argv[1] == "run" else Watcher)(order).run()


if __name__ == "__main__":
    main()
