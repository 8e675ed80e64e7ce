"""What Airflow reads at its start about this package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Describe this distribution to Airflow's providers manager.

    The connection type is offered only where no official provider does, so that nothing is taken over.

    :return: a mapping valid against Airflow's ``provider_info`` schema
    """
    info: dict[str, Any] = {
        "package-name": "tradewind-snowflake",
        "name": "Tradewind Snowflake",
        "description": "Snowflake.",
        "versions": ["0.1.0"],
    }
    if find_spec("airflow.providers.snowflake") is None:
        hook = {"connection-type": "snowflake", "hook-class-name": "tradewind.snowflake.hooks.SnowflakeHook"}
        info["connection-types"] = [hook]
    return info
