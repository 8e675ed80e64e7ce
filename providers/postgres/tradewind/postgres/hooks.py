"""The hook of PostgreSQL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.sql.hooks.sql import DbApiHook

from tradewind.hooks.errors import InvalidArgument
from tradewind.postgres.errors import translated
from tradewind.postgres.options import (
    SERVER_SETTINGS,
    cursor_factory,
    libpq_options,
    session_settings,
)
from tradewind.postgres.session import PostgresSession, interruptible

if TYPE_CHECKING:
    import threading

    from psycopg2 import sql
    from psycopg2.extensions import connection as PgConnection  # noqa: N812

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
        import psycopg2

        options = self._connect_options()
        factory = cursor_factory(self.connection_extra.get("cursor"))
        with translated(self.describe(), self._secrets(options)):
            conn: PgConnection = interruptible(
                lambda: psycopg2.connect(cursor_factory=factory, **options), _let_time_out
            )
            self._configure(conn)
        return conn

    @contextlib.contextmanager
    def session(self, work: Work | None = None) -> Iterator[PostgresSession]:
        """Open a session whose calls can be interrupted: commit at a clean end, roll back otherwise.

        :param work: whose work is done there
        """
        if work is not None:
            self.work = work
        conn = self.get_conn()
        session = PostgresSession(conn, self.describe(), self._secrets(self._connect_options()))
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

    def describe(self) -> str:
        """Name the connection in a message."""
        return f"postgres connection {self.postgres_conn_id}"

    def _connect_options(self) -> dict[str, Any]:
        options = libpq_options(self.connection, self._overrides, self.database)
        options.setdefault("application_name", application_name(self.work))
        return options

    def _secrets(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(str(options[name]) for name in ("password", "sslpassword") if options.get(name))

    def _configure(self, conn: PgConnection) -> None:
        asked = session_settings(self.connection, self._timeouts)
        conn.autocommit = True
        try:
            _set(conn, asked)
            _try_set(conn, SERVER_SETTINGS)
        except BaseException:
            conn.close()
            raise
        conn.autocommit = False


def application_name(work: Work | None = None) -> str:
    """Name the session to the server: which DAG and task works there.

    :param work: whose work it is, by default what Airflow says in the environment of a task
    :return: at most 63 bytes, the server's limit; a long name is cut in the middle
    """
    if work is not None:
        mapped = f"[{work.map_index}]" if work.map_index >= 0 else ""
        name = f"{work.dag_id}.{work.task_id}{mapped} try {work.try_number}"
    else:
        name = ".".join(filter(None, (os.environ.get(f"AIRFLOW_CTX_{part}_ID") for part in ("DAG", "TASK"))))
    text = f"tradewind {name}".strip().encode("ascii", "replace").decode()
    return text if len(text) <= 63 else f"{text[:36]}..{text[-25:]}"


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


def _let_time_out(done: threading.Event) -> None:
    """Leave a connection attempt to its own time-out: it runs in a daemon thread, and nobody waits for it."""
