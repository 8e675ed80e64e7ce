"""What the operators of every SQL service share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tradewind.hooks.compat import BaseOperator, Context
from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.work import Work
from tradewind.operators.statements import Rules, split, summary

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

Handler = Callable[[Any], Any]


class SqlSession(Protocol):
    """One connection at work, as a service's hook hands it out."""

    rowcount: int

    def run(self, statement: str, parameters: Any, handler: Handler, /) -> Any:
        """Run a statement, and return what the handler makes of its cursor."""

    def take_notices(self) -> list[str]:
        """Return what the server said since the last call."""


class SqlHook(Protocol):
    """What a SQL operator asks of its hook."""

    def session(self, work: Work | None = None, *, autocommit: bool = False) -> AbstractContextManager[Any]:
        """Open a session: committed at a clean end, rolled back otherwise."""

    def cancel(self) -> None:
        """Stop in the service what runs on this hook's sessions."""

    def describe(self) -> str:
        """Name the connection in a message."""


class SqlOperator(BaseOperator):
    """Run SQL in one transaction, and stop it in the service when the task is killed.

    The result of the last statement is the task's XCom, as a list of rows; a list of texts gives a list of results.

    :param sql: a text, a list of texts, or the name of a ``.sql`` file
    :param conn_id: Airflow's connection
    :param database: the database, in place of the connection's
    :param parameters: values to bind, the same for each statement
    :param autocommit: whether each statement is a transaction of its own, as ``VACUUM`` needs it
    :param handler: takes the cursor after each statement and makes its result; by default all rows, up to
        ``max_rows``. Nothing is fetched where ``do_xcom_push`` is off
    :param split_statements: whether the statements of a text run one by one. By default they do, unless
        ``parameters`` are bound by position. A text that runs as a whole logs the rows of its last statement alone
    :param return_last: whether a text gives its last statement's result alone
    :param show_return_value_in_logs: whether to log the result
    :param max_rows: how many rows a result may have: it goes through Airflow's database
    :param hook_params: further arguments of the hook
    """

    template_fields: Sequence[str] = ("sql", "conn_id", "database", "parameters", "hook_params")
    template_ext: Sequence[str] = (".sql", ".json")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json", "hook_params": "json"}
    ui_color = "#cdaaed"

    default_conn_id: ClassVar[str]
    lexical_rules: ClassVar[Rules] = "postgres"

    def __init__(
        self,
        *,
        sql: str | Sequence[str],
        conn_id: str | None = None,
        database: str | None = None,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        autocommit: bool = False,
        handler: Handler | None = None,
        split_statements: bool | None = None,
        return_last: bool = True,
        show_return_value_in_logs: bool = False,
        max_rows: int = 10_000,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id or self.default_conn_id
        self.database = database
        self.parameters = parameters
        self.autocommit = autocommit
        self.handler = handler
        self.split_statements = split_statements
        self.return_last = return_last
        self.show_return_value_in_logs = show_return_value_in_logs
        self.max_rows = max_rows
        self.hook_params = hook_params
        self._hook: SqlHook | None = None
        self._check()

    @abstractmethod
    def get_hook(self) -> Any:
        """Make the hook, with the rendered arguments."""

    def execute(self, context: Context) -> Any:
        """Run the SQL, and return the rows of its last statement."""
        statements = self._statements()
        self._hook = self.get_hook()
        with self._hook.session(Work.from_context(context), autocommit=self.autocommit) as session:
            results = [self._run(session, number, text) for number, text in enumerate(statements, 1)]
        if not self.do_xcom_push:
            return None
        single = isinstance(self.sql, str) and self.return_last
        result = results[-1] if single or (isinstance(self.sql, str) and len(results) == 1) else results
        if self.show_return_value_in_logs:
            self.log.info("result: %s", result)
        return result

    def on_kill(self) -> None:
        """Stop the statement in the service; its transaction rolls back."""
        if self._hook is not None:
            self.log.info("killed: cancelling the statement on %s", self._hook.describe())
            self._hook.cancel()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Name the tables that the SQL reads and writes to OpenLineage, where its provider is installed."""
        from tradewind.operators.lineage import sql_lineage

        return sql_lineage(self.get_hook(), self.sql, self.database)

    def _check(self) -> None:
        empty = (
            not self.sql.strip() if isinstance(self.sql, str) else isinstance(self.sql, list | tuple) and not self.sql
        )
        if empty:
            raise InvalidArgument("sql is empty: give a statement, a list of them, or a .sql file")
        if self.max_rows < 1:
            raise InvalidArgument(f"max_rows must be at least 1, not {self.max_rows}")

    def _statements(self) -> list[str]:
        texts = [self.sql] if isinstance(self.sql, str) else list(self.sql)
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise InvalidArgument(f"sql must be texts, not {type(wrong).__name__}")
        by_position = bool(self.parameters) and not isinstance(self.parameters, Mapping)
        splitting = not by_position if self.split_statements is None else self.split_statements
        if isinstance(self.sql, str) and splitting:
            texts = split(self.sql, self.lexical_rules)
        texts = [text for text in texts if split(text, self.lexical_rules)]
        if not texts:
            raise InvalidArgument("sql holds no statement, after its template was rendered")
        return texts

    def _run(self, session: SqlSession, number: int, statement: str) -> Any:
        self.log.info("statement %s: %s", number, summary(statement, rules=self.lexical_rules))
        result = session.run(statement, self.parameters, self._result)
        for notice in session.take_notices():
            self.log.info("%s", notice)
        if session.rowcount >= 0:
            self.log.info("statement %s: %s rows", number, f"{session.rowcount:,}")
        return result

    def _result(self, cursor: Any) -> Any:
        if not self.do_xcom_push:
            return None
        if self.handler is not None:
            return self.handler(cursor)
        if cursor.description is None:
            return None
        rows = cursor.fetchmany(self.max_rows + 1)
        if len(rows) > self.max_rows:
            raise InvalidArgument(
                f"the result has more than max_rows={self.max_rows:,} rows, too many for an XCom: "
                "set do_xcom_push=False, aggregate, or use CopyOperator to move them"
            )
        return rows
