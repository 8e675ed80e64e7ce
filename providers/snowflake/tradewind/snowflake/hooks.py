"""The hook of Snowflake."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.sql.hooks.sql import DbApiHook

from tradewind.hooks.compat import ConnectionLookup
from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.statements import split, summary
from tradewind.snowflake import driver
from tradewind.snowflake.errors import translated
from tradewind.snowflake.options import Options, read_options
from tradewind.snowflake.session import SnowflakeSession

if TYPE_CHECKING:
    from airflow.providers.openlineage.sqlparser import DatabaseInfo

    from tradewind.hooks.compat import Connection
    from tradewind.hooks.work import Work
    from tradewind.snowflake.session import Parameters

_KILL_TIMEOUT = 3
"""Seconds to connect, and to answer, for the session that ends another one's statement."""


class SnowflakeHook(ConnectionLookup, DbApiHook):
    """Connect to Snowflake through its connector, of any version from 3.12 to 5.

    These may stand in the connection's extra, with or without the prefix ``extra__snowflake__``: ``account``,
    ``region``, ``host``, ``warehouse``, ``database``, ``schema``, ``role``; ``authenticator``; ``private_key_file`` or
    ``private_key_content`` (PEM, or base64 of PEM or DER) with ``private_key_passphrase``, else the connection's
    password; ``token`` (an OAuth access token, or with ``authenticator`` ``programmatic_access_token`` such a one);
    ``client_id``, ``client_secret``, ``grant_type``, ``token_endpoint``, ``refresh_token``, ``scope`` (a token is
    fetched); ``workload_identity_provider``; ``session_parameters``, ``query_tag``; ``login_timeout``,
    ``network_timeout``; ``proxy_host``, ``proxy_port``, ``proxy_user``, ``proxy_password``, ``no_proxy``;
    ``ocsp_fail_open``; ``insecure_mode``, which is warned of.

    :param snowflake_conn_id: Airflow's connection; ``conn_id`` is another name for it
    :param work: whose work is done: it is the sessions' ``QUERY_TAG``, unless the connection has one
    :param kwargs: what may stand in the connection's extra, which it wins over
    """

    conn_name_attr = "snowflake_conn_id"
    default_conn_name = "snowflake_default"
    conn_type = "snowflake"
    hook_name = "Snowflake"
    supports_autocommit = True
    supports_executemany = True

    def __init__(
        self,
        snowflake_conn_id: str | None = None,
        *,
        conn_id: str | None = None,
        work: Work | None = None,
        log_sql: bool = True,
        **kwargs: Any,
    ) -> None:
        if snowflake_conn_id and conn_id and snowflake_conn_id != conn_id:
            raise InvalidArgument(f"snowflake_conn_id {snowflake_conn_id!r} and conn_id {conn_id!r} differ: give one")
        self.snowflake_conn_id: str = snowflake_conn_id or conn_id or self.default_conn_name
        own = {name: kwargs.pop(name) for name in ("connection", "escape_word_format") if name in kwargs}
        super().__init__(snowflake_conn_id=self.snowflake_conn_id, log_sql=log_sql, **own)
        self.work = work
        self._overrides = kwargs
        self._sessions: set[SnowflakeSession] = set()

    def get_conn(self) -> Any:
        """Connect.

        :return: a connection of the connector, in a transaction as soon as it changes something
        :raises TransientError: where the service cannot be reached
        :raises AccessDenied: where it refuses the credentials
        :raises InvalidArgument: where an option cannot work
        """
        with translated(self.describe(), self.secrets()):
            return self.connect(autocommit=False)

    def connect(
        self,
        *,
        autocommit: bool,
        keep_session: bool = False,
        timeout: int | None = None,
        session_parameters: Mapping[str, Any] | None = None,
    ) -> Any:
        """Connect, with the driver's own errors.

        :param autocommit: whether each statement is a transaction of its own
        :param keep_session: whether what runs in the session runs on when the connection is closed
        :param timeout: seconds for the login and for each request, in place of the connection's
        :param session_parameters: further ones
        """
        options = self.connect_options()
        parameters = {**self._tag(), **options.session_parameters, **(session_parameters or {})}
        connect: dict[str, Any] = {**options.connect, "autocommit": autocommit}
        if timeout is not None:
            connect |= {"login_timeout": timeout, "network_timeout": timeout}
        made = Options(
            connect, options.secret, parameters, options.key, options.oauth, checks_revocation=options.checks_revocation
        )
        return driver.connect(made, keep_session=keep_session)

    @contextlib.contextmanager
    def session(self, work: Work | None = None, *, autocommit: bool = False) -> Iterator[SnowflakeSession]:
        """Open a session whose statements are ended in the service when they are interrupted: commit at a clean end.

        :param work: whose work is done there
        :param autocommit: whether each statement is a transaction of its own
        """
        if work is not None:
            self.work = work
        secrets = self.secrets()
        with translated(self.describe(), secrets):
            conn = self.connect(autocommit=autocommit)
        again = lambda: self.connect(autocommit=True, timeout=_KILL_TIMEOUT)  # noqa: E731
        session = SnowflakeSession(conn, self.describe(), secrets, again, autocommit=autocommit)
        self._sessions.add(session)
        try:
            yield session
            session.commit()
        except BaseException:
            if not session.cancelled:
                with contextlib.suppress(Exception):
                    session.rollback()
            raise
        finally:
            self._sessions.discard(session)
            session.close()

    def cancel(self) -> None:
        """End in the service what runs on this hook's sessions; may be called from a signal handler."""
        told = [session.cancel() for session in tuple(self._sessions)]
        with contextlib.suppress(RuntimeError):  # a handler that interrupts a write of the log cannot write there
            for text in told:
                self.log.info("%s: %s", self.describe(), text)

    def stream(self, sql: str, parameters: Parameters = None, itersize: int = 10_000) -> Iterator[tuple[Any, ...]]:
        """Yield a query's rows, a chunk of the result at a time.

        :param sql: a SELECT
        :param parameters: values to bind
        :param itersize: how many rows are taken at once
        """
        with self.session(autocommit=True) as session:
            yield from session.stream(sql, parameters, itersize)

    def arrow(self, sql: str, parameters: Parameters = None) -> Iterator[Any]:
        """Yield a query's rows as tables of pyarrow, a chunk of the result at a time.

        :param sql: a SELECT
        :param parameters: values to bind
        """
        with self.session(autocommit=True) as session:
            yield from session.arrow(sql, parameters)

    def run(  # type: ignore[override]
        self,
        sql: str | Iterable[str],
        autocommit: bool = False,
        parameters: Parameters = None,
        handler: Callable[[Any], Any] | None = None,
        split_statements: bool = True,
        return_last: bool = True,
        return_dictionaries: bool = False,
    ) -> Any:
        """Run statements in one session: in one transaction, unless ``autocommit``; what defines something commits.

        :param sql: a text, or several
        :param autocommit: whether each statement is a transaction of its own
        :param parameters: values to bind, the same for each statement
        :param handler: takes the cursor after each statement; without one nothing is returned
        :param split_statements: whether each statement of a text has a result of its own, or the last one alone
        :param return_last: whether to return the last result of a text alone
        :param return_dictionaries: accepted as False alone: make dictionaries in the handler
        :return: a text's result, or a list of results, as Airflow's ``DbApiHook.run`` has it
        """
        if return_dictionaries:
            raise InvalidArgument(
                "return_dictionaries is not there: make dictionaries of cursor.description in handler"
            )
        texts = [sql] if isinstance(sql, str) else list(sql)
        groups = [split(text, "snowflake") for text in texts]
        if isinstance(sql, str) and split_statements:
            groups = [[part] for part in groups[0]]
        groups = [group for group in groups if group]
        if not groups:
            raise InvalidArgument("sql holds no statement")
        results: list[Any] = []
        self.descriptions = []
        with self.session(autocommit=autocommit) as session:
            for group in groups:
                for statement in group[:-1]:
                    self._run(session, statement, parameters, None)
                result, description = self._run(session, group[-1], parameters, handler)
                results.append(result)
                self.descriptions.append(description)
        if handler is None:
            return None
        if isinstance(sql, str) and (return_last or not split_statements):
            self.descriptions = self.descriptions[-1:]
            return results[-1]
        return results

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]
        """Connect and ask the service for its version, for Airflow's connection form.

        :return: whether it works, and what to tell
        """
        try:
            with self.session(autocommit=True) as session:
                [(version, user, role)] = session.query("SELECT CURRENT_VERSION(), CURRENT_USER(), CURRENT_ROLE()")
        except Exception as error:
            return False, str(error)
        return True, f"connected to Snowflake {version} as {user} with the role {role}"

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        """Set whether each statement is a transaction of its own.

        :param conn: a connection of :meth:`get_conn`
        :param autocommit: whether it is
        """
        conn.autocommit(autocommit)
        conn._tradewind_autocommit = autocommit

    def get_autocommit(self, conn: Any) -> bool:
        """Say whether each statement is a transaction of its own.

        :param conn: a connection of :meth:`get_conn`
        """
        return bool(getattr(conn, "_tradewind_autocommit", False))

    def get_uri(self) -> str:
        """Return SQLAlchemy's URI with the password in it: never log it."""
        from urllib.parse import quote, urlencode

        options = self.connect_options()
        place = options.connect
        login = quote(str(place["user"]), safe="")
        if password := options.secret.get("password"):
            login += ":" + quote(str(password), safe="")
        path = "/".join(quote(str(place[name]), safe="") for name in ("database", "schema") if place.get(name))
        query = {name: place[name] for name in ("warehouse", "role", "authenticator") if place.get(name)}
        return f"snowflake://{login}@{place['account']}/{path}?{urlencode(query)}"

    @property
    def dialect(self) -> Any:
        """Airflow's generic SQL dialect: it needs no official provider."""
        from airflow.providers.common.sql.dialects.dialect import Dialect

        return Dialect(self)

    @staticmethod
    def split_sql_string(sql: str, strip_semicolon: bool = False) -> list[str]:
        """Split a text into statements by Snowflake's own lexical rules.

        :param sql: one statement or many
        :param strip_semicolon: means nothing here: the semicolons are left out
        """
        return split(sql, "snowflake")

    def get_openlineage_database_info(self, connection: Connection) -> DatabaseInfo:
        """Tell OpenLineage which account and database this is.

        :param connection: Airflow's connection
        """
        from airflow.providers.openlineage.sqlparser import DatabaseInfo

        return DatabaseInfo(
            scheme="snowflake",
            authority=str(self.connect_options().connect["account"]),
            information_schema_columns=["table_schema", "table_name", "column_name", "ordinal_position", "data_type"],
            database=self.database_name(),
            is_information_schema_cross_db=True,
            is_uppercase_names=True,
        )

    def get_openlineage_database_dialect(self, connection: Connection) -> str:
        """Name the dialect for OpenLineage's SQL parser."""
        return "snowflake"

    def get_openlineage_default_schema(self) -> str | None:
        """Return the schema that unqualified names are in."""
        return self.connect_options().connect.get("schema")

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Tell Airflow's connection form how to name this hook's fields."""
        extra = '{"account": "xy12345.eu-west-1", "warehouse": "etl", "database": "sales", "role": "loader"}'
        return {
            "hidden_fields": ["port"],
            "relabeling": {"login": "User", "password": "Password, token, or passphrase of the key"},
            "placeholders": {"extra": extra},
        }

    def describe(self) -> str:
        """Name the connection in a message."""
        return f"snowflake connection {self.snowflake_conn_id}"

    def connect_options(self) -> Options:
        """Return how to connect; what is secret is in it, and not in its repr."""
        return read_options(self.connection, self._overrides)

    def secrets(self) -> tuple[str, ...]:
        """Return what no message may show."""
        return self.connect_options().secrets

    def database_name(self) -> str | None:
        """Return the database that unqualified names are in."""
        return self.connect_options().connect.get("database")

    def _tag(self) -> dict[str, str]:
        return {"QUERY_TAG": f"tradewind {self.work}"} if self.work is not None else {}

    def _run(
        self, session: SnowflakeSession, statement: str, parameters: Parameters, handler: Callable[[Any], Any] | None
    ) -> tuple[Any, Any]:
        if self.log_sql:
            self.log.info("running: %s", summary(statement, rules="snowflake"))
        made: tuple[Any, Any] = session.run(
            statement, parameters, lambda cursor: (None if handler is None else handler(cursor), cursor.description)
        )
        self.log.info("statement %s: %s rows", session.query_id, session.rowcount)
        return made
