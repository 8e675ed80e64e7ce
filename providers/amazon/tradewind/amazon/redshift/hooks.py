"""The hook of Redshift over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.amazon.hooks import DEFAULT_CONN_ID
from tradewind.amazon.redshift.credentials import PORT, with_iam
from tradewind.amazon.redshift.errors import redshift_errors
from tradewind.amazon.redshift.sessions import WireSession
from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.libpq.hooks import LibpqHook
from tradewind.operators.statements import split, summary

if TYPE_CHECKING:
    from airflow.providers.openlineage.sqlparser import DatabaseInfo
    from psycopg2.extensions import connection as PgConnection  # noqa: N812

    from tradewind.hooks.compat import Connection
    from tradewind.hooks.work import Work

_GENERIC = (
    "dialect",
    "escape_column_names",
    "escape_word_format",
    "insert_statement_format",
    "placeholder",
    "replace_statement_format",
    "sqlalchemy_query",
    "sqlalchemy_scheme",
)
_ALIASES = {"database": "dbname", "timeout": "connect_timeout"}
"""Names of redshift_connector, as users have them in the extra, and libpq's."""


class RedshiftSQLHook(LibpqHook):
    """Connect to Redshift through psycopg2, with a password or with temporary credentials of IAM.

    The connection's extra may hold every option of libpq (``sslmode``, ``sslrootcert`` ...) and besides: ``iam`` with
    ``cluster_identifier``, ``db_user``, ``db_groups``, ``auto_create`` or ``group_federation``; for serverless
    ``is_serverless``, ``serverless_work_group`` and ``serverless_token_duration_seconds``; ``aws_conn_id``, ``profile``
    and ``region`` of the credentials; ``database``, ``ssl``, ``timeout``, ``cursor`` and ``statement_timeout`` (in
    seconds). TLS is required unless the extra says otherwise.

    :param redshift_conn_id: Airflow's connection; ``conn_id`` is another name for it
    :param aws_conn_id: the connection of type ``aws`` that asks IAM, None for the default credential chain
    :param database: the database, in place of the connection's
    :param statement_timeout: how long one statement may run, in seconds
    :param settings: parameters of the session by name, as ``{"query_group": "loads"}``
    :param work: whose work is done: it names the session to the server
    :param enable_log_db_messages: whether to log the server's notices after :meth:`run`
    :param kwargs: any option of libpq, which wins over the connection's extra
    """

    conn_name_attr = "redshift_conn_id"
    default_conn_name = "redshift_default"
    conn_type = "redshift"
    hook_name = "Amazon Redshift"
    session_type = WireSession
    hook_keys: ClassVar[frozenset[str]] = frozenset(
        (
            *_GENERIC,
            *_ALIASES,
            "auto_create",
            "aws_conn_id",
            "cluster_identifier",
            "cursor",
            "db_groups",
            "db_user",
            "group_federation",
            "iam",
            "is_serverless",
            "profile",
            "region",
            "region_name",
            "serverless_token_duration_seconds",
            "serverless_work_group",
            "ssl",
            "statement_timeout",
        )
    )

    def __init__(
        self,
        redshift_conn_id: str | None = None,
        *,
        conn_id: str | None = None,
        aws_conn_id: str | None = DEFAULT_CONN_ID,
        database: str | None = None,
        statement_timeout: float | None = None,
        settings: Mapping[str, Any] | None = None,
        work: Work | None = None,
        enable_log_db_messages: bool = False,
        log_sql: bool = True,
        **kwargs: Any,
    ) -> None:
        if redshift_conn_id and conn_id and redshift_conn_id != conn_id:
            raise InvalidArgument(f"redshift_conn_id {redshift_conn_id!r} and conn_id {conn_id!r} differ: give one")
        self.redshift_conn_id: str = redshift_conn_id or conn_id or self.default_conn_name
        super().__init__(
            overrides={name: value for name, value in kwargs.items() if name != "connection"},
            database=database,
            work=work,
            enable_log_db_messages=enable_log_db_messages,
            redshift_conn_id=self.redshift_conn_id,
            log_sql=log_sql,
            **kwargs,
        )
        self.aws_conn_id = aws_conn_id
        self.statement_timeout = statement_timeout
        self.settings = {name: str(value) for name, value in (settings or {}).items()}

    def describe(self) -> str:
        """Name the connection in a message."""
        return f"redshift connection {self.redshift_conn_id}"

    def connect_options(self) -> dict[str, Any]:
        """Return what is handed to libpq, a password among it: never log it."""
        extra = self.connection_extra
        spelled = {
            **{ours: extra[theirs] for theirs, ours in _ALIASES.items() if extra.get(theirs)},
            **({} if "ssl" not in extra else {"sslmode": "require" if extra["ssl"] else "disable"}),
            **({} if not extra.get("sslmode") else {"sslmode": extra["sslmode"]}),
        }
        return {"sslmode": "require", "port": PORT, **self.options_over(spelled)}

    def with_credentials(self, options: dict[str, Any]) -> dict[str, Any]:
        """Put temporary credentials of IAM into the options, where the connection's extra says ``iam``."""
        extra = self.connection_extra
        return with_iam(options, extra, self.aws_conn_id) if extra.get("iam") else options

    def configure(self, conn: PgConnection) -> None:
        """Set the parameters that were asked for."""
        asked = dict(self.settings)
        timeout = self.statement_timeout
        if timeout is None:
            timeout = self.connection_extra.get("statement_timeout")
        if timeout is not None:
            asked["statement_timeout"] = str(_milliseconds(timeout))
        with conn.cursor() as cursor:
            for name, value in asked.items():
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value])

    def translated(self, secrets: tuple[str, ...]) -> AbstractContextManager[None]:
        """Raise the driver's errors in the block as Tradewind's."""
        return redshift_errors(self.describe(), secrets)

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]
        """Connect and ask the server something, for Airflow's connection form.

        :return: whether it works, and what to tell
        """
        try:
            with self.session() as session:
                [(user,)] = session.query("SELECT current_user")
                encrypted = session.conn.info.ssl_in_use
        except Exception as error:
            return False, str(error)
        return True, f"connected to Redshift as {user}, {'with' if encrypted else 'without'} TLS"

    def get_table_primary_key(self, table: str, schema: str | None = "public") -> list[str] | None:
        """Return the columns of a table's primary key, which Redshift does not enforce.

        :param table: the table
        :param schema: its schema
        :return: the columns in the key's order, None where there is none
        """
        rows = self.get_records(
            "SELECT kcu.column_name FROM information_schema.table_constraints tco "
            "JOIN information_schema.key_column_usage kcu ON kcu.constraint_name = tco.constraint_name "
            "AND kcu.constraint_schema = tco.constraint_schema AND kcu.table_name = tco.table_name "
            "WHERE tco.constraint_type = 'PRIMARY KEY' AND kcu.table_schema = %s AND kcu.table_name = %s "
            "ORDER BY kcu.ordinal_position",
            [schema, table],
        )
        return [row[0] for row in rows] or None

    @staticmethod
    def split_sql_string(sql: str, strip_semicolon: bool = False) -> list[str]:
        """Split a text into statements by PostgreSQL's lexical rules, which are Redshift's.

        :param sql: one statement or many
        :param strip_semicolon: means nothing here: the semicolons are left out
        """
        return split(sql)

    @staticmethod
    def summary(statement: str) -> str:
        """Show a statement in one line, no quoted text in it."""
        return summary(statement)

    def get_openlineage_database_info(self, connection: Connection) -> DatabaseInfo:
        """Tell OpenLineage which warehouse and database this is.

        :param connection: Airflow's connection
        """
        from airflow.providers.openlineage.sqlparser import DatabaseInfo

        return DatabaseInfo(
            scheme="redshift",
            authority=authority(connection),
            database=self.database or connection.schema or connection.extra_dejson.get("database"),
            information_schema_table_name="SVV_REDSHIFT_COLUMNS",
            information_schema_columns=[
                "schema_name",
                "table_name",
                "column_name",
                "ordinal_position",
                "data_type",
                "database_name",
            ],
            is_information_schema_cross_db=True,
            use_flat_cross_db_query=True,
        )

    def get_openlineage_database_dialect(self, connection: Connection) -> str:
        """Name the dialect for OpenLineage's SQL parser."""
        return "redshift"

    def get_openlineage_default_schema(self) -> str | None:
        """Return the schema that unqualified names are in."""
        rows = self.get_first("SELECT current_schema()")
        return str(rows[0]) if rows and rows[0] else None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Tell Airflow's connection form how to name this hook's fields."""
        return {
            "hidden_fields": [],
            "relabeling": {"login": "User", "schema": "Database"},
            "placeholders": {"extra": '{"iam": true, "cluster_identifier": "sales", "region": "eu-west-1"}'},
        }


def authority(connection: Connection) -> str:
    """Return OpenLineage's name of a warehouse: ``cluster.region:port`` where its host says both.

    :param connection: Airflow's connection
    """
    extra = connection.extra_dejson
    host = connection.host or extra.get("cluster_identifier") or extra.get("serverless_work_group") or "localhost"
    parts = host.removesuffix(".cn").split(".")
    if parts[-2:] == ["amazonaws", "com"] and len(parts) == 6:
        host = f"{parts[0]}.{parts[2]}"
    return f"{host}:{connection.port or PORT}"


def _milliseconds(timeout: Any) -> int:
    try:
        seconds = -1.0 if isinstance(timeout, bool) else float(timeout)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < 2_147_483:
        raise InvalidArgument(f"statement_timeout must be seconds, not {timeout!r}")
    return round(seconds * 1000)
