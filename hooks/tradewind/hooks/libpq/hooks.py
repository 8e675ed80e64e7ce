"""What the hooks of servers share that are reached through libpq."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.sql.hooks.sql import DbApiHook

from tradewind.hooks.compat import ConnectionLookup
from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.libpq.errors import translated
from tradewind.hooks.libpq.options import HOOK_KEYS, application_name, cursor_factory, libpq_options, make_url
from tradewind.hooks.libpq.session import LibpqSession, interruptible

if TYPE_CHECKING:
    from psycopg2 import sql
    from psycopg2.extensions import connection as PgConnection  # noqa: N812
    from sqlalchemy.engine import URL, Engine

    from tradewind.hooks.libpq.session import Parameters
    from tradewind.hooks.work import Work


class LibpqHook(ConnectionLookup, DbApiHook):
    """Connect through psycopg2; what a service adds are its credentials, its settings and its lexical rules.

    :param overrides: options of libpq, which win over the connection's extra
    :param database: the database, in place of the connection's
    :param work: whose work is done: it names the session to the server
    :param enable_log_db_messages: whether to log the server's notices after :meth:`run`
    :param kwargs: further arguments of Airflow's hook
    """

    supports_autocommit = True
    supports_executemany = True
    hook_keys: ClassVar[frozenset[str]] = HOOK_KEYS
    """Keys of the connection's extra that are none of libpq."""
    session_type: ClassVar[type[LibpqSession]] = LibpqSession

    def __init__(
        self,
        *,
        overrides: Mapping[str, Any],
        database: str | None = None,
        work: Work | None = None,
        enable_log_db_messages: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.database = database
        self.work = work
        self.enable_log_db_messages = enable_log_db_messages
        self._overrides = dict(overrides)
        self._sessions: set[LibpqSession] = set()

    @abstractmethod
    def describe(self) -> str:
        """Name the connection in a message."""

    @abstractmethod
    def with_credentials(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return libpq's options with the credentials that the connection itself does not hold."""

    @abstractmethod
    def configure(self, conn: PgConnection) -> None:
        """Set what a new session needs; it is in autocommit."""

    @staticmethod
    @abstractmethod
    def summary(statement: str) -> str:
        """Show a statement in one line, no quoted text in it."""

    def get_conn(self) -> PgConnection:
        """Connect.

        :return: a connection of psycopg2, in a transaction as soon as it is used
        :raises TransientError: where the server cannot be reached
        :raises AccessDenied: where it refuses the credentials, or its certificate is not to be trusted
        :raises InvalidArgument: where an option cannot work
        """
        return self._connect()[0]

    @contextlib.contextmanager
    def session(self, work: Work | None = None, *, autocommit: bool = False) -> Iterator[LibpqSession]:
        """Open a session whose calls can be interrupted: commit at a clean end, roll back otherwise.

        :param work: whose work is done there
        :param autocommit: whether each statement is a transaction of its own
        """
        if work is not None:
            self.work = work
        conn, secrets = self._connect()
        conn.autocommit = autocommit
        session = self.session_type(conn, self.describe(), secrets)
        self._sessions.add(session)
        try:
            yield session
            session.commit()
        finally:
            self._sessions.discard(session)
            session.close()

    def cancel(self) -> None:
        """Stop in the server what runs on this hook's sessions; may be called from a signal handler."""
        for session in tuple(self._sessions):
            session.cancel()

    def stream(
        self, sql: str | sql.Composable, parameters: Parameters = None, itersize: int = 5000
    ) -> Iterator[tuple[Any, ...]]:
        """Yield a query's rows in constant memory, by a server-side cursor.

        :param sql: a SELECT
        :param parameters: values to bind
        :param itersize: how many rows come in one round trip
        """
        with self.session() as session:
            yield from session.stream(sql, parameters, itersize)

    def run(  # type: ignore[override]
        self,
        sql: str | Iterable[str],
        autocommit: bool = False,
        parameters: Parameters = None,
        handler: Callable[[Any], Any] | None = None,
        split_statements: bool = False,
        return_last: bool = True,
    ) -> Any:
        """Run statements in one transaction, unless ``autocommit``.

        :param sql: a text, or several
        :param autocommit: whether each statement is a transaction of its own
        :param parameters: values to bind, the same for each statement
        :param handler: takes the cursor after each statement; without one nothing is returned
        :param split_statements: whether to run the statements of a text one by one
        :param return_last: whether to return the last result of a text alone
        :return: a text's result, or a list of results, as Airflow's ``DbApiHook.run`` has it
        """
        statements = self._statements(sql, split_statements)
        single = isinstance(sql, str) and (return_last or not split_statements)
        results: list[Any] = []
        self.descriptions = []
        with self.session(autocommit=autocommit) as session:
            for statement in statements:
                if self.log_sql:
                    self.log.info("running: %s", self.summary(statement))
                result, description = session.run(statement, parameters, lambda cur: _handled(cur, handler))
                results.append(result)
                self.descriptions.append(description)
                if session.rowcount >= 0:
                    self.log.info("rows affected: %s", session.rowcount)
            if self.enable_log_db_messages:
                for notice in session.take_notices():
                    self.log.info("%s", notice)
        if handler is None:
            return None
        if single:
            self.descriptions = self.descriptions[-1:]
        return results[-1] if single else results

    def get_uri(self) -> str:
        """Return SQLAlchemy's URI with the password in it: never log it."""
        return str(self.sqlalchemy_url.render_as_string(hide_password=False))

    @property
    def sqlalchemy_url(self) -> URL:
        """SQLAlchemy's URL of this connection; its repr hides the password, its query has the options of libpq."""
        extra = self.connection_extra
        options = self.with_credentials(self.connect_options())
        return make_url(options, extra.get("sqlalchemy_scheme"), extra.get("sqlalchemy_query"))

    def get_sqlalchemy_engine(self, engine_kwargs: Mapping[str, Any] | None = None) -> Engine:
        """Make an engine of SQLAlchemy; unlike Airflow's own way it logs no URL, which may show the password.

        :param engine_kwargs: further arguments of ``create_engine``
        """
        from sqlalchemy import create_engine

        return create_engine(self.sqlalchemy_url, **(engine_kwargs or {}))

    @property
    def dialect(self) -> Any:
        """Airflow's generic SQL dialect: it needs no official provider."""
        from airflow.providers.common.sql.dialects.dialect import Dialect

        return Dialect(self)

    def _connect(self) -> tuple[PgConnection, tuple[str, ...]]:
        import psycopg2

        options = self.with_credentials(self.connect_options())
        factory = cursor_factory(self.connection_extra.get("cursor"))
        secrets = tuple(str(options[name]) for name in ("password", "sslpassword") if options.get(name))
        with self.translated(secrets):
            conn: PgConnection = interruptible(
                lambda: psycopg2.connect(cursor_factory=factory, **options), _let_time_out
            )
            conn.autocommit = True
            try:
                self.configure(conn)
            except BaseException:
                conn.close()
                raise
            conn.autocommit = False
        return conn, secrets

    def translated(self, secrets: tuple[str, ...]) -> AbstractContextManager[None]:
        """Raise the driver's errors in the block as Tradewind's.

        :param secrets: texts that must not appear in messages
        """
        return translated(self.describe(), secrets)

    def connect_options(self) -> dict[str, Any]:
        """Return what is handed to libpq, the password among it: never log it."""
        return self.options_over({})

    def options_over(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is handed to libpq, the password among it: never log it.

        :param extra: options that win over the connection's extra, and that this hook's own win over
        """
        overrides = {**extra, **self._overrides}
        options = libpq_options(self.connection, overrides, self.database, self.hook_keys)
        options.setdefault("application_name", application_name(self.work))
        return options

    def _statements(self, sql: str | Iterable[str], split_statements: bool) -> list[str]:
        if isinstance(sql, str):
            statements = self.split_sql_string(sql) if split_statements else [sql] if sql.strip() else []
        else:
            statements = list(sql)
        if not statements:
            raise InvalidArgument("sql holds no statement")
        return statements


def _handled(cur: Any, handler: Callable[[Any], Any] | None) -> tuple[Any, Any]:
    return (None if handler is None else handler(cur)), cur.description


def _let_time_out() -> None:
    """Leave a connection attempt to its own time-out: it runs in a daemon thread, and nobody waits for it."""
