"""User-level locks of a load: held until its session ends, after the commit.

https://dev.mysql.com/doc/refman/8.4/en/locking-functions.html
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from tradewind.hooks.errors import TimedOut

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

# The server takes no "for ever"; a time-out of the statement or of the task ends the wait before.
_PATIENCE = 7 * 24 * 3600


def try_lock(session: MySqlSession, what: str) -> bool:
    """Take a lock if nobody holds it.

    :param session: the session that holds it then
    :param what: what is locked
    """
    return bool(session.query("SELECT GET_LOCK(%s, 0)", [_name(what)])[0][0])


def lock(session: MySqlSession, what: str) -> None:
    """Take a lock, and wait for it.

    :param session: the session that holds it then
    :param what: what is locked
    :raises TimedOut: where another session held it for a week
    """
    if not session.query("SELECT GET_LOCK(%s, %s)", [_name(what), _PATIENCE])[0][0]:
        raise TimedOut(f"{session.describe}: waited in vain for another load of {what}")


def unlock(session: MySqlSession, what: str) -> None:
    """Give a lock back.

    :param session: the session that holds it
    :param what: what is locked
    """
    session.query("SELECT RELEASE_LOCK(%s)", [_name(what)])


def _name(what: str) -> str:
    return f"tradewind:{sha256(what.encode()).hexdigest()[:50]}"  # 64 characters at most
