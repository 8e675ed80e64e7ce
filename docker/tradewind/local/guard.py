"""The parent of every process of an environment: nothing that it started outlives the one who asked.

Runs as a script of its own (``python -I -S guard.py FD PARENT``), imports the standard library alone, and speaks
JSON lines over the socket FD. When the other end goes away, by an orderly close or by SIGKILL, the guard ends
what it started in reverse order and then whatever else descends from it: on Linux it is a child subreaper, so that even
a process that left its group and lost its parent is still found.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

LINUX = sys.platform == "linux"
GRACE = 8.0
"""Seconds that the processes get between the polite signal and SIGKILL when the asker is gone."""

STDOUT = "-"
"""The name of the guard's own output, among those of files."""

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522


def prctl(option: int, *arguments: int) -> None:
    """Set an attribute of this process, see the manual page of the same name.

    :raises OSError: when the kernel refuses
    """
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become(uid: int, gid: int, capability: int | None) -> None:
    """Drop root for good, keeping at most one capability, which survives an exec (capabilities(7), ambient set).

    :param capability: the number of the capability to keep
    """
    if capability is not None:
        try:
            # Without it access(2), by which initdb looks for its programs, takes no notice of a capability.
            prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
        except OSError:
            prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capability is not None:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        bit = 1 << capability
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.capset(header, data) != 0:
            raise OSError(ctypes.get_errno(), "capset")
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def renice(pid: int, nice: int) -> None:
    """Set how much a session gives way to the others; without effect where the system does not allow it.

    Where the kernel groups the processes of a session (autogroup, see sched(7)), plain niceness counts within
    the session alone, and it is the group's that counts between them.
    """
    path = f"/proc/{pid}/autogroup"
    if LINUX and os.path.exists(path):
        for _ in range(5):
            try:
                with open(path, "w") as file:
                    file.write(str(nice))
                return
            except OSError as error:
                if error.errno != errno.EAGAIN:  # the kernel takes ten of these a second
                    break
                time.sleep(0.05)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)


def table() -> dict[int, tuple[int, int]]:
    """Return parent and session of every process, by process id, from the kernel's table."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            found[int(entry)] = (int(fields[1]), int(fields[3]))
    return found


def descendants(roots: list[int], processes: dict[int, tuple[int, int]]) -> list[int]:
    """Return the process ids below others.

    :param processes: what :func:`table` returned
    """
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = list(roots)
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def session_of(leader: int) -> set[int]:
    """Return the processes of a session, and what they started in sessions of their own."""
    processes = table()
    members = [pid for pid, (_, session) in processes.items() if session == leader]
    return {*members, *descendants(members, processes)}


class Guard:
    """The loop: requests in, exits out."""

    def __init__(self, channel: socket.socket, parent: int) -> None:
        self.channel = channel
        self.parent = parent
        self.pid = os.getpid()
        self.running: dict[int, int] = {}  # pid -> the signal that asks it to stop, in the order of starting
        self.buffer = b""

    def run(self) -> None:
        """Serve until the asker is gone, then end everything."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while os.getppid() == self.parent:
            ready, _, _ = select.select([self.channel, reader], [], [], 1.0)
            if reader in ready:
                os.read(reader, 4096)
            self.reap()
            if self.channel in ready and not self.receive():
                break
        self.end()

    def receive(self) -> bool:
        """Handle what came in; return False at the end of the conversation."""
        try:
            data = self.channel.recv(1 << 16)
        except OSError:
            return False
        if not data:
            return False
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.handle(json.loads(line))
        return True

    def handle(self, request: dict[str, Any]) -> None:
        """Do one request and answer it."""
        answer: dict[str, Any] = {"id": request["id"]}
        try:
            if request["do"] == "start":
                answer["pid"] = self.start(request)
            elif request["do"] == "signal":
                self.signal(request["pid"], request["signal"])
            elif request["do"] == "nice":
                renice(request["pid"], request["nice"])
            else:
                self.sweep()
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            answer["error"] = str(error)
            answer["errno"] = getattr(error, "errno", None)
        self.send(answer)

    def send(self, message: dict[str, Any]) -> None:
        """Answer, or let it be: the end of the conversation is noticed by the loop."""
        with contextlib.suppress(OSError):
            self.channel.sendall(json.dumps(message).encode() + b"\n")

    def start(self, request: dict[str, Any]) -> int:
        """Start one process, the leader of a session of its own."""
        if request["output"] == STDOUT:
            output = os.dup(1)
        else:
            output = os.open(request["output"] or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                request["argv"],
                env=request["env"],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: self.prepare(request),
            )
        finally:
            os.close(output)
        process.returncode = 0  # this loop waits for it, not the object
        self.running[process.pid] = request["stop"]
        return process.pid

    def prepare(self, request: dict[str, Any]) -> None:
        """Set up the new process between fork and exec."""
        if request["nice"]:
            renice(os.getpid(), request["nice"])
        if request["uid"] is not None:
            become(request["uid"], request["gid"], request["capability"])
        if LINUX:  # after the change of user, which clears it
            prctl(PR_SET_PDEATHSIG, request["death"])
            if os.getppid() != self.pid:
                os._exit(1)

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process that is ours, and to its group where it asks to kill."""
        if pid in self.running:
            if number == signal.SIGKILL:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    def reap(self) -> None:
        """Collect the dead, those that were adopted included, and tell of those that were asked for."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.running.pop(pid, None) is not None:
                self.cut(pid)
                self.send({"exited": pid, "status": os.waitstatus_to_exitcode(status)})

    def cut(self, leader: int) -> None:
        """Kill what a process that ended has left in its session, before it is told of.

        The workers of a killed scheduler hold its connection to the database open, and with it the transaction it was
        in: its locks would keep the next scheduler from starting any task. What they run would run twice.
        """
        if not LINUX:
            with contextlib.suppress(OSError):
                os.killpg(leader, signal.SIGKILL)
            return
        found: set[int] = set()
        while new := session_of(leader) - found - {leader}:  # stopped first, so that none starts another meanwhile
            found |= new
            for pid in new:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def sweep(self) -> None:
        """Kill whatever descends from here, until nothing does."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            left = descendants([self.pid], table()) if LINUX else list(self.running)
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                    if not LINUX:
                        os.killpg(pid, signal.SIGKILL)
                except OSError:
                    continue
            self.reap()
            if not left:
                return
            time.sleep(0.01)

    def end(self) -> None:
        """Stop what runs, the last started first, politely for a while, then without mercy."""
        deadline = time.monotonic() + GRACE
        for pid, number in reversed(list(self.running.items())):
            try:
                os.kill(pid, number)
            except OSError:
                continue
        while self.running and time.monotonic() < deadline:
            self.reap()
            time.sleep(0.02)
        self.sweep()


def main() -> None:
    """Guard what the other end of the socket asks for."""
    channel, parent = int(sys.argv[1]), int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the processes started here would inherit
    if LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    Guard(socket.socket(fileno=channel), parent).run()


if __name__ == "__main__":
    main()
