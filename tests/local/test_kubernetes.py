"""What is given for Kubernetes: values for Airflow's Helm chart, a Dockerfile, a page; and the image's entrypoint."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import tradewind.local
from tradewind.local.stack import compose, sizes

ROOT = Path(__file__).parents[2]
PACKAGE = Path(tradewind.local.__path__[0])
FOLDER = PACKAGE / "kubernetes"
ENTRYPOINT = PACKAGE / "stack/entrypoint"
PAGE = (ROOT / "docs/kubernetes.md").read_text()

# The keys that version 1.22.0 of the chart looks for in each secret, beside those that our values name themselves.
CHART = {
    "fernetKeySecretName": {"fernet-key"},
    "apiSecretKeySecretName": {"api-secret-key"},
    "jwtSecretName": {"jwt-secret"},
    "data.metadataSecretName": {"connection"},
    "data.brokerUrlSecretName": {"connection"},
    "redis.passwordSecretName": {"password"},
}
SECRET = re.compile(
    r"secret|passw|token|credential|(^|[^a-z])pass$|fernet|connection$|(^|\.)user(name)?$|(^|\.)key$", re.IGNORECASE
)
NAMED = re.compile(r"(Secret|secret)Name$|secretKey$|automountServiceAccountToken$|^secret\.")


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    found = yaml.safe_load((FOLDER / "values.yaml").read_text())
    assert isinstance(found, dict)
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return each value with the dotted path of its keys."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, dict | list):
        yield path, value
    for key, each in pairs:
        yield from leaves(each, f"{path}.{key}".lstrip("."))


def blocks() -> list[str]:
    return re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def whole(parts: list[dict[str, Any]]) -> tuple[int, int]:
    """Return what parts request together, in thousandths of a core and in Mi."""
    cpus = memory = 0
    for part in parts:
        cpu, size = part["resources"]["requests"]["cpu"], part["resources"]["requests"]["memory"]
        cpus += int(cpu[:-1]) if cpu.endswith("m") else 1000 * int(cpu)
        memory += {"Mi": 1, "Gi": 1024}[size[-2:]] * int(size[:-2])
    return cpus, memory


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint, with a python3 that says how it was called."""
    python = folder / "python3"
    python.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    python.chmod(0o755)
    return subprocess.run(
        ["sh", ENTRYPOINT, *arguments],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "name",
    [
        each["command"][0]
        for each in yaml.safe_load((PACKAGE / "stack/compose.yaml").read_text())["services"].values()
        if "AIRFLOW" in each["image"]
    ],
)
def test_the_containers_of_the_stack_are_started_by_their_name(tmp_path: Path, name: str) -> None:
    assert run(tmp_path, name).stdout == f"-sP|-m|tradewind.local.stack.component|{name}|"


def test_what_the_command_asks_inside_is_answered_by_the_same_way(tmp_path: Path) -> None:
    assert run(tmp_path, "control").stdout == "-sP|-m|tradewind.local.stack.control|"


def test_any_other_command_runs_as_it_stands(tmp_path: Path) -> None:
    done = run(tmp_path, "bash", "-c", 'exec \\\n sh -c \'echo "$1"; kill -TERM $$\' sh "$0 $1"', "a  b", "c")

    assert done.stdout == "a  b c\n"
    assert done.returncode == -15, "it took the place of the shell, so that a signal reaches it"


def test_a_command_that_there_is_not_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "no-such-command")

    assert done.returncode == 127
    assert "no-such-command" in done.stderr


def test_no_secret_is_in_the_values(values: dict[str, Any]) -> None:
    secrets = [path for path, _ in leaves(values) if SECRET.search(path)]

    assert {path for path in secrets if not NAMED.search(path)} == set()
    for path, value in leaves(values):
        assert not re.search(r"://[^/]*:[^/]*@|AKIA[A-Z0-9]{16}|[A-Za-z0-9+/-]{40,}", str(value)), path


def test_each_secret_is_made_on_the_page_with_the_keys_that_are_read(values: dict[str, Any]) -> None:
    flat = dict(leaves(values))
    read: dict[str, set[str]] = {}
    for path, keys in CHART.items():
        read.setdefault(flat.pop(path), set()).update(keys)
    for each in values["secret"]:
        read.setdefault(each["secretName"], set()).add(each["secretKey"])
        assert each["envName"].startswith("AIRFLOW__")

    made: dict[str, set[str]] = {}
    for block in blocks():
        for name, rest in re.findall(r"\bsecret (airflow-[a-z-]+) ((?:.|\\\n)*?)(?:\n(?! )|\Z)", block):
            made[name] = set(re.findall(r"--from-file=([a-z-]+)=", rest))

    assert made == read
    assert not [path for path in flat if path.endswith("SecretName")], "each is in CHART"


def test_the_workers_follow_mwaas_rule(values: dict[str, Any]) -> None:
    celery = values["workers"]["celery"]
    keda = celery["keda"]

    assert values["executor"] == "CeleryExecutor"
    assert keda["enabled"] is True
    assert "query" not in keda, "the chart's own is MWAA's rule"
    assert 1 <= keda["minReplicaCount"] <= keda["maxReplicaCount"]
    assert keda["pollingInterval"] <= 10
    assert "worker_autoscale" not in values["config"]["celery"], (
        "it would stand against the number that KEDA divides by"
    )
    assert celery["persistence"]["enabled"] is False
    assert celery["terminationGracePeriodSeconds"] == 12 * 60 * 60


def test_the_values_are_those_of_mwaas_class(values: dict[str, Any]) -> None:
    small, keda = sizes.CLASSES["mw1.small"], values["workers"]["celery"]["keda"]
    least, most = keda["minReplicaCount"], keda["maxReplicaCount"]
    plan = sizes.plan(small.name, workers=None, minimum=least, maximum=most, options={})
    variables = plan.variables(compose.Machine(cpus=small.worker.cpus, memory=small.worker.memory * sizes.GB))

    assert values["config"]["celery"]["worker_concurrency"] == small.slots
    assert str(values["config"]["core"]["parallelism"]) == variables["TRADEWIND_PARALLELISM"]
    assert whole([values["workers"]["celery"]]) == (1000 * small.worker.cpus, 1024 * small.worker.memory)
    assert whole([values["apiServer"]]) == (1000 * small.web.cpus, 1024 * small.web.memory)
    three = [values[name] for name in ("scheduler", "dagProcessor", "triggerer")]
    assert whole(three) == (1000 * small.worker.cpus, 1024 * small.worker.memory), "MWAA's scheduler container"
    for part in (*three, values["apiServer"], values["workers"]["celery"]):
        assert part["resources"]["limits"]["memory"] == part["resources"]["requests"]["memory"]


def test_the_page_has_mwaas_classes() -> None:
    rows = re.findall(
        r"^\| `(mw1\.\w+)` \| (\d+) \| (\d+) CPU, (\d+) Gi \| (\d+) CPU, (\d+) Gi \|$", PAGE, re.MULTILINE
    )

    expected = [each for each in sizes.CLASSES.values() if not each.hybrid]
    assert rows == [
        tuple(map(str, (e.name, e.slots, e.worker.cpus, e.worker.memory, e.web.cpus, e.web.memory))) for e in expected
    ]


def test_nothing_runs_as_root_or_writes_to_its_root(values: dict[str, Any]) -> None:
    contexts = values["securityContexts"]

    for pod in (contexts["pod"], values["redis"]["securityContexts"]["pod"]):
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0
    for container in (contexts["containers"], values["redis"]["securityContexts"]["container"]):
        assert container["readOnlyRootFilesystem"] is True
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}
    assert (contexts["pod"]["runAsUser"], contexts["pod"]["runAsGroup"]) == (50000, 0)
    assert {"name": "tmp", "mountPath": "/tmp"} in values["volumeMounts"]
    assert values["networkPolicies"]["enabled"] is True
    assert {"podSelector": {"matchLabels": {"tier": "airflow", "release": "airflow"}}} in values["apiServer"][
        "networkPolicy"
    ]["ingress"]["from"]
    assert values["createUserJob"]["enabled"] is False
    for name in ("scheduler", "dagProcessor", "triggerer", "apiServer"):
        assert values[name]["serviceAccount"]["automountServiceAccountToken"] is False


def test_no_container_needs_what_our_image_has_not(values: dict[str, Any]) -> None:
    # The chart's log groomers run /clean-logs of the official image.
    for part in (values["workers"]["celery"], values["scheduler"], values["dagProcessor"], values["triggerer"]):
        assert part["logGroomerSidecar"] == {"enabled": False}
    assert values["airflowHome"] == "/usr/local/airflow"


def test_the_page_shows_the_dockerfile_as_it_is() -> None:
    assert (FOLDER / "Dockerfile").read_text() in blocks()


def test_the_page_and_the_values_name_the_same_versions_and_files(values: dict[str, Any]) -> None:
    head = (FOLDER / "values.yaml").read_text().partition("\nexecutor:")[0]
    commands = "\n".join(blocks())

    assert re.findall(r"--version (\S+)", commands) == re.findall(r"version (\d\S+\d)", head)
    assert set(re.findall(r"--airflow (\S+)", commands)) == {values["airflowVersion"]}
    image = values["images"]["airflow"]
    assert f"--tag {image['repository']}:{image['tag']} " in commands
    named = set(re.findall(r"\bkubernetes/([\w.-]+)", commands))
    assert named == {path.name for path in FOLDER.iterdir()}
    for target in re.findall(r"\]\(([\w.-]+\.md)\)", PAGE):
        assert (ROOT / "docs" / target).is_file()
