"""A private environment: nothing is published, nothing gets out, and what needs an index is told what to do instead."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_up import Up, command, is_there, wait_for
from tests.stack.fix_stack import CONSTRAINTS, Containers, docker
from tradewind.local.api import Api
from tradewind.local.errors import InvalidInput
from tradewind.local.stack.access import Access
from tradewind.local.stack.engine import Stack

pytestmark = pytest.mark.timeout(1800)

OUT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 53), 3)
except OSError:
    print("closed")
else:
    print("open")
"""


@pytest.mark.parametrize(
    ("mode", "routing", "expected"),
    [
        ("PUBLIC_ONLY", None, Access(web_private=False, private=False)),
        ("PUBLIC_AND_PRIVATE", None, Access(web_private=False, private=False)),
        ("PRIVATE_ONLY", None, Access(web_private=True, private=True)),
        ("PRIVATE_ONLY", "public", Access(web_private=True, private=False)),
        ("PUBLIC_ONLY", "private", Access(web_private=False, private=True)),
    ],
)
def test_what_the_words_mean(mode: str, routing: str | None, expected: Access) -> None:
    assert Access.of(mode, routing) == expected


def test_other_words_are_refused(project: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no web server access mode 'PRIVATE': choose one of PUBLIC_ONLY"):
        Stack(project, web_access="PRIVATE")
    with pytest.raises(InvalidInput, match="there is no routing 'none': choose one of public, private"):
        Stack(project, routing="none")


def test_the_words_are_of_one_engine(project: Path) -> None:
    for words in (("--web-access", "private_only"), ("--routing", "private")):
        done = subprocess.run(command("up", project, *words), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert f"{words[0]} is of the engine docker: add --engine docker" in done.stderr


@pytest.mark.slow
def test_nothing_gets_in_or_out(stack: Callable[..., Up], project: Path, containers: Containers) -> None:
    (project / "requirements.txt").write_text("xmltodict\n")
    packing = ("--wheels", "--constraints", CONSTRAINTS / "3.3.1" / "constraints.txt", "-o", project / "dist")
    subprocess.run(command("pack", project, *packing), check=True, timeout=600)
    for path in (project / "dist").iterdir():
        path.replace(project / path.name)
    dag = (project / "dags" / "hello.py").read_text()
    (project / "dags" / "hello.py").write_text(
        dag.replace("return {", 'import xmltodict; return {"parsed": xmltodict.parse("<a>1</a>"),')
    )
    environment = stack("--workers", "1", "--web-access", "PRIVATE_ONLY")
    facts = environment.ready(600)

    found = containers.inspect()
    assert not any(each["HostConfig"]["PortBindings"] for each in found.values())
    assert not any(filter(None, (each["NetworkSettings"]["Ports"].get("8080/tcp") for each in found.values())))
    for name, each in found.items():
        assert docker("exec", each["Id"], "python3", "-c", OUT, "1.1.1.1").strip() == "closed", name

    api = Api(facts["web"], 3, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "hello"), 120, "the DAG in Airflow")
    api.unpause("hello")
    run_id = api.trigger("hello")
    assert api.wait_run("hello", run_id, timeout=180) == "success"
    assert api.xcom("hello", run_id, "answer")["parsed"] == {"a": "1"}
    environment.look()

    # An update that needs an index is told what to do, and the environment works on.
    (project / "requirements.txt").write_text("cowsay\n")
    wait_for(lambda: "the update of requirements.txt failed" in environment.talk.read_text(), 600, "the failure told")
    told = environment.talk.read_text()
    assert "`tradewind pack --wheels` puts every wheel into plugins.zip" in told
    assert "No matching distribution found for cowsay" in told
    run_id = api.trigger("hello")
    assert api.wait_run("hello", run_id, timeout=180) == "success"


@pytest.mark.slow
def test_a_web_server_alone_may_be_private(stack: Callable[..., Up], containers: Containers) -> None:
    environment = stack("--workers", "1", "--web-access", "PRIVATE_ONLY", "--routing", "public")
    environment.ready(600)

    private = {name: _networks(each["NetworkSettings"]["Networks"]) for name, each in containers.inspect().items()}
    assert private["webserver"] == {True}
    assert private["worker"] == private["scheduler"] == {True, False}
    environment.look()


def _networks(names: dict[str, object]) -> set[bool]:
    return {docker("network", "inspect", "--format", "{{.Internal}}", name).strip() == "true" for name in names}
