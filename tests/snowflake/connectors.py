"""The tests of Snowflake on other versions of its connector: ``python -m tests.snowflake.connectors 3.17.2 4.4.0``."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHAT = ("test_connection.py", "test_hook.py", "test_operator.py", "test_resuming.py")
PINNED = ("3.12.3", "3.17.2", "4.3.0", "4.4.0", "4.7.2")
"""What the constraints of MWAA's versions of Airflow name."""


def install(version: str, folder: Path) -> dict[str, str]:
    """Install a connector beside all else; return the environment in which it is found first.

    :param version: of snowflake-connector-python
    :param folder: where it goes
    :raises FileNotFoundError: without uv
    """
    uv = shutil.which("uv")
    if uv is None:
        raise FileNotFoundError("uv")
    target = ["--python", sys.executable, "--target", str(folder)]
    wanted = f"snowflake-connector-python=={version}"
    subprocess.run([uv, "pip", "install", "-q", "--no-config", "--no-deps", *target, wanted], check=True)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    asked = [sys.executable, "-c", "import snowflake.connector as c; print(c.__version__)"]
    found = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    if found != version:
        raise RuntimeError(f"{found} is found, not {version}")
    return {name: value for name, value in environment.items() if not name.startswith(("AIRFLOW", "TRADEWIND_TESTS"))}


def run(environment: dict[str, str], names: tuple[str, ...] = WHAT) -> subprocess.CompletedProcess[str]:
    """Run tests in an environment, and return what they say.

    :param names: files of this folder
    """
    tests = [str(ROOT / "tests" / "snowflake" / name) for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-m", "not slow", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    """Print a row for each version; say whether all passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.snowflake.connectors", description=__doc__)
    parser.add_argument("version", nargs="*", default=PINNED, help=f"default: {' '.join(PINNED)}")
    parser.add_argument(
        "--tests", nargs="+", default=WHAT, help=f"files of tests/snowflake (default: {' '.join(WHAT)})"
    )
    asked = parser.parse_args()
    bad = 0
    for version in asked.version:
        with tempfile.TemporaryDirectory(prefix="tradewind-connector-") as folder:
            done = run(install(version, Path(folder)), tuple(asked.tests))
        bad += done.returncode != 0
        print(f"| {version} | {done.stdout.strip().splitlines()[-1]} |", flush=True)
        if done.returncode:
            print(done.stdout[-3000:], file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
