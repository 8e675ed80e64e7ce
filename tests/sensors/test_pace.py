"""The clock of a wait."""

from __future__ import annotations

import json
import time

import pytest

from tradewind.sensors.pace import JITTER, Pace


def test_pauses_vary_around_the_interval() -> None:
    clock = Pace.starting(1000, 10)

    pauses = [clock.pause() for _ in range(200)]

    assert all(10 * (1 - JITTER) <= pause <= 10 * (1 + JITTER) for pause in pauses)
    assert max(pauses) - min(pauses) > 10 * JITTER / 2


def test_no_pause_goes_beyond_the_deadline() -> None:
    assert Pace.starting(3, 10).pause() <= 3
    assert Pace.starting(-1, 10).pause(faults=5) == 0


@pytest.mark.parametrize(("waited", "expected"), [(0, 10), (10, 20), (30, 40), (70, 60)])
def test_backoff_doubles_up_to_the_longest(waited: float, expected: float) -> None:
    now = time.time()
    clock = Pace(now - waited, now + 1000, 10, backoff=True, longest=60)

    assert clock.pause() == pytest.approx(expected, rel=JITTER + 0.01)


def test_it_survives_being_stored() -> None:
    clock = Pace.starting(60, 5, backoff=True, longest=20)

    assert Pace.from_dict(json.loads(json.dumps(clock.as_dict()))) == clock
