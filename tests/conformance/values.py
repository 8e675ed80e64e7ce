"""Any rows at all: hostile texts, and values of every type up to the ends of its range."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from hypothesis import strategies as st

from tests.conformance.rows import TEXTS, Row

PIECES = [
    *"\",;|\t\\'`\n\r\0 ",
    "\r\n",
    '""',
    "\\N",
    "\\.",
    "NULL",
    "null",
    "NA",
    "=1+1",
    "@",
    "\ufeff",
    "\x1a",
    "\x1f",
]
PIECES += [
    "\x7f",
    "\u0085",
    "\u2028",
    "é",
    "語",
    "😀",
    "\ud800",
    "\udfff",
    "{",
    "}",
    "[",
    ":",
    "$1",
    "%s",
    "?",
    "--",
    "x",
]
LENGTHS = [1, 31, 32, 33, 250, 251, 252, 4095, 65_535, 65_536, 1 << 20]
"""Where formats and protocols begin to write a length in another way; and a megabyte."""

texts = st.one_of(
    st.sampled_from([text for text in TEXTS if len(text) < 1000]),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(st.characters(), max_size=20),
)
long_texts = st.builds(
    lambda piece, length: piece * (length // len(piece)), st.sampled_from(PIECES), st.sampled_from(LENGTHS)
)
values = st.one_of(st.none(), texts, texts, texts, long_texts)
moments = st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2038, 1, 18))

rows = st.builds(
    Row,
    id=st.just(0),
    name=values,
    note=st.one_of(st.none(), texts),
    amount=st.one_of(st.none(), st.integers(-(10**20) + 1, 10**20 - 1).map(lambda number: Decimal(number).scaleb(-6))),
    born=st.one_of(st.none(), st.dates(dt.date(1000, 1, 1), dt.date(9999, 12, 31))),
    written=st.one_of(st.none(), st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59))),
    seen=st.one_of(st.none(), moments.map(lambda moment: moment.replace(tzinfo=dt.UTC))),
    member=st.one_of(st.none(), st.booleans()),
    ratio=st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
)


def numbered(found: list[Row]) -> list[Row]:
    """Give each row an id of its own."""
    return [row._replace(id=number) for number, row in enumerate(found, 1)]


tables = st.lists(rows, min_size=1, max_size=8).map(numbered)
