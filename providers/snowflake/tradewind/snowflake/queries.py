"""Queries of Snowflake as the source of a copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from tradewind.operators.ends import Reading
from tradewind.operators.projection import Columns, Constant
from tradewind.operators.tables.queries import SqlQuery
from tradewind.operators.tables.unloads import KEPT, Sessions

if TYPE_CHECKING:
    from tradewind.hooks.work import Work


class SnowflakeQuery(SqlQuery):
    """A query's rows, read in Arrow's batches, in bounded memory.

    What values look like is written in :mod:`tradewind.snowflake.unloading`.

    :param sql: one SELECT or WITH; a file's name ending in ``.sql`` is read as a template
    :param parameters: values for ``%s`` or ``%(name)s``, bound by the driver
    :param conn_id: Airflow's connection
    :param columns: the columns that are wanted, a list; or how the target calls them, a dict as
        ``{"DEP_TIME": "departure"}``, or what it makes of them, as ``{"DEP_TIME": Field("departure", type="date")}``
    :param constants: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``
    """

    def __init__(
        self,
        sql: str,
        parameters: Sequence[Any] | dict[str, Any] | None = None,
        *,
        conn_id: str = "snowflake_default",
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        super().__init__(sql, parameters, conn_id=conn_id, columns=columns, constants=constants)

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Connect; the query runs when its rows are read."""
        # The hook imports Airflow's SQL base: an author's DAG does not pay for it.
        from tradewind.snowflake.hooks import SnowflakeHook
        from tradewind.snowflake.unloading import SnowflakeReading, clean_query

        hook = SnowflakeHook(self.conn_id)
        with closing(Sessions(lambda: hook.session(work), KEPT)) as sessions:
            yield SnowflakeReading(
                hook,
                self.describe(),
                clean_query(self.sql),
                self.parameters,
                sessions=sessions,
                projection=self.projection(),
            )
