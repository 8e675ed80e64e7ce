# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""PostgreSQL tables and queries as the ends of a copy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from tradewind.hooks.libpq.names import TableName
from tradewind.operators.ends import CopyRequest, CopyResult, Reading
from tradewind.operators.plan import Plan
from tradewind.operators.progress import Progress
from tradewind.operators.projection import Columns, Constant
from tradewind.operators.tables.ends import SqlTable
from tradewind.operators.tables.ledger import LEDGER, LEDGER_DAYS
from tradewind.operators.tables.queries import SqlQuery
from tradewind.operators.tables.unloads import KEPT, Sessions

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession
    from tradewind.hooks.work import Work
    from tradewind.postgres.hooks import PostgresHook
    from tradewind.postgres.loading import Load

log = logging.getLogger(__name__)


class _PostgresEnd:
    """What the ends in PostgreSQL share: a connection, found when it is needed."""

    conn_id: str
    _hook: PostgresHook | None = None

    def _connect(self) -> PostgresHook:
        # The hook imports Airflow's SQL base: an author's DAG does not pay for it.
        from tradewind.postgres.hooks import PostgresHook

        self._hook = PostgresHook(self.conn_id)
        return self._hook

    def cancel(self) -> None:
        """Stop what runs in the server; called from another thread or a signal handler."""
        if self._hook is not None:
            self._hook.cancel()

    def _namespace(self) -> tuple[str, str] | None:
        """Return OpenLineage's namespace and the database, None where the connection is not there."""
        try:
            conn = self._connect().connection
        except Exception:
            return None
        return f"postgres://{conn.host or 'localhost'}:{conn.port or 5432}", conn.schema or conn.login or "postgres"


class PostgresTable(_PostgresEnd, SqlTable):
    """A table in PostgreSQL, to be loaded or unloaded by ``COPY``.

    A load is one transaction together with its entry in the ledger, a table beside the target: a try that is killed
    leaves nothing, a retry after success loads nothing. The columns of the input are matched to the table's by name.
    In columns of numbers, dates, times, booleans and uuids an empty field is NULL even if it is quoted.

    :param table: the table, as SQL writes it: ``flights``, ``staging.flights``, ``staging."Flights 2013"``
    :param conn_id: Airflow's connection
    :param ledger: the ledger's table, ``tradewind_ledger`` in the target's schema by default
    :param ledger_days: after how many days an entry may be forgotten: a cleared task of an older run loads again
    :param columns: of a source: the columns that are wanted, a list; or how the target calls them, a dict as
        ``{"dep_time": "departure"}``, or what it makes of them, as ``{"dep_time": Field("departure", type="date")}``
    :param constants: of a source: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``
    """

    def __init__(
        self,
        table: str,
        *,
        conn_id: str = "postgres_default",
        ledger: str | None = None,
        ledger_days: int = LEDGER_DAYS,
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        super().__init__(
            table, conn_id=conn_id, ledger=ledger, ledger_days=ledger_days, columns=columns, constants=constants
        )

    def check_name(self, text: str) -> None:
        """Refuse what is no name of a table."""
        TableName.parse(text)

    def write(self, reading: Reading, request: CopyRequest, progress: Progress) -> CopyResult:
        """Load all of the input, or nothing, once for each token."""
        with self._connect().session(request.work) as session:
            return self._load(session, reading, request, progress).run()

    def plan(self, reading: Reading, request: CopyRequest) -> Plan:
        """Say what a load would do; nothing is written."""
        with self._connect().session() as session:
            return self._load(session, reading, request, Progress(log, self.describe())).plan()

    def ledger_ddl(self) -> str:
        """Return the statement that makes the ledger, for somebody who may run it."""
        from tradewind.postgres.ledger import ledger_ddl

        return ledger_ddl(self._ledger_name())

    def _ledger_name(self) -> TableName:
        return TableName.parse(self.ledger) if self.ledger else TableName(LEDGER, TableName.parse(self.table).schema)

    def _load(self, session: LibpqSession, reading: Reading, request: CopyRequest, progress: Progress) -> Load:
        from tradewind.postgres.loading import Load

        name = TableName.parse(self.table)
        return Load(session, name, self._ledger_name(), self.ledger_days, reading, request, progress)

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Find the table; its rows are read in one snapshot."""
        from tradewind.hooks.libpq.names import listed
        from tradewind.postgres.catalog import existing_table
        from tradewind.postgres.unloading import PostgresReading

        hook = self._connect()
        with closing(Sessions(lambda: hook.session(work), KEPT)) as sessions:
            with sessions.short() as session:
                table = existing_table(session, TableName.parse(self.table))
            yield PostgresReading(
                hook,
                work,
                self.describe(),
                f"SELECT {listed([column.name for column in table.columns])} FROM {table.name.sql}",
                projection=self.projection(),
                estimate=table.estimate,
                sessions=sessions,
            )

    def openlineage_dataset(self) -> tuple[str, str] | None:
        """Return OpenLineage's namespace and name of the table."""
        found = self._namespace()
        if found is None:
            return None
        name = TableName.parse(self.table)
        return found[0], f"{found[1]}.{name.schema or 'public'}.{name.table}"


class PostgresQuery(_PostgresEnd, SqlQuery):
    """A query's rows, to be unloaded by ``COPY``, in a read-only transaction.

    :param sql: one SELECT, VALUES or WITH; a file's name ending in ``.sql`` is read as a template
    :param parameters: values for ``%s`` or ``%(name)s``, bound by the driver
    :param conn_id: Airflow's connection
    :param columns: the columns that are wanted, a list; or how the target calls them, a dict as
        ``{"dep_time": "departure"}``, or what it makes of them, as ``{"dep_time": Field("departure", type="date")}``
    :param constants: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``
    """

    def __init__(
        self,
        sql: str,
        parameters: Sequence[Any] | dict[str, Any] | None = None,
        *,
        conn_id: str = "postgres_default",
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        super().__init__(sql, parameters, conn_id=conn_id, columns=columns, constants=constants)

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Connect; the query runs when its rows are read."""
        from tradewind.postgres.unloading import PostgresReading, clean_query

        hook = self._connect()
        with closing(Sessions(lambda: hook.session(work), KEPT)) as sessions:
            yield PostgresReading(
                hook,
                work,
                self.describe(),
                clean_query(self.sql),
                self.parameters,
                isolation="READ COMMITTED",
                projection=self.projection(),
                sessions=sessions,
            )
