"""The layout: import roots, one native namespace, and a project file that knows them all."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = sorted(path.parent for path in [*ROOT.glob("providers/*/pyproject.toml"), ROOT / "docker/pyproject.toml"])
ROOTS = [ROOT / "hooks", ROOT / "operators", ROOT / "sensors", *MEMBERS]
MODULES = sorted(path for root in ROOTS for path in root.glob("tradewind/**/*.py"))


def project(folder: Path = ROOT) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_import_root_shares_the_namespace(root: Path) -> None:
    assert not (root / "tradewind/__init__.py").exists()
    packages = [path for path in (root / "tradewind").iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert packages
    for package in packages:
        assert (package / "__init__.py").exists()
        assert (package / "py.typed").exists()


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_project_file_knows_each_member(member: Path) -> None:
    config = project()
    tool = config["tool"]
    name = project(member)["project"]["name"]

    assert f"$MYPY_CONFIG_FILE_DIR/{member.relative_to(ROOT)}" in tool["mypy"]["mypy_path"]
    assert name in {line.split("[")[0] for line in config["dependency-groups"]["dev"] if isinstance(line, str)}
    assert tool["uv"]["sources"][name] == {"workspace": True}
    assert any(ROOT.joinpath(member) in ROOT.glob(pattern) for pattern in tool["uv"]["workspace"]["members"])


def test_entry_points_resolve() -> None:
    found = [
        *entry_points(group="apache_airflow_provider"),
        *entry_points(group="console_scripts", name="tradewind"),
    ]
    ours = [point for point in found if point.value.startswith("tradewind.")]

    assert {point.value.partition(":")[0] for point in ours} >= {
        "tradewind.hooks.provider_info",
        "tradewind.amazon.provider_info",
        "tradewind.mysql.provider_info",
        "tradewind.postgres.provider_info",
        "tradewind.snowflake.provider_info",
    }
    for point in ours:
        assert callable(point.load())


@pytest.mark.parametrize(
    "module", sorted(ROOT.glob("providers/*/tradewind/*/__init__.py")), ids=lambda path: path.parent.name
)
def test_a_provider_imports_nothing_by_itself(module: Path) -> None:
    assert not any(line.startswith(("import ", "from ")) for line in module.read_text().splitlines())


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_well_named(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 450
    assert module.stem not in {"utils", "helpers", "common", "base2"}
