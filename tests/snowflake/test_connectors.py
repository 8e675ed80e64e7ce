"""The same tests on other connectors: the oldest one, and the one whose core is another program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services import require
from tests.snowflake.connectors import install, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("version", ["3.12.3", "5.2.0"])
def test_another_connector(version: str, tmp_path: Path) -> None:
    try:
        environment = install(version, tmp_path / "connector")
    except FileNotFoundError:
        require("connector", f"no uv to install snowflake-connector-python {version}")
    done = run(environment)
    assert done.returncode == 0, done.stdout[-6000:]
