"""Hostile names and values in every place that SQL is made of, and what the servers themselves say they were told.

Each payload holds a word of its own. The servers log every statement; what a statement holds outside quotes, comments
included, must hold none of those words. A table that many payloads try to drop must stay, and what was written under
hostile names must be read back as it was.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.fix_airflow import make_context
from tests.stage import BUCKET, LAKE, MART, WAREHOUSE, Stage

CANARY = "canary"
WORD = re.compile(r"zq\d+x")
ATTACKS = [
    "'; DROP TABLE canary; --",
    '"; DROP TABLE canary; --',
    "`; DROP TABLE canary; -- ",
    "'); DELETE FROM canary; #",
    "\\'; DROP TABLE canary; -- ",
    "\\",
    "\\\\'",
    "' OR '1'='1",
    '" OR ""="',
    "/*",
    "*/ DROP TABLE canary /*",
    "/*! DROP TABLE canary */",
    "--",
    "#",
    "%s",
    "%(a)s",
    "%%",
    "$1",
    "$$; DROP TABLE canary; $$",
    ":a",
    "?",
    "{}",
    "E'\\'",
    'U&"\\0022"',
    "\u02bc\u2019\uff07",
    "\u00bf'",
    "@@version",
    "\x1f",
    "\t",
    "\n; DROP TABLE canary;\n",
    "\r",
    "x",
    "select",
]


class Payloads:
    """Makes payloads, each of which can be told from all others.

    :param seed: makes the choices
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def value(self) -> str:
        """Make a text."""
        self.count += 1
        some = [self.random.choice(ATTACKS) for _ in range(self.random.randint(1, 3))]
        some.insert(self.random.randint(0, len(some)), f"zq{self.count}x")
        return "".join(some)

    def name(self) -> str:
        """Make an identifier, as short as the servers want it, that ends in no blank."""
        while True:
            made = f"{self.random.choice(ATTACKS)}zq{self.count + 1}x{self.random.choice(ATTACKS)}"
            if len(made.encode()) < 60 and made == made.strip():
                self.count += 1
                return made


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
    connection: Any = field(init=False)

    def __post_init__(self) -> None:
        self.connection = self.connect()
        self.run(f"CREATE TABLE {CANARY} (id int)")
        self.run(f"INSERT INTO {CANARY} VALUES (1)")

    def quote(self, name: str) -> str:
        """Quote an identifier."""
        return self.mark + name.replace(self.mark, self.mark * 2) + self.mark

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def bare(self, statement: str) -> str:
        """Return what a statement holds outside its quotes."""
        return self.quoted.sub(" ", statement)

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
    def table(self, name: str, ledger: str) -> Any:
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

    def table(self, name: str, ledger: str) -> Any:
        from tradewind.postgres.tables import PostgresTable

        return PostgresTable(name, conn_id=self.conn_id, ledger=ledger)

    def query(self, sql: str, parameters: list[str]) -> Any:
        from tradewind.postgres.tables import PostgresQuery

        return PostgresQuery(sql, parameters, conn_id=self.conn_id)


class MySql(Service):
    """MySQL or MariaDB, which log statements into a table."""

    kind, conn_id, mark = "mysql", MART, "`"
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

    def table(self, name: str, ledger: str) -> Any:
        from tradewind.mysql.tables import MySqlTable

        return MySqlTable(name, conn_id=self.conn_id, ledger=ledger)

    def query(self, sql: str, parameters: list[str]) -> Any:
        from tradewind.mysql.queries import MySqlQuery

        return MySqlQuery(sql, parameters, conn_id=self.conn_id)


class Round:
    """A table of hostile names: loaded from a file with a hostile header, read back, and unloaded again.

    :param service: where the table is
    :param payloads: makes the names and the values
    :param number: which round it is: odd ones have the table made by the copy
    """

    def __init__(self, service: Service, payloads: Payloads, number: int) -> None:
        self.service = service
        self.payloads = payloads
        self.creates = number % 4 == 3
        self.mode = ("append", "replace", "merge")[number % 3]
        self.schema, self.name, self.ledger = (payloads.name() for _ in range(3))
        self.fields = [payloads.name() for _ in range(2)]
        self.columns = [payloads.name() for _ in range(3)]
        self.rows = [(payloads.value(), payloads.value()) for _ in range(4)]
        self.constant = payloads.value()
        self.run_id = payloads.value()
        self.delimiter = payloads.random.choice(",;|\t'%$\\#`")
        self.told: set[str] = set()

    @property
    def full(self) -> str:
        """The table's name as SQL and an author write it."""
        return f"{self.service.quote(self.schema)}.{self.service.quote(self.name)}"

    def problems(self) -> list[str]:
        """Run it, and say what went wrong."""
        service = self.service
        service.make(self.schema, self.name, self.columns)
        if self.creates:
            service.run(f"DROP TABLE {self.full}")
        service.statements()
        wrong = [*self._load(), *self._unload(), *self._query()]
        for statement in service.statements():
            self.told |= set(WORD.findall(statement))
            bare = service.bare(statement)
            if WORD.search(bare):
                wrong.append(f"outside quotes: {bare.strip()[:300]!r} in {statement[:300]!r}")
        if not self.told:
            wrong.append("the server's log holds nothing of this round")
        if not service.canary():
            wrong.append("the table under attack has changed")
        service.drop(self.schema)
        return wrong

    def _load(self) -> list[str]:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([self.fields, *self.rows])
        client = self.service.stage.client()
        client.put_object(Bucket=BUCKET, Key="hostile/in.csv", Body=text.getvalue().encode())
        names = dict(zip(self.fields, self.columns, strict=False))
        source = self._file("in", delimiter=self.delimiter, columns=names, constants={self.columns[2]: self.constant})
        key = self.columns[0] if self.mode == "merge" else None
        ledger = f"{self.service.quote(self.schema)}.{self.service.quote(self.ledger)}"
        target = self.service.table(self.full, ledger)
        self._copy(source, target, mode=self.mode, key=key, create=self.creates, expect=self._expectations())
        listed = ", ".join(map(self.service.quote, self.columns))
        found = sorted(self.service.run(f"SELECT {listed} FROM {self.full}"))
        wanted = sorted((*row, self.constant) for row in self.rows)
        return [] if found == wanted else [f"the table holds {found}, not {wanted}"]

    def _expectations(self) -> list[Any]:
        from tradewind.operators.expectations import NotNull, Unique

        return [Unique(self.columns[0]), NotNull(*self.columns)]

    def _unload(self) -> list[str]:
        self._copy(self.service.table(self.full, self.full), self._file("out"))
        found = self._body()
        same = found[:1] == [tuple(self.columns)] and sorted(found[1:]) == sorted(
            (*row, self.constant) for row in self.rows
        )
        return [] if same else [f"the table is read as {found}"]

    def _query(self) -> list[str]:
        key, value = (self.service.quote(name).replace("%", "%%") for name in self.columns[:2])
        table = self.full.replace("%", "%%")
        wanted = self.rows[0]
        source = self.service.query(
            f"SELECT {value}, %s AS given FROM {table} WHERE {key} = %s", [wanted[1], wanted[0]]
        )
        self._copy(source, self._file("out"))
        found = self._body()
        return [] if found[1:] == [(wanted[1], wanted[1])] else [f"a query gives {found}, not {wanted}"]

    def _file(self, name: str, **options: Any) -> Any:
        from tradewind.amazon.s3.files import S3File

        return S3File(f"s3://{BUCKET}/hostile/{name}.csv", conn_id=LAKE, **options)

    def _copy(self, source: Any, target: Any, **arguments: Any) -> None:
        from tradewind.operators.copy import CopyOperator

        operator = CopyOperator(task_id="copy", source=source, target=target, **arguments)
        operator.execute(make_context(operator, run_id=self.run_id))

    def _body(self) -> list[tuple[str, ...]]:
        body = self.service.stage.client().get_object(Bucket=BUCKET, Key="hostile/out.csv")["Body"].read()
        return [tuple(record) for record in csv.reader(io.StringIO(body.decode(), newline=""))]


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


@dataclass
class Injected:
    """What was tried.

    :param payloads: how many names and values
    :param told: how many of them the servers saw in statements; the others went as data
    """

    payloads: int = 0
    rounds: int = 0
    told: int = 0
    problems: list[str] = field(default_factory=list)


def inject(services: list[Service], seed: int, count: int) -> Injected:
    """Try hostile names and values on each database in turn.

    :param count: how many payloads, at least
    """
    payloads, done = Payloads(seed), Injected()
    while payloads.count < count:
        for service in services:
            hostile = Round(service, payloads, done.rounds // len(services))
            try:
                found = hostile.problems()
            except Exception as error:  # what cannot be copied is a problem too
                found = [f"{type(error).__name__}: {error}"]
            done.problems += [f"{service.kind}, round {done.rounds}: {text}" for text in found]
            done.told += len(hostile.told)
            done.rounds += 1
    done.payloads = payloads.count
    return done
