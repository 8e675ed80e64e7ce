"""Snowflake's tables as the ends of a copy."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.ends import CopyRequest, CopyResult, Reading
from tradewind.operators.plan import Plan
from tradewind.operators.progress import Progress
from tradewind.operators.projection import Columns, Constant
from tradewind.operators.tables.ends import SqlTable
from tradewind.operators.tables.ledger import LEDGER, LEDGER_DAYS
from tradewind.operators.tables.unloads import KEPT, Sessions
from tradewind.snowflake.names import TableName

if TYPE_CHECKING:
    from tradewind.hooks.work import Work
    from tradewind.snowflake.hooks import SnowflakeHook
    from tradewind.snowflake.loading import Load
    from tradewind.snowflake.session import SnowflakeSession
    from tradewind.snowflake.stages import ExternalStage

log = logging.getLogger(__name__)


class SnowflakeTable(SqlTable):
    """A table in Snowflake, to be loaded by ``COPY INTO``, or read in Arrow's batches.

    A load is one transaction together with its entry in the ledger, a table beside the target: a try that is killed
    leaves nothing, a retry after success loads nothing, and of two tries at once one loads. The bytes are ``PUT`` into
    a temporary stage of the load's own first, compressed and in pieces; the transaction begins when all of them are
    there. With ``stage`` or ``storage_integration`` the service reads objects of S3 by itself, where their form allows
    it; the log says where it does not, and why. The columns of the input are matched to the table's by name. A number
    that has more digits than its column keeps is an error, though Snowflake would round it; in columns of numbers,
    dates, times and truth values an empty field is NULL even if it is quoted. Snowflake commits when a table is made: a
    try that fails right after it made one (``create=True``) leaves it empty.

    :param table: the table, as SQL writes it: ``flights``, ``staging.flights``, ``"Sales".staging."Flights 2013"``
    :param conn_id: Airflow's connection
    :param stage: of a target: an external stage that leads to the source's objects, or a URL, as ``s3://landing/``
    :param storage_integration: of a target: the integration by which the service reaches the URL, or else the folder
        of the objects
    :param ledger: the ledger's table, ``tradewind_ledger`` in the target's schema by default
    :param ledger_days: after how many days an entry may be forgotten: a cleared task of an older run loads again
    :param columns: of a source: the columns that are wanted, a list; or how the target calls them, a dict as
        ``{"dep_time": "departure"}``, or what it makes of them, as ``{"dep_time": Field("departure", type="date")}``
    :param constants: of a source: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``
    """

    sets_aside: ClassVar[bool] = False
    template_fields: ClassVar[Sequence[str]] = (*SqlTable.template_fields, "stage", "storage_integration")
    _hook: SnowflakeHook | None = None

    def __init__(
        self,
        table: str,
        *,
        conn_id: str = "snowflake_default",
        stage: str | None = None,
        storage_integration: str | None = None,
        ledger: str | None = None,
        ledger_days: int = LEDGER_DAYS,
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        self.stage = stage
        self.storage_integration = storage_integration
        super().__init__(
            table, conn_id=conn_id, ledger=ledger, ledger_days=ledger_days, columns=columns, constants=constants
        )

    def check_name(self, text: str) -> None:
        """Refuse what is no name of a table."""
        TableName.parse(text)

    def check(self) -> None:
        """Refuse what cannot work; templates are seen when they are rendered."""
        super().check()
        if self.stage is not None or self.storage_integration is not None:
            self._external().check()

    def check_source(self) -> None:
        """Refuse a source with a stage: a copy reads its rows through the worker."""
        if self.stage is not None or self.storage_integration is not None:
            raise InvalidArgument(
                f"stage= and storage_integration= are the target's: take them off {self!r}; what unloads by them is "
                "SnowflakeUnloadOperator(stage=...)"
            )

    def write(self, reading: Reading, request: CopyRequest, progress: Progress) -> CopyResult:
        """Load all of the input, or nothing, once for each token."""
        with self._connect().session(request.work) as session:
            return self._load(session, reading, request, progress).run()

    def plan(self, reading: Reading, request: CopyRequest) -> Plan:
        """Say what a load would do; nothing is written."""
        with self._connect().session(request.work) as session:
            return self._load(session, reading, request, Progress(log, self.describe())).plan()

    def ledger_ddl(self) -> str:
        """Return the statement that makes the ledger, for somebody who may run it."""
        from tradewind.snowflake.ledger import ledger_ddl

        return ledger_ddl(self._ledger_name())

    def _ledger_name(self) -> TableName:
        return TableName.parse(self.ledger) if self.ledger else TableName.parse(self.table).beside(LEDGER.upper())

    def _load(self, session: SnowflakeSession, reading: Reading, request: CopyRequest, progress: Progress) -> Load:
        from tradewind.snowflake.loading import Load

        name = TableName.parse(self.table)
        ledger, days = self._ledger_name(), self.ledger_days
        return Load(session, name, ledger, days, reading, request, progress, self._external())

    def _external(self) -> ExternalStage:
        from tradewind.snowflake.stages import ExternalStage

        return ExternalStage(self.stage, self.storage_integration)

    def cancel(self) -> None:
        """Stop what runs in the service; called from another thread or a signal handler."""
        if self._hook is not None:
            self._hook.cancel()

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Find the table; its rows are read by one statement, which sees one moment."""
        from tradewind.snowflake.unloading import table_reading

        hook = self._connect()
        with contextlib.closing(Sessions(lambda: hook.session(work), KEPT)) as sessions:
            yield table_reading(hook, self.describe(), TableName.parse(self.table), self.projection(), sessions)

    def openlineage_dataset(self) -> tuple[str, str] | None:
        """Return OpenLineage's namespace and name of the table."""
        try:
            place = self._connect().connect_options().connect
        except Exception:
            return None
        name = TableName.parse(self.table)
        database = name.database or str(place.get("database") or "").upper()
        schema = name.schema or str(place.get("schema") or "PUBLIC").upper()
        return f"snowflake://{place['account']}", f"{database}.{schema}.{name.table}"

    def _connect(self) -> SnowflakeHook:
        # The hook imports Airflow's SQL base: an author's DAG does not pay for it.
        from tradewind.snowflake.hooks import SnowflakeHook

        self._hook = SnowflakeHook(self.conn_id)
        return self._hook
