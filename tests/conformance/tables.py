"""Tables in PostgreSQL and MySQL, as the suite sees them."""

from __future__ import annotations

import contextlib
import datetime as dt
from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tests.conformance.end import End, is_unicode
from tests.conformance.rows import COLUMNS, Row
from tests.stage import MART, WAREHOUSE
from tradewind.mysql.queries import MySqlQuery
from tradewind.mysql.tables import MySqlTable
from tradewind.postgres.tables import PostgresQuery, PostgresTable

if TYPE_CHECKING:
    from tradewind.operators.ends import Source, Target

_onlookers: set[int] = set()
"""The suite's own sessions of MySQL, by number."""


class Table(End):
    """A table in a database."""

    keeps_ledger = True
    schema: ClassVar[str]
    refusal: ClassVar[str] = r"(?i)constraint"
    """What is said of a record that :meth:`refuse_large_ids` keeps out."""
    types: ClassVar[dict[str, str]]
    options = ""

    @cached_property
    def connection(self) -> Any:
        """A connection of the onlooker's own."""
        return self.connect()

    def make(self) -> None:
        columns = ", ".join(f"{column} {kind}" for column, kind in self.types.items())
        self.query(f"CREATE TABLE {self.name} ({columns}){self.options}")

    def remove(self) -> None:
        self.query(f"DROP TABLE IF EXISTS {self.name}, {self.name}_kept")
        self.connection.close()

    def keep(self) -> None:
        self.query(f"CREATE TABLE {self.name}_kept AS SELECT * FROM {self.name}")

    def reset(self) -> None:
        self.query(f"TRUNCATE TABLE {self.name}")
        self.query(f"INSERT INTO {self.name} SELECT * FROM {self.name}_kept")

    def things(self) -> set[str]:
        found = self.query(f"SELECT table_name FROM information_schema.tables WHERE table_schema = {self.schema}")
        return {f"table {name}" for (name,) in found}

    def refuse_large_ids(self) -> None:
        """Let the empty table take ids below 3,500 alone."""
        self.query(f"ALTER TABLE {self.name} ADD CONSTRAINT {self.name}_c CHECK (id < 3500)")

    @abstractmethod
    def connect(self) -> Any:
        """Connect with the plain driver, in autocommit."""

    @abstractmethod
    def make_query(self, sql: str) -> Source:
        """Return a query to read from."""

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run a statement, on a new connection where a server that was started again has lost the old one."""
        try:
            return self._query(sql, parameters)
        except Exception as error:
            if "OperationalError" not in type(error).__name__ and "InterfaceError" not in type(error).__name__:
                raise
            del self.connection
            return self._query(sql, parameters)

    def _query(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    @abstractmethod
    def cut(self) -> int:
        """End the sessions of others in this database; return how many."""

    def fill(self, rows: Iterable[Row]) -> None:
        self.query(f"TRUNCATE TABLE {self.name}")
        marks = f"({', '.join(['%s'] * len(COLUMNS))})"
        wanted = list(rows)
        for start in range(0, len(wanted), 500):
            some = wanted[start : start + 500]
            values = ", ".join([marks] * len(some))
            self.query(f"INSERT INTO {self.name} VALUES {values}", [value for row in some for value in row])

    def state(self) -> object:
        return self.rows()

    def changed(self, rows: Iterable[Row]) -> Source:
        """Return a query: the rows of a table cannot be known before they are read, so its name is the input."""
        self.fill(rows)
        return self.make_query(f"SELECT * FROM {self.name} ORDER BY id")

    def failing(self, rows: list[Row]) -> Source:
        self.fill(rows)
        half = rows[len(rows) // 2].id
        broken = f"CASE WHEN id = {half} THEN 9223372036854775807 + id ELSE id END AS id"
        return self.make_query(f"SELECT {', '.join([broken, *COLUMNS[1:]])} FROM {self.name}")

    @abstractmethod
    def ledger(self) -> list[tuple[Any, ...]]:
        """Return try, mode and rows of each entry about this table."""


OTHERS = """
    FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
    AND application_name <> 'onlooker'
"""


class Postgres(Table):
    """A table in PostgreSQL."""

    kind = "postgres"
    schema = "current_schema()"
    types = dict(
        zip(
            COLUMNS,
            ("bigint", "text", "text", "numeric(20,6)", "date", "timestamp", "timestamptz", "boolean", "float8"),
            strict=True,
        )
    )

    def connect(self) -> Any:
        connection = self.stage.connect()
        with connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
        return connection

    def make_query(self, sql: str) -> Source:
        return PostgresQuery(sql, conn_id=WAREHOUSE)

    def can_hold(self, row: Row) -> bool:
        return is_unicode(row) and not any("\0" in text for text in row if isinstance(text, str))

    def rows(self) -> list[Row]:
        return [Row(*row) for row in self.query(f"SELECT * FROM {self.name} ORDER BY id")]

    def source(self) -> Source:
        return PostgresTable(self.name, conn_id=WAREHOUSE)

    def missing(self) -> Source:
        return PostgresTable(f"{self.name}_none", conn_id=WAREHOUSE)

    def target(self) -> Target:
        return PostgresTable(self.name, conn_id=WAREHOUSE)

    def sum(self) -> object:
        return self.query(f"SELECT count(*), sum(hash_record_extended(t, 0)::numeric) FROM {self.name} t")

    def left(self) -> list[str]:
        return [f"session {state}: {query}" for state, query in self.query(f"SELECT state, query {OTHERS}")]

    def cut(self) -> int:
        return len(self.query(f"SELECT pg_terminate_backend(pid) {OTHERS}"))

    def ledger(self) -> list[tuple[Any, ...]]:
        return self.query(
            "SELECT try, mode, rows FROM tradewind_ledger WHERE target = %s ORDER BY loaded_at", [f"public.{self.name}"]
        )


class MySql(Table):
    """A table in MySQL or MariaDB."""

    kind = "mysql"
    schema = "DATABASE()"
    types = dict(
        zip(
            COLUMNS,
            (
                "bigint",
                "longtext",
                "longtext",
                "decimal(20,6)",
                "date",
                "datetime(6)",
                "timestamp(6) NULL",
                "boolean",
                "double",
            ),
            strict=True,
        )
    )
    options = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

    def connect(self) -> Any:
        connection = self.stage.connect_mysql()
        _onlookers.add(connection.thread_id())
        return connection

    def make_query(self, sql: str) -> Source:
        return MySqlQuery(sql, conn_id=MART)

    def can_hold(self, row: Row) -> bool:
        return is_unicode(row)

    def rows(self) -> list[Row]:
        return [_aware(Row(*row)) for row in self.query(f"SELECT * FROM {self.name} ORDER BY id")]

    def source(self) -> Source:
        return MySqlTable(self.name, conn_id=MART)

    def missing(self) -> Source:
        return MySqlTable(f"{self.name}_none", conn_id=MART)

    def target(self) -> Target:
        return MySqlTable(self.name, conn_id=MART)

    def sum(self) -> object:
        texts = ", ".join(f"COALESCE({column}, 'NULL')" for column in COLUMNS)
        hashed = f"CONV(LEFT(MD5(CONCAT_WS('|', {texts})), 15), 16, 10)"
        return self.query(f"SELECT COUNT(*), SUM(CAST({hashed} AS DECIMAL(20))) FROM {self.name}")

    def left(self) -> list[str]:
        return [f"session {command}: {statement}" for _, command, statement in self._others()]

    def cut(self) -> int:
        ended = 0
        for number, *_ in self._others():
            with contextlib.suppress(Exception):  # it has just gone
                self.query(f"KILL CONNECTION {number}")
                ended += 1
        return ended

    def _others(self) -> list[tuple[Any, ...]]:
        return self.query(
            "SELECT id, command, info FROM information_schema.processlist WHERE db = DATABASE() AND id NOT IN %s",
            [_onlookers],
        )

    def ledger(self) -> list[tuple[Any, ...]]:
        return self.query(
            "SELECT try, mode, `rows` FROM tradewind_ledger WHERE target = CONCAT(DATABASE(), %s) ORDER BY loaded_at",
            [f".{self.name}"],
        )


def _aware(row: Row) -> Row:
    """Give the moment its zone, which MySQL's driver leaves out, and the truth value its type."""
    seen = None if row.seen is None else row.seen.replace(tzinfo=dt.UTC)
    return row._replace(seen=seen, member=None if row.member is None else bool(row.member))
