"""A query as the source of a copy: what every database's has in its declaration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.ends import Source
from tradewind.operators.projection import Columns, Constant, Projecting
from tradewind.operators.tables.ends import check_conn_id


class SqlQuery(Projecting, Source):
    """A query's rows.

    :param sql: one SELECT or WITH; a file's name ending in ``.sql`` is read as a template
    :param parameters: values for ``%s`` or ``%(name)s``
    :param conn_id: Airflow's connection
    :param columns: the columns that are wanted, a list; or how the target calls them, a dict as
        ``{"dep_time": "departure"}``, or what it makes of them, as ``{"dep_time": Field("departure", type="date")}``
    :param constants: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``
    """

    template_fields: ClassVar[Sequence[str]] = ("sql", "parameters", "conn_id", "columns", "constants")
    template_ext: ClassVar[Sequence[str]] = (".sql",)

    def __init__(
        self,
        sql: str,
        parameters: Sequence[Any] | dict[str, Any] | None = None,
        *,
        conn_id: str,
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        self.sql = sql
        self.parameters = parameters
        self.conn_id = conn_id
        self.columns = columns
        self.constants = constants

    def describe(self) -> str:
        """Name the query's connection."""
        return f"query on {self.conn_id}"

    def check(self) -> None:
        """Refuse what is no query."""
        if not isinstance(self.sql, str) or not self.sql.strip().rstrip(";").strip():
            raise InvalidArgument(f"sql must be a query, as 'SELECT ...', not {self.sql!r}")
        if isinstance(self.parameters, str):
            raise InvalidArgument(f"parameters must be a list or a dict of values, not the text {self.parameters!r}")
        self.check_connection()
        self.check_projection()

    def check_connection(self) -> None:
        """Refuse what names no connection.

        :raises InvalidArgument: where it names none
        """
        check_conn_id(self.conn_id)
