"""Nested values as texts: JSON, and arrays as PostgreSQL writes them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any


class Number(str):
    """A number of JSON, digit by digit as it was written."""

    __slots__ = ()


def json_text(value: Any) -> str:
    """Write a value as JSON: numbers with all their digits, bytes as ``\\x`` and hex digits, moments as ISO 8601.

    :param value: of Python, nested as deep as it may be
    """
    if isinstance(value, Mapping):
        items = (f"{encode_basestring(str(key))}:{json_text(item)}" for key, item in value.items())
        return f"{{{','.join(items)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(json_text, value))}]"
    text = scalar_text(value)
    if text is None:
        return "null"
    bare = isinstance(value, Number | bool | int | Decimal | float) and text not in _NO_NUMBERS
    return text if bare else encode_basestring(text)


def braces(value: list[Any]) -> str:
    """Write an array as PostgreSQL does: ``{a,"b c",NULL}``.

    :param value: its elements, lists for more dimensions
    """
    return f"{{{','.join(map(_element, value))}}}"


_NO_NUMBERS = frozenset(("NaN", "Infinity", "-Infinity"))


def _element(value: Any) -> str:
    if isinstance(value, list):
        return braces(value)
    text = json_text(value) if isinstance(value, Mapping) else scalar_text(value)
    if text is None:
        return "NULL"
    if isinstance(value, Number | bool | int):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def scalar_text(value: object) -> str | None:
    """Write a single value as :mod:`tradewind.operators.types` says, None for NULL.

    :param value: None, a text, number, truth value, moment, bytes or UUID
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(dt.UTC)
        return value.isoformat(" ")
    if isinstance(value, dt.timedelta):
        return f"PT{Decimal(value // dt.timedelta(microseconds=1)) / 1_000_000:f}S"
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def float_text(value: float) -> str:
    """Write a float with the fewest digits that give it again, without an exponent of its own.

    :param value: any, not a number and infinity among them
    """
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
