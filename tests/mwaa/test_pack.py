"""``tradewind pack``: what MWAA installs, the same bytes each time, and what it cannot install by name."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from tests.fix_up import Up, command, is_there, wait_for
from tests.services import require
from tradewind.local.api import Api
from tradewind.local.errors import InstallFailed, InvalidInput
from tradewind.local.project import Project
from tradewind.local.versions import VERSIONS, version
from tradewind.mwaa.packing.bundle import THERE, Packed, Way, make
from tradewind.mwaa.packing.pins import image
from tradewind.mwaa.packing.wheels import tags

IMAGES = Path(os.environ.get("TRADEWIND_CONSTRAINTS_DIR") or Path(__file__).parents[3] / "shared" / "mwaa")
RUNNING = installed("apache-airflow") if installed("apache-airflow") in VERSIONS else "3.3.1"
OFFERED = [name for name in VERSIONS if (IMAGES / name).is_dir()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "dags").mkdir(parents=True)
    (tmp_path / "project" / "plugins").mkdir()
    return tmp_path / "project"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def constraints(airflow: str) -> Path:
    if not (IMAGES / airflow).is_dir():
        require("constraints", f"no constraints in {IMAGES}: set TRADEWIND_CONSTRAINTS_DIR")
    return IMAGES / airflow / "constraints.txt"


def pack(project: Path, airflow: str = "3.3.1", *, way: Way = "index", out: str = "dist") -> Packed:
    return make(Project(project), version(airflow), project / out, way=way, constraints=constraints(airflow))


def lines(packed: Packed) -> list[str]:
    return packed.files[-1].read_text().splitlines()


def names(packed: Packed) -> list[str]:
    with zipfile.ZipFile(packed.files[0]) as archive:
        return archive.namelist()


@pytest.mark.parametrize("airflow", OFFERED or ["none"])
def test_the_image_is_known(airflow: str, tmp_path: Path) -> None:
    if airflow == "none":
        require("constraints", f"no constraints in {IMAGES}: set TRADEWIND_CONSTRAINTS_DIR")
    listed = (IMAGES / airflow / "preinstalled.txt").read_text()
    there = {
        re.sub(r"[-_.]+", "-", found[1]).lower(): found[2] for found in re.finditer(r"(?m)^([\w.-]+)==(\S+)", listed)
    }

    known = image(version(airflow), constraints(airflow), tmp_path)

    # pip freeze, which made the list, leaves setuptools out.
    assert {name: pin.version for name, pin in known.items() if there.get(name) != pin.version}.keys() <= {"setuptools"}
    assert len(known) > 0.75 * len(there)


def test_every_version_is_pinned_and_ours_travel_as_wheels(project: Path) -> None:
    write(project, {"requirements.txt": "# tools\ntradewind-amazon[parquet]\nxmltodict  # for reports\nboto3\n"})

    packed = pack(project)

    wheels = sorted(name for name in names(packed) if name.endswith(".whl"))
    assert [name.split("-")[0] for name in wheels] == ["tradewind", "tradewind_amazon"]
    assert lines(packed)[1:] == [
        "boto3==1.43.56",
        "pyarrow==25.0.0",
        *(f"{THERE}/{name}" for name in wheels),
        "xmltodict==1.0.4",
    ]
    assert packed.warnings == []


@pytest.mark.parametrize("airflow", ["2.10.3", "3.0.6", "3.3.1"])
def test_a_closed_set_of_wheels(project: Path, airflow: str, tmp_path: Path) -> None:
    """Without an index pip finds all of it: checked by pip itself, for MWAA's platform."""
    # parquet brings wheels for a Python and a platform; docopt has nothing but an sdist.
    write(project, {"requirements.txt": "tradewind-amazon[parquet]\ntradewind-mysql\ndocopt==0.6.2\n"})

    packed = pack(project, airflow, way="wheels")

    wheels = [name for name in names(packed) if name.endswith(".whl")]
    found = {parse_wheel_filename(name)[0]: parse_wheel_filename(name)[3] for name in wheels}
    assert {"pyarrow", "pymysql", "docopt", "tradewind", "tradewind-amazon"} <= set(found)
    assert all(made_for & tags(version(airflow).python) for made_for in found.values())
    assert lines(packed)[1:3] == [f"--find-links {THERE}", "--no-index"]

    unpacked = tmp_path / "there"
    with zipfile.ZipFile(packed.files[0]) as archive:
        archive.extractall(unpacked)
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("\n".join(lines(packed)).replace(THERE, str(unpacked)) + "\n")
    digits = version(airflow).python.replace(".", "")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", "--only-binary=:all:"),
            *(
                "--target",
                str(tmp_path / "target"),
                "--platform=manylinux_2_28_x86_64",
                "--platform=manylinux2014_x86_64",
            ),
            *(f"--python-version={digits}", "--implementation=cp", f"--abi=cp{digits}", "--abi=abi3", "--abi=none"),
            *("-r", str(wanted), "-c", str(constraints(airflow))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", ["wheels", "unpacked"])
def test_the_same_folder_gives_the_same_bytes(project: Path, way: Way) -> None:
    write(
        project,
        {"requirements.txt": "tradewind-postgres\nxmltodict\n", "plugins/b.py": "B = 1", "plugins/a.py": "A = 1"},
    )
    first = pack(project, way=way).digests()
    for path in project.rglob("*.py"):
        os.utime(path, (time.time() - 5e6, time.time() - 5e6))

    assert pack(project, way=way, out="again").digests() == first


def test_modes_and_what_is_nobodys_code(project: Path) -> None:
    write(project, {"plugins/tool.sh": "#!/bin/sh\n", "plugins/a.py": "A = 1", "plugins/__pycache__/a.pyc": "x"})
    write(project, {"plugins/.git/config": "x", "plugins/.DS_Store": "x"})
    (project / "plugins" / "tool.sh").chmod(0o700)
    (project / "plugins" / "a.py").chmod(0o600)

    packed = pack(project)

    with zipfile.ZipFile(packed.files[0]) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert modes == {"a.py": stat.S_IFREG | 0o644, "tool.sh": stat.S_IFREG | 0o755}


def test_libraries_are_imported_and_not_executed_as_plugins(project: Path) -> None:
    plugin = "from airflow.plugins_manager import AirflowPlugin\nclass Mine(AirflowPlugin):\n    name = 'mine'\n"
    write(project, {"plugins/lib/__init__.py": "", "plugins/lib/queue.py": "Q = 1", "plugins/mine/p.py": plugin})
    write(project, {"plugins/top.py": plugin, "plugins/.airflowignore": "drafts/\n", "requirements.txt": "xmltodict\n"})

    for airflow, expected in (
        ("3.3.1", "drafts/\n/lib/\n/xmltodict.py\n"),
        ("2.10.3", "drafts/\n^lib/\n^xmltodict\\.py\n"),
    ):
        packed = pack(project, airflow, way="unpacked")
        with zipfile.ZipFile(packed.files[0]) as archive:
            assert archive.read(".airflowignore").decode() == expected
            assert "xmltodict.py" in archive.namelist()
        assert lines(packed)[1:] == []


EXECUTED = """
import sys
from airflow.plugins_manager import ensure_plugins_loaded
ensure_plugins_loaded()
import lib.queue, queue, tradewind.hooks.errors
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(*sorted(name for name, file in files.items() if file.startswith(sys.argv[1])))
print(queue.__file__)
"""


def test_airflow_executes_no_module_twice(project: Path, tmp_path: Path) -> None:
    plugin = "from airflow.plugins_manager import AirflowPlugin\nclass Mine(AirflowPlugin):\n    name = 'mine'\n"
    write(project, {"plugins/lib/__init__.py": "", "plugins/lib/queue.py": "Q = 1", "plugins/top.py": plugin})
    write(project, {"requirements.txt": "tradewind-postgres\n"})
    packed = pack(project, RUNNING, way="unpacked")
    plugins = tmp_path / "there"
    with zipfile.ZipFile(packed.files[0]) as archive:
        archive.extractall(plugins)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXECUTED, str(plugins)],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path / "home"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
            "PYTHONPATH": str(plugins),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    executed, standard = done.stdout.splitlines()[-2:]
    ours = [name for name in executed.split() if "." not in name or name.startswith("lib")]
    assert {"lib", "lib.queue"} <= set(ours)
    assert [name for name in executed.split() if name.split(".")[-1] in ("queue", "errors")] == [
        "lib.queue",
        "tradewind.hooks.errors",
    ]
    assert not standard.startswith(str(plugins))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("six\nsqlalchemy==0.1\n", r"requirements\.txt cannot be installed"),
        ("six\n\n./missing\n", r"requirements\.txt, line 3: there is no .*missing"),
        ("six\nhello world\n", r"requirements\.txt, line 2: 'hello world' is no requirement"),
        ("apache-airflow==3.3.1\n", "leave apache-airflow out"),
        ("-r more.txt\n", r"requirements\.txt, line 1: there is no file .*more\.txt"),
        ("-c mine.txt\nsix\n", "MWAA does not find the constraints mine.txt: put the file into dags/"),
        ("--global-option=x\n", "--global-option is no option that can be packed"),
    ],
)
def test_what_cannot_be_installed_is_named_and_nothing_is_written(project: Path, text: str, words: str) -> None:
    (project / "requirements.txt").write_text(text)

    with pytest.raises((InvalidInput, InstallFailed), match=words):
        pack(project)
    assert not (project / "dist").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"plugins/aws_mwaa/x.py": ""}, "aws_mwaa at its root, where MWAA keeps its own"),
        ({"plugins/plugins/x.py": ""}, "its content belongs at the root"),
    ],
)
def test_plugins_that_break_an_environment_are_refused(project: Path, files: dict[str, str], words: str) -> None:
    write(project, files)
    with pytest.raises(InvalidInput, match=words):
        pack(project)


def test_a_module_that_hides_a_standard_one_is_told(project: Path) -> None:
    write(project, {"plugins/queue.py": ""})
    assert pack(project).warnings == [
        "plugins/queue.py hides the standard library's queue: every process of the environment breaks"
    ]


def test_folders_and_foreign_wheels(project: Path) -> None:
    write(project, {"lib/pyproject.toml": '[project]\nname = "mine"\nversion = "1.0"\ndependencies = ["xmltodict"]\n'})
    write(project, {"lib/mine.py": "X = 1", "requirements.txt": "./lib\n"})

    packed = pack(project)

    assert lines(packed)[1:] == [f"{THERE}/mine-1.0-py3-none-any.whl", "xmltodict==1.0.4"]

    wrong = project / "plugins" / "six-1.0-cp39-cp39-macosx_11_0_arm64.whl"
    wrong.write_bytes((packed.files[0]).read_bytes())
    (project / "requirements.txt").write_text(f"{THERE}/{wrong.name}\n")
    with pytest.raises(
        InvalidInput, match=r"does not fit MWAA's Airflow 3\.3\.1.*made for cp39-cp39-macosx_11_0_arm64"
    ):
        pack(project)


def test_a_users_own_constraints_stand_in_for_airflows(project: Path) -> None:
    write(project, {"dags/c.txt": "xmltodict==0.13.0\n"})
    (project / "requirements.txt").write_text("--constraint /usr/local/airflow/dags/c.txt\nxmltodict\n")

    assert lines(pack(project))[1:] == ["--constraint /usr/local/airflow/dags/c.txt", "xmltodict==0.13.0"]


def test_nothing_to_install_and_no_plugins_need_no_zip(project: Path) -> None:
    (project / "dist").mkdir()
    (project / "dist" / "plugins.zip").touch()

    assert [path.name for path in pack(project).files] == ["requirements.txt"]
    assert not (project / "dist" / "plugins.zip").exists()


def test_the_command_prints_what_it_made(project: Path) -> None:
    (project / "plugins" / "a.py").touch()
    done = subprocess.run(
        command("pack", project, "--json", "--constraints", constraints("3.3.1")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert [Path(each["path"]).name for each in json.loads(done.stdout)["files"]] == ["plugins.zip", "requirements.txt"]


USES = """
import datetime as dt
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.operators.python import PythonOperator

def answer():
    import xmltodict
    return xmltodict.parse("<a>1,234,567</a>")["a"]

with DAG("packed", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    PythonOperator(task_id="answer", python_callable=answer)
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", ["index", "wheels", "unpacked"])
def test_an_environment_runs_what_was_packed(project: Path, way: Way, up: Callable[..., Up]) -> None:
    write(project, {"requirements.txt": "xmltodict\ntradewind-amazon\n", "dags/packed.py": USES})
    packed = pack(project, RUNNING, way=way)
    (project / "plugins").rmdir()
    for path in packed.files:
        path.replace(project / path.name)

    facts = up("--airflow", RUNNING, "--constraints", str(constraints(RUNNING))).ready()
    api = Api(facts["web"], VERSIONS[RUNNING].major, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "packed"), 120, "the DAG in Airflow")
    api.unpause("packed")
    run_id = api.trigger("packed")

    assert api.wait_run("packed", run_id, timeout=180) == "success"
    assert api.xcom("packed", run_id, "answer") == "1,234,567"
