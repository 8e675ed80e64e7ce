"""The operator of Snowflake."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.hooks.compat import Context
from tradewind.hooks.errors import InvalidArgument, TradewindError
from tradewind.operators.jobs.job import Job
from tradewind.operators.jobs.operators import KILL_SECONDS, JobOperator
from tradewind.operators.sql import Handler
from tradewind.operators.statements import split, summary, words
from tradewind.snowflake.bindings import Bindings, bind, check_bindings
from tradewind.snowflake.jobs import SnowflakeJobs

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from tradewind.sensors.pace import Pace
    from tradewind.snowflake.hooks import SnowflakeHook
    from tradewind.snowflake.triggers import SnowflakeTrigger

SECRETS = frozenset(
    [
        "client_secret",
        "oauth_password",
        "passcode",
        "password",
        "private_key_content",
        "private_key_passphrase",
        "programmatic_access_token",
        "proxy_password",
        "refresh_token",
        "token",
    ]
)
"""Arguments of the hook that belong into the connection: a task's arguments are stored, shown and logged."""

_CODE = re.compile(r" ?\[(\d{6})\]$")


class SnowflakeOperator(JobOperator):
    """Run SQL in Snowflake, submitted once however often its task is killed and tried again.

    The SQL runs by itself in the service, several statements as one request in one session, while no worker waits. A
    retry finds it by its ``QUERY_TAG`` in the history of queries. When the task is killed, the SQL is cancelled. The
    rows of the last statement are the task's XCom; a list of texts gives a list of results.

    :param sql: a text of one or more statements, a list of texts, or the name of a ``.sql`` file
    :param snowflake_conn_id: Airflow's connection; ``conn_id`` is another name for it
    :param parameters: values for ``%s`` or ``%(name)s``, bound by the service, the same for each statement
    :param bindings: values for ``?`` in the SQL API's form, ``{"1": {"type": "FIXED", "value": "1"}}``, counted through
        all statements; instead of ``parameters``
    :param warehouse: in place of the connection's
    :param database: likewise
    :param role: likewise
    :param schema: likewise
    :param authenticator: likewise
    :param session_parameters: parameters of the session, beside the connection's
    :param query_tag: what stands in ``QUERY_TAG`` behind the name that Tradewind gives; by default DAG and task
    :param autocommit: whether each statement is a transaction of its own; otherwise several are one
    :param handler: takes the cursor of a result; by default all rows, up to ``max_rows``. Nothing is fetched where
        ``do_xcom_push`` is off
    :param split_statements: accepted: a text is always split; False means that it has one result, the last one
    :param return_last: whether a text gives its last statement's result alone
    :param show_return_value_in_logs: whether to log the result
    :param max_rows: how many rows a result may have: it goes through Airflow's database
    :param statement_count: how many statements there must be, 0 for any number
    :param timeout: seconds that a statement may run in the service
    :param cancel_on_kill: whether the SQL is cancelled when the task is killed
    :param hook_params: further arguments of the hook
    """

    template_fields: Sequence[str] = (
        "sql", "snowflake_conn_id", "parameters", "bindings", "warehouse", "database", "role", "schema",
        "authenticator", "session_parameters", "query_tag", "hook_params",
    )  # fmt: skip
    template_ext: Sequence[str] = (".sql", ".json")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "sql": "sql", "parameters": "json", "bindings": "json", "session_parameters": "json", "hook_params": "json",
    }  # fmt: skip
    ui_color = "#ededed"

    def __init__(
        self,
        *,
        sql: str | Sequence[str],
        snowflake_conn_id: str | None = None,
        conn_id: str | None = None,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        bindings: Mapping[str, Any] | None = None,
        warehouse: str | None = None,
        database: str | None = None,
        role: str | None = None,
        schema: str | None = None,
        authenticator: str | None = None,
        session_parameters: Mapping[str, Any] | None = None,
        query_tag: str | None = None,
        autocommit: bool = True,
        handler: Handler | None = None,
        split_statements: bool = True,
        return_last: bool = True,
        show_return_value_in_logs: bool = False,
        max_rows: int = 10_000,
        statement_count: int = 0,
        timeout: int | None = None,
        cancel_on_kill: bool = True,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if conn_id and snowflake_conn_id and conn_id != snowflake_conn_id:
            raise InvalidArgument(f"conn_id {conn_id!r} and snowflake_conn_id {snowflake_conn_id!r} differ: give one")
        self.sql = sql
        self.snowflake_conn_id = snowflake_conn_id or conn_id or "snowflake_default"
        self.parameters = parameters
        self.bindings = bindings
        self.warehouse = warehouse
        self.database = database
        self.role = role
        self.schema = schema
        self.authenticator = authenticator
        self.session_parameters = session_parameters
        self.query_tag = query_tag
        self.autocommit = autocommit
        self.handler = handler
        self.split_statements = split_statements
        self.return_last = return_last
        self.show_return_value_in_logs = show_return_value_in_logs
        self.max_rows = max_rows
        self.statement_count = statement_count
        self.timeout = timeout
        self.cancel_on_kill = cancel_on_kill
        self.hook_params = hook_params
        self._check()

    @property
    def conn_id(self) -> str:
        """Airflow's connection."""
        return self.snowflake_conn_id

    def get_hook(self) -> SnowflakeHook:
        """Make the hook, with the rendered arguments."""
        from tradewind.snowflake.hooks import SnowflakeHook

        return SnowflakeHook(self.snowflake_conn_id, **self._hook_arguments())

    def service(self) -> SnowflakeJobs:
        """Connect to the service."""
        return SnowflakeJobs(self.get_hook())

    def fingerprint(self) -> str:
        """Identify the SQL, its values, and where it runs."""
        texts, bindings = self._bound()
        what = [texts, bindings, self.snowflake_conn_id, self._hook_arguments(), self.autocommit]
        return hashlib.sha256(json.dumps(what, default=str, sort_keys=True).encode()).hexdigest()

    def submit(self, service: SnowflakeJobs, name: str, context: Context) -> Job:
        """Submit the SQL; the same name again submits nothing."""
        texts, bindings = self._bound()
        for number, text in enumerate(texts, 1):
            self.log.info("statement %s: %s", number, summary(text, rules="snowflake"))
        ti = context["ti"]
        label = self.query_tag or f"{ti.dag_id}.{ti.task_id}"
        several = len(texts) > 1
        if several and not self.autocommit:
            texts = ["BEGIN", *texts, "COMMIT"]
        # A comment at a statement's end would hide the semicolon.
        sql = "\n;\n".join(texts) if several else texts[0]
        return service.submit(sql, name, several=several, label=label, bindings=bindings or None)

    def trigger(self, job: Job, pace: Pace) -> SnowflakeTrigger:
        """Make the trigger that waits on."""
        from tradewind.snowflake.triggers import SnowflakeTrigger

        return SnowflakeTrigger(
            job=job.as_dict(),
            pace=pace.as_dict(),
            snowflake_conn_id=self.snowflake_conn_id,
            hook_params=self._hook_arguments(),
            stops=self.cancel_on_kill,
        )

    def result(self, service: SnowflakeJobs, job: Job, context: Context) -> Any:
        """Fetch the rows of the statements whose results are wanted."""
        if not self.do_xcom_push:
            return None
        groups = self._groups()
        several = sum(map(len, groups)) > 1
        ids = service.ids(job.id) if several else [job.id]
        if several and not self.autocommit:
            ids = ids[1:-1]
        context["ti"].xcom_push(key="query_ids", value=ids)
        results = [service.fetch(id, self._rows) for id in self._wanted(groups, ids)]
        single = isinstance(self.sql, str) and (self.return_last or len(results) == 1)
        result = results[-1] if single else results
        if self.show_return_value_in_logs:
            self.log.info("result: %s", result)
        return result

    def failure(self, service: SnowflakeJobs, job: Job) -> TradewindError:
        """Say why the SQL failed."""
        from tradewind.snowflake.errors import made

        code = _CODE.search(job.reason)
        text = job.reason[: code.start()] if code else job.reason
        return made(int(code[1]) if code else 0, "", text, f"{service.describe(job)} failed")

    def on_kill(self) -> None:
        """Cancel the SQL in the service, and see that it runs no more."""
        if not self.cancel_on_kill or self._service is None:
            return
        # The session at hand may be in the middle of a call, and has longer time-outs than a kill leaves.
        service = SnowflakeJobs(self.get_hook(), timeout=int(KILL_SECONDS))
        try:
            self._stop_all(service)
        finally:
            service.close()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Name the tables that the SQL reads and writes to OpenLineage, where its provider is installed."""
        from tradewind.operators.lineage import sql_lineage

        return sql_lineage(self.get_hook(), self.sql, self.database)

    def _check(self) -> None:
        if not self.sql or (isinstance(self.sql, str) and not self.sql.strip()):
            raise InvalidArgument("sql is empty: give a statement, a list of texts, or a .sql file")
        if self.max_rows < 1:
            raise InvalidArgument(f"max_rows must be at least 1, not {self.max_rows}")
        if self.statement_count < 0 or (self.timeout is not None and self.timeout < 1):
            raise InvalidArgument("statement_count must be 0 or more, timeout 1 second or more")
        if self.parameters and self.bindings:
            raise InvalidArgument("parameters and bindings are both given: give one of them")
        if isinstance(self.bindings, Mapping):
            check_bindings(self.bindings)
        if secret := sorted(SECRETS & set(self.hook_params or ())):
            raise InvalidArgument(f"hook_params: {secret[0]} belongs into the connection, where nobody reads it")

    def _hook_arguments(self) -> dict[str, Any]:
        given = {
            "warehouse": self.warehouse,
            "database": self.database,
            "role": self.role,
            "schema": self.schema,
            "authenticator": self.authenticator,
            "session_parameters": self._session_parameters(),
        }
        return {**(self.hook_params or {}), **{name: value for name, value in given.items() if value}}

    def _session_parameters(self) -> dict[str, Any]:
        asked = {**(self.hook_params or {}).get("session_parameters", {}), **(self.session_parameters or {})}
        return asked | ({"STATEMENT_TIMEOUT_IN_SECONDS": self.timeout} if self.timeout else {})

    def _groups(self) -> list[list[str]]:
        """Return each text's statements."""
        texts = [self.sql] if isinstance(self.sql, str) else list(self.sql)
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise InvalidArgument(f"sql must be texts, not {type(wrong).__name__}")
        groups = [group for text in texts if (group := split(text, "snowflake"))]
        if not groups:
            raise InvalidArgument("sql holds no statement, after its template was rendered")
        for statement in (statement for group in groups for statement in group):
            if (command := words(statement, "snowflake")[0]) in ("PUT", "GET"):
                raise InvalidArgument(
                    f"{command} moves a file of this very machine, which a statement that runs by itself cannot: "
                    "use CopyOperator, or SnowflakeHook(...).session() in a PythonOperator"
                )
        return groups

    def _bound(self) -> tuple[list[str], Bindings]:
        statements = [statement for group in self._groups() for statement in group]
        if self.statement_count and self.statement_count != len(statements):
            raise InvalidArgument(f"sql has {len(statements)} statements, statement_count is {self.statement_count}")
        if self.parameters:
            return bind(statements, self.parameters)
        return statements, {str(number): dict(value) for number, value in (self.bindings or {}).items()}

    def _wanted(self, groups: list[list[str]], ids: list[str]) -> list[str]:
        """Choose the ids whose results are the task's: a text's last one, or all of them."""
        if isinstance(self.sql, str) and not self.return_last and self.split_statements:
            return ids
        wanted, at = [], 0
        for group in groups:
            at += len(group)
            wanted.append(ids[at - 1])
        return wanted

    def _rows(self, cursor: Any) -> Any:
        if self.handler is not None:
            return self.handler(cursor)
        rows = cursor.fetchmany(self.max_rows + 1)
        if len(rows) > self.max_rows:
            raise InvalidArgument(
                f"the result has more than max_rows={self.max_rows:,} rows, too many for an XCom: "
                "set do_xcom_push=False, aggregate, or use CopyOperator to move them"
            )
        return rows
