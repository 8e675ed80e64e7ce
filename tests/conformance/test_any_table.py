"""Any table survives every pair of ends as it is, or is refused with its line and column named.

``TRADEWIND_EXAMPLES=1000 uv run pytest tests/conformance/test_any_table.py`` tries more tables,
``TRADEWIND_SEED=N`` the same ones again.
"""

from __future__ import annotations

import itertools
import os
import secrets

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.conformance.pairs import PAIRS, Pair, each
from tests.conformance.rows import COLUMNS, Row, rows
from tests.conformance.values import tables
from tradewind.hooks.errors import DataError

SEED = int(os.environ.get("TRADEWIND_SEED") or secrets.randbelow(10**6))
EXAMPLES = int(os.environ.get("TRADEWIND_EXAMPLES") or 8)
THERE = rows(3, start=10**6)
_runs = itertools.count(1)


@each(PAIRS)
@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if EXAMPLES > 8 else [Phase.generate],
    print_blob=False,
)
@given(table=tables)
def test_any_table_arrives_as_it_is_or_is_refused_by_name(pair: Pair, table: list[Row]) -> None:
    print(f"seed {SEED}")
    there = [row for row in table if pair.source.can_hold(row)]
    pair.source.fill(there)
    pair.target.fill(THERE)
    run = f"run {next(_runs)}"

    bad = next((row for row in there if not pair.target.can_hold(row)), None)
    if bad is None:
        pair.copy(run=run, mode="replace")
        assert pair.target.rows() == there
        return

    with pytest.raises(DataError) as caught:
        pair.copy(run=run, mode="replace")
    assert pair.target.rows() == THERE
    assert caught.value.line == pair.source.line_of(there, bad)
    assert caught.value.column in [name for name in COLUMNS if not pair.target.can_hold(only(bad, name))]


def only(row: Row, name: str) -> Row:
    """Return a row that has one field of another."""
    return Row(0, None, None)._replace(**{name: getattr(row, name)})
