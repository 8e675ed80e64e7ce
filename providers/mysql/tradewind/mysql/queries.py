"""Queries of MySQL and MariaDB as the source of a copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.ends import Reading, Source
from tradewind.operators.projection import Columns, Constant, Projecting
from tradewind.operators.tables.unloads import KEPT, Sessions

if TYPE_CHECKING:
    from tradewind.hooks.work import Work


class MySqlQuery(Projecting, Source):
    """A query's rows, read in a read-only transaction, in bounded memory.

    What values look like is written in :mod:`tradewind.mysql.unloading`; a column of type FLOAT is refused, for MySQL
    writes six of its digits.

    :param sql: one SELECT, VALUES or WITH; a file's name ending in ``.sql`` is read as a template
    :param parameters: values for ``%s`` or ``%(name)s``, bound by the driver
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
        conn_id: str = "mysql_default",
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
        if not isinstance(self.conn_id, str) or not self.conn_id:
            raise InvalidArgument(f"conn_id must be the name of a connection, not {self.conn_id!r}")
        self.check_projection()

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Connect; the query runs when its rows are read."""
        # The hook imports Airflow's SQL base: an author's DAG does not pay for it.
        from tradewind.mysql.hooks import MySqlHook
        from tradewind.mysql.unloading import MySqlReading, clean_query

        hook = MySqlHook(self.conn_id)
        with closing(Sessions(lambda: hook.session(work), KEPT)) as sessions:
            yield MySqlReading(
                hook,
                work,
                self.describe(),
                clean_query(self.sql),
                self.parameters,
                projection=self.projection(),
                sessions=sessions,
            )
