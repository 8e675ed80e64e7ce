"""Whether Airflow can load the plugins: it writes into a log why it cannot, and goes on without them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tradewind.local.errors import StartFailed

LIMIT = 120.0
"""Seconds that the plugins may take."""
LOAD = """
import json, sys
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
get = getattr(plugins_manager, "get_import_errors", None)
errors = get() if get else plugins_manager.import_errors
open(sys.argv[1], "w").write(json.dumps({str(key): str(value) for key, value in errors.items()}))
"""


def check(
    folder: Path, variables: Mapping[str, str], limit: float = LIMIT, *, python: str | Path = sys.executable
) -> None:
    """Load the plugins once, in a process of its own.

    :param folder: where they lie; nothing happens where there is no Python file
    :param variables: Airflow's environment
    :param limit: seconds
    :param python: the interpreter that has Airflow
    :raises StartFailed: when one of them raises, or they do not come to an end
    """
    if not any(folder.rglob("*.py")):
        return
    with tempfile.NamedTemporaryFile() as left:
        try:
            done = subprocess.run(
                [python, "-c", LOAD, left.name],
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StartFailed(f"the plugins were not loaded in {limit:.0f} s") from error
        said = "\n".join(done.stdout.splitlines()[-15:])
        text = Path(left.name).read_text()
    if not text:
        raise StartFailed(f"the plugins end the process that loads them, its last lines:\n{said}")
    if errors := json.loads(text):
        what = "\n".join(f"  {name}: {message}" for name, message in errors.items())
        raise StartFailed(f"plugins cannot be loaded:\n{what}\nthe last lines of Airflow:\n{said}")
