"""Comparing what a database says with what is expected, whichever classes its driver makes of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from tradewind.hooks.errors import InvalidArgument

Options = Mapping[str, Any]
_BOUNDS = ("greater_than", "geq_to", "less_than", "leq_to")
_SIGNS = {"equal_to": "=", "greater_than": ">", "geq_to": ">=", "less_than": "<", "leq_to": "<="}


def number(value: Any) -> Decimal | None:
    """Return a number exactly, None where the value is none; a text may be one.

    Floats count as the shortest text that means them: 0.1 is a tenth.
    """
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, str):
        try:
            found = Decimal(value.strip())
        except InvalidOperation:
            return None
        return found if found.is_finite() else None
    return None


def within(value: Any, expected: Any, tolerance: Any = None) -> bool:
    """Say whether a value is the expected one, or differs by a share of it at most.

    :param value: what the database says
    :param expected: a number, or a text
    :param tolerance: the share, as 0.1; None for none
    """
    seen, wanted = number(value), number(expected)
    if seen is None or wanted is None:
        return value is not None and str(value) == str(expected)
    return abs(seen - wanted) <= abs(wanted) * (number(tolerance) or 0)


@dataclass(frozen=True)
class Bounds:
    """What a value must be.

    :param options: ``equal_to``, or one of ``greater_than`` and ``geq_to`` and one of ``less_than`` and ``leq_to``;
        ``tolerance`` is a share by which bounds that are numbers give way
    """

    options: Options

    def check(self, what: str) -> None:
        """Refuse what contradicts itself.

        :param what: whose bounds they are, for messages
        :raises InvalidArgument: with what, which and what instead
        """
        given = [name for name in (*_BOUNDS, "equal_to") if name in self.options]
        if not given:
            raise InvalidArgument(f"{what}: give one of equal_to, {', '.join(_BOUNDS)}")
        if "equal_to" in given and len(given) > 1:
            raise InvalidArgument(f"{what}: equal_to stands alone, not beside {given[0]}")
        for pair in (_BOUNDS[:2], _BOUNDS[2:]):
            if all(name in given for name in pair):
                raise InvalidArgument(f"{what}: give {pair[0]} or {pair[1]}, not both")
        if len(given) == 2:
            low, high = self.options[given[0]], self.options[given[1]]
            open_ended = given != ["geq_to", "leq_to"]
            if _less(high, low) or (open_ended and not _less(low, high)):
                raise InvalidArgument(f"{what}: nothing is {self}")
        if (tolerance := self.options.get("tolerance")) is not None and (number(tolerance) or Decimal(-1)) < 0:
            raise InvalidArgument(f"{what}: tolerance must be 0 or more, a share as 0.1, not {tolerance!r}")

    def hold(self, value: Any) -> bool:
        """Say whether a value keeps to them; NULL keeps to none."""
        if value is None:
            return False
        if "equal_to" in self.options:
            return within(value, self.options["equal_to"], self.options.get("tolerance"))
        return all(self._keeps(name, value) for name in _BOUNDS if name in self.options)

    def _keeps(self, name: str, value: Any) -> bool:
        bound = self.options[name]
        limit = number(bound)
        if limit is not None and number(value) is not None:
            slack = abs(limit) * (number(self.options.get("tolerance")) or 0)
            bound = limit - slack if name in ("greater_than", "geq_to") else limit + slack
        if name == "greater_than":
            return _less(bound, value)
        if name == "geq_to":
            return not _less(value, bound)
        return _less(value, bound) if name == "less_than" else not _less(bound, value)

    def __str__(self) -> str:
        shown = [f"{_SIGNS[name]} {self.options[name]}" for name in _SIGNS if name in self.options]
        tolerance = self.options.get("tolerance")
        return " and ".join(shown) + (f" (tolerance {tolerance})" if tolerance else "")


def _less(one: Any, other: Any) -> bool:
    """Say whether one is less: as numbers where both are, as days or texts else."""
    left, right = number(one), number(other)
    if left is not None and right is not None:
        return left < right
    if isinstance(one, date) != isinstance(other, date):
        one, other = str(one), str(other)  # a day is compared with its ISO text
    try:
        return bool(one < other)
    except TypeError as error:
        raise InvalidArgument(f"{one!r} cannot be compared with {other!r}") from error
