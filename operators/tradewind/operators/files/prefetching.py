"""Files that are opened before their turn, so that the wait for the first byte of one hides behind another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from tradewind.operators.files.compression import PLAIN_CHUNK
from tradewind.operators.files.reading_ahead import AHEAD, AheadReader

FILES = 8
"""Files that are open before their turn at most; measured in docs/many-files.md."""

HELD = 16 << 20
"""Bytes that they may hold together, about, however many they are."""

_MOST = AHEAD * PLAIN_CHUNK
_PACKED = 10
"""By how much a compressed file may grow, as a guess."""


class Prefetch:
    """The streams of some files in their order, the next of them already on their way.

    :param openers: opens the stream of each file; calling one again begins anew
    :param sizes: the bytes of each file as it is stored
    :param files: how many may be open before their turn
    """

    def __init__(
        self, openers: Sequence[Callable[[], AheadReader]], sizes: Sequence[int], files: int | None = None
    ) -> None:
        self._openers = openers
        self._held = [min(_MOST, size * _PACKED) for size in sizes]
        self._files = FILES if files is None else files
        self._waiting: dict[int, AheadReader] = {}
        self._begun = 0
        self._lock = threading.Lock()

    def open(self, index: int) -> AheadReader:
        """Open a file, and send for those that follow and were not sent for yet.

        :param index: which one, counted from 0
        """
        with self._lock:
            stream = self._waiting.pop(index, None)
            if stream is None:  # the first one, or the files are read once more
                stream, self._begun = self._openers[index](), index + 1
            while self._may_begin(index):
                if self._begun not in self._waiting:
                    following = self._waiting[self._begun] = self._openers[self._begun]()
                    following.start()
                self._begun += 1
            return stream

    def close(self) -> None:
        """Let go of the files whose turn never came."""
        with self._lock:
            for stream in self._waiting.values():
                stream.close()
            self._waiting.clear()

    def _may_begin(self, index: int) -> bool:
        following = self._begun
        if following >= min(index + 1 + self._files, len(self._openers)):
            return False
        held = sum(self._held[waiting] for waiting in self._waiting)
        return not self._waiting or held + self._held[following] <= HELD
