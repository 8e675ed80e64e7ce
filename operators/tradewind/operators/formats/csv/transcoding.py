"""Streams in other encodings, read as UTF-8."""

from __future__ import annotations

import codecs

from tradewind.hooks.errors import DataError
from tradewind.operators.ends import Readable

CHUNK = 1 << 18


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
