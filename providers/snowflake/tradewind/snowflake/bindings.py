"""Values that the service binds itself: they never become SQL text.

The wire's format is that of the SQL API: https://docs.snowflake.com/en/developer-guide/sql-api/submitting-requests
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.statements import lex

Bindings = dict[str, dict[str, Any]]
Parameters = Sequence[Any] | Mapping[str, Any]

TYPES = (
    "ANY", "BINARY", "BOOLEAN", "DATE", "FIXED", "REAL", "TEXT", "TIME", "TIMESTAMP_LTZ", "TIMESTAMP_NTZ",
    "TIMESTAMP_TZ",
)  # fmt: skip
_PLACE = re.compile(r"%\((?P<name>[^)]*)\)s|(?P<position>%s)|(?P<percent>%%)|(?P<other>%)")
_EPOCH = dt.datetime(1970, 1, 1)


def bind(statements: Sequence[str], parameters: Parameters) -> tuple[list[str], Bindings]:
    """Write ``?`` in place of ``%s`` and ``%(name)s``, and the values for them.

    Texts in quotes and comments are left as they are, but for ``%%``, which is ``%``. Each statement is given the same
    values; one without places for them takes none.

    :param statements: each one statement
    :param parameters: the values, by position or by name; a list among them is ``(?, ?, ...)``
    :return: the statements, and the values by number through all of them
    :raises InvalidArgument: where places and values do not fit
    """
    binder = _Binder(parameters)
    return [binder.statement(number, text) for number, text in enumerate(statements, 1)], binder.bindings


def check_bindings(bindings: Mapping[str, Any]) -> None:
    """Refuse bindings in the SQL API's own form that cannot work.

    :param bindings: ``{"1": {"type": "FIXED", "value": "1"}, ...}``
    """
    for number, key in enumerate(sorted(bindings, key=lambda key: int(key) if str(key).isdigit() else 0), 1):
        each = bindings[key]
        if str(key) != str(number) or not isinstance(each, Mapping) or each.keys() != {"type", "value"}:
            raise InvalidArgument(
                'bindings must be {"1": {"type": ..., "value": ...}, "2": ...}, as the SQL API has them'
            )
        if each["type"] not in TYPES:
            raise InvalidArgument(f"bindings: {each['type']!r} is no type: use one of {', '.join(TYPES)}")


class _Binder:
    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.named = isinstance(parameters, Mapping)
        self.bindings: Bindings = {}

    def statement(self, number: int, text: str) -> str:
        values = iter(()) if self.named else iter(self.parameters)
        used = 0
        made: list[str] = []
        for quoted, part in _runs(text):
            if quoted:
                made.append(part.replace("%%", "%"))
                continue
            at = 0
            for place in _PLACE.finditer(part):
                made.append(part[at : place.start()])
                at = place.end()
                if place["percent"] or place["other"]:
                    made.append("%")
                    continue
                used += 1
                made.append(self._place(number, place["name"], values))
            made.append(part[at:])
        if not self.named and used and used != len(self.parameters):
            raise InvalidArgument(
                f"statement {number} has {used} places for values, and parameters has {len(self.parameters)}"
            )
        return "".join(made)

    def _place(self, number: int, name: str | None, values: Iterator[Any]) -> str:
        if (name is not None) is not self.named:
            wanted = "%(name)s for parameters by name" if self.named else "%s for parameters by position"
            raise InvalidArgument(f"statement {number}: write {wanted}")
        try:
            value = self.parameters[name] if self.named else next(values)  # type: ignore[call-overload, index]
        except KeyError:
            raise InvalidArgument(f"statement {number}: parameters has no value named {name!r}") from None
        except StopIteration:
            count = len(self.parameters)
            raise InvalidArgument(f"statement {number} has more places than the {count} values of parameters") from None
        if not isinstance(value, list | tuple | set | frozenset):
            return self._add(value)
        if not value:
            raise InvalidArgument(f"statement {number}: an empty list has no place in SQL")
        return f"({', '.join(self._add(each) for each in value)})"

    def _add(self, value: Any) -> str:
        kind, text = encode(value)
        self.bindings[str(len(self.bindings) + 1)] = {"type": kind, "value": text}
        return "?"


def encode(value: Any) -> tuple[str, str | None]:
    """Write a value as the service takes it.

    :param value: of a type that Python has
    :return: its type and its text
    """
    if value is None:
        return "ANY", None
    if isinstance(value, bool):
        return "BOOLEAN", str(value).lower()
    if isinstance(value, int | Decimal):
        return "FIXED", format(value, "f") if isinstance(value, Decimal) else str(value)
    if isinstance(value, float):
        return "REAL", repr(value)
    if isinstance(value, str):
        return "TEXT", value
    if isinstance(value, bytes | bytearray | memoryview):
        return "BINARY", bytes(value).hex().upper()
    if isinstance(value, dt.datetime):
        offset = value.utcoffset()
        if offset is None:
            return "TIMESTAMP_NTZ", str(_nanoseconds(value - _EPOCH))
        moment = _nanoseconds(value.astimezone(dt.UTC).replace(tzinfo=None) - _EPOCH)
        return "TIMESTAMP_TZ", f"{moment} {int(offset.total_seconds() // 60) + 1440}"
    if isinstance(value, dt.date):
        return "DATE", str((value - _EPOCH.date()).days * 86_400_000)
    if isinstance(value, dt.time):
        return "TIME", str(_nanoseconds(dt.datetime.combine(_EPOCH, value.replace(tzinfo=None)) - _EPOCH))
    raise InvalidArgument(f"parameters: a {type(value).__name__} cannot be bound: give a text, a number or a date")


def _nanoseconds(span: dt.timedelta) -> int:
    return (span // dt.timedelta(microseconds=1)) * 1000


def _runs(text: str) -> Iterator[tuple[bool, str]]:
    """Yield what is quoted or a comment, and what is not, whole."""
    plain: list[str] = []
    for kind, part in lex(text, "snowflake"):
        if kind not in ("text", "name", "comment"):
            plain.append(part)
            continue
        if plain:
            yield False, "".join(plain)
            plain = []
        yield True, part
    if plain:
        yield False, "".join(plain)
