"""Files opened before their turn: in order, few at a time, each read as if it were alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tradewind.operators.files.prefetching import FILES, HELD, Prefetch
from tradewind.operators.files.reading_ahead import AheadReader

pytestmark = pytest.mark.anywhere


class Body:
    """A file that notes when it is read and closed."""

    def __init__(self, store: Store, number: int) -> None:
        self.store = store
        self.number = number
        self.name = f"file {number}"
        self.position = 0

    def chunks(self, stopped: Callable[[], bool], /) -> Iterator[bytes]:
        self.store.begun.append(self.number)
        if self.number in self.store.failing:
            raise ConnectionResetError(self.name)
        for _ in range(3):
            self.position += 10
            yield b"%10d" % self.number

    def close(self) -> None:
        self.store.closed.append(self.number)


class Store:
    def __init__(self, count: int, *failing: int) -> None:
        self.count = count
        self.failing = failing
        self.begun: list[int] = []
        self.closed: list[int] = []

    def prefetch(self, size: int = 1, **how: int) -> Prefetch:
        openers = [partial(lambda number: AheadReader(Body(self, number)), number) for number in range(self.count)]
        return Prefetch(openers, [size] * self.count, **how)

    def settle(self, count: int) -> list[int]:
        """Wait until some files are being read; return all that are."""
        until = time.monotonic() + 5
        while len(self.begun) < count and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.02)
        return sorted(self.begun)


def test_what_follows_is_on_its_way_and_no_more() -> None:
    store = Store(20)
    ahead = store.prefetch(files=3)
    first = ahead.open(0)
    assert store.settle(3) == [1, 2, 3]
    assert first.read(-1) == b"%10d" % 0 * 3
    second = ahead.open(1)
    assert store.settle(5) == [0, 1, 2, 3, 4]
    assert second.read(-1) == b"%10d" % 1 * 3
    ahead.close()


def test_all_files_come_in_their_order_once() -> None:
    store = Store(50)
    ahead = store.prefetch()
    for number in range(50):
        stream = ahead.open(number)
        assert stream.read(-1) == b"%10d" % number * 3
        stream.close()
    assert sorted(store.begun) == list(range(50))
    assert not [each for each in threading.enumerate() if each.name == "tradewind-read-ahead"]


def test_large_files_are_few() -> None:
    store = Store(20)
    ahead = store.prefetch(size=HELD)
    ahead.open(0)
    few = HELD // (4 << 20)
    assert store.settle(few) == list(range(1, few + 1))
    assert few < FILES
    ahead.close()


def test_a_file_that_is_opened_again_begins_anew() -> None:
    store = Store(3)
    ahead = store.prefetch()
    for _ in range(2):
        for number in range(3):
            assert ahead.open(number).read(-1) == b"%10d" % number * 3
    assert sorted(store.begun) == [0, 0, 1, 1, 2, 2]


def test_a_failure_is_told_when_its_turn_comes() -> None:
    store = Store(4, 2)
    ahead = store.prefetch()
    assert ahead.open(0).read(-1)
    assert ahead.open(1).read(-1)
    with pytest.raises(ConnectionResetError, match="file 2"):
        ahead.open(2).read(-1)
    assert ahead.open(3).read(-1)


def test_files_whose_turn_never_comes_are_closed() -> None:
    store = Store(6)
    ahead = store.prefetch()
    first = ahead.open(0)
    assert first.read(5)
    store.settle(6)
    first.close()
    ahead.close()
    until = time.monotonic() + 5
    while len(store.closed) < 6 and time.monotonic() < until:
        time.sleep(0.005)
    assert sorted(store.closed) == list(range(6))


def test_a_second_look_is_read_ahead_too() -> None:
    store = Store(5)
    ahead = store.prefetch(files=2)
    for number in range(5):
        ahead.open(number).close()  # as who looks at the first records of each
    assert store.settle(4) == [1, 2, 3, 4]
    assert ahead.open(0).read(-1)
    assert store.settle(7) == [0, 1, 1, 2, 2, 3, 4]
    ahead.close()
