"""The types that a field can be cast to, whatever the source and the target."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from uuid import UUID

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.types import TypeKind

KINDS: tuple[TypeKind, ...] = (
    "boolean",
    "integer",
    "bigint",
    "decimal",
    "double",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "text",
    "json",
    "uuid",
    "bytes",
)
_WRITTEN = re.compile(r"\s*([a-z]+)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*")
_INTEGER = re.compile(r"[+-]?\d+")
_RANGES = {"integer": 1 << 31, "bigint": 1 << 63}
_TRUE = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE = frozenset({"f", "false", "n", "no", "off", "0"})
_MOST_DIGITS = 65


@dataclass(frozen=True)
class Cast:
    """A type.

    :param kind: one of :data:`KINDS`
    :param precision: the digits of a decimal, None for any
    :param scale: how many of them stand after the point
    """

    kind: TypeKind
    precision: int | None = None
    scale: int = 0

    @classmethod
    def parse(cls, text: str) -> Cast:
        """Read a type as it is written: ``integer``, ``decimal(12,2)``.

        :param text: one of :data:`KINDS`
        :raises InvalidArgument: with those that there are
        """
        found = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
        if found is None or found[1] not in KINDS or (found[2] and found[1] != "decimal"):
            raise InvalidArgument(f"type must be one of {', '.join(KINDS)} (decimal(12,2) too), not {text!r}")
        precision, scale = int(found[2]) if found[2] else None, int(found[3] or 0)
        if precision is not None and not max(scale, 1) <= precision <= _MOST_DIGITS:
            raise InvalidArgument(
                f"type {text!r}: a decimal has from 1 to {_MOST_DIGITS} digits, no more of them after the point"
            )
        return cls(KINDS[KINDS.index(found[1])], precision, scale)

    @property
    def never_empty(self) -> bool:
        """Whether an empty text is no value of this type: it stands for NULL."""
        return self.kind not in ("text", "bytes")

    def __str__(self) -> str:
        return self.kind if self.precision is None else f"{self.kind}({self.precision},{self.scale})"


def converter(cast: Cast) -> Callable[[str], str]:
    """Return what writes a text as its type is written: as PostgreSQL does with ISO dates, in UTC.

    :param cast: the type
    :return: a function that raises ValueError for a text that is no value of the type
    """
    if cast.kind == "decimal":
        return lambda text: _decimal(text, cast)
    if cast.kind in _RANGES:
        limit = _RANGES[cast.kind]
        return lambda text: _integer(text, limit)
    return _CONVERTERS[cast.kind]


def _boolean(text: str) -> str:
    word = text.strip().lower()
    if word in _TRUE:
        return "t"
    if word in _FALSE:
        return "f"
    raise ValueError("it is neither true nor false")


def _integer(text: str, limit: int) -> str:
    digits = text.strip()
    if not _INTEGER.fullmatch(digits) or len(digits) > 64:
        raise ValueError("it is no whole number")
    value = int(digits)
    if not -limit <= value < limit:
        raise ValueError("it is out of range")
    return str(value)


def _decimal(text: str, cast: Cast) -> str:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError("it is no number") from None
    if not value.is_finite():
        raise ValueError("it is no finite number")
    if cast.precision is None:
        return format(value, "f")
    with localcontext(prec=2 * _MOST_DIGITS):
        if value.adjusted() > _MOST_DIGITS:
            raise ValueError("it is out of range")
        rounded = value.quantize(Decimal(1).scaleb(-cast.scale), ROUND_HALF_UP)
    if rounded and rounded.adjusted() >= cast.precision - cast.scale:
        raise ValueError("it is out of range")
    return format(rounded, "f")


def _double(text: str) -> str:
    value = float(text)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        if "inf" not in text.lower():
            raise ValueError("it is out of range")
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value).removesuffix(".0")


def _date(text: str) -> str:
    given = text.strip()
    return (date.fromisoformat(given) if len(given) == 10 else datetime.fromisoformat(given).date()).isoformat()


def _time(text: str) -> str:
    return time.fromisoformat(text.strip()).replace(tzinfo=None).isoformat()


def _timestamp(text: str) -> str:
    return datetime.fromisoformat(text.strip()).replace(tzinfo=None).isoformat(" ")


def _timestamptz(text: str) -> str:
    value = datetime.fromisoformat(text.strip())
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return f"{value.replace(tzinfo=None).isoformat(' ')}+00"


def _json(text: str) -> str:
    json.loads(text)
    return text


def _bytes(text: str) -> str:
    raw = bytes.fromhex(text[2:]) if text.startswith("\\x") else text.encode()
    return f"\\x{raw.hex()}"


_CONVERTERS: dict[str, Callable[[str], str]] = {
    "boolean": _boolean,
    "double": _double,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "text": str,
    "json": _json,
    "uuid": lambda text: str(UUID(text.strip())),
    "bytes": _bytes,
}
