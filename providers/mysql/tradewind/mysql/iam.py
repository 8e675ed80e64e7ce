"""A token of AWS IAM in place of a password, for RDS and Aurora."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.rds import rds_token
from tradewind.mysql.options import Options
from tradewind.mysql.tls import Tls


def with_token(options: Options, extra: Mapping[str, Any]) -> Options:
    """Put a fresh token in place of the password; it goes over TLS alone, for it is sent as it is.

    :param options: how to connect
    :param extra: the connection's extra: ``aws_conn_id`` and ``region``
    :return: the options with the token, and TLS required unless they say more
    :raises InvalidArgument: without one host, a user and a region, or where TLS is disabled
    :raises AccessDenied: without AWS credentials
    """
    if options.tls.mode == "DISABLED":
        raise InvalidArgument("iam needs TLS, which ssl_mode disables: a token is sent as it is")
    token = rds_token(options.unix_socket or options.host, options.port, options.user, extra)
    tls = Tls("REQUIRED", options.tls.options) if options.tls.mode == "PREFERRED" else options.tls
    return dataclasses.replace(options, password=token, tls=tls)
