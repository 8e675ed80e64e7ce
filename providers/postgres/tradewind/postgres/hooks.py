"""The hook of PostgreSQL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.sql.hooks.sql import DbApiHook

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.statements import split, summary
from tradewind.postgres.errors import translated
from tradewind.postgres.files import copy_with_file
from tradewind.postgres.iam import with_token
from tradewind.postgres.inserts import InsertPlan, chunks
from tradewind.postgres.options import (
    SERVER_SETTINGS,
    application_name,
    cursor_factory,
    libpq_options,
    make_url,
    session_settings,
)
from tradewind.postgres.session import PostgresSession, interruptible

if TYPE_CHECKING:
    from airflow.providers.openlineage.sqlparser import DatabaseInfo
    from psycopg2 import sql
    from psycopg2.extensions import connection as PgConnection  # noqa: N812
    from sqlalchemy.engine import URL, Engine

    from tradewind.hooks.compat import Connection
    from tradewind.hooks.work import Work
    from tradewind.postgres.session import Parameters, Readable, Writable


class PostgresHook(DbApiHook):
    """Connect to PostgreSQL through psycopg2.

    Every option of libpq may stand in the connection's extra (``sslmode``, ``sslrootcert``, ``target_session_attrs``,
    ``passfile`` ...), and besides: ``cursor`` (dictcursor, realdictcursor, namedtuplecursor), ``iam`` with
    ``aws_conn_id`` and ``region`` (a token of RDS in place of a password), ``statement_timeout``, ``lock_timeout``
    and ``idle_in_transaction_session_timeout``. The host may be several, separated by commas, or a socket's folder.

    :param postgres_conn_id: Airflow's connection; ``conn_id`` is another name for it
    :param database: the database, in place of the connection's; ``schema`` is its old name
    :param options: settings for libpq's ``options``, as ``-c work_mem=64MB``
    :param statement_timeout: how long one statement may run, in seconds or as ``"30s"``
    :param lock_timeout: how long to wait for a lock, alike
    :param idle_in_transaction_session_timeout: how long a transaction may idle, alike
    :param settings: settings of the session by name, as ``{"work_mem": "64MB"}``
    :param work: whose work is done: it names the session to the server
    :param enable_log_db_messages: whether to log the server's notices after :meth:`run`
    :param kwargs: any option of libpq, which wins over the connection's extra
    """

    conn_name_attr = "postgres_conn_id"
    default_conn_name = "postgres_default"
    conn_type = "postgres"
    hook_name = "Postgres"
    supports_autocommit = True
    supports_executemany = True

    def __init__(
        self,
        postgres_conn_id: str | None = None,
        *,
        conn_id: str | None = None,
        database: str | None = None,
        schema: str | None = None,
        options: str | None = None,
        statement_timeout: float | str | None = None,
        lock_timeout: float | str | None = None,
        idle_in_transaction_session_timeout: float | str | None = None,
        settings: Mapping[str, Any] | None = None,
        work: Work | None = None,
        enable_log_db_messages: bool = False,
        log_sql: bool = True,
        **kwargs: Any,
    ) -> None:
        if postgres_conn_id and conn_id and postgres_conn_id != conn_id:
            raise InvalidArgument(f"postgres_conn_id {postgres_conn_id!r} and conn_id {conn_id!r} differ: give one")
        if database and schema and database != schema:
            raise InvalidArgument(f"database {database!r} and schema {schema!r}, its old name, differ: give one")
        self.postgres_conn_id: str = postgres_conn_id or conn_id or self.default_conn_name
        super().__init__(postgres_conn_id=self.postgres_conn_id, log_sql=log_sql, **kwargs)
        kwargs.pop("connection", None)
        self.database = database or schema
        self.settings = {name: str(value) for name, value in (settings or {}).items()}
        self.work = work
        self.enable_log_db_messages = enable_log_db_messages
        self._overrides = kwargs if options is None else {**kwargs, "options": options}
        self._timeouts = {
            "statement_timeout": statement_timeout,
            "lock_timeout": lock_timeout,
            "idle_in_transaction_session_timeout": idle_in_transaction_session_timeout,
        }
        self._sessions: set[PostgresSession] = set()

    def get_conn(self) -> PgConnection:
        """Connect.

        :return: a connection of psycopg2, in a transaction as soon as it is used
        :raises TransientError: where the server cannot be reached
        :raises AccessDenied: where it refuses the credentials, or its certificate is not to be trusted
        :raises InvalidArgument: where an option cannot work
        """
        return self._connect()[0]

    @contextlib.contextmanager
    def session(self, work: Work | None = None, *, autocommit: bool = False) -> Iterator[PostgresSession]:
        """Open a session whose calls can be interrupted: commit at a clean end, roll back otherwise.

        :param work: whose work is done there
        :param autocommit: whether each statement is a transaction of its own
        """
        if work is not None:
            self.work = work
        conn, secrets = self._connect()
        conn.autocommit = autocommit
        session = PostgresSession(conn, self.describe(), secrets)
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

    def copy_in(self, sql: str | sql.Composable, readable: Readable) -> int:
        """Run ``COPY ... FROM STDIN`` with the bytes of a stream, in one transaction.

        :param sql: the COPY statement
        :param readable: where the bytes come from
        :return: the rows copied
        """
        with self.session() as session:
            return session.copy_in(sql, readable)

    def copy_out(self, sql: str | sql.Composable, writable: Writable) -> int:
        """Run ``COPY ... TO STDOUT`` into a stream of bytes.

        :param sql: the COPY statement
        :param writable: takes the bytes
        :return: the rows copied
        """
        with self.session() as session:
            return session.copy_out(sql, writable)

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
                    self.log.info("running: %s", summary(statement))
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

    def insert_rows(
        self,
        table: str,
        rows: Iterable[Sequence[Any]],
        target_fields: Sequence[str] | None = None,
        commit_every: int = 0,
        replace: bool = False,
        *,
        replace_index: str | Sequence[str] | None = None,
        executemany: bool = False,
        fast_executemany: bool = False,
        autocommit: bool = False,
        **kwargs: Any,
    ) -> None:
        """Insert rows through COPY, all of them in one transaction.

        :param table: the table, as ``schema.table``
        :param rows: sequences of values; read once, never held in memory as a whole
        :param target_fields: the columns, all of the table's by default
        :param commit_every: how many rows to a transaction; 0 for one transaction, which a retry cannot double
        :param replace: whether to update the rows that are there; needs ``target_fields`` and ``replace_index``
        :param replace_index: the columns of the unique index that tells the rows
        :param executemany: accepted for DbApiHook's sake: COPY is faster than either way of it
        :param fast_executemany: alike
        :param autocommit: alike: rows are committed together, or every ``commit_every``
        """
        if kwargs:
            raise InvalidArgument(f"insert_rows has no argument {sorted(kwargs)[0]!r}")
        if commit_every < 0:
            raise InvalidArgument(f"commit_every must be 0 (one transaction) or more, not {commit_every}")
        plan = InsertPlan.make(table, target_fields, replace, replace_index)
        total = 0
        with self.session() as session:
            for chunk in chunks(rows, commit_every):
                total += plan.insert(session, chunk)
                if commit_every:
                    session.commit()
        self.log.info("inserted %s rows into %s", f"{total:,}", table)

    def copy_expert(self, sql: str, filename: str | os.PathLike[str]) -> int:
        """Run ``COPY ... FROM STDIN`` or ``COPY ... TO STDOUT`` with a local file.

        :param sql: the COPY statement: it decides the direction
        :param filename: the file to read, which must be there, or to write, which appears whole or not at all
        :return: the rows copied
        :raises InvalidArgument: where the statement does neither
        :raises NotFound: where the file to read is not there
        """
        return copy_with_file(self, sql, Path(filename))

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]
        """Connect and ask the server for its version, for Airflow's connection form.

        :return: whether it works, and what to tell
        """
        try:
            with self.session() as session:
                [(version,)] = session.query("SELECT current_setting('server_version')")
                encrypted = session.conn.info.ssl_in_use
        except Exception as error:
            return False, str(error)
        return True, f"connected to PostgreSQL {version}, {'with' if encrypted else 'without'} TLS"

    def get_uri(self) -> str:
        """Return SQLAlchemy's URI with the password in it: never log it."""
        return str(self.sqlalchemy_url.render_as_string(hide_password=False))

    @property
    def sqlalchemy_url(self) -> URL:
        """SQLAlchemy's URL of this connection; its repr hides the password, its query has the options of libpq."""
        options = self.connect_options()
        extra = self.connection_extra
        if extra.get("iam"):
            options = with_token(options, extra)
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

    @staticmethod
    def split_sql_string(sql: str, strip_semicolon: bool = False) -> list[str]:
        """Split a text into statements by PostgreSQL's own lexical rules.

        :param sql: one statement or many
        :param strip_semicolon: means nothing here: the semicolons are left out
        """
        return split(sql)

    def get_openlineage_database_info(self, connection: Connection) -> DatabaseInfo:
        """Tell OpenLineage which server and database this is.

        :param connection: Airflow's connection
        """
        from airflow.providers.openlineage.sqlparser import DatabaseInfo

        return DatabaseInfo(
            scheme="postgres",
            authority=f"{connection.host or 'localhost'}:{connection.port or 5432}",
            database=self.database or connection.schema,
        )

    def get_openlineage_database_dialect(self, connection: Connection) -> str:
        """Name the dialect for OpenLineage's SQL parser."""
        return "postgres"

    def get_openlineage_default_schema(self) -> str | None:
        """Return the schema that unqualified names are in."""
        rows = self.get_first("SELECT current_schema()")
        return str(rows[0]) if rows and rows[0] else None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Tell Airflow's connection form how to name this hook's fields."""
        return {
            "hidden_fields": [],
            "relabeling": {"schema": "Database"},
            "placeholders": {"extra": '{"sslmode": "verify-full", "statement_timeout": "15min"}'},
        }

    def describe(self) -> str:
        """Name the connection in a message."""
        return f"postgres connection {self.postgres_conn_id}"

    def _connect(self) -> tuple[PgConnection, tuple[str, ...]]:
        import psycopg2

        options = self.connect_options()
        if self.connection_extra.get("iam"):
            options = with_token(options, self.connection_extra)
        factory = cursor_factory(self.connection_extra.get("cursor"))
        secrets = tuple(str(options[name]) for name in ("password", "sslpassword") if options.get(name))
        with translated(self.describe(), secrets):
            conn: PgConnection = interruptible(
                lambda: psycopg2.connect(cursor_factory=factory, **options), _let_time_out
            )
            self._configure(conn)
        return conn, secrets

    def connect_options(self) -> dict[str, Any]:
        """Return what is handed to libpq, the password among it: never log it."""
        options = libpq_options(self.connection, self._overrides, self.database)
        options.setdefault("application_name", application_name(self.work))
        return options

    def _statements(self, sql: str | Iterable[str], split_statements: bool) -> list[str]:
        if isinstance(sql, str):
            statements = split(sql) if split_statements else [sql] if sql.strip() else []
        else:
            statements = list(sql)
        if not statements:
            raise InvalidArgument("sql holds no statement")
        return statements

    def _configure(self, conn: PgConnection) -> None:
        asked = {**session_settings(self.connection, self._timeouts), **self.settings}
        conn.autocommit = True
        try:
            _set(conn, asked)
            _try_set(conn, SERVER_SETTINGS)
        except BaseException:
            conn.close()
            raise
        conn.autocommit = False


def _handled(cur: Any, handler: Callable[[Any], Any] | None) -> tuple[Any, Any]:
    return (None if handler is None else handler(cur)), cur.description


def _set(conn: PgConnection, settings: Mapping[str, str]) -> None:
    if not settings:
        return
    calls = ", ".join("set_config(%s, %s, false)" for _ in settings)
    with conn.cursor() as cur:
        cur.execute(f"SELECT {calls}", [text for item in settings.items() for text in item])


def _try_set(conn: PgConnection, settings: Mapping[str, str]) -> None:
    import psycopg2

    values = ", ".join("(%s, %s)" for _ in settings)
    with conn.cursor() as cur, contextlib.suppress(psycopg2.Error):
        # What this server does not know is left out; a server that refuses is left as it is.
        cur.execute(
            f"SELECT set_config(name, value, false) FROM (VALUES {values}) AS s (name, value) "  # noqa: S608
            "WHERE current_setting(name, true) IS NOT NULL",
            [text for item in settings.items() for text in item],
        )


def _let_time_out() -> None:
    """Leave a connection attempt to its own time-out: it runs in a daemon thread, and nobody waits for it."""
