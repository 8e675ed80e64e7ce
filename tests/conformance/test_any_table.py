"""Any table survives every pair of ends as it is, or is refused with its line and column named.

``TRADEWIND_EXAMPLES=1000 uv run pytest tests/conformance/test_any_table.py`` tries more tables,
``TRADEWIND_SEED=N`` the same ones again.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings

from tests.conformance.files import File, S3Csv, S3Jsonl, S3Parquet
from tests.conformance.pairs import PAIRS, Pair, each
from tests.conformance.rows import COLUMNS, Row, rows
from tests.conformance.values import tables, values
from tradewind.hooks.errors import DataError
from tradewind.operators.formats.parquet.writing import SAMPLE

# A failure shows its table, a megabyte and all.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

SEED = int(os.environ.get("TRADEWIND_SEED") or secrets.randbelow(10**6))
EXAMPLES = int(os.environ.get("TRADEWIND_EXAMPLES") or 5)
THERE = rows(3, start=10**6)
_runs = itertools.count(1)


@each(PAIRS)
@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if EXAMPLES > 5 else [Phase.generate],
    print_blob=False,
)
@given(table=tables)
def test_any_table_arrives_as_it_is_or_is_refused_by_name(pair: Pair, table: list[Row]) -> None:
    print(f"seed {SEED}")
    there = [row for row in table if pair.source.can_hold(row)]
    pair.source.fill(there)
    pair.target.fill(THERE)
    run = f"run {next(_runs)}"
    source = pair.source.source()
    # The types of a file's texts, and of a large one how many digits its numbers have, are guessed from its beginning.
    guesses = isinstance(pair.source, S3Csv) and isinstance(pair.target, S3Jsonl | S3Parquet)
    large = isinstance(pair.source, S3Jsonl) and len(pair.source.encode(there)) > SAMPLE
    if guesses or (large and isinstance(pair.target, S3Parquet)):
        assert isinstance(pair.source, File)
        source = pair.source.typed()

    if not there and isinstance(pair.source, S3Jsonl) and isinstance(pair.target, S3Parquet):
        with pytest.raises(DataError, match="the input has no records to name its columns"):
            pair.copy(run=run, mode="replace", source=pair.source.source())
        assert pair.target.rows() == THERE
        return

    bad = next((row for row in there if not arrives(pair, row)), None)
    if bad is None:
        pair.copy(run=run, mode="replace", source=source)
        assert pair.target.rows() == there
        return

    with pytest.raises(DataError) as caught:
        pair.copy(run=run, mode="replace", source=source)
    assert pair.target.rows() == THERE
    by_record = pair.target.names_records and not isinstance(pair.source, File)
    assert caught.value.line == (there.index(bad) + 1 if by_record else pair.source.line_of(there, bad))
    assert caught.value.column in [name for name in COLUMNS if not arrives(pair, only(bad, name))]


def is_a_megabyte(text: str | None) -> bool:
    return text is not None and len(text) >= 1 << 20


def has_a_lone_surrogate(text: str | None) -> bool:
    return text is not None and any("\ud800" <= sign <= "\udfff" for sign in text)


@pytest.mark.parametrize("wanted", [is_a_megabyte, has_a_lone_surrogate])
def test_hostile_texts_are_among_the_drawn(wanted: Callable[[str | None], bool]) -> None:
    drawn = settings(max_examples=2000, phases=[Phase.generate], database=None)
    assert find(values, wanted, settings=drawn, random=Random(SEED))


def arrives(pair: Pair, row: Row) -> bool:
    """Say whether a row can be there: S3 itself copies any bytes from file to file."""
    return pair.target.can_hold(row) or (pair.source.kind == pair.target.kind and isinstance(pair.source, File))


def only(row: Row, name: str) -> Row:
    """Return a row that has one field of another."""
    return Row(0, None, None)._replace(**{name: getattr(row, name)})
