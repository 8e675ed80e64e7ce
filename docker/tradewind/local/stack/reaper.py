"""Ends a stack whose starter went away without ending it: ``python -m tradewind.local.stack.reaper PROJECT``.

It waits for the end of its standard input, which its starter holds open, and holds the state folder's lock meanwhile.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time

from tradewind.local.errors import LocalError
from tradewind.local.stack import compose


class Reaper:
    """The starter's side.

    :param project: the Compose project
    :param keep: a descriptor (of a lock) that it holds open until nothing is left
    """

    def __init__(self, project: str, keep: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tradewind.local.stack.reaper", project],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[keep],
            start_new_session=True,
            cwd="/",
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def close(self) -> None:
        """Have it end what is left, and wait for it."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        try:
            self._process.wait(compose.TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Wait, then clear."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    for attempt in range(3):  # what was being made while its starter went away comes a moment later
        time.sleep(attempt)
        with contextlib.suppress(LocalError, OSError):
            compose.clear(sys.argv[1], grace=5)


if __name__ == "__main__":
    main()
