"""A pair of ends of a test's own, and which pairs there are."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from tests.conformance.end import End
from tests.conformance.ends import ALL, DIRECT, FETCHED, KINDS

PAIRS = [*((source, target) for source in ALL for target in ALL), *DIRECT, *FETCHED]
if sampled := os.environ.get("TRADEWIND_PAIRS"):  # so many of them, drawn by TRADEWIND_SEED
    PAIRS = sorted(Random(os.environ["TRADEWIND_SEED"]).sample(PAIRS, int(sampled)), key=PAIRS.index)
TABLES = [(source, target) for source, target in PAIRS if KINDS[target].keeps_ledger]


@dataclass
class Pair:
    """A source and a target of a test's own.

    :param make_context: makes the context of a try
    """

    source: End
    target: End
    make_context: Callable[..., Any]
    operators: list[Any] = field(default_factory=list)

    def copy(self, *, run: str = "run", number: int = 1, source: Any = None, **arguments: Any) -> dict[str, Any]:
        """Run a try as Airflow does, with ends of its own."""
        operator = self.operator(source, **arguments)
        return self.execute(operator, self.make_context(operator, run_id=run, try_number=number, max_tries=3))

    def execute(self, operator: Any, context: Any) -> dict[str, Any]:
        """Run an operator in any thread: what Airflow 2 wraps around it knows the main one alone."""
        result: dict[str, Any] = inspect.unwrap(type(operator).execute)(operator, context)
        return result

    def operator(self, source: Any = None, **arguments: Any) -> Any:
        from tradewind.operators.copy import CopyOperator

        made = CopyOperator(
            task_id="copy", source=source or self.source.source(), target=self.target.target(), **arguments
        )
        self.operators.append(made)
        return made

    def leftovers(self) -> list[str]:
        return [*self.source.leftovers(), *self.target.leftovers()]


def each(pairs: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pair", pairs, indirect=True, ids="-".join)
