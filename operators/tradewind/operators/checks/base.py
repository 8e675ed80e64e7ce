"""What every check shares: its connection, its hook, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tradewind.hooks.compat import BaseHook, BaseOperator
from tradewind.hooks.errors import DataError, InvalidArgument, TradewindError, TransientError

_PART = r'(?:[^\W\d][\w$]*|"(?:[^"]|"")+"|`(?:[^`]|``)+`|\[[^\]]+\])'
_NAME = re.compile(rf"{_PART}(?:\s*\.\s*{_PART})*")


class SqlCheck(BaseOperator):
    """Ask a database something, and fail where the answer is not as expected.

    The hook is the one of the connection's type, whoever provides it. When the task is killed, a query of a hook of
    ours is cancelled in the server.

    :param conn_id: Airflow's connection
    :param database: the database, in place of the connection's
    :param hook_params: further arguments of the hook
    :param retry_on_failure: whether Airflow tries again when a check fails; what is checked may come later
    """

    template_fields: Sequence[str] = ("conn_id", "database", "hook_params")
    template_ext: Sequence[str] = (".sql",)
    ui_color = "#fff7e6"

    def __init__(
        self,
        *,
        conn_id: str | None = None,
        database: str | None = None,
        hook_params: Mapping[str, Any] | None = None,
        retry_on_failure: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not conn_id:
            raise InvalidArgument("conn_id is missing: name the connection of the database")
        self.conn_id = conn_id
        self.database = database
        self.hook_params = hook_params
        self.retry_on_failure = retry_on_failure
        self._hook: Any = None

    def get_hook(self) -> Any:
        """Return the hook of the connection's type.

        :raises InvalidArgument: where it speaks no SQL
        """
        connection: Any = BaseHook.get_connection(self.conn_id)
        hook = connection.get_hook(hook_params=dict(self.hook_params or {}))
        if not hasattr(hook, "get_first"):
            raise InvalidArgument(
                f"connection {self.conn_id} is of type {connection.conn_type}, which speaks no SQL:"
                f" {type(hook).__name__} has no get_first"
            )
        if self.database:
            # DbApiHooks call it schema; the newer ones of PostgreSQL call it database.
            setattr(hook, "database" if hasattr(hook, "database") else "schema", self.database)
        return hook

    def first(self, sql: str) -> Sequence[Any] | None:
        """Return the first row of a query, None where there is none."""
        if self._hook is None:
            self._hook = self.get_hook()
        self.log.info("asking: %s", " ".join(sql.split()))
        found = self._hook.get_first(sql, parameters=getattr(self, "parameters", None))
        row: Sequence[Any] | None = list(found.values()) if isinstance(found, Mapping) else found
        self.log.info("answer: %s", row)
        return row

    def the_first(self, sql: str) -> Sequence[Any]:
        """Return the first row of a query that must have one."""
        row = self.first(sql)
        if not row:
            self.fail([f"no row came of: {' '.join(sql.split())}"])
        return row

    def fail(self, failures: Sequence[str]) -> NoReturn:
        """Fail, with all that is not as expected.

        :raises TransientError: where Airflow is to try again
        :raises DataError: where it is not
        """
        text = failures[0] if len(failures) == 1 else f"{len(failures)} checks failed: " + "; ".join(failures)
        kind: type[TradewindError] = TransientError if self.retry_on_failure else DataError
        raise kind(text)

    def on_kill(self) -> None:
        """Cancel the query in the server, where the hook can."""
        if hasattr(self._hook, "cancel"):
            self.log.info("killed: cancelling the query")
            self._hook.cancel()


def checked_name(text: str, what: str) -> str:
    """Return a name of a table or column as it is, if it is one: whole or in parts, each plain or quoted.

    :raises InvalidArgument: for anything else: it would be SQL
    """
    if not _NAME.fullmatch(text.strip()):
        raise InvalidArgument(f"{what}: {text!r} is no name: write schema.table, with quotes where it needs them")
    return text.strip()
