"""Values of Python as literals of MySQL: exactly, or not at all."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from tradewind.hooks.errors import DataError

# https://dev.mysql.com/doc/refman/8.4/en/string-literals.html#character-escape-sequences
_ESCAPES = str.maketrans({"\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z", "'": "\\'", "\\": "\\\\"})
_LONGEST_TIME = dt.timedelta(hours=838, minutes=59, seconds=59)


def literal(value: Any, *, backslashes: bool = True, nested: bool = True) -> str:
    """Write a value as SQL.

    A time with a zone becomes UTC, which is the session's time zone.

    :param value: None, a number, text, bytes, date, time, duration, UUID, a mapping (as JSON), or a sequence
    :param backslashes: whether the server takes backslashes in texts for escapes (``NO_BACKSLASH_ESCAPES`` is off)
    :param nested: whether a sequence becomes a list in parentheses, as ``IN`` takes it, and not a JSON array
    :raises DataError: for a value that MySQL has no literal for
    """
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return text_literal(value, backslashes=backslashes)
    if isinstance(value, list | tuple | set | frozenset) and nested:
        inner = ",".join(literal(item, backslashes=backslashes) for item in value)
        return f"({inner})" if inner else "(NULL)"
    if isinstance(value, Mapping | list | tuple):
        return text_literal(json.dumps(value, default=_unknown), backslashes=backslashes)
    return _plain(value)


def text_literal(text: str, *, backslashes: bool = True) -> str:
    """Quote a text.

    :param text: any text
    :param backslashes: whether the server takes backslashes for escapes
    """
    return f"'{text.translate(_ESCAPES)}'" if backslashes else "'" + text.replace("'", "''") + "'"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"X'{bytes(value).hex()}'"
    if isinstance(value, UUID):
        return f"'{value}'"
    return _moment(value)


def _number(value: float | Decimal) -> str:
    if not math.isfinite(value):
        raise DataError(f"cannot write {value}: MySQL has no such number", value=str(value))
    if isinstance(value, Decimal):
        return format(value, "f")
    shown = float.__repr__(value)
    return shown if "e" in shown else f"{shown}e0"  # without an exponent it would be a DECIMAL


def _moment(value: Any) -> str:
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(dt.UTC).replace(tzinfo=None)
        return f"'{value.isoformat(' ')}'"
    if isinstance(value, dt.date):
        return f"'{value.isoformat()}'"
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            raise DataError(f"cannot write {value}: MySQL's TIME has no zone", value=str(value))
        return f"'{value.isoformat()}'"
    if isinstance(value, dt.timedelta):
        return _duration(value)
    return _unknown(value)


def _duration(value: dt.timedelta) -> str:
    if abs(value) > _LONGEST_TIME:
        raise DataError(f"cannot write {value}: MySQL's TIME ends at 838:59:59", value=str(value))
    sign, left = ("-", -value) if value < dt.timedelta() else ("", value)
    seconds = left.days * 86400 + left.seconds
    return f"'{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{left.microseconds:06}'"


def _unknown(value: Any) -> str:
    raise DataError(f"cannot write a value of type {type(value).__name__}: make it a text, a number or a date")
