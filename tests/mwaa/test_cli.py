"""The command's words: what is wrong, which, and what instead; and its exit codes and streams."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from tradewind.local.state import State
from tradewind.local.versions import DEFAULT, VERSIONS
from tradewind.mwaa import cli

RUNNING = version("apache-airflow")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "dags").mkdir(parents=True)
    return tmp_path / "project"


def tradewind(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tradewind.mwaa.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_help_names_every_command_and_the_versions() -> None:
    assert all(name in tradewind("--help").stdout for name in cli.SUBCOMMANDS)
    assert all(name in tradewind("up", "--help").stdout.replace("\n", " ") for name in VERSIONS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("up", "--airflow", "1.10.15"), "invalid choice: '1.10.15'"),
        (("up", "--port", "70000"), "'70000' is not a port: give a number from 1 to 65535"),
        (("up", "--option", "parallelism=3"), "is not an option: write section.key=value"),
        (("fly",), "invalid choice: 'fly'"),
    ],
)
def test_wrong_arguments_are_usage_errors(arguments: tuple[str, ...], words: str) -> None:
    done = tradewind(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    for name in ("up", "status", "down"):
        done = tradewind(name, tmp_path / "missing")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"there is no folder {tmp_path / 'missing'}" in done.stderr


def test_a_folder_without_dags_is_named(tmp_path: Path) -> None:
    done = tradewind("up", tmp_path)

    assert done.returncode == 2
    assert f"{tmp_path} has no folder dags: make it and put the DAGs there" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_named(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = tradewind("up", project, "--port", str(port))

    assert done.returncode == 2
    assert f"port {port} is in use: choose another with --port" in done.stderr


def test_a_state_folder_with_something_else_in_it_is_left_alone(project: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = tradewind("up", project, "--state", tmp_path / "mine")

    assert done.returncode == 2
    assert "holds files that are not an environment's state" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_state_folder_that_is_a_file_is_named(project: Path) -> None:
    (project / ".tradewind").write_text("")
    done = tradewind("up", project)

    assert done.returncode == 2
    assert f"cannot use the state folder {project / '.tradewind'}" in done.stderr


def test_missing_constraints_are_named(project: Path) -> None:
    (project / "requirements.txt").write_text("six\n")
    before = set(psutil.Process().children(recursive=True))
    done = tradewind("up", project, "--constraints", project / "none.txt")

    assert done.returncode == 2
    assert f"there is no constraints file {project / 'none.txt'}" in done.stderr
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.skipif(RUNNING not in VERSIONS, reason=f"MWAA does not offer Airflow {RUNNING}")
def test_an_airflow_that_does_not_start_is_told_with_its_last_words(project: Path) -> None:
    (project / "startup.sh").write_text("echo the disk of the moon is full >&2\nfalse\n")
    done = tradewind("up", project, "--airflow", RUNNING)

    assert (done.returncode, done.stdout) == (1, "")
    assert "the disk of the moon is full" in done.stderr
    assert "startup.sh ended with status 1" in done.stderr
    assert tradewind("status", project).returncode == 1


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with pytest.raises(OSError, match="No space left"):
        path.write_bytes(b"x" * (32 << 20))


def test_a_full_disk_is_told(project: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    try:
        small = tradewind("up", project, "--state", disk / "state")
        fill(disk / "filler")
        full = tradewind("up", project, "--state", disk / "other")
    finally:
        subprocess.run(["umount", disk], check=True)

    assert (small.returncode, full.returncode) == (1, 1)
    assert f"the disk of the state folder {disk / 'state'} has" in small.stderr
    assert "free some, or choose --state" in full.stderr


@pytest.fixture
def running(project: Path) -> Iterator[State]:
    """A state folder that another process says it runs."""
    state = State(project / ".tradewind")
    state.open()
    state.announce(
        {
            "path": str(project),
            "airflow": DEFAULT,
            "web": "http://127.0.0.1:1",
            "s3": "http://127.0.0.1:2",
            "bucket": "mwaa-local",
            "components": {"scheduler": os.getpid(), "triggerer": 2**22 - 1},
        }
    )
    yield state
    state.retire()
    state.close()


def test_status_shows_the_components_their_memory_and_who_is_gone(running: State, project: Path) -> None:
    done = tradewind("status", project, "--json")
    facts = json.loads(done.stdout)
    rows = {row["name"]: row for row in facts["components"]}

    assert (done.returncode, done.stderr) == (0, "")
    assert (facts["running"], facts["web"], rows["scheduler"]["pid"]) == (True, "http://127.0.0.1:1", os.getpid())
    assert rows["scheduler"]["bytes"] > 10 << 20
    assert rows["triggerer"] == {"name": "triggerer", "pid": 2**22 - 1, "processes": 0, "bytes": 0}
    assert "gone" in tradewind("status", project).stdout


def test_a_second_environment_on_the_folder_is_refused_and_the_first_stays_known(running: State, project: Path) -> None:
    done = tradewind("up", project)

    assert done.returncode == 1
    assert f"an environment runs in {running.folder} (pid {os.getpid()}, http://127.0.0.1:1) already" in done.stderr
    assert tradewind("status", project).returncode == 0


def test_a_stale_state_is_seen_even_if_its_number_belongs_to_another(running: State, project: Path) -> None:
    facts = json.loads((running.folder / "running.json").read_text())
    (running.folder / "running.json").write_text(json.dumps({**facts, "started": facts["started"] - 1000}))

    assert tradewind("status", project, "--json").stdout == (
        json.dumps({"running": False, "state": str(running.folder)}) + "\n"
    )
    down = tradewind("down", project)
    assert (down.returncode, f"no environment runs in {running.folder}" in down.stderr) == (0, True)


def test_secrets_are_drawn_once_and_private(running: State) -> None:
    drawn = running.secrets()

    assert running.secrets() == drawn
    assert (running.folder / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert len({drawn.fernet_key, drawn.jwt_secret, drawn.web_secret, drawn.password}) == 4


def test_no_colour_where_it_is_not_wanted(tmp_path: Path) -> None:
    import pty

    outputs = {}
    for name, extra in (("colour", {}), ("plain", {"NO_COLOR": "1"})):
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", **extra}
        subprocess.run(
            [sys.executable, "-m", "tradewind.mwaa.cli", "down", tmp_path / "missing"],
            stderr=theirs,
            env={key: value for key, value in environment.items() if key != "NO_COLOR" or extra},
            timeout=60,
            check=False,
        )
        os.close(theirs)
        outputs[name] = os.read(ours, 65536)
        os.close(ours)

    assert b"\x1b[31m" in outputs["colour"]
    assert b"\x1b[3" not in outputs["plain"]
