"""A warehouse in Redshift, over the wire or through the Data API, as what the ends of a copy have in common."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from tradewind.amazon.redshift.quoting import check_staging
from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.tables.ends import check_conn_id
from tradewind.operators.templates import templated

if TYPE_CHECKING:
    from tradewind.amazon.redshift.data import Warehouse
    from tradewind.amazon.redshift.sessions import Session
    from tradewind.amazon.redshift.staging import Staging
    from tradewind.amazon.redshift.unloading import QueryReading
    from tradewind.hooks.work import Work
    from tradewind.operators.ends import Reading
    from tradewind.operators.projection import Projection

log = logging.getLogger(__name__)

PLACES = ("cluster_identifier", "workgroup_name", "database", "db_user", "secret_arn")
WAREHOUSE_FIELDS = ("conn_id", *PLACES, "aws_conn_id", "region_name", "staging", "iam_role", "staging_region")


class RedshiftEnd(ABC):
    """What the ends in Redshift share: a warehouse, over the wire or through the Data API, and a staging folder.

    :param conn_id: Airflow's connection of type ``redshift``, for SQL over the wire
    :param cluster_identifier: a provisioned cluster, for SQL through the Data API
    :param workgroup_name: or a serverless workgroup
    :param database: the database: of the Data API, or in place of the connection's
    :param db_user: the database's user, for temporary credentials of the Data API
    :param secret_arn: the secret that holds user and password, for the Data API
    :param aws_conn_id: the connection of type ``aws`` for the Data API, for IAM's credentials and for S3
    :param region_name: its region, instead of the connection's
    :param staging: a folder of S3 for objects in between, as ``s3://bucket/staging/``; without one rows can be read,
        through a cursor or page by page, and none be loaded
    :param iam_role: the role by which the warehouse reads and writes S3: ``default``, its ARN, or several ARNs of
        which each assumes the next, with commas between
    :param staging_region: the region of the objects, where it is another one than the warehouse's
    """

    conn_id: str
    aws_conn_id: str | None
    region_name: str | None
    staging: str | None
    iam_role: str
    staging_region: str | None

    def set_warehouse(
        self,
        conn_id: str | None,
        place: Mapping[str, str | None],
        aws_conn_id: str | None,
        region_name: str | None,
        staging: str | None,
        iam_role: str,
        staging_region: str | None,
    ) -> None:
        """Keep the declaration."""
        self.conn_id = conn_id or ""
        self.cluster_identifier = place["cluster_identifier"]
        self.workgroup_name = place["workgroup_name"]
        self.database = place["database"]
        self.db_user = place["db_user"]
        self.secret_arn = place["secret_arn"]
        if not self.conn_id and not self.by_data_api:
            self.conn_id = "redshift_default"
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.staging = staging
        self.iam_role = iam_role
        self.staging_region = staging_region
        self._session: Session | None = None
        self._staging: Staging | None = None

    @property
    def by_data_api(self) -> bool:
        """Whether SQL goes through the Data API."""
        return bool(self.cluster_identifier or self.workgroup_name)

    @property
    def warehouse_name(self) -> str:
        """How messages call the warehouse."""
        return str(self.conn_id or self.cluster_identifier or self.workgroup_name)

    def check_warehouse(self) -> None:
        """Refuse what names no warehouse, or two.

        :raises InvalidArgument: with what, which and what instead
        """
        if self.conn_id and self.by_data_api:
            raise InvalidArgument(
                "give conn_id for SQL over the wire, or cluster_identifier or workgroup_name for SQL through the Data "
                "API, not both"
            )
        if self.by_data_api:
            self._place().check()
        else:
            check_conn_id(self.conn_id)
            for name in ("db_user", "secret_arn"):
                if getattr(self, name):
                    raise InvalidArgument(f"{name} is for the Data API: set db_user in the connection's extra")
        if self.staging is not None:
            check_staging(self.staging)
        if not isinstance(self.iam_role, str) or not self.iam_role:
            raise InvalidArgument(f'iam_role must be "default" or the ARN of a role, not {self.iam_role!r}')
        if self.iam_role != "default" and not templated(self.iam_role):
            for arn in self.iam_role.split(","):
                if not arn.startswith("arn:") or any(sign in arn for sign in " '\\"):
                    raise InvalidArgument(f'iam_role must be "default" or the ARN of a role, not {arn!r}')

    def _place(self) -> Warehouse:
        from tradewind.amazon.redshift.data import Warehouse

        return Warehouse(
            self.cluster_identifier, self.workgroup_name, None, self.database, self.db_user, self.secret_arn
        )

    @contextmanager
    def session(self, work: Work | None = None) -> Iterator[Session]:
        """Open a session: commit at a clean end, roll back otherwise.

        :param work: whose work is done there
        """
        if self.by_data_api:
            from tradewind.amazon.redshift.data import RedshiftDataHook
            from tradewind.amazon.redshift.sessions import data_session

            hook = RedshiftDataHook(self.aws_conn_id, region_name=self.region_name)
            opened: Any = data_session(hook, self._place(), f"tradewind {work or ''}".strip())
        else:
            from tradewind.amazon.redshift.hooks import RedshiftSQLHook

            wire = RedshiftSQLHook(self.conn_id, aws_conn_id=self.aws_conn_id, database=self.database)
            opened = wire.session(work)
        with opened as session:
            before, self._session = self._session, session
            try:
                yield session
            finally:
                self._session = before

    def stage(self, work: Work, what: str) -> Staging:
        """Return a try's folder for objects in between.

        :param work: whose work it is
        :param what: what is copied where
        """
        from tradewind.amazon.redshift.staging import Staging

        self._staging = Staging(self.staging or "", work, what, self.aws_conn_id, self.region_name)
        return self._staging

    @contextmanager
    def reading(self, work: Work, sql: str, projection: Projection | None) -> Iterator[Reading]:
        """Open a query's rows, which are unloaded when they are asked for, or fetched where there is no folder for it.

        :param work: whose work it is
        :param sql: the query, its values in it
        :param projection: which columns are wanted, and what becomes of them
        """
        with closing(self._rows(work, sql, projection)) as reading:
            yield reading

    def _rows(self, work: Work, sql: str, projection: Projection | None) -> QueryReading:
        sessions = functools.partial(self.session, work)
        if self.staging is None:
            from tradewind.amazon.redshift.fetching import FetchedReading

            way = "page by page from the Data API" if self.by_data_api else "through a cursor of the warehouse's"
            log.info("plan: the rows of %s come %s, for no staging= is given", self.describe(), way)
            return FetchedReading(sessions, self.describe(), sql, projection)
        from tradewind.amazon.redshift.unloading import RedshiftReading

        check_staging(self.staging)
        staging, region = self.stage(work, f"out of {sql}"), self.staging_region or ""
        return RedshiftReading(sessions, staging, self.describe(), sql, self.iam_role, region, projection)

    @abstractmethod
    def describe(self) -> str:
        """Name this end in a message."""

    def cancel(self) -> None:
        """Stop what runs in the service; called from another thread or a signal handler."""
        try:
            if self._staging is not None:
                self._staging.cancel()
        finally:
            if self._session is not None:
                self._session.cancel()
