"""Our packages reach an environment that has none of them: by an index, and by `tradewind pack` in its three ways."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fix_up import Up, command, is_there, wait_for
from tests.stack.fix_stack import CONSTRAINTS, Containers, docker, each_airflow, stack_arguments
from tradewind.local.api import Api
from tradewind.local.s3 import client
from tradewind.local.versions import VERSIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
PACKAGES = ("tradewind-amazon", "tradewind-mysql", "tradewind-postgres")
PROVIDERS = {"tradewind", *PACKAGES}
WAYS: dict[str, tuple[str, ...] | None] = {
    "index": None,
    "pack": (),
    "wheels": ("--wheels",),
    "unpacked": ("--unpack",),
}
MODULES = (
    *(
        "tradewind.operators.copy",
        "tradewind.operators.bash",
        "tradewind.operators.python",
        "tradewind.operators.checks",
    ),
    *("tradewind.amazon.s3.files", "tradewind.amazon.s3.sensors", "tradewind.amazon.s3.hooks"),
    *("tradewind.postgres.operators", "tradewind.postgres.tables", "tradewind.postgres.hooks"),
    *("tradewind.mysql.hooks", "tradewind.mysql.tables"),
)

# Each process of Airflow counts how often it executes each of our modules, whatever name it does so under. A process
# that was forked goes on counting where its parent was.
COUNTING = """
import importlib._bootstrap_external as external, os
folder, seen, execute = os.path.dirname(os.path.abspath(__file__)), {}, external._LoaderBasics.exec_module
def exec_module(loader, module):
    path = os.path.realpath(getattr(loader, "path", None) or "")
    where, ours, name = path.rpartition("/tradewind/")
    if ours:
        seen[name] = seen.get(name, 0) + 1
        with open(f"{folder}/{os.getpid()}.count", "a") as log:
            log.write(f"{seen[name]} {name} {module.__name__} {path}\\n")
    execute(loader, module)
external._LoaderBasics.exec_module = exec_module
"""
STARTUP = f"""
mkdir -p "$AIRFLOW_HOME/counting"
cat > "$AIRFLOW_HOME/counting/new.$$" <<'END'
{COUNTING}
END
mv "$AIRFLOW_HOME/counting/new.$$" "$AIRFLOW_HOME/counting/sitecustomize.py"
export PYTHONPATH="$AIRFLOW_HOME/counting"
"""

DAG = f"""
import datetime as dt
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.operators.copy import CopyOperator
from tradewind.operators.python import PythonOperator
from tradewind.postgres.operators import PostgresOperator
from tradewind.postgres.tables import PostgresQuery, PostgresTable

def names():
    import importlib
    found = {{}}
    for name in {MODULES!r}:
        module = importlib.import_module(name)
        found[name] = sorted(k for k, v in vars(module).items() if getattr(v, "__module__", "") == name and k[0] != "_")
    return found

def offered():
    from airflow.providers_manager import ProvidersManager
    from tradewind.mysql.hooks import MySqlHook
    hook = ProvidersManager().hooks.get("mysql")
    if hook is None:
        return None
    import sys
    module, name = hook.hook_class_name.rsplit(".", 1)
    __import__(module)
    return getattr(sys.modules[module], name) is MySqlHook

with DAG("ways", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    arrived = S3KeySensor(
        task_id="arrived",
        bucket_key="s3://mwaa-local/landing/*.csv",
        wildcard_match=True,
        deferrable=True,
        poke_interval=1,
    )
    load = CopyOperator(
        task_id="load",
        source=S3File("s3://mwaa-local/landing/*.csv"),
        target=PostgresTable("flights", conn_id="warehouse"),
        mode="merge",
        key="flight",
        create=True,
    )
    build = PostgresOperator(
        task_id="build", conn_id="warehouse", sql="create table late as select * from flights where delay::int > 10"
    )
    unload = CopyOperator(
        task_id="unload",
        source=PostgresQuery("select flight from late order by flight", conn_id="warehouse"),
        target=S3File("s3://mwaa-local/results/late.csv"),
        mode="replace",
    )
    arrived >> load >> build >> unload
    PythonOperator(task_id="names", python_callable=names)
    PythonOperator(task_id="offered", python_callable=offered)
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheels of this checkout: an index of files."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run(["uv", "build", "-q", "--wheel", "--all-packages", "-o", folder], cwd=ROOT, check=True, timeout=300)
    return folder


def lay_out(project: Path, way: str, airflow: str, wheels: Path) -> None:
    """Make of the project what is uploaded in one of the ways."""
    (project / "dags" / "hello.py").unlink()
    (project / "dags" / "ways.py").write_text(DAG)
    (project / "startup.sh").write_text(STARTUP)
    wanted = "".join(f"{name}\n" for name in PACKAGES)
    arguments = WAYS[way]
    if arguments is None:
        (project / "dags" / "index").mkdir()
        for wheel in wheels.glob("*.whl"):
            shutil.copy(wheel, project / "dags" / "index")
        (project / "requirements.txt").write_text(f"--find-links /usr/local/airflow/dags/index\n{wanted}")
        return
    (project / "requirements.txt").write_text(wanted)
    packing = ("--airflow", airflow, "--constraints", CONSTRAINTS / airflow / "constraints.txt", "-o", project / "dist")
    subprocess.run(command("pack", project, *packing, *arguments), check=True, timeout=600)
    for path in (project / "dist").iterdir():
        path.replace(project / path.name)


def counted(project: Path, containers: Containers, engine: str) -> Iterator[tuple[int, str, str]]:
    """Yield what the processes of Airflow wrote: a number, a file, and the module and path that it was executed as."""
    if engine == "docker":
        text = "".join(
            docker("exec", each, "sh", "-c", "cat /usr/local/airflow/counting/*.count")
            for service in ("webserver", "scheduler", "worker")
            for each in containers.ids(service)
        )
    else:
        text = "".join(path.read_text() for path in (project / ".tradewind/airflow/counting").glob("*.count"))
    for line in text.splitlines():
        number, file, executed = line.split(" ", 2)
        yield int(number), file, executed


def public() -> dict[str, list[str]]:
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        found[name] = sorted(k for k, v in vars(module).items() if getattr(v, "__module__", "") == name and k[0] != "_")
    return found


def check(environment: Up, project: Path, airflow: str, containers: Containers, *, engine: str, way: str) -> None:
    """Have the environment show what it has of ours."""
    facts = environment.ready(900)
    s3 = client(facts["s3"])
    api = Api(facts["web"], VERSIONS[airflow].major, facts["user"], facts["password"])
    listed = {each["package_name"] for each in api.get("/providers", limit=200)["providers"]}
    # The newest reads the entry points before plugins are on its path, which `tradewind pack --unpack` warns of.
    unlisted = way == "unpacked" and airflow in ("3.2.1", "3.3.1")
    assert {name for name in listed if name.startswith("tradewind")} == (set() if unlisted else PROVIDERS)

    wait_for(lambda: is_there(api, "ways"), 180, "the DAG in Airflow")
    assert api.import_errors() == []
    s3.put_object(Bucket="mwaa-local", Key="landing/a.csv", Body=b"flight,delay\nUA1,20\nUA2,5\nUA3,11\n")
    api.unpause("ways")
    run_id = api.trigger("ways")
    state = api.wait_run("ways", run_id, timeout=300)
    assert {each["task_id"]: each["state"] for each in api.task_instances("ways", run_id)} == dict.fromkeys(
        ("arrived", "load", "build", "unload", "names", "offered"), "success"
    )
    assert state == "success"
    assert s3.get_object(Bucket="mwaa-local", Key="results/late.csv")["Body"].read() == b"flight\nUA1\nUA3\n"
    assert api.xcom("ways", run_id, "names") == public()
    assert api.xcom("ways", run_id, "offered") is True  # a task has the plugins on its path from its beginning

    found = list(counted(project, containers, engine))
    assert {"operators/copy.py", "amazon/s3/files.py", "postgres/tables.py"} <= {file for _, file, _ in found}
    assert [each for each in found if each[0] > 1] == []
    environment.look()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("airflow", each_airflow())
def test_in_containers(
    airflow: str, way: str, up: Callable[..., Up], project: Path, containers: Containers, wheels: Path
) -> None:
    arguments: Any = stack_arguments(airflow)
    lay_out(project, way, airflow, wheels)
    # What was packed with its wheels, or as modules, needs no index: it gets none.
    network = ("--web-access", "PRIVATE_ONLY") if way in ("wheels", "unpacked") else ()

    check(up(*arguments, "--bare", *network), project, airflow, containers, engine="docker", way=way)


@pytest.mark.parametrize("way", WAYS)
def test_in_processes(way: str, up: Callable[..., Up], project: Path, containers: Containers, wheels: Path) -> None:
    pins = CONSTRAINTS / "3.3.1" / "constraints.txt"
    lay_out(project, way, "3.3.1", wheels)

    check(
        up("--bare", "--airflow", "3.3.1", "--constraints", str(pins)),
        *(project, "3.3.1", containers),
        engine="embedded",
        way=way,
    )
