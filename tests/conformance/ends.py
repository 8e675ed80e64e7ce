"""The ends of a copy as the suite sees them: what fills one, reads it past the code under test, and breaks it.

A new end is a class here and an entry in ``ENDS``; every promise is then tried on it, in a pair with each other one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tests.conformance.rows import COLUMNS, Row, from_texts, to_text
from tests.stage import LAKE, MART, WAREHOUSE, Stage
from tradewind.amazon.s3.files import S3File
from tradewind.mysql.queries import MySqlQuery
from tradewind.mysql.tables import MySqlTable
from tradewind.postgres.tables import PostgresQuery, PostgresTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tradewind.operators.ends import Source, Target

PATIENCE = 10.0
"""Seconds in which a server must notice that a client is gone."""

_onlookers: set[int] = set()
"""The suite's own sessions of MySQL, by number."""


class End(ABC):
    """One side of a copy.

    :param stage: the servers
    :param name: no other end has it: the name of a table or of a file
    """

    kind: ClassVar[str]
    keeps_ledger: ClassVar[bool]
    """Whether a load is remembered beside its target."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name

    @abstractmethod
    def make(self) -> None:
        """Make what is to be filled or written to, empty."""

    @abstractmethod
    def remove(self) -> None:
        """Remove it, and close the onlooker's own connections."""

    @abstractmethod
    def fill(self, rows: Iterable[Row]) -> None:
        """Put rows there, and nothing else."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """Return the rows that are there, in the order of their ids."""

    @abstractmethod
    def state(self) -> object:
        """Return what changes when anything is written."""

    @abstractmethod
    def source(self) -> Source:
        """Return this end to read from."""

    @abstractmethod
    def changed(self, rows: Iterable[Row]) -> Source:
        """Return a source that is other input than ``source()`` was.

        :param rows: what it holds
        """

    @abstractmethod
    def failing(self, rows: list[Row]) -> Source:
        """Return a source that fails when it is half read.

        :param rows: what it would hold
        """

    @abstractmethod
    def missing(self) -> Source:
        """Return a source that is not there."""

    @abstractmethod
    def target(self) -> Target:
        """Return this end to write to."""

    @abstractmethod
    def left(self) -> list[str]:
        """List what still runs or lies about in the service."""

    @abstractmethod
    def things(self) -> set[str]:
        """List the tables or objects that lie in the service."""

    @abstractmethod
    def keep(self) -> None:
        """Keep what is there now for :meth:`reset`."""

    @abstractmethod
    def reset(self) -> None:
        """Put back what :meth:`keep` kept."""

    @abstractmethod
    def sum(self) -> object:
        """Return what tells one content from another, whatever the order of its rows."""

    @abstractmethod
    def can_hold(self, row: Row) -> bool:
        """Say whether a row can be there."""

    def line_of(self, rows: list[Row], row: Row) -> int:
        """Return the line, or the number of the record, by which a message names a row of a source."""
        return rows.index(row) + 2  # in CSV, a header comes first

    def leftovers(self) -> list[str]:
        """List it once the service has had the time to notice that its client is gone."""
        deadline = time.monotonic() + PATIENCE
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left


class Table(End):
    """A table in a database."""

    keeps_ledger = True
    schema: ClassVar[str]
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
        return _is_unicode(row) and not any("\0" in text for text in row if isinstance(text, str))

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
        return _is_unicode(row)

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


def _is_unicode(row: Row) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for text in row if isinstance(text, str) for sign in text)


def _aware(row: Row) -> Row:
    """Give the moment its zone, which MySQL's driver leaves out, and the truth value its type."""
    seen = None if row.seen is None else row.seen.replace(tzinfo=dt.UTC)
    return row._replace(seen=seen, member=None if row.member is None else bool(row.member))


@cache
def _client(stage: Stage) -> S3Client:
    return stage.client()


class File(End):
    """One object in S3."""

    keeps_ledger = False
    ending: ClassVar[str]

    @property
    def client(self) -> S3Client:
        return _client(self.stage)

    @property
    def key(self) -> str:
        return f"{self.name}/data{self.ending}"

    def make(self) -> None:
        pass

    def remove(self) -> None:
        found = self.client.list_objects_v2(Bucket=self.stage.bucket, Prefix=f"{self.name}/").get("Contents", [])
        for item in found:
            self.client.delete_object(Bucket=self.stage.bucket, Key=item["Key"])

    @abstractmethod
    def encode(self, rows: Iterable[Row]) -> bytes:
        """Write a file."""

    @abstractmethod
    def decode(self, data: bytes) -> list[Row]:
        """Read a file."""

    def put(self, data: bytes, key: str | None = None) -> None:
        self.client.put_object(Bucket=self.stage.bucket, Key=key or self.key, Body=data)

    def body(self) -> bytes | None:
        """Return the bytes of the object, None where there is none."""
        if not self.client.list_objects_v2(Bucket=self.stage.bucket, Prefix=self.key).get("KeyCount"):
            return None
        return self.client.get_object(Bucket=self.stage.bucket, Key=self.key)["Body"].read()

    def fill(self, rows: Iterable[Row]) -> None:
        self.put(self.encode(rows))

    def rows(self) -> list[Row]:
        return sorted(self.decode(self.body() or b""), key=lambda row: row.id)

    def state(self) -> object:
        return self.body()

    def file(self, key: str | None = None) -> S3File:
        return S3File(f"s3://{self.stage.bucket}/{key or self.key}", conn_id=LAKE)

    def source(self) -> Source:
        return self.file()

    def changed(self, rows: Iterable[Row]) -> Source:
        self.fill(rows)
        return self.file()

    def failing(self, rows: list[Row]) -> Source:
        """Return a file that is cut in the middle."""
        zipped = gzip.compress(self.encode(rows), mtime=0)
        self.put(zipped[: len(zipped) // 2], f"{self.key}.gz")
        return self.file(f"{self.key}.gz")

    def missing(self) -> Source:
        return self.file(f"{self.name}/none{self.ending}")

    def target(self) -> Target:
        return self.file()

    def things(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket=self.stage.bucket).get("Contents", [])
        return {f"object {item['Key']}" for item in found}

    def keep(self) -> None:
        self.kept = self.body() or b""

    def reset(self) -> None:
        self.put(self.kept)

    def sum(self) -> object:
        return self.rows()

    def left(self) -> list[str]:
        uploads = self.client.list_multipart_uploads(Bucket=self.stage.bucket).get("Uploads", [])
        return [f"multipart upload {upload['Key']}" for upload in uploads]


class S3Csv(File):
    """CSV in S3."""

    kind = "s3csv"
    ending = ".csv"

    def encode(self, rows: Iterable[Row]) -> bytes:
        lines = [",".join(COLUMNS), *(",".join(_csv_field(to_text(value)) for value in row) for row in rows)]
        return "".join(f"{line}\n" for line in lines).encode(errors="surrogatepass")

    def can_hold(self, row: Row) -> bool:
        return True  # S3 itself copies any bytes

    def line_of(self, rows: list[Row], row: Row) -> int:
        return self.encode(rows[: rows.index(row)]).count(b"\n") + 1

    def decode(self, data: bytes) -> list[Row]:
        records = list(_csv_records(data.decode(errors="surrogatepass")))
        assert records[:1] in ([], [list(COLUMNS)]), records[:1]
        return [from_texts(record) for record in records[1:]]


def _csv_field(text: str | None) -> str:
    """Write a field: quotes are the difference between a text that is empty and NULL."""
    if text is None:
        return ""
    return '"' + text.replace('"', '""') + '"' if not text or re.search('[",\r\n]', text) else text


_FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\Z)')


def _csv_records(text: str) -> Iterable[list[str | None]]:
    record: list[str | None] = []
    position = 0
    while position < len(text):
        found = _FIELD.match(text, position)
        assert found, f"no field of CSV: {text[position : position + 40]!r}"
        quoted, bare, end = found.groups()
        record.append(quoted.replace('""', '"') if quoted is not None else bare or None)
        if end != ",":
            yield record
            record = []
        position = found.end()


ENDS: dict[str, type[End]] = {end.kind: end for end in (S3Csv, Postgres, MySql)}
