"""Records that come with escapes, as LOAD DATA reads them."""

from __future__ import annotations

from collections.abc import Callable

from tradewind.operators.ends import Readable

BLOCK = 1 << 18

# No byte of UTF-8: it stands for an escaped backslash while others are looked for.
_HELD = b"\xff"
# LOAD DATA would take the letters for themselves.
_UNKNOWN = {b"\\f": b"\f", b"\\v": b"\v"}


class EscapedText:
    """The records of :mod:`tradewind.operators.formats.escaped` in one stream.

    :param stream: where they come from
    :param told: is told the bytes that went by
    """

    def __init__(self, stream: Readable, told: Callable[[int], None]) -> None:
        self.records = 0
        self._stream = stream
        self._told = told
        self._rest = b""
        self._data = b""
        self._at = 0
        self._first = self._whole()

    @property
    def empty(self) -> bool:
        """Whether there are no records."""
        return not (self._first or self.records)

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, or some whole records where no size is given; none at the end.

        :param size: how many
        """
        if self._at >= len(self._data):
            self._data, self._at = self._next(), 0
        start = self._at
        self._at = len(self._data) if size < 0 else start + size
        return self._data[start : self._at]

    def _next(self) -> bytes:
        data, self._first = self._first or self._whole(), b""
        self._told(len(data))
        self.records += data.count(b"\n")
        return _known(data) if any(escape in data for escape in _UNKNOWN) else data

    def _whole(self) -> bytes:
        """Return some whole records, none at the end."""
        pieces = [self._rest]
        while data := self._stream.read(BLOCK):
            if end := data.rfind(b"\n") + 1:
                self._rest = data[end:]
                return b"".join([*pieces, memoryview(data)[:end]])
            pieces.append(data)
        self._rest = b""
        return b"".join(pieces)


def _known(data: bytes) -> bytes:
    """Write the escapes that LOAD DATA does not know as what they stand for."""
    data = data.replace(b"\\\\", _HELD)
    for escape, meant in _UNKNOWN.items():
        data = data.replace(escape, meant)
    return data.replace(_HELD, b"\\\\")
