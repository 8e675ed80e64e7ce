"""A retry ends what an earlier try of the same work left running in the server.

A worker that vanishes (SIGKILL, lost power) cannot end its statement, and MySQL looks at its client only when it
writes: a long ``UPDATE`` runs on and holds its locks, while the retry waits for them. Each session of a task therefore
takes a user-level lock named after its work and its try: the server gives it back when the session ends, however it
ends, and tells a retry which connection still holds it.
https://dev.mysql.com/doc/refman/8.4/en/locking-functions.html
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradewind.mysql.values import literal

if TYPE_CHECKING:
    from tradewind.hooks.work import Work

# Sessions that one try may have on a server and that a retry finds, and the tries that it looks back.
_SESSIONS = 8
_TRIES = 8
# How long a retry waits for the end of one it has ended: a long transaction takes its time to roll back.
PATIENCE = 10.0
_PAUSE = 0.05


def take_over(conn: Any, work: Work) -> list[int]:
    """End the sessions of earlier tries of this work, and let later tries find this one.

    :param conn: a connection of PyMySQL
    :param work: whose work is done on it
    :return: the numbers of the connections that were ended
    :raises pymysql.Error: where the connection is lost
    """
    import pymysql

    ended: list[int] = []
    try:
        before = range(max(1, work.try_number - _TRIES), work.try_number)
        names = [name for number in before for name in _names(work, number)]
        if names:
            for number in {number for number in _holders(conn, names) if number is not None}:
                _ask(conn, f"KILL CONNECTION {int(number):d}")
                ended.append(int(number))
            _wait(conn, names)
        _claim(conn, work)
    except pymysql.Error:
        if not conn.open:
            raise
        # A cluster without such locks, or a proxy that has no numbers of its server's: nothing is lost but the help.
        return ended
    return ended


def _claim(conn: Any, work: Work) -> None:
    for name in _names(work, work.try_number):
        if _ask(conn, f"SELECT GET_LOCK({literal(name)}, 0)")[0][0]:
            return


def _wait(conn: Any, names: Sequence[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(number is not None for number in _holders(conn, names)) and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _holders(conn: Any, names: Sequence[str]) -> Sequence[Any]:
    calls = ", ".join(f"IS_USED_LOCK({literal(name)})" for name in names)
    holders: Sequence[Any] = _ask(conn, f"SELECT {calls}")[0]
    return holders


def _names(work: Work, number: int) -> list[str]:
    # A person's clear is a later try too. A name has 64 characters at most.
    token = work.token("session", clears=False)[:40]
    return [f"tradewind:{token}:{number}:{slot}" for slot in range(_SESSIONS)]


def _ask(conn: Any, sql: str) -> Any:
    from tradewind.mysql.driver import cursor_class

    with conn.cursor(cursor_class("cursor")) as cur:
        cur.execute(sql)
        return cur.fetchall()
