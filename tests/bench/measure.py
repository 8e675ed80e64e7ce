"""One run of one contender in a process of its own: ``python -m tests.bench.measure JSON`` prints JSON."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests import fix_airflow  # noqa: F401 (first: it gives Airflow a home)
from tests.bench.contenders import CONTENDERS, Task
from tests.bench.houses import HOUSE_CONTENDERS, HOUSES
from tests.bench.pairs import PAIR_CONTENDERS, PAIRS
from tests.snowflake.server import SnowflakeServer
from tests.stage import Stage


@dataclass(frozen=True)
class Measured:
    """What a run took.

    :param seconds: from the begin of the work to its end, imports left out
    :param cpu: seconds of CPU of the client alone
    :param base: bytes of memory that the process held before, with everything imported
    :param peak: bytes at most
    """

    seconds: float
    cpu: float
    base: int
    peak: int


def _memory(pid: int | str, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _measure_inside(work: Any) -> Measured:
    """Measure work in this process; its peak of memory starts anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
    base, cpu, started = _memory("self", "VmRSS"), _cpu(resource.RUSAGE_SELF), time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    cpu = _cpu(resource.RUSAGE_SELF) + _cpu(resource.RUSAGE_CHILDREN) - cpu
    return Measured(seconds, cpu, base, _memory("self", "VmHWM"))


def _measure_outside(work: Any) -> Measured:
    """Measure a program that ``work`` starts, looking at its peak of memory while it runs."""
    cpu, started = _cpu(resource.RUSAGE_CHILDREN), time.perf_counter()
    process: subprocess.Popen[bytes] = work()
    peaks = [0]
    watcher = threading.Thread(target=_watch, args=(process, peaks))
    watcher.start()
    process.wait()
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode:
        raise SystemExit(f"the program failed with exit code {process.returncode}")
    return Measured(seconds, _cpu(resource.RUSAGE_CHILDREN) - cpu, 0, max(peaks))


def _watch(process: subprocess.Popen[bytes], peaks: list[int]) -> None:
    """Take the sum of a program's and its children's peaks."""
    import psutil

    program = psutil.Process(process.pid)
    each: dict[int, int] = {}
    while process.returncode is None:
        for one in [program, *_children(program)]:
            with contextlib.suppress(OSError):
                each[one.pid] = max(each.get(one.pid, 0), _memory(one.pid, "VmHWM"))
        peaks.append(sum(each.values()))
        time.sleep(0.05)


def _children(program: Any) -> list[Any]:
    import psutil

    try:
        return list(program.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _work(name: str, task: Task) -> tuple[bool, Any]:
    """Return what does the work, and whether that is programs of its own."""
    if task.direction in HOUSES:
        return False, HOUSE_CONTENDERS[name](task).work()
    if task.direction in PAIRS:
        pair = PAIR_CONTENDERS[name](task)
        return pair.external, pair.work()
    contender = CONTENDERS[name](task)
    return contender.external, getattr(contender, task.direction)()


def main() -> None:
    """Run the contender that the argument names."""
    asked = json.loads(sys.argv[1])
    os.sched_setaffinity(0, asked["cores"])
    given = asked["stage"]
    snowflake = SnowflakeServer(None, {}, Path(os.devnull), url=given.pop("snowflake")) if given["snowflake"] else None
    stage = Stage(**{**given, "snowflake": snowflake})
    os.environ |= stage.connections()
    task = Task(asked["direction"], stage, Path(asked["file"]), Path(asked["result"]), asked["run_id"], asked["kind"])
    external, work = _work(asked["name"], task)
    measured = (_measure_outside if external else _measure_inside)(work)
    print("\n" + json.dumps(asdict(measured)))


def run(name: str, task: Task, cores: Collection[int], timeout: float) -> Measured:
    """Run a contender in a fresh process.

    :param cores: where it may run
    :param timeout: seconds until it is given up
    :raises RuntimeError: where it fails, with the end of its output
    """
    asked = {
        "name": name,
        "direction": task.direction,
        "stage": asdict(replace(task.stage, snowflake=None))
        | {"snowflake": getattr(task.stage.snowflake, "url", None)},
        "file": str(task.file),
        "result": str(task.result),
        "run_id": task.run_id,
        "kind": task.kind,
        "cores": sorted(cores),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.measure", json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed to {task.direction}:\n{(done.stdout + done.stderr)[-3000:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
