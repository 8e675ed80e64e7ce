"""Both ends of a test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.ends import KINDS
from tests.conformance.pairs import Pair
from tests.stage import Stage

SNOWFLAKE = f"CONFORMANCE_{secrets.token_hex(4).upper()}"


@pytest.fixture
def pair(
    request: pytest.FixtureRequest,
    full_stage: Stage,
    connection: Callable[..., str],
    context: Callable[..., Any],
) -> Iterator[Pair]:
    """Make both ends of one test."""
    kinds, name = request.param, f"t{secrets.token_hex(6)}"
    stage: Stage = full_stage
    if any(kind.startswith("redshift") for kind in kinds):
        stage = request.getfixturevalue("redshift_stage")
    if any(kind.startswith("snowflake") for kind in kinds):
        server = request.getfixturevalue("snowflake_server")
        server.faults()
        stage = replace(stage, snowflake=server, snowflake_database=SNOWFLAKE)
    for variable, value in stage.connections().items():
        connection(variable.removeprefix("AIRFLOW_CONN_"), value)
    source, target = (KINDS[kind](stage, f"{name}_{side}") for kind, side in zip(kinds, "ab", strict=True))
    source.make()
    target.make()
    yield Pair(source, target, context)
    source.remove()
    target.remove()
