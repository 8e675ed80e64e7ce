"""TPC-H at a hundredth of its scale; ``python -m tests.proofs tpch --scale 1`` takes the whole (docs/proofs.md)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.services import require
from tests.stage import Stage


@pytest.mark.slow
def test_tpch_gives_the_same_answers_after_a_round_trip(
    full_stage: Stage, tmp_path: Path, connection: Callable[..., str]
) -> None:
    if find_spec("duckdb_extension_tpch") is None:
        require("tpch", "no duckdb-extension-tpch to make the tables: install it, as the group dev does")
    from tests.proofs.tpch import Tpch

    for name, value in full_stage.connections().items():
        connection(name.removeprefix("AIRFLOW_CONN_"), value)
    with closing(Tpch(full_stage, tmp_path, 0.01)) as tpch:
        trip = tpch.travel()

    assert trip.problems == []
    assert (trip.queries, trip.rows) == (22, 86_805)
