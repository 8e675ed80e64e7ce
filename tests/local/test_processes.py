"""The guard: nothing that it started outlives the one who asked, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tradewind.local.errors import StartFailed
from tradewind.local.processes import Guard, free_port, port_is_free, tail

FAMILY = """
import os, sys, time
# A child in a session of its own whose parent is gone: what a group's kill does not reach.
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""

OWNER = """
import sys, time
from tradewind.local.processes import Guard
guard = Guard()
child = guard.start("family", [sys.executable, "-c", sys.argv[1], sys.argv[2]])
print(guard.pid, child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


def wait_for(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def read_pid(path: Path) -> int:
    wait_for(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def test_it_tells_how_a_process_ended(guard: Guard, tmp_path: Path) -> None:
    output = tmp_path / "log"

    child = guard.start("talker", [sys.executable, "-c", "print('hello'); raise SystemExit(3)"], output=output)

    assert child.wait(20) == 3
    assert tail(output) == "hello"


def test_a_program_that_is_not_there_is_named(guard: Guard) -> None:
    with pytest.raises(StartFailed, match=r"cannot start ghost: .*no-such-program"):
        guard.start("ghost", ["/no-such-program"])


def test_stop_is_polite_first_and_then_not(guard: Guard) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    polite, stubborn = (
        guard.start("polite", [sys.executable, "-c", "import time; time.sleep(600)"]),
        guard.start("stubborn", [sys.executable, "-c", deaf]),
    )
    wait_for(lambda: b"\x00" in Path(f"/proc/{stubborn.pid}/cmdline").read_bytes())
    wait_for(lambda: ignores_sigterm(stubborn.pid))

    polite.stop(timeout=10)
    stubborn.stop(timeout=0.3)

    assert (polite.poll(), stubborn.poll()) == (-signal.SIGTERM, -signal.SIGKILL)


def ignores_sigterm(pid: int) -> bool:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_sweep_finds_those_who_left_their_group_and_lost_their_parent(guard: Guard, tmp_path: Path) -> None:
    guard.start("family", [sys.executable, "-c", FAMILY, str(tmp_path / "pid")])
    stray = read_pid(tmp_path / "pid")

    guard.sweep()

    wait_for(lambda: not psutil.pid_exists(stray))


WORKERS = """
import os, signal, sys, time
# Two that outlive their parent: one in its session, and below that one in a session of its own.
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
    open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
time.sleep(600)
"""


def test_nothing_of_a_killed_process_is_left_when_its_end_is_told(guard: Guard, tmp_path: Path) -> None:
    """Its workers would keep its connections open, and what they run would run beside what replaces it."""
    folders = tmp_path / "killed", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
    killed, other = (guard.start(folder.name, [sys.executable, "-c", WORKERS, str(folder)]) for folder in folders)
    wait_for(lambda: all(len(list(folder.iterdir())) == 2 for folder in folders))

    killed.signal(signal.SIGTERM)  # to itself alone
    assert killed.wait(20) == -signal.SIGTERM

    wait_for(lambda: not any(psutil.pid_exists(int(path.name)) for path in folders[0].iterdir()))
    assert all(psutil.pid_exists(int(path.name)) for path in folders[1].iterdir())
    assert other.poll() is None


@pytest.mark.parametrize("victim", ["owner", "guard and owner"])
def test_nothing_outlives_a_killed_owner(tmp_path: Path, victim: str) -> None:
    pids = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, FAMILY, str(pids)], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as owner:
        assert owner.stdout is not None
        guard_pid, child = map(int, owner.stdout.readline().split())
        stray = read_pid(pids)
        everybody = {guard_pid, child} | ({stray} if victim == "owner" else set())
        if victim != "owner":
            os.kill(guard_pid, signal.SIGKILL)  # the kernel then tells the children (PR_SET_PDEATHSIG)
        owner.kill()
    try:
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in everybody))
    finally:
        if psutil.pid_exists(stray):
            os.kill(stray, signal.SIGKILL)


def test_a_taken_port_is_not_free() -> None:
    import socket

    port = free_port()

    assert port_is_free(port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not port_is_free(port)
