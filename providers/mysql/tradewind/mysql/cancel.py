"""Ending a statement in the server, from a second connection, and seeing that it has ended.

``KILL QUERY`` only sets a flag (https://dev.mysql.com/doc/refman/8.4/en/kill.html); the list of processes tells when
the statement is over. A number of a connection means something on one server alone, so that the second connection goes
to the very address of the first, and the connection must be the one that was meant.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# How long to wait for a statement's end before its connection is ended, and for that, in seconds.
QUERY_PATIENCE = 2.0
CONNECTION_PATIENCE = 2.0
_PAUSE = 0.02


@dataclass(frozen=True)
class Target:
    """One connection, as its server knows it.

    :param server: the server's own name and number
    :param number: the connection's
    :param host: from where it came, None where the server does not tell
    """

    server: tuple[Any, ...]
    number: int
    host: str | None


def find_target(conn: Any) -> Target:
    """Ask a server who it is, and who we are to it.

    :param conn: a connection of PyMySQL
    """
    row = _query(
        conn,
        "SELECT @@hostname, @@port, @@server_id, CONNECTION_ID(), "
        "(SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID())",
    )[0]
    return Target(tuple(row[:3]), int(row[3]), row[4])


class Killer:
    """Ends what runs on one connection.

    :param target: the connection
    :param connect: makes a second connection to the same server, with short time-outs
    """

    def __init__(self, target: Target, connect: Callable[[], Any]) -> None:
        self.target = target
        self._connect = connect

    def ask(self) -> bool:
        """Ask the server to stop the statement whose result is being read, and do not wait; never raises.

        The server may be stuck in writing until somebody reads on.

        :return: whether it was asked
        """
        with contextlib.suppress(Exception), contextlib.closing(self._connect()) as conn:
            if find_target(conn).server == self.target.server and self._runs(conn):
                _query(conn, f"KILL QUERY {self.target.number:d}")
            return True
        return False

    def end_query(self, cut: Callable[[], None]) -> str:
        """Stop the statement that runs, and wait until it has ended; never raises.

        :param cut: shuts the connection's own socket, where the server is stuck in writing to it
        :return: what happened, for the log
        """
        try:
            with contextlib.closing(self._connect()) as conn:
                return self._end(conn, cut)
        except Exception as error:
            cut()
            return f"could not ask the server to end it ({type(error).__name__}): cut the connection"

    def _end(self, conn: Any, cut: Callable[[], None]) -> str:
        if find_target(conn).server != self.target.server:
            cut()
            return "another server answers under the same address: cut the connection"
        if self._kill(conn, "QUERY", QUERY_PATIENCE):
            return "the server has ended the statement"
        cut()
        if self._kill(conn, "CONNECTION", CONNECTION_PATIENCE):
            return "the server has ended the connection"
        return "the server was told to end it, and is still undoing its work"

    def _kill(self, conn: Any, what: str, patience: float) -> bool:
        import pymysql

        deadline = time.monotonic() + patience
        while self._runs(conn):
            if time.monotonic() > deadline:
                return False
            with contextlib.suppress(pymysql.OperationalError):  # gone meanwhile
                _query(conn, f"KILL {what} {self.target.number:d}")
            time.sleep(_PAUSE)
        return True

    def _runs(self, conn: Any) -> bool:
        for row in _query(conn, "SHOW PROCESSLIST"):
            if row[0] == self.target.number and self.target.host in (None, row[2]):
                return row[4] not in ("Sleep", "Daemon")
        return False


def _query(conn: Any, sql: str) -> list[Any]:
    from tradewind.mysql.driver import cursor_class

    with conn.cursor(cursor_class("cursor")) as cur:
        cur.execute(sql)
        return list(cur.fetchall())
