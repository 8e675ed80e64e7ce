"""How often parts crashed: one that crashes again and again is given up, one that does so now and then is not."""

from __future__ import annotations

import time
from collections.abc import Callable

RESTARTS = 3
"""How often a part that crashed is started again, in a row, before it is given up."""
AGAIN = 120.0
"""Seconds after which a crash has nothing to do with the one before: what cannot stay up ends sooner again."""


class Crashes:
    """Counts the crashes of each part in a row.

    :param clock: seconds, monotonic
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, tuple[int, float]] = {}

    def count(self, name: str) -> int:
        """Count one crash, and return the how many-th in a row it is.

        :param name: the part
        """
        now = self._clock()
        count, last = self._rows.get(name, (0, now))
        count = 1 if now - last > AGAIN else count + 1
        self._rows[name] = count, now
        return count
