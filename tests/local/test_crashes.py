"""A part that crashes in a row is given up; one that crashes every hour is not."""

from __future__ import annotations

from tradewind.local.crashes import AGAIN, Crashes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_crashes_in_a_row_are_counted_for_each_part() -> None:
    clock = Clock()
    crashes = Crashes(clock)

    counts = []
    for _ in range(4):
        clock.now += AGAIN
        counts.append(crashes.count("scheduler"))

    assert counts == [1, 2, 3, 4]
    assert crashes.count("triggerer") == 1


def test_a_crash_long_after_another_begins_a_new_row() -> None:
    clock = Clock()
    crashes = Crashes(clock)
    for _ in range(3):
        crashes.count("worker")

    for _ in range(24 * 7):
        clock.now += 3600
        assert crashes.count("worker") == 1
