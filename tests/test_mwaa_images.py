"""On MWAA's images our packages change nothing that is installed, and add next to nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.services import require
from tradewind.local.versions import VERSIONS

IMAGES = Path(os.environ.get("TRADEWIND_CONSTRAINTS_DIR") or Path(__file__).parents[2] / "shared" / "mwaa")
PACKAGES = ("tradewind", "tradewind-amazon", "tradewind-postgres", "tradewind-mysql", "tradewind-snowflake")
ADDED = {"pymysql", "setuptools", "snowflake-connector-python", "tomlkit"}
"""pip freeze, which made the images' lists, leaves setuptools out."""
ADDED_BY_OLD_CONNECTORS = {"pyopenssl", "sortedcontainers"}

pytestmark = pytest.mark.anywhere


def wanted() -> list[str]:
    """Return what our packages require of others, extras left out, as pip would read it of them."""
    found = [Requirement(text) for package in PACKAGES for text in requires(package) or ()]
    return sorted(str(each) for each in found if not each.marker and not each.name.startswith("tradewind"))


def pins(text: str) -> dict[str, str]:
    found = (re.match(r"([\w.\-]+)(?:\[[^\]]*\])?==([^\s;]+)", line) for line in text.splitlines())
    return {re.sub(r"[-_.]+", "-", each[1]).lower(): each[2] for each in found if each}


@pytest.mark.parametrize("version", [version for version in VERSIONS if (IMAGES / version).is_dir()] or ["none"])
def test_our_packages_fit_an_image(version: str, tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if version == "none" or uv is None:
        require("constraints", f"no uv, or no images' packages in {IMAGES}: set TRADEWIND_CONSTRAINTS_DIR")
    image = (IMAGES / version / "preinstalled.txt").read_text()
    (tmp_path / "image.txt").write_text("".join(f"{name}=={found}\n" for name, found in pins(image).items()))
    (tmp_path / "in.txt").write_text("\n".join(wanted()) + "\n")
    python = "3.11" if version < "2.11" else "3.12"
    done = subprocess.run(
        [
            *(uv, "pip", "compile", "-q", "--no-config", "--no-header", "--no-annotate", "--python-version", python),
            *("--python-platform", "x86_64-manylinux_2_34", "-c", "image.txt", "in.txt"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    there, resolved = pins(image), pins(done.stdout)
    assert {name: found for name, found in resolved.items() if there.get(name, found) != found} == {}
    assert resolved.keys() - there.keys() <= ADDED | ADDED_BY_OLD_CONNECTORS
