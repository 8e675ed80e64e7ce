"""Python rows as the text that COPY reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tradewind.hooks.errors import DataError

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_CHUNK = 1 << 18


class RowReader:
    """A stream of COPY's text format, made from rows while it is read.

    :param rows: sequences of Python values, all as long as the first
    """

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        self._chunks = _chunks(rows, self)
        self._buffer = b""
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, none at the end."""
        while not self._buffer:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._buffer = chunk
        size = len(self._buffer) if size < 0 else size
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


def text_of(value: Any) -> str | None:
    """Write a value as PostgreSQL reads its type, None for NULL.

    :param value: a number, text, bytes, date, time, duration, UUID, list (an array) or mapping (JSON)
    :raises DataError: for a value of another type
    """
    if value is None:
        return None
    write = _WRITERS.get(type(value))
    if write is None:
        write = next((found for kind, found in _WRITERS.items() if isinstance(value, kind)), None)
    if write is None:
        raise DataError(f"cannot write a value of type {type(value).__name__}: make it a text first")
    return write(value)


def _chunks(rows: Iterable[Sequence[Any]], reader: RowReader) -> Iterator[bytes]:
    width: int | None = None
    lines: list[str] = []
    size = 0
    for row in rows:
        width = len(row) if width is None else width
        if len(row) != width:
            raise DataError(f"row {reader.count + 1} has {len(row)} values, the first one has {width}")
        line = "\t".join([_field(value) for value in row])
        lines.append(line)
        size += len(line)
        reader.count += 1
        if size >= _CHUNK:
            yield ("\n".join(lines) + "\n").encode()
            lines, size = [], 0
    if lines:
        yield ("\n".join(lines) + "\n").encode()


def _field(value: Any) -> str:
    text = value if type(value) is str else text_of(value)
    return "\\N" if text is None else text.translate(_ESCAPES)


def _array(value: Sequence[Any]) -> str:
    return "{" + ",".join(_element(item) for item in value) + "}"


def _element(value: Any) -> str:
    if isinstance(value, list | tuple):
        return _array(value)
    text = text_of(value)
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _interval(value: timedelta) -> str:
    return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"


_WRITERS: dict[type, Callable[[Any], str]] = {
    str: str,
    bool: lambda value: "t" if value else "f",
    int: str,
    float: repr,
    Decimal: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _interval,
    UUID: str,
    bytes: lambda value: "\\x" + value.hex(),
    bytearray: lambda value: "\\x" + value.hex(),
    memoryview: lambda value: "\\x" + value.hex(),
    list: _array,
    tuple: _array,
    Mapping: lambda value: json.dumps(value, ensure_ascii=False, default=text_of),
}
