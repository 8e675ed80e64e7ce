"""The process that stands between a task and the processes it starts, and ends them when the task is gone.

It is run as a program of its own, by a bare interpreter (``python -I -S``): it imports of the standard library as
little as can be, neither json nor typing nor contextlib. It costs some 17 ms of CPU from its start to its end, 8 of
which are the interpreter's own (measured; on a busy machine 30 to 70 ms pass meanwhile).

A task that gets SIGKILL cannot clean up; this process can, for it lives outside the task's process group and learns of
the task's end from the kernel, by a pidfd (pidfd_open(2)), by PR_SET_PDEATHSIG (prctl(2)) and by the end of its input.

::

    run    starts a command and keeps all its descendants below itself (PR_SET_CHILD_SUBREAPER)
    watch  keeps an eye on the descendants of the task itself

The task writes what to do (its length as a line, then a dictionary as marshal writes it) and then at most one letter to
the guard's standard input: ``k`` asks to end the processes, ``b`` says goodbye, an end without it means that the task
died. The guard answers with one line: the exit code, or ``-``, and how many processes it ended.

That none is left is known for certain of a command: the kernel tells a subreaper that it has no child (ECHILD), while
a look at /proc can miss a process whose parent ends, or that is forked, during the look. A watch has but /proc, and
looks twice.

Without Linux's prctl and /proc (macOS) a command is ended by its process group, and nothing is watched.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import time

from tradewind.operators.processes.kernel import (
    LINUX,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    Process,
    below,
    descendants,
    look,
    marked,
    prctl,
    processes,
    send,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARK = "TRADEWIND_GUARD"
"""The environment variable by which the processes of a watched task are known."""
AFTER_DEATH = 0.7
"""Seconds between SIGTERM and SIGKILL when the task has died."""
SETTLE = 2.0
"""Seconds in which what a command left in the background may end by itself (``> >(tee log)`` writes to the last)."""
HARD = 10.0
"""Seconds after which SIGKILL is given up: a process of another user, or one that hangs in the kernel."""
SNAPSHOT = 0.2
"""Seconds between two looks at the children of a watched task."""


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
            self.drain()
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

    def none_left(self) -> bool:
        """Tell whether all is over."""
        raise NotImplementedError

    def end(self, grace: float, hard: float = HARD) -> None:
        """End all targets: SIGTERM, a pause, then SIGSTOP and SIGKILL until none is left.

        :param grace: seconds between the two
        :param hard: seconds after which SIGKILL is given up
        """
        if self.none_left():
            return
        self.signal_all(signal.SIGTERM)
        self.until_none(min(grace, AFTER_DEATH) if self.hurry else grace)
        deadline = time.monotonic() + hard
        while not self.none_left() and time.monotonic() < deadline:
            self.freeze(deadline)
            self.signal_all(signal.SIGKILL)
            self.until_none(0.05)

    def freeze(self, deadline: float) -> None:
        """Stop all targets, so that none starts another while they are ended one by one."""
        stopped: set[tuple[int, int]] = set()
        while time.monotonic() < deadline:
            found = {process.key for process in self.targets().values()} - stopped
            if not found:
                return
            for pid, _ in found:
                send(pid, signal.SIGSTOP)
            stopped |= found

    def signal_all(self, number: int) -> None:
        """Send a signal to each target."""
        for process in self.targets().values():
            self.ended.add(process.key)
            send(process.pid, number)
            if number == signal.SIGTERM:
                send(process.pid, signal.SIGCONT)  # a stopped process would not hear it

    def until_none(self, seconds: float) -> bool:
        """Wait until no target is left, or the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            if self.none_left():
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
        self.drain()

    def drain(self) -> None:
        """Take what the signals have written."""
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            return

    def report(self, code: int | None = None) -> None:
        """Tell the task how it went; it may be gone."""
        line = f"{'-' if code is None else code} {len(self.ended)}\n"
        try:
            os.write(self.status, line.encode())
        except OSError:
            return


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
        self.childless = True

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
        self.childless = False
        return child

    def reap(self) -> None:
        """Let zombies go, and keep the command's exit code."""
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self.child:
                    self.code = os.waitstatus_to_exitcode(found[1])
        except ChildProcessError:
            self.childless = True

    def none_left(self) -> bool:
        """Tell whether all is over: whoever is orphaned below us becomes our child."""
        self.reap()
        return self.childless if LINUX else not self.group()

    def targets(self) -> dict[int, Process]:
        """Return all living descendants of ours."""
        if not LINUX:
            return self.group()
        return descendants(os.getpid())

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
        self.report(self.code)


class Watcher(Guard):
    """Watches the descendants of the task, but for those that were there before."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.known: set[tuple[int, int]] = set()
        self.rest = b""
        self.spared: list[tuple[int, int]] = order["spared"]
        self.mark = f"{MARK}={order['mark']}".encode()
        super().__init__(order)
        # A task that leads a process group (as under a worker) owns all of it.
        self.group: int | None = self.task if order["leader"] else None

    def hear(self, data: bytes) -> str:
        """Note the pids that forked children announce (``+123;``)."""
        *whole, self.rest = (self.rest + data).split(b";")  # the half of a number is another process's
        for part in whole:
            _, plus, number = part.rpartition(b"+")
            if plus and number.isdigit() and (process := look(int(number))):
                self.known.add(process.key)
        return super().hear(data)

    def listen(self) -> None:
        """Take in what forked children have said by now."""
        if self.heard:  # with the order: the task died before it was looked at
            heard, self.heard = self.heard, b""
            self.hear(heard)
        while self.hurry and select.select([0], [], [], 0)[0] and (data := os.read(0, 4096)):
            self.hear(data)

    def snapshot(self) -> None:
        """Remember the task's descendants: once it is dead, they are no longer below it."""
        found = descendants(self.task)
        for pid, started in self.spared:
            if pid in found and found[pid].started == started:
                for other in (pid, *descendants(pid)):
                    found.pop(other, None)
        found.pop(os.getpid(), None)
        self.known |= {process.key for process in found.values()}

    def none_left(self) -> bool:
        """Tell whether two looks in a row have found nothing."""
        return not self.targets() and not self.targets()

    def targets(self) -> dict[int, Process]:
        """Return what is known, marked, or in the task's process group, and all below."""
        self.listen()
        everyone = processes()
        own = {os.getpid(), self.task}
        spared = {pid for pid, started in self.spared if pid in everyone and everyone[pid].started == started}
        own |= spared | below(spared, everyone)
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
        if word == "k" and not self.none_left():
            self.outlast()

    def outlast(self) -> None:
        """Wait for the task's death, then end what it started anew (a pool replaces workers that die)."""
        while not self.gone(SNAPSHOT):
            self.snapshot()
        self.hurry = True
        self.end(0)

    def gone(self, seconds: float) -> bool:
        """Tell whether the task is gone, or goes within the time."""
        if self.pidfd is None:
            self.pause(seconds)
            return os.getppid() != self.task
        return bool(select.select([self.pidfd], [], [], seconds)[0])


def main(mode: str) -> None:
    """Read the order and carry it out.

    :param mode: ``run`` or ``watch``
    """
    size, data = -1, b""
    while size < 0 or len(data) < size:
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        data += chunk
        if size < 0 and b"\n" in data:
            head, _, data = data.partition(b"\n")
            size = int(head)
    order = {**marshal.loads(data[:size]), "heard": data[size:]}  # noqa: S302 (it comes from our own parent)
    (Runner if mode == "run" else Watcher)(order).run()
    os._exit(0)  # nothing is left to do: the task waits for our end
