"""What the kernel tells of processes: /proc, prctl(2), signals.

The guard loads this module in a bare interpreter, so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys

LINUX = sys.platform.startswith("linux")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; nothing happens where the system has none."""
    if not LINUX:
        return
    import ctypes

    try:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        return


def send(pid: int, number: int) -> None:
    """Send a signal to a process, which may be gone."""
    try:
        os.kill(pid, number)
    except OSError:
        return


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


def children(pid: int) -> list[int]:
    """List the children of a process."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(text) for text in file.read().split()]
        except OSError:
            continue
    return found


CHILDREN_LISTED = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""Whether the kernel lists a process's children (CONFIG_PROC_CHILDREN): much faster than a look at all of /proc."""


def descendants(root: int) -> dict[int, Process]:
    """List the living processes below one, by pid."""
    if not CHILDREN_LISTED:
        everyone = processes()
        return {pid: everyone[pid] for pid in below({root}, everyone)}
    found: dict[int, Process] = {}
    seen = {root}
    queue = [root]
    while queue:
        for pid in children(queue.pop()):
            if pid not in seen:
                seen.add(pid)
                queue.append(pid)
                if process := look(pid):
                    found[pid] = process
    return found
