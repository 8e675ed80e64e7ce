"""Redshift's tables and queries as the ends of a copy."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.amazon.hooks import DEFAULT_CONN_ID
from tradewind.amazon.redshift.ends import PLACES, WAREHOUSE_FIELDS, RedshiftEnd
from tradewind.amazon.redshift.quoting import MOST_ERRORS, check_staging
from tradewind.hooks.libpq.names import TableName
from tradewind.operators.ends import CopyRequest, CopyResult, Reading
from tradewind.operators.plan import Plan
from tradewind.operators.progress import Progress
from tradewind.operators.projection import Columns, Constant
from tradewind.operators.tables.ends import SqlTable
from tradewind.operators.tables.ledger import LEDGER_DAYS
from tradewind.operators.tables.queries import SqlQuery

if TYPE_CHECKING:
    from tradewind.amazon.redshift.loading import Load
    from tradewind.amazon.redshift.sessions import Session
    from tradewind.hooks.work import Work

log = logging.getLogger(__name__)


class RedshiftTable(RedshiftEnd, SqlTable):
    """A table in Redshift, to be loaded by ``COPY`` and unloaded by ``UNLOAD``.

    A load is one transaction together with its entry in the ledger, a table beside the target: a try that is killed
    leaves nothing, a retry after success loads nothing. Objects of S3 are loaded by the warehouse itself where it can
    read them as they are; all other rows lie in the staging folder for the time of the load. The columns of the input
    are matched to the table's by name.

    :param table: the table, as SQL writes it
    :param ledger: the ledger's table, ``tradewind_ledger_<table>`` beside the target by default; loads that share one
        run one after the other
    :param ledger_days: after how many days an entry may be forgotten: a cleared task of an older run loads again
    :param columns: of a source: the columns that are wanted, a list; or how the target calls them, a dict
    :param constants: of a source: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``

    The other arguments are those of :class:`RedshiftEnd`.
    """

    template_fields: ClassVar[Sequence[str]] = ("table", "ledger", "columns", "constants", *WAREHOUSE_FIELDS)
    most_errors: ClassVar[int | None] = MOST_ERRORS

    def __init__(
        self,
        table: str,
        *,
        conn_id: str | None = None,
        cluster_identifier: str | None = None,
        workgroup_name: str | None = None,
        database: str | None = None,
        db_user: str | None = None,
        secret_arn: str | None = None,
        aws_conn_id: str | None = DEFAULT_CONN_ID,
        region_name: str | None = None,
        staging: str | None = None,
        iam_role: str = "default",
        staging_region: str | None = None,
        ledger: str | None = None,
        ledger_days: int = LEDGER_DAYS,
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        super().__init__(
            table, conn_id=conn_id or "", ledger=ledger, ledger_days=ledger_days, columns=columns, constants=constants
        )
        place = dict(zip(PLACES, (cluster_identifier, workgroup_name, database, db_user, secret_arn), strict=True))
        self.set_warehouse(conn_id, place, aws_conn_id, region_name, staging, iam_role, staging_region)

    def describe(self) -> str:
        """Name the table and its warehouse."""
        return f"{self.table} on {self.warehouse_name}"

    def check_name(self, text: str) -> None:
        """Refuse what is no name of a table."""
        TableName.parse(text)

    def check_connection(self) -> None:
        """Refuse what names no warehouse, or two."""
        self.check_warehouse()

    def check_target(self) -> None:
        """Refuse a target without a staging folder: the manifest of each COPY lies there at least."""
        check_staging(self.staging)

    def write(self, reading: Reading, request: CopyRequest, progress: Progress) -> CopyResult:
        """Load all of the input, or nothing, once for each token."""
        with self.session(request.work) as session:
            return self._load(session, reading, request, progress).run()

    def plan(self, reading: Reading, request: CopyRequest) -> Plan:
        """Say what a load would do; nothing is written."""
        with self.session(request.work) as session:
            return self._load(session, reading, request, Progress(log, self.describe())).plan()

    def ledger_ddl(self) -> str:
        """Return the statement that makes the ledger, for somebody who may run it."""
        from tradewind.amazon.redshift.ledger import ledger_ddl

        return ledger_ddl(self._ledger_name())

    def _ledger_name(self) -> TableName:
        from tradewind.amazon.redshift.ledger import ledger_of

        return TableName.parse(self.ledger) if self.ledger else ledger_of(TableName.parse(self.table))

    def _load(self, session: Session, reading: Reading, request: CopyRequest, progress: Progress) -> Load:
        from tradewind.amazon.redshift.loading import Load, Loader

        self.check_target()  # of rendered templates
        name = TableName.parse(self.table)
        staging = self.stage(request.work, f"into {self.table}")
        beside = functools.partial(self.session, request.work)
        loader = Loader(staging, self.iam_role, self.staging_region or "", beside)
        return Load(session, name, self._ledger_name(), self.ledger_days, loader, reading, request, progress)

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Find the table; its rows are unloaded when they are asked for."""
        with self.session(work) as session:
            sql = self.query(session)
            session.rollback()
        with self.reading(work, sql, self.projection()) as reading:
            yield reading

    def query(self, session: Session) -> str:
        """Return the query of the table's rows."""
        from tradewind.amazon.redshift.catalog import existing_table, full_name
        from tradewind.hooks.libpq.names import listed

        table = existing_table(session, full_name(session, TableName.parse(self.table)))
        columns = listed([column.name for column in table.columns])
        return f"SELECT {columns} FROM {table.name.sql}"  # noqa: S608 (quoted)

    def openlineage_dataset(self) -> tuple[str, str] | None:
        """Return OpenLineage's namespace and name of the table."""
        name = TableName.parse(self.table)
        if self.by_data_api:
            return f"redshift://{self.warehouse_name}", f"{self.database}.{name.schema or 'public'}.{name.table}"
        from tradewind.amazon.redshift.hooks import RedshiftSQLHook, authority

        try:
            conn = RedshiftSQLHook(self.conn_id).connection
        except Exception:
            return None
        database = self.database or conn.schema or conn.extra_dejson.get("database")
        return f"redshift://{authority(conn)}", f"{database}.{name.schema or 'public'}.{name.table}"


class RedshiftQuery(RedshiftEnd, SqlQuery):
    """A query's rows, unloaded by the warehouse into the staging folder and read from there, or fetched without one.

    :param sql: one SELECT or WITH; a file's name ending in ``.sql`` is read as a template
    :param parameters: values for ``%s`` or ``%(name)s``: texts, numbers, truth values, dates and times
    :param columns: the columns that are wanted, a list; or how the target calls them, a dict
    :param constants: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``

    The other arguments are those of :class:`RedshiftEnd`.
    """

    template_fields: ClassVar[Sequence[str]] = ("sql", "parameters", "columns", "constants", *WAREHOUSE_FIELDS)

    def __init__(
        self,
        sql: str,
        parameters: Sequence[Any] | dict[str, Any] | None = None,
        *,
        conn_id: str | None = None,
        cluster_identifier: str | None = None,
        workgroup_name: str | None = None,
        database: str | None = None,
        db_user: str | None = None,
        secret_arn: str | None = None,
        aws_conn_id: str | None = DEFAULT_CONN_ID,
        region_name: str | None = None,
        staging: str | None = None,
        iam_role: str = "default",
        staging_region: str | None = None,
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        super().__init__(sql, parameters, conn_id=conn_id or "", columns=columns, constants=constants)
        place = dict(zip(PLACES, (cluster_identifier, workgroup_name, database, db_user, secret_arn), strict=True))
        self.set_warehouse(conn_id, place, aws_conn_id, region_name, staging, iam_role, staging_region)

    def describe(self) -> str:
        """Name the query's warehouse."""
        return f"query on {self.warehouse_name}"

    def check_connection(self) -> None:
        """Refuse what names no warehouse, or two."""
        self.check_warehouse()

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Connect; the query runs when its rows are read."""
        with self.reading(work, self.query(), self.projection()) as reading:
            yield reading

    def query(self, session: Session | None = None) -> str:
        """Return the query, its values in it."""
        from tradewind.amazon.redshift.unloading import with_values

        return with_values(self.sql.strip().rstrip(";").rstrip(), self.parameters)
