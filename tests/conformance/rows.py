"""The rows that travel: one of each kind of value that every end of a copy can hold."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A record of the suite's table; ``seen`` is a moment with a zone, ``written`` one without."""

    id: int
    name: str | None
    note: str | None
    amount: Decimal | None = None
    born: dt.date | None = None
    written: dt.datetime | None = None
    seen: dt.datetime | None = None
    member: bool | None = None
    ratio: float | None = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in zip(self._fields, self, strict=True))
        return f"Row({shown})"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:100]}... ({len(value):,} characters)"


COLUMNS = Row._fields
TEXTS = [
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    "\\",
    "a,b;c|d\te",
    'say "hello"',
    '"',
    '""',
    "'; DROP TABLE people; --",
    "line\nfeed",
    "carriage\r\nreturn and \r alone",
    "\n",
    "=1+1",
    "@SUM(A1)",
    "größe, naïve, Ω, ελληνικά, 日本語, עברית",
    "😀👩‍👩‍👧‍👦",
    "e\u0301 is not \u00e9",
    "\ufeffmark",
    "\u2028\u2029\u0085",
    "\x01\x1f\x7f",
    "\\n \\t \\0 \\x41",
    "{a,b} [1] {}",
    "blank at the end ",
    "x" * 100_000,
]


def rows(count: int = 100, start: int = 1) -> list[Row]:
    """Make rows, the same for the same arguments: every text above, and values at the ends of their ranges.

    :param count: how many
    :param start: the id of the first
    """
    return [_row(number) for number in range(start, start + count)]


def _row(number: int) -> Row:
    if number % 7 == 0:
        return Row(number, None, "")
    moment = dt.datetime(1970, 1, 2) + dt.timedelta(seconds=number * 9_973 % 2_000_000_000, microseconds=number * 37)
    return Row(
        id=number,
        name=TEXTS[number % len(TEXTS)] if number <= 2 * len(TEXTS) else f"name {number}",
        note=None if number % 5 == 0 else f"note {number}",
        amount=Decimal(number) * Decimal("-12345678.000001") if number % 3 else Decimal("99999999999999.999999"),
        born=dt.date(1000, 1, 1) + dt.timedelta(days=number * 3_001 % 3_200_000),
        written=moment.replace(microsecond=0) if number % 2 else moment,
        seen=moment.replace(tzinfo=dt.UTC),
        member=number % 2 == 0,
        ratio=(0.1, -0.0, 1e300, 5e-324, 1 / 3, 123456789.0)[number % 6],
    )


def plain(count: int, start: int = 1) -> list[Row]:
    """Make rows of plain texts, as many as a failure or a kill half way needs.

    :param count: how many
    :param start: the id of the first
    """
    return [
        Row(number, f"name {number}", "note " * 90, Decimal(number), member=True)
        for number in range(start, start + count)
    ]


def from_texts(texts: list[str | None]) -> Row:
    """Read a record whose fields are texts, as PostgreSQL, MySQL or a person writes them.

    :param texts: the fields in the order of the columns
    """
    return Row(*(None if text is None else _READ[name](text) for name, text in zip(COLUMNS, texts, strict=True)))  # type: ignore[arg-type]


def _moment(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    return found.replace(tzinfo=found.tzinfo or dt.UTC).astimezone(dt.UTC)


_READ: dict[str, Any] = {
    "id": int,
    "name": str,
    "note": str,
    "amount": Decimal,
    "born": dt.date.fromisoformat,
    "written": dt.datetime.fromisoformat,
    "seen": _moment,
    "member": {"t": True, "f": False, "1": True, "0": False, "true": True, "false": False}.__getitem__,
    "ratio": float,
}


def to_text(value: Any) -> str | None:
    """Write a value as a person would write it into a file; None for NULL.

    :param value: one of a row's
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)
