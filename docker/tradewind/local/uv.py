"""uv, which makes environments and resolves versions."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tradewind.local.errors import InstallFailed, OutOfSpace

TIMEOUT = 30 * 60
"""Seconds after which an installation is given up."""


def program() -> str:
    """Return the path of uv.

    :raises InstallFailed: where it is not there
    """
    try:
        import uv

        return os.fspath(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
        if found is None:
            raise InstallFailed("uv is not there: pip install uv") from None
        return found


def run(*arguments: str, what: str, folder: Path) -> str:
    """Run uv.

    :param arguments: its arguments
    :param what: what is installed or resolved, for messages
    :param folder: where it runs, and whose disk it fills
    :return: its standard output
    :raises InstallFailed: with uv's reason
    :raises OutOfSpace: where the disk is full
    """
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    try:
        done = subprocess.run(
            [program(), *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**environment, "UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"},
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"installing {what} took longer than {TIMEOUT // 60} min") from error
    if done.returncode != 0:
        if "No space left" in done.stderr or "os error 28" in done.stderr:
            raise OutOfSpace(f"no space left to install {what} below {folder}: free some, or set TRADEWIND_CACHE_DIR")
        raise InstallFailed(f"{what} cannot be installed:\n{done.stderr.strip()}")
    return done.stdout
