"""The operator of MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.sql import SqlOperator
from tradewind.operators.statements import Rules

if TYPE_CHECKING:
    from tradewind.mysql.hooks import MySqlHook


class MySqlOperator(SqlOperator):
    """Run SQL in MySQL, in one transaction; a kill of the task ends the statement in the server.

    MySQL commits by itself before and after each statement that defines something (CREATE, ALTER, DROP, TRUNCATE).
    Further arguments are those of :class:`tradewind.operators.sql.SqlOperator`.

    :param sql: a text, a list of texts, or the name of a ``.sql`` file
    :param mysql_conn_id: another name for ``conn_id``
    :param statement_timeout: how long one statement may run, in seconds or as ``"30s"``
    :param lock_timeout: how long to wait for a lock, alike
    :param runtime_parameters: variables of the session by name, as ``{"max_heap_table_size": 64000000}``
    """

    template_fields: Sequence[str] = (*SqlOperator.template_fields, "runtime_parameters")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SqlOperator.template_fields_renderers,
        "sql": "mysql",
        "runtime_parameters": "json",
    }
    default_conn_id = "mysql_default"
    lexical_rules: ClassVar[Rules] = "mysql"

    def __init__(
        self,
        *,
        sql: str | Sequence[str],
        conn_id: str | None = None,
        mysql_conn_id: str | None = None,
        statement_timeout: float | str | None = None,
        lock_timeout: float | str | None = None,
        runtime_parameters: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if conn_id and mysql_conn_id and conn_id != mysql_conn_id:
            raise InvalidArgument(f"conn_id {conn_id!r} and mysql_conn_id {mysql_conn_id!r} differ: give one")
        super().__init__(sql=sql, conn_id=conn_id or mysql_conn_id, **kwargs)
        self.statement_timeout = statement_timeout
        self.lock_timeout = lock_timeout
        self.runtime_parameters = runtime_parameters

    def get_hook(self) -> MySqlHook:
        """Make the hook, with the rendered arguments."""
        from tradewind.mysql.hooks import MySqlHook

        return MySqlHook(
            self.conn_id,
            database=self.database,
            statement_timeout=self.statement_timeout,
            lock_timeout=self.lock_timeout,
            settings=self.runtime_parameters,
            **(self.hook_params or {}),
        )
