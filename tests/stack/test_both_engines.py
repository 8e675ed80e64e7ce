"""One environment, two engines: the same bucket gives the same result, the same commands drive it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_up import DAG, Up, command, is_there, wait_for
from tests.stack.fix_stack import CONSTRAINTS, Containers, each_airflow, stack_arguments
from tradewind.local.api import Api
from tradewind.local.versions import VERSIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def embedded_arguments(airflow: str) -> tuple[str, ...]:
    """Return the arguments of ``up`` for the other engine."""
    constraints = CONSTRAINTS / airflow / "constraints.txt"
    return ("--airflow", airflow, *(("--constraints", str(constraints)) if constraints.is_file() else ()))


def watch_top(project: Path) -> str:
    """Return what ``tradewind top`` shows on a terminal without colours until Ctrl-C, which must end it well."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 160, 0, 0))
    variables = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
    process = subprocess.Popen(command("top", project), stdin=its, stdout=its, stderr=its, env=variables)
    os.close(its)
    shown = b""
    try:
        while b"ended (UTC)" not in shown:
            assert select.select([ours], [], [], 60)[0], shown.decode()
            shown += os.read(ours, 1 << 16)
        process.send_signal(signal.SIGINT)
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return shown.decode()


PLUGIN = """
def word():
    return "of a plugin"
"""


@pytest.mark.parametrize("engine", ["embedded", "docker"])
@pytest.mark.parametrize("airflow", each_airflow())
def test_a_day_with_an_environment(
    airflow: str, engine: str, up: Callable[..., Up], project: Path, containers: Containers
) -> None:
    arguments = stack_arguments(airflow) if engine == "docker" else embedded_arguments(airflow)
    (project / "plugins").mkdir()
    (project / "plugins" / "words.py").write_text(PLUGIN)
    environment = up(*arguments, "--option", "core.default_timezone=Europe/Berlin")
    facts = environment.ready(600)
    api = Api(facts["web"], VERSIONS[airflow].major, facts["user"], facts["password"])

    def run() -> object:
        run_id = api.trigger("hello")
        assert api.wait_run("hello", run_id, timeout=180) == "success"
        return api.xcom("hello", run_id, "answer")

    wait_for(lambda: is_there(api, "hello"), 120, "the DAG in Airflow")
    api.unpause("hello")
    environment.look()
    assert run() == {"schema": "warehouse", "mine": "yes", "read": True, "word": "WORD"}

    zone = '__import__("airflow.configuration").configuration.conf.get("core", "default_timezone")'
    changed = DAG.replace('"WORD"', f'[__import__("words").word(), {zone}]').replace('"mine"', '"own"')
    (project / "dags" / "hello.py").write_text(changed)
    (project / "dags" / "second.py").write_text(DAG.replace('"hello"', '"second"'))
    wait_for(lambda: is_there(api, "second"), 60, "the saved DAG in Airflow")
    wait_for(lambda: "own" in str(run()), 60, "the saved change in a task")
    assert run() == {"schema": "warehouse", "own": "yes", "read": True, "word": ["of a plugin", "Europe/Berlin"]}

    (project / "dags" / "broken.py").write_text(DAG.replace("import os", "import no_such_module"))
    wait_for(lambda: "dags/broken.py cannot be imported:" in environment.talk.read_text(), 60, "the broken DAG told")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in environment.talk.read_text()
    (project / "dags" / "broken.py").unlink()
    wait_for(lambda: "dags/broken.py is no longer broken" in environment.talk.read_text(), 120, "its end told")
    (project / "startup.sh").write_text("export MINE=no\n")
    wait_for(lambda: "updated startup.sh in" in environment.talk.read_text(), 600, "the update")

    status = environment.status()
    assert status["running"]
    assert status["tasks"] == {"running": 0, "queued": 0}
    assert status["slots"] == (5 * status["workers"] if engine == "docker" else 4)
    assert status["web"] == facts["web"]
    assert next(row for row in status["components"] if row["name"] == "scheduler")["bytes"] > 50 << 20
    once = subprocess.run(command("top", project), capture_output=True, text=True, timeout=60, check=False)
    assert once.returncode == 0, once.stderr
    assert "0 running, 0 queued" in once.stdout
    assert "hello.answer" in once.stdout
    assert "\x1b" not in once.stdout
    shown = watch_top(project)
    assert "\x1b[?1049h" in shown  # a screen of its own, given back at the end
    assert "\x1b[?1049l" in shown
    assert "hello.answer" in shown
    assert "\x1b[32m" not in shown  # NO_COLOR
    environment.look()

    environment.process.send_signal(signal.SIGINT)
    assert environment.process.wait(120) == 130
    assert environment.left() == []
    assert environment.status() == {"running": False, "state": str(project / ".tradewind")}
    if engine == "docker":
        assert containers.left() == []
        logs = (project / ".tradewind" / "logs").glob("scheduler*.log")  # the update brought another one
        assert "TaskInstance Finished" in "".join(log.read_text() for log in logs)
