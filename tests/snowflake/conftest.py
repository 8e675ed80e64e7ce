"""The operator that speaks with the Snowflake of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tradewind.snowflake.operators import SnowflakeOperator


@pytest.fixture
def operator(snowflake_database: SnowflakeDatabase) -> Callable[..., SnowflakeOperator]:
    """Return a function that makes an operator which waits on the worker."""

    def make(sql: Any, **given: Any) -> SnowflakeOperator:
        return SnowflakeOperator(task_id="run", sql=sql, **{"deferrable": False, "poll_interval": 0.2, **given})

    return make
