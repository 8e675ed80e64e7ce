"""MySQL's and MariaDB's tables as the ends of a copy."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tradewind.mysql.names import TableName
from tradewind.operators.ends import CopyRequest, CopyResult, Reading
from tradewind.operators.plan import Plan
from tradewind.operators.progress import Progress
from tradewind.operators.projection import Columns, Constant
from tradewind.operators.tables.ends import SqlTable
from tradewind.operators.tables.ledger import LEDGER, LEDGER_DAYS
from tradewind.operators.tables.unloads import KEPT, Sessions

if TYPE_CHECKING:
    from tradewind.hooks.work import Work
    from tradewind.mysql.hooks import MySqlHook
    from tradewind.mysql.loading import Load
    from tradewind.mysql.session import MySqlSession

log = logging.getLogger(__name__)


class MySqlTable(SqlTable):
    """A table in MySQL or MariaDB, to be loaded by ``LOAD DATA LOCAL`` or unloaded.

    A load is one transaction together with its entry in the ledger, a table beside the target: a try that is killed
    leaves nothing, a retry after success loads nothing. What does not fit is an error, though LOAD DATA would skip or
    bend it. The columns of the input are matched to the table's by name. In columns of numbers, dates, times and
    booleans an empty field is NULL even if it is quoted; times with a zone become UTC. Where the server does not allow
    LOAD DATA LOCAL, rows go by INSERT. MySQL commits when a table is made: a try that is killed right after it made
    one (``create=True``) leaves it empty.

    :param table: the table, as SQL writes it: ``flights``, ``staging.flights``, ``staging.`Flights 2013```
    :param conn_id: Airflow's connection
    :param ledger: the ledger's table, ``tradewind_ledger`` in the target's database by default
    :param ledger_days: after how many days an entry may be forgotten: a cleared task of an older run loads again
    :param columns: of a source: the columns that are wanted, a list; or how the target calls them, a dict as
        ``{"dep_time": "departure"}``, or what it makes of them, as ``{"dep_time": Field("departure", type="date")}``
    :param constants: of a source: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``
    """

    _hook: MySqlHook | None = None

    def __init__(
        self,
        table: str,
        *,
        conn_id: str = "mysql_default",
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
        hook = self._connect()
        load: Load | None = None
        result: CopyResult | None = None
        try:
            with hook.session(request.work) as session:
                load = self._load(session, reading, request, progress)
                result = load.run()
        finally:
            if load is not None and load.created and (result is None or result.loaded_before):
                self._undo(load.name)
        return result

    def plan(self, reading: Reading, request: CopyRequest) -> Plan:
        """Say what a load would do; nothing is written."""
        with self._connect().session() as session:
            return self._load(session, reading, request, Progress(log, self.describe())).plan()

    def ledger_ddl(self) -> str:
        """Return the statement that makes the ledger, for somebody who may run it."""
        from tradewind.mysql.ledger import ledger_ddl

        return ledger_ddl(self._ledger_name())

    def _ledger_name(self) -> TableName:
        return TableName.parse(self.ledger) if self.ledger else TableName(LEDGER, TableName.parse(self.table).schema)

    def _load(self, session: MySqlSession, reading: Reading, request: CopyRequest, progress: Progress) -> Load:
        from tradewind.mysql.loading import Load

        name = TableName.parse(self.table)
        return Load(session, name, self._ledger_name(), self.ledger_days, reading, request, progress)

    def cancel(self) -> None:
        """Stop what runs in the server; called from another thread or a signal handler."""
        if self._hook is not None:
            self._hook.cancel()

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Find the table; its rows are read in one snapshot."""
        from tradewind.mysql.unloading import table_reading

        hook, name = self._connect(), TableName.parse(self.table)
        with contextlib.closing(Sessions(lambda: hook.session(work), KEPT)) as sessions:
            yield table_reading(hook, work, self.describe(), name, self.projection(), sessions)

    def openlineage_dataset(self) -> tuple[str, str] | None:
        """Return OpenLineage's namespace and name of the table."""
        try:
            conn = self._connect().connection
        except Exception:
            return None
        name = TableName.parse(self.table)
        return f"mysql://{conn.host or 'localhost'}:{conn.port or 3306}", f"{name.schema or conn.schema}.{name.table}"

    def _connect(self) -> MySqlHook:
        # The hook imports Airflow's SQL base: an author's DAG does not pay for it.
        from tradewind.mysql.hooks import MySqlHook

        self._hook = MySqlHook(self.conn_id)
        return self._hook

    def _undo(self, name: TableName) -> None:
        """Drop a table that was made for nothing; the load's own connection may be gone."""
        from tradewind.mysql.creating import drop_if_empty

        with contextlib.suppress(Exception), self._connect().session() as session:
            drop_if_empty(session, name)
