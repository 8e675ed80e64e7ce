"""``startup.sh`` as MWAA runs it: by bash, before anything else, for at most 4 min 55 s; what it exports stays."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tradewind.local.errors import StartFailed
from tradewind.local.processes import tail

LIMIT = 295.0
"""Seconds that MWAA gives it."""


def run(script: Path, variables: Mapping[str, str], limit: float = LIMIT, *, echo: bool = True) -> dict[str, str]:
    """Run a startup script.

    :param script: the file
    :param variables: its environment
    :param limit: seconds
    :param echo: whether what it writes goes to our own output
    :return: the environment that it leaves
    :raises StartFailed: when it fails or does not end, with its last lines
    """
    with tempfile.TemporaryDirectory() as folder:
        left, output = Path(folder, "variables"), Path(folder, "output")
        # What the script itself says to be its end, `exit` included, must not pass for success without its variables.
        text = 'source "$1" || exit $?; env -0 > "$2"'
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", text, "startup.sh", script, left],
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=script.parent,
            )
            status = _wait(process, limit)
        if echo:
            print(output.read_text(errors="replace"), end="", flush=True)
        if status is None:
            raise StartFailed(
                f"startup.sh did not end in {limit:.0f} s, which is all that MWAA gives it: start what shall go on "
                f"in the background with its output elsewhere; its last lines:\n{tail(output)}"
            )
        if status != 0 or not left.exists():
            how = f"ended with status {status}" if status else "called exit"
            raise StartFailed(f"startup.sh {how}, its last lines:\n{tail(output)}")
        pairs = (line.partition("=") for line in left.read_text(errors="surrogateescape").split("\0") if line)
        return {key: value for key, _, value in pairs}


def _wait(process: subprocess.Popen[bytes], limit: float) -> int | None:
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
