"""The hook of PostgreSQL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.libpq.hooks import LibpqHook
from tradewind.hooks.libpq.options import SERVER_SETTINGS, session_settings
from tradewind.operators.statements import split, summary
from tradewind.postgres.files import copy_with_file
from tradewind.postgres.iam import with_token
from tradewind.postgres.inserts import InsertPlan, chunks

if TYPE_CHECKING:
    from airflow.providers.openlineage.sqlparser import DatabaseInfo
    from psycopg2 import sql
    from psycopg2.extensions import connection as PgConnection  # noqa: N812

    from tradewind.hooks.compat import Connection
    from tradewind.hooks.libpq.session import Readable, Writable
    from tradewind.hooks.work import Work


class PostgresHook(LibpqHook):
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
        overrides = kwargs if options is None else {**kwargs, "options": options}
        super().__init__(
            overrides={name: value for name, value in overrides.items() if name != "connection"},
            database=database or schema,
            work=work,
            enable_log_db_messages=enable_log_db_messages,
            postgres_conn_id=self.postgres_conn_id,
            log_sql=log_sql,
            **kwargs,
        )
        self.settings = {name: str(value) for name, value in (settings or {}).items()}
        self._timeouts = {
            "statement_timeout": statement_timeout,
            "lock_timeout": lock_timeout,
            "idle_in_transaction_session_timeout": idle_in_transaction_session_timeout,
        }

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

    def with_credentials(self, options: dict[str, Any]) -> dict[str, Any]:
        """Put a token of RDS in the password's place, where the connection's extra says ``iam``."""
        return with_token(options, self.connection_extra) if self.connection_extra.get("iam") else options

    def configure(self, conn: PgConnection) -> None:
        """Set the time-outs and settings that were asked for, and what tells the server that a worker has vanished."""
        _set(conn, {**session_settings(self.connection, self._timeouts), **self.settings})
        _try_set(conn, SERVER_SETTINGS)

    @staticmethod
    def summary(statement: str) -> str:
        """Show a statement in one line, no quoted text in it."""
        return summary(statement)


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
