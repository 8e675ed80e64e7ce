"""The operator of PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.sql import SqlOperator

if TYPE_CHECKING:
    from tradewind.postgres.hooks import PostgresHook


class PostgresOperator(SqlOperator):
    """Run SQL in PostgreSQL, in one transaction; a kill of the task cancels it in the server.

    Further arguments are those of :class:`tradewind.operators.sql.SqlOperator`.

    :param sql: a text, a list of texts, or the name of a ``.sql`` file
    :param postgres_conn_id: another name for ``conn_id``
    :param statement_timeout: how long one statement may run, in seconds or as ``"30s"``
    :param lock_timeout: how long to wait for a lock, alike
    :param runtime_parameters: settings of the session by name, as ``{"work_mem": "64MB"}``
    """

    template_fields: Sequence[str] = (*SqlOperator.template_fields, "runtime_parameters")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SqlOperator.template_fields_renderers,
        "sql": "postgresql",
        "runtime_parameters": "json",
    }
    default_conn_id = "postgres_default"

    def __init__(
        self,
        *,
        sql: str | Sequence[str],
        conn_id: str | None = None,
        postgres_conn_id: str | None = None,
        statement_timeout: float | str | None = None,
        lock_timeout: float | str | None = None,
        runtime_parameters: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if conn_id and postgres_conn_id and conn_id != postgres_conn_id:
            raise InvalidArgument(f"conn_id {conn_id!r} and postgres_conn_id {postgres_conn_id!r} differ: give one")
        super().__init__(sql=sql, conn_id=conn_id or postgres_conn_id, **kwargs)
        self.statement_timeout = statement_timeout
        self.lock_timeout = lock_timeout
        self.runtime_parameters = runtime_parameters

    def get_hook(self) -> PostgresHook:
        """Make the hook, with the rendered arguments."""
        from tradewind.postgres.hooks import PostgresHook

        return PostgresHook(
            self.conn_id,
            database=self.database,
            statement_timeout=self.statement_timeout,
            lock_timeout=self.lock_timeout,
            settings=self.runtime_parameters,
            **(self.hook_params or {}),
        )
