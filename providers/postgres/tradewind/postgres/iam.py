"""A token of AWS IAM in place of a password, for RDS and Aurora."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.hooks.rds import rds_token


def with_token(options: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Put a fresh token in place of the password.

    :param options: libpq's options
    :param extra: the connection's extra: ``aws_conn_id`` and ``region``
    :return: the options with the token, and TLS required unless they say more
    :raises InvalidArgument: without one host, a user and a region
    :raises AccessDenied: without AWS credentials
    """
    token = rds_token(str(options.get("host", "")), int(options.get("port", 5432)), options.get("user"), extra)
    return {"sslmode": "require", **options, "password": token}
