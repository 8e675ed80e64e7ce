"""Progress of long work, told in the task log at a sane pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol


class InfoLog(Protocol):
    """A logger, Airflow 2's or 3's."""

    @property
    def info(self) -> Callable[..., Any]:
        """Write a line."""


class Progress:
    """Count rows and bytes, and log a line every few seconds.

    :param log: where the lines go
    :param what: what is going on, the start of each line
    :param share: tells how much of the work is done, from 0 to 1, None where nobody knows
    :param interval: seconds between two lines at least
    """

    def __init__(
        self,
        log: InfoLog,
        what: str,
        share: Callable[[], float | None] = lambda: None,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self.what = what
        self._share = share
        self.bytes = 0
        self.rows = 0
        self._interval = interval
        self._clock = clock
        self.started = clock()
        self._next = self.started + interval

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return self._clock() - self.started

    def add(self, data: int = 0, *, rows: int = 0) -> None:
        """Count what went through.

        :param data: bytes, uncompressed
        :param rows: rows
        """
        self.bytes += data
        self.rows += rows
        now = self._clock()
        if now >= self._next:
            self._next = now + self._interval
            self._log.info("%s", self.line())

    def line(self) -> str:
        """Say how far it is: rows, bytes, rate, and the end that can be expected."""
        seconds = max(self.seconds, 1e-9)
        parts = [f"{self.rows:,} rows"] if self.rows else []
        parts += [megabytes(self.bytes), f"{self.bytes / seconds / 1e6:.1f} MB/s"]
        share = self._share()
        if share is not None and 0 < share < 1:  # an estimate that is exceeded says nothing more
            parts.append(f"{100 * share:.0f} %, about {seconds * (1 / share - 1):.0f} s left")
        return f"{self.what}: " + ", ".join(parts)


def megabytes(count: int) -> str:
    """Write a number of bytes as a person would.

    :param count: bytes
    """
    if count >= 10**9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 10**5 else f"{count / 1e3:.1f} kB"
