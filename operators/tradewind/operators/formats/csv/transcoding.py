"""Streams in other encodings, read as UTF-8."""

from __future__ import annotations

import codecs

from tradewind.hooks.errors import DataError
from tradewind.operators.ends import Readable

CHUNK = 1 << 18

# The longer marks first: UTF-32's begins with UTF-16's (Unicode 15.0, section 2.6, table 2-4).
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_AS_IS = frozenset({"utf-8", "utf-8-sig", "ascii"})


class Pushback:
    """A stream whose first bytes were read before, and are given again.

    :param stream: the rest
    :param head: the bytes read before
    """

    def __init__(self, stream: Readable, head: bytes) -> None:
        self._stream = stream
        self._head = head

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, the first bytes first."""
        if not self._head:
            return self._stream.read(size)
        if size < 0:
            data, self._head = self._head + self._stream.read(), b""
        else:
            data, self._head = self._head[:size], self._head[size:]
        return data

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class Transcoder:
    """A stream in another encoding, read as UTF-8.

    :param stream: the bytes as they are
    :param encoding: a Python codec's name
    :param name: the file, for messages
    :param skipped: how many bytes of the file came before
    """

    def __init__(self, stream: Readable, encoding: str, name: str, skipped: int = 0) -> None:
        self._stream = stream
        self._encoding = encoding
        self._name = name
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._fed = skipped
        self._lines = 1
        self._ready = b""
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes of UTF-8.

        :raises DataError: where the bytes are not in the encoding, with offset and line
        """
        while not self._ended and (size < 0 or not self._ready):
            raw = self._stream.read(size if size > 0 else CHUNK)
            self._fed += len(raw)
            self._ended = not raw
            text = self._decode(raw)
            self._lines += text.count("\n")
            self._ready += text.encode()
        data, self._ready = (self._ready, b"") if size < 0 else (self._ready[:size], self._ready[size:])
        return data

    def _decode(self, raw: bytes) -> str:
        try:
            return self._decoder.decode(raw, final=self._ended)
        except UnicodeError as error:
            raise self._error(error) from error

    def _error(self, error: UnicodeError) -> DataError:
        if not isinstance(error, UnicodeDecodeError):
            return DataError(f"{self._name} is not {self._encoding}: {error}", source=self._name, line=self._lines)
        offset = self._fed - len(error.object) + error.start
        good = error.object[: error.start].decode(error.encoding, "replace")
        line = self._lines + good.count("\n")
        wrong = error.object[error.start : error.end][:4].hex(" ")
        return DataError(
            f"{self._name} is not {self._encoding}: bytes {wrong} at offset {offset:,} (line {line:,}): {error.reason}",
            source=self._name,
            line=line,
            value=wrong,
        )

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def as_utf8(stream: Readable, encoding: str, name: str) -> Readable:
    """Return the stream as UTF-8 without a byte order mark.

    :param stream: bytes in any encoding
    :param encoding: the encoding as stated; a byte order mark wins over it
    :param name: the file, for messages
    """
    head, skipped = b"", 0
    while len(head) < 4 and (more := stream.read(4 - len(head))):
        head += more
    for mark, marked in _MARKS:
        if head.startswith(mark):
            head, encoding, skipped = head[len(mark) :], marked, len(mark)
            break
    whole: Readable = Pushback(stream, head)
    return whole if codecs.lookup(encoding).name in _AS_IS else Transcoder(whole, encoding, name, skipped)
