"""Operators of Amazon Redshift."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.amazon.redshift.clusters import Change, check_reachable
from tradewind.amazon.redshift.data import RedshiftDataHook, Warehouse
from tradewind.amazon.redshift.errors import PASSING
from tradewind.amazon.redshift.sensors import RedshiftClusterSensor
from tradewind.amazon.redshift.values import Parameters, parameter_list
from tradewind.hooks.compat import Context
from tradewind.hooks.errors import ConnectionFailed, InvalidArgument, PermanentError, TimedOut, TradewindError
from tradewind.operators.jobs.job import Job
from tradewind.operators.jobs.operators import JobOperator
from tradewind.operators.sql import SqlOperator
from tradewind.operators.statements import split, summary

if TYPE_CHECKING:
    from tradewind.amazon.redshift.hooks import RedshiftSQLHook
    from tradewind.amazon.redshift.triggers import RedshiftDataTrigger
    from tradewind.sensors.pace import Pace

MOST_STATEMENTS = 40
"""How many statements the Data API takes at once."""

REFUSED_SECONDS = 150.0
"""How long a request is repeated that the service refuses for the cluster's state."""
REFUSED_PAUSE = 15.0
"""Seconds between two such requests."""


class RedshiftDataOperator(JobOperator):
    """Run SQL through the Redshift Data API, each statement once, however often its task is killed and tried again.

    The SQL runs in one transaction, if it is several statements. A retry finds in the service what an earlier try has
    submitted (``redshift-data:ListStatements`` must be allowed), and the service takes each submission once. The worker
    is free while the SQL runs; when the task is killed, the SQL is cancelled in the service.

    :param sql: a text of one or more statements, a list of statements, or the name of a ``.sql`` file
    :param database: the database
    :param cluster_identifier: a provisioned cluster; or give ``workgroup_name`` or ``session_id``
    :param workgroup_name: a serverless workgroup
    :param db_user: the database's user, for temporary credentials
    :param secret_arn: the secret that holds user and password
    :param parameters: values for ``:name`` in the SQL, as a dict or as the service's list of names and values; the
        service casts them
    :param statement_name: what the console shows beside the name that Tradewind gives; by default DAG and task
    :param with_event: whether EventBridge is told of the end
    :param return_sql_result: whether the XCom is the rows, as lists of values; by default it is the statements' ids
    :param max_rows: how many rows a result may have: it goes through Airflow's database
    :param session_id: a session that an earlier statement has kept alive
    :param session_keep_alive_seconds: how long the session stays; its id is the XCom ``session_id``
    :param cancel_on_kill: whether the SQL is cancelled when the task is killed
    :param aws_conn_id: the connection, None for the default credential chain
    :param region_name: the region, instead of the connection's
    :param verify: whether to check certificates, or a CA bundle's path
    :param botocore_config: keyword arguments of botocore's Config
    """

    template_fields: Sequence[str] = (
        "sql",
        "database",
        "cluster_identifier",
        "workgroup_name",
        "db_user",
        "secret_arn",
        "parameters",
        "statement_name",
        "session_id",
        "aws_conn_id",
        "region_name",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#eeaa11"

    def __init__(
        self,
        *,
        sql: str | Sequence[str],
        database: str | None = None,
        cluster_identifier: str | None = None,
        workgroup_name: str | None = None,
        db_user: str | None = None,
        secret_arn: str | None = None,
        parameters: Parameters | None = None,
        statement_name: str | None = None,
        with_event: bool = False,
        return_sql_result: bool = False,
        max_rows: int = 10_000,
        session_id: str | None = None,
        session_keep_alive_seconds: int | None = None,
        cancel_on_kill: bool = True,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        poll_interval: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poll_interval=poll_interval, **kwargs)
        self.sql = sql
        self.database = database
        self.cluster_identifier = cluster_identifier
        self.workgroup_name = workgroup_name
        self.db_user = db_user
        self.secret_arn = secret_arn
        self.parameters = parameters
        self.statement_name = statement_name
        self.with_event = with_event
        self.return_sql_result = return_sql_result
        self.max_rows = max_rows
        self.session_id = session_id
        self.session_keep_alive_seconds = session_keep_alive_seconds
        self.cancel_on_kill = cancel_on_kill
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self._check()

    def service(self) -> RedshiftDataHook:
        """Connect to the Data API."""
        hook = RedshiftDataHook(
            self.aws_conn_id, region_name=self.region_name, verify=self.verify, config=self.botocore_config
        )
        return hook.at(self._warehouse())

    def fingerprint(self) -> str:
        """Identify the SQL, its values, and where it runs."""
        what = [self._statements(), parameter_list(self.parameters), self._warehouse().arguments()]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def submit(self, service: RedshiftDataHook, name: str, context: Context) -> Job:
        """Submit the SQL; the same name again submits nothing."""
        statements = self._statements()
        for number, text in enumerate(statements, 1):
            self.log.info("statement %s: %s", number, summary(text))
        ti = context["ti"]
        answer = service.execute(
            statements,
            self.parameters,
            name=f"{name} {self.statement_name or f'{ti.dag_id}.{ti.task_id}'}",
            token=name,
            with_event=self.with_event,
            session_keep_alive_seconds=self.session_keep_alive_seconds,
        )
        return Job(answer["Id"], name, "waiting")

    def trigger(self, job: Job, pace: Pace) -> RedshiftDataTrigger:
        """Make the trigger that waits on."""
        from tradewind.amazon.redshift.triggers import RedshiftDataTrigger

        return RedshiftDataTrigger(
            job=job.as_dict(),
            pace=pace.as_dict(),
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            stops=self.cancel_on_kill,
        )

    def result(self, service: RedshiftDataHook, job: Job, context: Context) -> Any:
        """Fetch the rows, or the ids of the statements."""
        found = service.describe_statement(job.id)
        self.log.info("%s rows in %.1f s", f"{max(found.get('ResultRows', 0), 0):,}", found.get("Duration", 0) / 1e9)
        if found.get("SessionId"):
            context["ti"].xcom_push(key="session_id", value=found["SessionId"])
        ids = service.statement_ids(job.id)
        if not self.return_sql_result:
            return ids
        results = [service.rows(each, self.max_rows) for each in ids]
        return results[0] if len(results) == 1 and isinstance(self.sql, str) else results

    def unawaited(self, job: Job) -> list[str]:
        """Return the id of what was submitted, in a list as elsewhere."""
        return [job.id]

    def failure(self, service: RedshiftDataHook, job: Job) -> TradewindError:
        """Say why the SQL failed."""
        kind = ConnectionFailed if PASSING.search(job.reason) else PermanentError
        return kind(f"{service.describe(job)} failed: {job.reason.removeprefix('ERROR: ')}")

    def on_kill(self) -> None:
        """Cancel the SQL in the service, and see that it runs no more."""
        if self.cancel_on_kill:
            super().on_kill()

    def _check(self) -> None:
        if not self.sql or (isinstance(self.sql, str) and not self.sql.strip()):
            raise InvalidArgument("sql is empty: give a statement, a list of them, or a .sql file")
        if self.max_rows < 1:
            raise InvalidArgument(f"max_rows must be at least 1, not {self.max_rows}")
        self._warehouse().check()
        if self.session_keep_alive_seconds is not None and not 0 <= self.session_keep_alive_seconds <= 86_400:
            raise InvalidArgument(
                f"session_keep_alive_seconds must be 0 to 86400, a day, not {self.session_keep_alive_seconds}"
            )

    def _warehouse(self) -> Warehouse:
        return Warehouse(
            self.cluster_identifier,
            self.workgroup_name,
            self.session_id,
            self.database,
            self.db_user,
            self.secret_arn,
        )

    def _statements(self) -> list[str]:
        texts = [self.sql] if isinstance(self.sql, str) else list(self.sql)
        statements = [statement for text in texts for statement in split(text, "postgres")]
        if not statements:
            raise InvalidArgument("sql holds no statement, after its template was rendered")
        if len(statements) > MOST_STATEMENTS:
            raise InvalidArgument(
                f"sql has {len(statements)} statements, the Data API takes {MOST_STATEMENTS}: use several tasks"
            )
        return statements


class RedshiftSQLOperator(SqlOperator):
    """Run SQL in Redshift over the wire, in one transaction; a kill of the task cancels it in the server.

    Further arguments are those of :class:`tradewind.operators.sql.SqlOperator`.

    :param sql: a text, a list of texts, or the name of a ``.sql`` file
    :param redshift_conn_id: another name for ``conn_id``
    :param aws_conn_id: the connection that asks IAM for credentials, None for the default credential chain
    :param statement_timeout: how long one statement may run, in seconds
    :param runtime_parameters: parameters of the session by name, as ``{"query_group": "loads"}``
    """

    template_fields: Sequence[str] = (*SqlOperator.template_fields, "aws_conn_id", "runtime_parameters")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SqlOperator.template_fields_renderers,
        "sql": "postgresql",
        "runtime_parameters": "json",
    }
    default_conn_id = "redshift_default"

    def __init__(
        self,
        *,
        sql: str | Sequence[str],
        conn_id: str | None = None,
        redshift_conn_id: str | None = None,
        aws_conn_id: str | None = "aws_default",
        statement_timeout: float | None = None,
        runtime_parameters: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if conn_id and redshift_conn_id and conn_id != redshift_conn_id:
            raise InvalidArgument(f"conn_id {conn_id!r} and redshift_conn_id {redshift_conn_id!r} differ: give one")
        super().__init__(sql=sql, conn_id=conn_id or redshift_conn_id, **kwargs)
        self.aws_conn_id = aws_conn_id
        self.statement_timeout = statement_timeout
        self.runtime_parameters = runtime_parameters

    def get_hook(self) -> RedshiftSQLHook:
        """Make the hook, with the rendered arguments."""
        from tradewind.amazon.redshift.hooks import RedshiftSQLHook

        return RedshiftSQLHook(
            self.conn_id,
            aws_conn_id=self.aws_conn_id,
            database=self.database,
            statement_timeout=self.statement_timeout,
            settings=self.runtime_parameters,
            **(self.hook_params or {}),
        )


class ClusterChange(RedshiftClusterSensor):
    """Change a cluster's state, and wait for it where that is asked for.

    A cluster that is in the state already, or on its way, is left alone, so that a retry changes nothing twice.

    :param cluster_identifier: the cluster
    :param wait_for_completion: whether to wait until the cluster is in the new state
    :param poll_interval: seconds between two looks
    :param max_attempts: how often to look at most
    :param kwargs: see :class:`RedshiftClusterSensor`
    """

    template_fields: Sequence[str] = ("cluster_identifier", "aws_conn_id", "region_name")
    change: ClassVar[Change]
    target: ClassVar[str]
    on_the_way: ClassVar[str]

    def __init__(
        self,
        *,
        cluster_identifier: str,
        wait_for_completion: bool = False,
        poll_interval: float = 30.0,
        max_attempts: int = 30,
        **kwargs: Any,
    ) -> None:
        if max_attempts < 1:
            raise InvalidArgument(f"max_attempts must be at least 1, not {max_attempts}")
        waiting = {"poke_interval": poll_interval, "timeout": poll_interval * max_attempts, **kwargs}
        super().__init__(cluster_identifier=cluster_identifier, target_status=self.target, **waiting)
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.max_attempts = max_attempts

    def execute(self, context: Context) -> Any:
        """Ask for the change, and wait for it."""
        self._request()
        return super().execute(context) if self.wait_for_completion else None

    def _request(self) -> None:
        deadline = time.monotonic() + REFUSED_SECONDS
        while True:
            status = self.hook.cluster_status(self.cluster_identifier)
            if status in (self.target, self.on_the_way):
                self.log.info("cluster %s is %s already", self.cluster_identifier, status)
                return
            check_reachable(self.cluster_identifier, status, self.target)
            if self.hook.request(self.change, self.cluster_identifier):
                self.log.info("cluster %s: %s requested", self.cluster_identifier, self.change)
                return
            if time.monotonic() >= deadline:
                raise TimedOut(f"cluster {self.cluster_identifier} is {status}: the service does not {self.change} it")
            self.log.info("cluster %s is %s: asking again", self.cluster_identifier, status)
            time.sleep(REFUSED_PAUSE)


class RedshiftPauseClusterOperator(ClusterChange):
    """Pause a cluster that is available.

    :param kwargs: see :class:`ClusterChange`
    """

    change, target, on_the_way = "pause", "paused", "pausing"


class RedshiftResumeClusterOperator(ClusterChange):
    """Resume a cluster that is paused.

    :param kwargs: see :class:`ClusterChange`
    """

    change, target, on_the_way = "resume", "available", "resuming"
