"""Transactions as the service has them: READ COMMITTED by statement, and statements that wait for locks.

DuckDB shows a transaction one moment, and refuses a row that another one has changed since. So a transaction that is
open while others commit is done anew up to where it is, before its next statement: what it did, it does again on what
is there now. An UPDATE, DELETE or MERGE holds its table until its transaction ends; another one waits.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

_DML = re.compile(r"\s*(insert|update|delete|merge|copy|truncate)\b", re.I)
_LOCKS = re.compile(r"\s*(?:update|delete\s+from|merge\s+into)\s+((?:\"(?:[^\"]|\"\")*\"|[\w$]|\.)+)", re.I)
_END = re.compile(r"\s*(commit|rollback)\b", re.I)
_DDL = re.compile(r"\s*(create|alter\s+table|drop|comment)\b", re.I)
PATIENCE = 60.0
WAITING = ("000625", "57014", "Statement was aborted because it waited for a lock for too long")


_numbers = itertools.count(int(time.time() * 1000))


@dataclass
class _Open:
    seen: int
    id: int = field(default_factory=lambda: next(_numbers))
    done: list[Any] = field(default_factory=list)


class Transactions:
    """What is open, who holds which table, and how often something was committed."""

    def __init__(self) -> None:
        self.commits = 0
        self._open: dict[str, _Open] = {}
        self._holders: dict[str, str] = {}

    async def before(
        self, token: str, connection: Any, sql: str, again: Callable[[Any], Awaitable[Any]], stop: asyncio.Event
    ) -> bool:
        """Wait for a statement's lock, and bring its transaction to what is committed now.

        :param token: the session's
        :param again: runs a statement of the transaction once more
        :param stop: ends the waiting
        :return: whether the statement may run
        """
        if _END.match(sql) or _DDL.match(sql):
            return True
        locks = _LOCKS.match(sql)
        if locks is not None and not await self._hold(token, _table(locks[1], connection), stop):
            return False
        open_ = self._open.get(token)
        if open_ is not None and open_.seen != self.commits and connection._in_transaction:
            connection._duck_conn.rollback()
            connection._in_transaction = False
            open_.seen = self.commits
            for each in open_.done:
                await again(each)
        return True

    def after(self, token: str, connection: Any, sql: str, what: Any, *, failed: bool) -> None:
        """Remember what a statement did."""
        open_ = self._open.get(token)
        if _END.match(sql) or _DDL.match(sql):
            if not sql.strip().lower().startswith("rollback"):
                self.commits += 1
            self.end(token)
        elif _DML.match(sql) and connection._in_transaction:
            if open_ is None:
                open_ = self._open[token] = _Open(self.commits)
            if not failed:
                open_.done.append(what)
        elif _DML.match(sql):
            self.commits += 1
            self.end(token)

    def open(self) -> dict[str, int]:
        """Return the numbers of the transactions that are open, by their sessions' tokens."""
        return {token: open_.id for token, open_ in self._open.items()}

    def end(self, token: str) -> None:
        """Let go of what a session holds."""
        self._open.pop(token, None)
        for table in [table for table, holder in self._holders.items() if holder == token]:
            del self._holders[table]

    async def _hold(self, token: str, table: str, stop: asyncio.Event) -> bool:
        deadline = time.monotonic() + PATIENCE
        while self._holders.setdefault(table, token) != token:
            if stop.is_set() or time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True


def _table(text: str, connection: Any) -> str:
    parts = [part.strip('"') if part.startswith('"') else part.upper() for part in text.split(".")]
    return ".".join([str(connection.database), str(connection.schema), *parts][-3:])
