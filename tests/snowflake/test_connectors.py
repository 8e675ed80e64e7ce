"""The same tests on other connectors: the oldest one, and the one whose core is another program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import require

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.12.3", "5.2.0")
WHAT = ("test_connection.py", "test_hook.py", "test_operator.py", "test_resuming.py")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("version", VERSIONS)
def test_another_connector(version: str, tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        require("connector", f"no uv to install snowflake-connector-python {version}")
    wanted = f"snowflake-connector-python=={version}"
    target = ["--python", sys.executable, "--target", str(tmp_path / "connector")]
    subprocess.run([uv, "pip", "install", "-q", "--no-config", "--no-deps", *target, wanted], check=True)
    asked = [sys.executable, "-c", "import snowflake.connector as c; print(c.__version__)"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "connector")}
    found = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == version

    tests = [str(ROOT / "tests" / "snowflake" / name) for name in WHAT]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *tests],
        cwd=ROOT,
        env={name: value for name, value in environment.items() if not name.startswith(("AIRFLOW", "TRADEWIND_TESTS"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
