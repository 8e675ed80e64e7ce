"""What was submitted and what became of it: the journal that tests read, and the history that SQL reads."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

CANCELLED = ("000604", "57014", "SQL execution canceled")
TABLE = "_fs_global.main.tradewind_history"
_COLUMNS = (
    "query_id VARCHAR PRIMARY KEY, query_text VARCHAR, query_type VARCHAR, session_id BIGINT, user_name VARCHAR, "
    "role_name VARCHAR, warehouse_name VARCHAR, database_name VARCHAR, schema_name VARCHAR, query_tag VARCHAR, "
    "execution_status VARCHAR, error_code VARCHAR, error_message VARCHAR, start_time TIMESTAMPTZ, "
    "end_time TIMESTAMPTZ, total_elapsed_time BIGINT, rows_produced BIGINT"
)


@dataclass
class Query:
    """One statement, or one request of several."""

    sql: str
    session: Any
    tag: str = ""
    type: str = "UNKNOWN"
    request_id: str | None = None
    parent: str | None = None
    asynchronous: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    status: str = "RUNNING"
    code: str = ""
    message: str = ""
    answer: dict[str, Any] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    left_open: bool = False
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    connection: Any = None
    task: asyncio.Task[None] | None = None

    def end(self, answer: dict[str, Any]) -> None:
        """Keep the answer; it says whether the statement succeeded."""
        self.answer = answer
        self.ended = time.time()
        self.finished.set()
        if answer["success"]:
            self.status = "SUCCESS"
            return
        self.code, self.message = str(answer["code"]), str(answer["message"])
        self.status = "ABORTED" if self.code == CANCELLED[0] else "FAILED_WITH_ERROR"

    def told(self) -> dict[str, Any]:
        """Return it as a row of the journal."""
        wanted = ("id", "sql", "tag", "type", "request_id", "parent", "asynchronous", "status", "code", "message")
        row = {name: getattr(self, name) for name in (*wanted, "began", "ended", "children", "left_open")}
        return {**row, "user": self.session.user, "session": self.session.id}


class Journal:
    """Everything that was executed; SQL sees it as a table.

    :param duck: a connection of DuckDB, of the journal alone
    """

    def __init__(self, duck: Any) -> None:
        self.duck = duck
        self.queries: dict[str, Query] = {}
        self.requests: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        duck.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} ({_COLUMNS})")

    def add(self, query: Query) -> Query:
        """Remember a statement that begins."""
        self.queries[query.id] = query
        self.write(query)
        return query

    def write(self, query: Query) -> None:
        """Show a statement as it is to SQL."""
        session = query.session
        shown = "FAILED_WITH_ERROR" if query.status == "ABORTED" else query.status
        rows = (query.answer.get("data") or {}).get("total")
        moments = [datetime.fromtimestamp(moment, UTC) if moment else None for moment in (query.began, query.ended)]
        values = [
            *(query.id, query.sql, query.type, session.id, session.user, session.role, session.warehouse),
            *(session.database, session.schema, query.tag, shown, query.code or None, query.message or None),
            *(*moments, int(((query.ended or time.time()) - query.began) * 1000), rows),
        ]
        with self._lock:
            self.duck.execute(f"INSERT OR REPLACE INTO {TABLE} VALUES ({', '.join('?' * len(values))})", values)
