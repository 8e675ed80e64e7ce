"""The Python environment of a version and its requirements: found, made, cached, refused with the reason."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tradewind.local import constraints, interpreter
from tradewind.local.constraints import constrains_itself
from tradewind.local.errors import InstallFailed, InvalidInput
from tradewind.local.interpreter import Installation, own_packages
from tradewind.local.versions import VERSIONS, Version, version


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRADEWIND_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a web server publishes as Airflow's constraint files."""
    folder = tmp_path / "published"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constraints, "PUBLISHED", address + "/{airflow}-{python}.txt")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints, "PUBLISHED", "http://127.0.0.1:9/{airflow}-{python}.txt")


def installation(
    requirements: str = "six\n", constraints: Path | None = None, told: list[str] | None = None, airflow: str = "3.3.1"
) -> Installation:
    lines = told if told is not None else []
    return Installation(version(airflow), requirements, constraints, lines.append, None)


def test_the_running_airflow_without_requirements_needs_no_installation(tmp_path: Path) -> None:
    running = interpreter.running_version()
    assert running is not None
    comments = tmp_path / "requirements.txt"
    comments.write_text("# nothing yet\n\n")
    here = Version(running, "3.12", VERSIONS["3.3.1"].released)

    found = interpreter.find(here, comments, None, print)

    assert (found.python, found.shared) == (Path(sys.executable), True)


def test_published_constraints_are_downloaded_once(published: Path, cache: Path) -> None:
    (published / "3.3.1-3.12.txt").write_text("six==1.17.0\n")
    told: list[str] = []

    first = installation(told=told).constraints
    (published / "3.3.1-3.12.txt").unlink()
    second = installation(told=told).constraints

    assert first == second
    assert first is not None
    assert first.read_text() == "six==1.17.0\n"
    assert not [line for line in told if "constraints" in line]


@pytest.mark.usefixtures("nowhere")
def test_without_a_network_the_day_of_the_release_stands_in_and_that_is_said(tmp_path: Path) -> None:
    told: list[str] = []
    made = installation(told=told)

    assert made._bounds(tmp_path)[:2] == ["--exclude-newer", "2026-08-17"]
    assert [line for line in told if "taking packages as they were on 2026-08-17" in line]


def test_a_given_file_goes_before_the_published_one_and_must_be_there(tmp_path: Path) -> None:
    given = tmp_path / "constraints.txt"
    with pytest.raises(InvalidInput, match="there is no constraints file"):
        installation(constraints=given)
    given.write_text("six==1.16.0\n")
    assert installation(constraints=given).constraints == given


def test_our_own_packages_come_from_where_they_came_from_and_are_not_bound(tmp_path: Path) -> None:
    own = {package.name: package.arguments for package in own_packages()}
    assert {"tradewind", "tradewind-amazon", "tradewind-postgres"} <= set(own)
    assert "tradewind-local" not in own
    # An editable install is one again; what was installed from a wheel comes from that wheel.
    if own["tradewind"][0] == "--editable":
        assert (Path(own["tradewind"][1]) / "hooks" / "tradewind" / "hooks" / "compat.py").is_file()
    else:
        assert own["tradewind"][0].endswith(".whl")

    given = tmp_path / "constraints.txt"
    given.write_text("# of Airflow\nsix==1.16.0\ntradewind==0.0.1\ntradewind-amazon==0.0.1\n")
    option, kept = installation(constraints=given)._bounds(tmp_path)[:2]
    assert option == "--constraints"
    assert Path(kept).read_text() == "# of Airflow\nsix==1.16.0\n"


def test_the_key_follows_the_content(tmp_path: Path) -> None:
    given, other = tmp_path / "a.txt", tmp_path / "b.txt"
    given.write_text("six==1.16.0\n")
    other.write_text("six==1.17.0\n")
    keys = {
        installation("six\n", given).key(),
        installation("six>1\n", given).key(),
        installation("six\n", other).key(),
        installation("six\n", given, airflow="2.10.3").key(),
    }

    assert len(keys) == 4
    assert installation("six\n", given).key() in keys


@pytest.mark.parametrize(
    ("line", "alone"),
    [
        ("six", False),
        ("--constraint https://example.org/c.txt", True),
        ("# owned by team-c since 2024", True),  # MWAA's own accident
        ("--constraint=c.txt", False),
    ],
)
def test_constraints_are_left_away_where_mwaa_leaves_them_away(line: str, alone: bool) -> None:
    assert constrains_itself(f"six\n{line}\n") is alone


def test_what_uv_refuses_is_told_and_nothing_is_left(tmp_path: Path, cache: Path) -> None:
    given = tmp_path / "constraints.txt"
    given.write_text("apache-airflow==1.10.15\n")

    with pytest.raises(InstallFailed, match=r"Airflow 3\.3\.1 cannot be .*\n(.*\n)*.*apache-airflow==1\.10\.15"):
        installation(constraints=given).make()

    assert [path.name for path in (cache / "environments").iterdir() if path.is_dir()] == []


def test_mwaa_paths_become_local_ones(tmp_path: Path) -> None:
    given = tmp_path / "constraints.txt"
    given.touch()
    made = Installation(
        version("3.3.1"), "/usr/local/airflow/plugins/a.whl\n", given, print, tmp_path / "airflow" / "plugins"
    )

    assert made._localised() == f"{tmp_path}/airflow/plugins/a.whl\n"


def test_an_unknown_version_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"unknown Airflow version 2\.9\.0: choose one of 2\.10\.3, "):
        version("2.9.0")
