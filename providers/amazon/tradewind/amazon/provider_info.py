"""What Airflow reads at its start about this package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

OFFICIAL = "apache-airflow-providers-amazon"


def get_provider_info() -> dict[str, Any]:
    """Describe this distribution to Airflow's providers manager.

    The connection type is offered only where the official provider, which has it too, is not installed.

    :return: a mapping valid against Airflow's ``provider_info`` schema
    """
    info: dict[str, Any] = {
        "package-name": "tradewind-amazon",
        "name": "Tradewind Amazon",
        "description": "Amazon S3 and Amazon Redshift.",
        "versions": ["0.1.0"],
    }
    try:
        version(OFFICIAL)
    except PackageNotFoundError:
        info["connection-types"] = [
            {"hook-class-name": "tradewind.amazon.hooks.AwsHook", "connection-type": "aws"},
            {"hook-class-name": "tradewind.amazon.redshift.hooks.RedshiftSQLHook", "connection-type": "redshift"},
        ]
    return info
