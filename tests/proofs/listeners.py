"""Databases that tell what they were told: each logs every statement that reaches it."""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.proofs.payloads import Payloads
from tests.stage import BUCKET, MART, WAREHOUSE, Stage

CANARY = "canary"
WORD = re.compile(r"zq\d+x")
"""The word of a payload's own."""
PLAIN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`""")
"""What is quoted where backslashes in texts stand for themselves."""


@dataclass
class Service(ABC):
    """A database that tells what it was told.

    :param stage: the servers
    """

    stage: Stage
    kind: ClassVar[str]
    conn_id: ClassVar[str]
    mark: ClassVar[str]
    quoted: ClassVar[re.Pattern[str]]
    longest_user: ClassVar[int]
    connection: Any = field(init=False)
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.connection = self.connect()
        self.client = self.stage.client()
        self.run(f"CREATE TABLE {CANARY} (id int)")
        self.run(f"INSERT INTO {CANARY} VALUES (1)")

    def quote(self, name: str) -> str:
        """Quote an identifier."""
        return self.mark + name.replace(self.mark, self.mark * 2) + self.mark

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def bare(self, statement: str, *, plain: bool = False) -> str:
        """Return what a statement holds outside its quotes.

        :param plain: whether backslashes in texts stand for themselves
        """
        return (PLAIN if plain else self.quoted).sub(" ", statement)

    def judge(self, *, plain: bool = False) -> tuple[list[str], set[str]]:
        """Look at the statements since the last call: say what is wrong, and which words they hold.

        :param plain: whether backslashes in texts stand for themselves
        """
        wrong, told = [], set()
        for statement in self.statements():
            told |= set(WORD.findall(statement))
            bare = self.bare(statement, plain=plain)
            if WORD.search(bare):
                wrong.append(f"outside quotes: {bare.strip()[:300]!r} in {statement[:300]!r}")
        if not self.canary():
            wrong.append("the table under attack has changed")
        return wrong, told

    def place(self) -> dict[str, Any]:
        """Return the server's place, and its connection's type, as parts of a connection of Airflow's."""
        url = urlsplit(self.stage.dsn if self.kind == "postgres" else self.stage.mysql)
        return {"conn_type": self.kind, "host": url.hostname, "port": url.port}

    @contextmanager
    def plain_backslashes(self, asked: bool) -> Iterator[bool]:
        """Have the server take backslashes in texts for themselves, where that can be asked of it; yield whether."""
        yield False

    def canary(self) -> bool:
        """Say whether the table that is under attack is as it was."""
        return self.run(f"SELECT id FROM {CANARY}") == [(1,)]

    @abstractmethod
    def connect(self) -> Any:
        """Connect with the plain driver, in autocommit."""

    @abstractmethod
    def statements(self) -> list[str]:
        """Return the statements that others sent since the last call."""

    @abstractmethod
    def make(self, schema: str, table: str, columns: list[str]) -> None:
        """Make a schema with a table of three texts, the first one its key."""

    @abstractmethod
    def drop(self, schema: str) -> None:
        """Drop a schema and all that is in it."""

    @abstractmethod
    def admit(self, database: str, user: str, password: str) -> None:
        """Make a database, and a user who may do everything there."""

    @abstractmethod
    def dismiss(self, database: str, user: str) -> None:
        """Drop both."""

    @abstractmethod
    def extras(self, payloads: Payloads) -> dict[str, Any]:
        """Make the extra of a connection that works."""

    @abstractmethod
    def kept(self, payloads: Payloads) -> Iterator[tuple[dict[str, Any], str]]:
        """Make settings that a session takes, and a query for them."""

    @abstractmethod
    def refused(self, payloads: Payloads) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Make extras and settings that must be refused, by the hook or by the server."""

    @abstractmethod
    def hook(self, conn_id: str, **options: Any) -> Any:
        """Return a hook."""

    @abstractmethod
    def table(self, name: str, ledger: str | None, conn_id: str | None = None) -> Any:
        """Return a table as an end of a copy."""

    @abstractmethod
    def query(self, sql: str, parameters: list[str]) -> Any:
        """Return a query as a source."""


class Postgres(Service):
    """PostgreSQL, which logs statements as JSON."""

    kind, conn_id, mark = "postgres", WAREHOUSE, '"'
    quoted = re.compile(
        r"""(?<!\w)[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$""",
        re.DOTALL,
    )
    longest_user = 59
    folder: Path
    settings: ClassVar[dict[str, str]] = {
        "logging_collector": "on",
        "log_destination": "jsonlog",
        "log_statement": "all",
        "log_filename": "statements",
        "log_rotation_age": "0",
        "log_rotation_size": "0",
    }
    _read = 0
    _calls = 0

    def connect(self) -> Any:
        return self.stage.connect()

    def statements(self) -> list[str]:
        self._calls += 1
        sentinel = f"SELECT 'sentinel {self._calls}'"
        self.run(sentinel)
        log = next((self.folder / "data" / "log").glob("*.json"))
        found: list[str] = []
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with log.open("rb") as file:
                file.seek(self._read)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read += len(whole)
            entries = [json.loads(line) for line in whole.splitlines()]
            texts = [
                entry["message"].partition(": ") for entry in entries if entry.get("application_name") != "onlooker"
            ]
            found += [text for head, _, text in texts if head == "statement"]
            if any(sentinel in entry["message"] for entry in entries):
                return found
            time.sleep(0.02)
        raise AssertionError("the server did not log the end of the statements")

    def make(self, schema: str, table: str, columns: list[str]) -> None:
        self.run(f"CREATE SCHEMA {self.quote(schema)}")
        key, *others = map(self.quote, columns)
        made = ", ".join(f"{name} text" for name in others)
        self.run(f"CREATE TABLE {self.quote(schema)}.{self.quote(table)} ({key} text PRIMARY KEY, {made})")

    def drop(self, schema: str) -> None:
        self.run(f"DROP SCHEMA {self.quote(schema)} CASCADE")

    def admit(self, database: str, user: str, password: str) -> None:
        text = password.replace("'", "''")
        self.run(f"CREATE ROLE {self.quote(user)} LOGIN PASSWORD '{text}'")
        self.run(f"CREATE DATABASE {self.quote(database)} OWNER {self.quote(user)}")

    def dismiss(self, database: str, user: str) -> None:
        self.run(f"DROP DATABASE {self.quote(database)} WITH (FORCE)")
        self.run(f"DROP ROLE {self.quote(user)}")

    def extras(self, payloads: Payloads) -> dict[str, Any]:
        names = ("application_name", "fallback_application_name")
        return {**{name: payloads.value() for name in names}, "options": "-c work_mem=8MB"}

    def kept(self, payloads: Payloads) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"tradewind.note": payloads.value()}, "SELECT current_setting('tradewind.note')"

    def refused(self, payloads: Payloads) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        extras = ("client_encoding", "cursor", "statement_timeout", "lock_timeout", "target_session_attrs", "sslmode")
        command_line = {"options": f"-c {payloads.value()}=1"}
        return [
            *(({name: payloads.value()}, {}) for name in extras),
            (command_line, {}),
            ({payloads.value(): "x"}, {}),
            ({}, {payloads.value(): "x"}),
            ({}, {"work_mem": payloads.value()}),
            ({}, {"session_authorization": payloads.value()}),
        ]

    def hook(self, conn_id: str, **options: Any) -> Any:
        from tradewind.postgres.hooks import PostgresHook

        return PostgresHook(conn_id, log_sql=False, **options)

    def table(self, name: str, ledger: str | None, conn_id: str | None = None) -> Any:
        from tradewind.postgres.tables import PostgresTable

        return PostgresTable(name, conn_id=conn_id or self.conn_id, ledger=ledger)

    def query(self, sql: str, parameters: list[str]) -> Any:
        from tradewind.postgres.tables import PostgresQuery

        return PostgresQuery(sql, parameters, conn_id=self.conn_id)


class MySql(Service):
    """MySQL or MariaDB, which log statements into a table."""

    kind, conn_id, mark = "mysql", MART, "`"
    longest_user = 32
    quoted = re.compile(r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`""", re.DOTALL)

    def connect(self) -> Any:
        connection = self.stage.connect_mysql()
        with connection.cursor() as cursor:
            cursor.execute("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = 1")
        return connection

    def statements(self) -> list[str]:
        found = self.run(
            "SELECT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Prepare', 'Execute') "
            f"AND thread_id <> {self.connection.thread_id()}"
        )
        self.run("TRUNCATE TABLE mysql.general_log")
        return [text.decode() if isinstance(text, bytes) else text for (text,) in found]

    def make(self, schema: str, table: str, columns: list[str]) -> None:
        self.run(f"CREATE DATABASE {self.quote(schema)} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        key, *others = map(self.quote, columns)
        made = ", ".join(f"{name} text" for name in others)
        self.run(f"CREATE TABLE {self.quote(schema)}.{self.quote(table)} ({key} varchar(180) PRIMARY KEY, {made})")

    def drop(self, schema: str) -> None:
        self.run(f"DROP DATABASE {self.quote(schema)}")

    def admit(self, database: str, user: str, password: str) -> None:
        name, secret = map(self.connection.escape, (user, password))
        self.run(f"CREATE USER {name} IDENTIFIED BY {secret}")
        self.run(f"GRANT ALL ON *.* TO {name}")
        self.run(f"CREATE DATABASE {self.quote(database)} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")

    def dismiss(self, database: str, user: str) -> None:
        self.run(f"DROP DATABASE {self.quote(database)}")
        self.run(f"DROP USER {self.connection.escape(user)}")

    @contextmanager
    def plain_backslashes(self, asked: bool) -> Iterator[bool]:
        [(before,)] = self.run("SELECT @@GLOBAL.sql_mode")
        if asked:
            self.run(f"SET GLOBAL sql_mode = '{before},NO_BACKSLASH_ESCAPES'")
        try:
            yield asked
        finally:
            self.run(f"SET GLOBAL sql_mode = '{before}'")

    def extras(self, payloads: Payloads) -> dict[str, Any]:
        return {"charset": "utf8", "lock_timeout": "1min"}

    def kept(self, payloads: Payloads) -> Iterator[tuple[dict[str, Any], str]]:
        yield from ()  # no variable of a session takes any text

    def refused(self, payloads: Payloads) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        extras = (
            *("charset", "client_flag", "collation", "cursor", "lock_timeout", "local_infile", "read_timeout"),
            *("sql_mode", "ssl_mode", "statement_timeout"),
        )
        settings = ("sql_mode", "time_zone", "wait_timeout", "character_set_results", "lc_messages", "tx_isolation")
        return [
            # A collation stands bare, where it is one word: a text that is more than that must be refused.
            *(({name: f"{payloads.value()}'"}, {}) for name in extras),
            *(({}, {name: payloads.value()}) for name in settings),
            *(({}, {name: [payloads.value(), payloads.value()]}) for name in settings[:1]),
            ({payloads.value(): "x"}, {}),
            ({}, {f"{payloads.value()}'": "x"}),  # so does the name of a variable
        ]

    def hook(self, conn_id: str, **options: Any) -> Any:
        from tradewind.mysql.hooks import MySqlHook

        return MySqlHook(conn_id, log_sql=False, **options)

    def table(self, name: str, ledger: str | None, conn_id: str | None = None) -> Any:
        from tradewind.mysql.tables import MySqlTable

        return MySqlTable(name, conn_id=conn_id or self.conn_id, ledger=ledger)

    def query(self, sql: str, parameters: list[str]) -> Any:
        from tradewind.mysql.queries import MySqlQuery

        return MySqlQuery(sql, parameters, conn_id=self.conn_id)


@contextmanager
def open_services(folder: Path) -> Iterator[list[Service]]:
    """Start both databases, each with its log of statements, and an S3 server.

    :param folder: where their state goes
    """
    from tests.fix_mysql import MySqlServer
    from tradewind.local.postgres import PostgresServer
    from tradewind.local.s3 import S3Server

    with ExitStack() as stack:
        settings = Postgres.settings
        postgres = stack.enter_context(PostgresServer(folder / "postgres", settings=settings, databases=(WAREHOUSE,)))
        (folder / "mysql").mkdir(parents=True)
        mysql = stack.enter_context(MySqlServer(folder / "mysql"))
        s3 = stack.enter_context(S3Server(folder / "s3"))
        address = mysql.address
        address.query(f"CREATE DATABASE {MART} CHARACTER SET utf8mb4")
        dsn = f"mysql://{address.user}:{address.password}@{address.host}:{address.port}/{MART}"
        stage = Stage(postgres.dsn(WAREHOUSE), s3.endpoint_url, mysql=dsn)
        stage.client().create_bucket(Bucket=BUCKET)
        first = Postgres(stage)
        first.folder = folder / "postgres"
        yield [first, MySql(stage)]
