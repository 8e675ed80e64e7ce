"""The hook of MySQL and MariaDB."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.sql.hooks.sql import DbApiHook

from tradewind.hooks.compat import ConnectionLookup
from tradewind.hooks.errors import ConnectionFailed, InvalidArgument
from tradewind.mysql import driver
from tradewind.mysql.cancel import Killer, find_target
from tradewind.mysql.configuring import configure, is_mariadb
from tradewind.mysql.errors import translated
from tradewind.mysql.iam import with_token
from tradewind.mysql.inserts import InsertPlan
from tradewind.mysql.options import Options, make_url, program_name, read_options, session_timeouts
from tradewind.mysql.session import MySqlSession
from tradewind.mysql.takeover import take_over
from tradewind.operators.statements import split, summary

if TYPE_CHECKING:
    from airflow.providers.openlineage.sqlparser import DatabaseInfo
    from sqlalchemy.engine import URL, Engine

    from tradewind.hooks.compat import Connection
    from tradewind.hooks.work import Work
    from tradewind.mysql.session import Parameters

_KILL_TIMEOUT = 3.0
"""Seconds to connect, and to answer, for the connection that ends another one's statement."""


class MySqlHook(ConnectionLookup, DbApiHook):
    """Connect to MySQL 8 and later, or MariaDB 10.5 and later, through PyMySQL.

    These may stand in the connection's extra: ``ssl_mode`` (DISABLED, PREFERRED, REQUIRED, VERIFY_CA,
    VERIFY_IDENTITY) with ``ssl`` (``{"ca": ..., "cert": ..., "key": ...}``) or ``ssl_ca`` and the like; ``charset``,
    ``collation``, ``unix_socket``, ``bind_address``, ``connect_timeout``, ``read_timeout``, ``write_timeout``,
    ``init_command``, ``sql_mode``, ``local_infile``, ``client_flag``; ``cursor`` (sscursor, dictcursor,
    ssdictcursor), ``iam`` with ``aws_conn_id`` and ``region`` (a token of RDS in place of a password),
    ``statement_timeout`` and ``lock_timeout``. ``client``, the official provider's choice of a driver, changes nothing.

    A session is strict (a value that does not fit is an error), in UTC, and in utf8mb4.

    :param mysql_conn_id: Airflow's connection; ``conn_id`` is another name for it
    :param database: the database, in place of the connection's; ``schema`` is its old name
    :param statement_timeout: how long one statement may run, in seconds or as ``"30s"``
    :param lock_timeout: how long to wait for a lock, alike; the server counts whole seconds
    :param settings: variables of the session by name, as ``{"time_zone": "Europe/Paris"}``
    :param work: whose work is done: it names the session to the server
    :param kwargs: what may stand in the connection's extra, which it wins over
    """

    conn_name_attr = "mysql_conn_id"
    default_conn_name = "mysql_default"
    conn_type = "mysql"
    hook_name = "MySQL"
    supports_autocommit = True
    supports_executemany = True

    def __init__(
        self,
        mysql_conn_id: str | None = None,
        *,
        conn_id: str | None = None,
        database: str | None = None,
        schema: str | None = None,
        statement_timeout: float | str | None = None,
        lock_timeout: float | str | None = None,
        settings: Mapping[str, Any] | None = None,
        work: Work | None = None,
        log_sql: bool = True,
        **kwargs: Any,
    ) -> None:
        if mysql_conn_id and conn_id and mysql_conn_id != conn_id:
            raise InvalidArgument(f"mysql_conn_id {mysql_conn_id!r} and conn_id {conn_id!r} differ: give one")
        if database and schema and database != schema:
            raise InvalidArgument(f"database {database!r} and schema {schema!r}, its old name, differ: give one")
        self.mysql_conn_id: str = mysql_conn_id or conn_id or self.default_conn_name
        own = {name: kwargs[name] for name in ("connection", "escape_word_format") if name in kwargs}
        super().__init__(mysql_conn_id=self.mysql_conn_id, log_sql=log_sql, **{"escape_word_format": "`{}`", **own})
        kwargs.pop("connection", None)
        self.database = database or schema
        self.settings = dict(settings or {})
        self.work = work
        self._overrides = kwargs
        self._timeouts = {"statement_timeout": statement_timeout, "lock_timeout": lock_timeout}
        self._sessions: set[MySqlSession] = set()

    def get_conn(self) -> Any:
        """Connect.

        :return: a connection of PyMySQL, in a transaction as soon as it is used
        :raises TransientError: where the server cannot be reached
        :raises AccessDenied: where it refuses the credentials, or its certificate is not to be trusted
        :raises InvalidArgument: where an option cannot work
        """
        return self._connect()[0]

    @contextlib.contextmanager
    def session(self, work: Work | None = None, *, autocommit: bool = False) -> Iterator[MySqlSession]:
        """Open a session whose statements are ended in the server when they are interrupted: commit at a clean end.

        A retry first ends what an earlier try of the same work left running in the server.

        :param work: whose work is done there
        :param autocommit: whether each statement is a transaction of its own
        """
        if work is not None:
            self.work = work
        session = self._open_session(autocommit)
        self._sessions.add(session)
        try:
            yield session
            session.commit()
        finally:
            self._sessions.discard(session)
            session.close()

    def cancel(self) -> None:
        """End in the server what runs on this hook's sessions; may be called from a signal handler."""
        told = [session.cancel() for session in tuple(self._sessions)]
        with contextlib.suppress(RuntimeError):  # a handler that interrupts a write of the log cannot write there
            for text in told:
                self.log.info("%s: %s", self.describe(), text)

    def stream(self, sql: str, parameters: Parameters = None, itersize: int = 5000) -> Iterator[tuple[Any, ...]]:
        """Yield a query's rows in constant memory, as the server sends them.

        :param sql: a SELECT
        :param parameters: values to bind
        :param itersize: how many rows are taken at once
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
        """Run statements in one transaction, unless ``autocommit``; what MySQL commits by itself (DDL) stays.

        The protocol takes one statement at a time, so that a text of several is always split.

        :param sql: a text, or several
        :param autocommit: whether each statement is a transaction of its own
        :param parameters: values to bind, the same for each statement
        :param handler: takes the cursor after each statement; without one nothing is returned
        :param split_statements: whether each statement of a text has a result of its own, or the last one alone
        :param return_last: whether to return the last result of a text alone
        :return: a text's result, or a list of results, as Airflow's ``DbApiHook.run`` has it
        """
        groups = self._statements(sql, split_statements)
        single = isinstance(sql, str) and (return_last or not split_statements)
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
        executemany: bool = False,
        fast_executemany: bool = False,
        autocommit: bool = False,
        **kwargs: Any,
    ) -> None:
        """Insert rows, many to a statement, all of them in one transaction.

        :param table: the table, as ``database.table``
        :param rows: sequences of values; read once, never held in memory as a whole
        :param target_fields: the columns, all of the table's by default
        :param commit_every: how many rows to a transaction; 0 for one transaction, which a retry cannot double
        :param replace: whether to replace the rows of the same key, as ``REPLACE`` does
        :param executemany: accepted for DbApiHook's sake: rows go together anyhow
        :param fast_executemany: alike
        :param autocommit: alike: rows are committed together, or every ``commit_every``
        """
        if kwargs:
            raise InvalidArgument(f"insert_rows has no argument {sorted(kwargs)[0]!r}")
        if commit_every < 0:
            raise InvalidArgument(f"commit_every must be 0 (one transaction) or more, not {commit_every}")
        plan = InsertPlan.make(table, target_fields, replace)
        with self.session() as session:
            total = plan.insert(session, rows, commit_every)
        self.log.info("inserted %s rows into %s", f"{total:,}", table)

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]
        """Connect and ask the server for its version, for Airflow's connection form.

        :return: whether it works, and what to tell
        """
        try:
            with self.session() as session:
                [(version,)] = session.query("SELECT VERSION()")
                encrypted = session.conn.ssl
                product = "MariaDB" if is_mariadb(session.conn) else "MySQL"
        except Exception as error:
            return False, str(error)
        return True, f"connected to {product} {version}, {'with' if encrypted else 'without'} TLS"

    def get_uri(self) -> str:
        """Return SQLAlchemy's URI with the password in it: never log it."""
        return str(self.sqlalchemy_url.render_as_string(hide_password=False))

    @property
    def sqlalchemy_url(self) -> URL:
        """SQLAlchemy's URL of this connection, for its dialect of PyMySQL; its repr hides the password."""
        extra = self.connection_extra
        return make_url(self._with_token(), extra.get("sqlalchemy_scheme"), extra.get("sqlalchemy_query"))

    def get_sqlalchemy_engine(self, engine_kwargs: Mapping[str, Any] | None = None) -> Engine:
        """Make an engine of SQLAlchemy, whose connections are this hook's: as strict, as encrypted, in UTC.

        :param engine_kwargs: further arguments of ``create_engine``
        """
        from sqlalchemy import create_engine

        return create_engine(self.sqlalchemy_url, **{"creator": self.get_conn, **(engine_kwargs or {})})

    @property
    def dialect(self) -> Any:
        """Airflow's generic SQL dialect: it needs no official provider."""
        from airflow.providers.common.sql.dialects.dialect import Dialect

        return Dialect(self)

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        """Set whether each statement is a transaction of its own.

        :param conn: a connection of :meth:`get_conn`
        :param autocommit: whether it is
        """
        conn.autocommit(autocommit)

    def get_autocommit(self, conn: Any) -> bool:
        """Say whether each statement is a transaction of its own.

        :param conn: a connection of :meth:`get_conn`
        """
        return bool(conn.get_autocommit())

    @staticmethod
    def split_sql_string(sql: str, strip_semicolon: bool = False) -> list[str]:
        """Split a text into statements by MySQL's own lexical rules.

        :param sql: one statement or many
        :param strip_semicolon: means nothing here: the semicolons are left out
        """
        return split(sql, "mysql")

    def get_openlineage_database_info(self, connection: Connection) -> DatabaseInfo:
        """Tell OpenLineage which server and database this is.

        :param connection: Airflow's connection
        """
        from airflow.providers.openlineage.sqlparser import DatabaseInfo

        return DatabaseInfo(
            scheme="mysql",
            authority=f"{connection.host or 'localhost'}:{connection.port or 3306}",
            information_schema_columns=["table_schema", "table_name", "column_name", "ordinal_position", "column_type"],
            normalize_name_method=lambda name: name,
        )

    def get_openlineage_database_dialect(self, connection: Connection) -> str:
        """Name the dialect for OpenLineage's SQL parser."""
        return "mysql"

    def get_openlineage_default_schema(self) -> str | None:
        """Return the database that unqualified names are in."""
        return self.database or self.connection.schema or None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Tell Airflow's connection form how to name this hook's fields."""
        return {
            "hidden_fields": [],
            "relabeling": {"schema": "Database"},
            "placeholders": {"extra": '{"ssl_mode": "VERIFY_IDENTITY", "statement_timeout": "15min"}'},
        }

    def describe(self) -> str:
        """Name the connection in a message."""
        return f"mysql connection {self.mysql_conn_id}"

    def connect_options(self) -> Options:
        """Return how to connect; the password is in it, and not in its repr."""
        return read_options(self.connection, self._overrides, self.database)

    def _open_session(self, autocommit: bool) -> MySqlSession:
        conn, options, secrets = self._connect()
        try:
            peer = None if options.unix_socket else self._peer(conn)
            with translated(self.describe(), secrets):
                target = find_target(conn)
                if self.work is not None:
                    for number in take_over(conn, self.work):
                        self.log.warning(
                            "%s: ended connection %s, which an earlier try of this task left in the server",
                            self.describe(),
                            number,
                        )
                if autocommit:
                    conn.autocommit(True)
        except BaseException:
            conn._force_close()
            raise
        timeouts = session_timeouts(self.connection, self._timeouts)
        return MySqlSession(
            conn,
            Killer(target, lambda: self._connect_to(options, peer)),
            self.describe(),
            secrets,
            cursor=options.cursor,
            statement_timeout=timeouts.get("statement_timeout"),
        )

    def _peer(self, conn: Any) -> Any:
        try:
            return conn._sock.getpeername()
        except OSError as error:
            raise ConnectionFailed(f"{self.describe()}: the server hung up: {error.strerror or error}") from error

    def _connect(self) -> tuple[Any, Options, tuple[str, ...]]:
        options = self._with_token()
        timeouts = session_timeouts(self.connection, self._timeouts)
        secrets = tuple(value for value in (options.password, dict(options.tls.options).get("password")) if value)
        with translated(self.describe(), secrets):
            conn = driver.connect(options, program_name(self.work))
            try:
                configure(conn, options, timeouts, self.settings)
            except BaseException:
                conn._force_close()
                raise
        return conn, options, secrets

    def _connect_to(self, options: Options, peer: Any) -> Any:
        """Connect once more to the same server, to end what runs there."""
        if self.connection_extra.get("iam"):
            options = self._with_token()
        quick = dataclasses.replace(
            options,
            cursor="cursor",
            connect_timeout=_KILL_TIMEOUT,
            read_timeout=_KILL_TIMEOUT,
            write_timeout=_KILL_TIMEOUT,
        )
        return driver.connect(quick, "tradewind cancel", peer)

    def _with_token(self) -> Options:
        options = self.connect_options()
        return with_token(options, self.connection_extra) if self.connection_extra.get("iam") else options

    def _statements(self, sql: str | Iterable[str], split_statements: bool) -> list[list[str]]:
        """Group the statements that have one result together."""
        if isinstance(sql, str):
            parts = split(sql, "mysql")
            groups = [[part] for part in parts] if split_statements else [parts] if parts else []
        else:
            groups = [parts for text in sql if (parts := split(text, "mysql"))]
        if not groups:
            raise InvalidArgument("sql holds no statement")
        return groups

    def _run(
        self, session: MySqlSession, statement: str, parameters: Parameters, handler: Callable[[Any], Any] | None
    ) -> tuple[Any, Any]:
        if self.log_sql:
            self.log.info("running: %s", summary(statement, rules="mysql"))
        made: tuple[Any, Any] = session.run(
            statement, parameters, lambda cur: (None if handler is None else handler(cur), cur.description)
        )
        if session.rowcount >= 0:
            self.log.info("rows affected: %s", session.rowcount)
        for notice in session.take_notices():
            self.log.info("%s", notice)
        return made
