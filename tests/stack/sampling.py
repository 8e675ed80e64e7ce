"""Which tests of the stack a run takes: all, or those that always run and a random sample of the others.

``TRADEWIND_STACK_SAMPLE=3 TRADEWIND_SEED=7`` takes three others, the same for each seed: so CI ends in time.
"""

from __future__ import annotations

import os
from random import Random

import pytest

SAMPLE = "TRADEWIND_STACK_SAMPLE"
ALWAYS = (
    "tests/stack/test_both_engines.py::test_a_day_with_an_environment[3.3.1",
    "tests/stack/test_chaos.py",
    "tests/stack/test_every_operator.py",
    "tests/stack/test_stack.py::test_nobody_else_gets_in",
)
"""How the names of those begin that always run."""
SELDOM = ("tests/stack/test_many_files.py",)
"""And of those that take so long that no sample has them."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    size = os.environ.get(SAMPLE)
    if not size:
        return
    starting = [
        item
        for item in items
        if item.nodeid.startswith("tests/stack/")
        and not item.nodeid.startswith(ALWAYS)
        and item.get_closest_marker("slow")
        and not item.get_closest_marker("skip")  # a version that this run leaves out
    ]
    drawn_from = [item for item in starting if not item.nodeid.startswith(SELDOM)]
    chosen = Random(os.environ["TRADEWIND_SEED"]).sample(drawn_from, min(int(size), len(drawn_from)))
    left_out = {item for item in starting if item not in chosen}
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
