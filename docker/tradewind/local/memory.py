"""How much memory processes take, each shared page counted once, and how much time of the processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """One process and its descendants.

    :param pid: the process
    :param count: how many processes
    :param bytes: their proportional set size, where the system tells it, else their resident size
    """

    pid: int
    count: int
    bytes: int


def usage(pid: int, *, alone: bool = False) -> Usage | None:
    """Measure a process and its descendants.

    :param alone: whether to leave the descendants out
    :return: None when it is gone
    """
    import psutil

    try:
        root = psutil.Process(pid)
        tree = [root] if alone else [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    sizes = [size for process in tree if (size := _size(process.pid)) is not None]
    return Usage(pid, len(sizes), sum(sizes))


def cpu_seconds(pid: int, *, alone: bool = False) -> float:
    """Return how many seconds of a core a process and its descendants took, those that ended included.

    :param alone: whether to leave the descendants out
    """
    import psutil

    total = 0.0
    try:
        root = psutil.Process(pid)
        for process in [root] if alone else [root, *root.children(recursive=True)]:
            times = process.cpu_times()
            total += times.user + times.system + (0 if alone else times.children_user + times.children_system)
    except psutil.Error:  # it is gone, or has just gone
        pass
    return total


def _size(pid: int) -> int | None:
    import psutil

    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
