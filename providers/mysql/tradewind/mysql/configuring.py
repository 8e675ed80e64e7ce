"""What a session is set to, whatever the server's defaults are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import InvalidArgument

if TYPE_CHECKING:
    from tradewind.mysql.options import Options

# Added to the server's own: a value that does not fit is an error, and not cut or turned into zero.
# https://dev.mysql.com/doc/refman/8.4/en/sql-mode.html#sql-mode-strict
STRICT = "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_TIME_ZONE = "'+00:00'"
# A stalled source or target has ten minutes; the server's own are 30 and 60 s.
_NET_TIMEOUT = 600
# A vanished worker's idle transaction holds its locks no longer than an hour.
_IDLE = 3600

_NAME = re.compile(r"[a-z_][a-z0-9_.]*", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def configure(conn: Any, options: Options, timeouts: Mapping[str, float], settings: Mapping[str, Any]) -> None:
    """Set a new session.

    :param conn: a connection of PyMySQL
    :param options: what it was connected with: its ``sql_mode`` and ``init_command``
    :param timeouts: ``statement_timeout`` and ``lock_timeout``, in seconds
    :param settings: variables of the session by name, which win
    :raises InvalidArgument: for a name that cannot be one
    """
    mode = f"CONCAT_WS(',', @@sql_mode, '{STRICT}')" if options.sql_mode is None else conn.escape(options.sql_mode)
    made = {
        "sql_mode": mode,
        "time_zone": _TIME_ZONE,
        "net_read_timeout": f"GREATEST(@@net_read_timeout, {_NET_TIMEOUT})",
        "net_write_timeout": f"GREATEST(@@net_write_timeout, {_NET_TIMEOUT})",
        "wait_timeout": f"LEAST(@@wait_timeout, {_IDLE})",
        **_timeouts(conn, timeouts),
        **{_checked(name): _value(conn, value) for name, value in settings.items()},
    }
    with conn.cursor() as cur:
        cur.execute("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in made.items()))
        if options.init_command:
            cur.execute(options.init_command)


def is_mariadb(conn: Any) -> bool:
    """Say whether the server is MariaDB.

    :param conn: a connection of PyMySQL
    """
    return "mariadb" in str(conn.server_version).lower()


def _timeouts(conn: Any, timeouts: Mapping[str, float]) -> dict[str, str]:
    found: dict[str, str] = {}
    if seconds := timeouts.get("statement_timeout"):
        if is_mariadb(conn):
            found["max_statement_time"] = f"{seconds:.6f}"
        else:  # MySQL's own ends a SELECT alone: the session watches the rest
            found["max_execution_time"] = str(math.ceil(seconds * 1000))
    if seconds := timeouts.get("lock_timeout"):
        whole = str(max(1, math.ceil(seconds)))
        found |= {"innodb_lock_wait_timeout": whole, "lock_wait_timeout": whole}
    return found


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"{name!r} is not the name of a session variable: write it as max_heap_table_size")
    return name


def _value(conn: Any, value: Any) -> str:
    # A number in quotes is refused by the server where the variable is a number; how a text is quoted depends on the
    # mode that the server gave the session.
    return value if isinstance(value, str) and _NUMBER.fullmatch(value) else str(conn.escape(value))
