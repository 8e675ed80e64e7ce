"""When to look again, and when to stop: the clock of one wait."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

JITTER = 0.1
"""The share by which a pause varies, so that many waits do not poll in step."""

SLOWEST_RETRY = 300.0
"""Seconds that a pause after faults grows to at most, unless the interval itself is longer."""


@dataclass(frozen=True)
class Pace:
    """The clock of one wait, counted from its first poke.

    Its times are absolute, so that it goes on where it was after a restart of the triggerer, and over any number of
    deferrals of the same try.

    :param started: when the first poke was, in seconds of the epoch
    :param deadline: when to give up, in seconds of the epoch
    :param interval: seconds between two looks
    :param backoff: whether the pauses double
    :param longest: seconds that a pause grows to at most, None for no bound
    """

    started: float
    deadline: float
    interval: float
    backoff: bool = False
    longest: float | None = None

    @classmethod
    def starting(cls, timeout: float, interval: float, *, backoff: bool = False, longest: float | None = None) -> Pace:
        """Start the clock now.

        :param timeout: seconds until the deadline
        :param interval: seconds between two looks
        """
        now = time.time()
        return cls(now, now + timeout, interval, backoff, longest)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pace:
        """Read what :meth:`as_dict` wrote."""
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that Airflow can store."""
        return asdict(self)

    def left(self) -> float:
        """Return the seconds until the deadline, negative when it is over."""
        return self.deadline - time.time()

    def waited(self) -> float:
        """Return the seconds since the first poke."""
        return time.time() - self.started

    def pause(self, faults: int = 0) -> float:
        """Choose how long to pause before the next look.

        :param faults: how many looks failed in a row; each doubles the pause
        :return: seconds, never beyond the deadline
        """
        pause = self.interval
        if self.backoff:
            # As long again as the whole wait so far: 1, 2, 4, 8 ... intervals, with nothing to remember.
            pause += max(self.waited(), 0.0)
        if self.longest is not None:
            pause = min(pause, max(self.longest, self.interval))
        if faults:
            pause = max(pause, min(self.interval * 2 ** min(faults - 1, 32), SLOWEST_RETRY))
        pause *= 1 + random.uniform(-JITTER, JITTER)  # noqa: S311 - no secret
        return max(0.0, min(pause, self.left()))
