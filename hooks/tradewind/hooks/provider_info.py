"""What Airflow reads at its start about this package."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Describe this distribution to Airflow's providers manager.

    :return: a mapping valid against Airflow's ``provider_info`` schema
    """
    return {
        "package-name": "tradewind",
        "name": "Tradewind",
        "description": "The parts that every Tradewind provider builds on.",
        "versions": ["0.1.0"],
        "extra-links": ["tradewind.operators.links.TargetLink"],
    }
