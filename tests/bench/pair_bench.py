"""Runs contenders between two ends on one size of the data."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.bench.contenders import Task
from tests.bench.measure import Measured, run
from tests.bench.pairs import COPY, PAIR_CONTENDERS, RESULT, SOURCE, PairContender, mysql_ddl
from tests.bench.servers import Servers
from tests.bench.table import Row
from tests.flights import COLUMNS, NULL, ROWS, TABLE, ddl, write_csv

TIMEOUT = 3600.0
SLOW = {"official": 1, "duckdb": 10}
"""How many times the flights may be repeated for those that take minutes: DuckDB inserts into MySQL row by row."""

PAIR_LABELS = {name: made.label for name, made in PAIR_CONTENDERS.items()}


class PairBench:
    """Runs contenders on one size of the data.

    :param servers: the servers
    :param folder: where files go
    :param times: how many times the flights are repeated
    :param cores: where the contenders run
    :param slow: whether to run those too that take minutes
    """

    contenders: ClassVar[Mapping[str, type[PairContender]]] = PAIR_CONTENDERS

    def __init__(
        self, servers: Servers, folder: Path, times: int, cores: Collection[int], *, slow: bool = False
    ) -> None:
        self.servers, self.stage = servers, servers.stage
        self.times, self.cores = times, cores
        self.file = folder / f"flights-{times}.csv"
        self.result = folder / "result.csv"
        self.bytes, self.rows = 0, ROWS * times
        self.client = self.stage.client()
        self.idle = Measured(0.0, 0.0, 0, 0)
        self._source: str | None = None
        self._slow = slow

    def compare(self, size: str, direction: str, rivals: list[str], repeats: int) -> list[Row]:
        """Run all contenders in turn, again and again.

        :return: all runs
        """
        names = [name for name in rivals if self._may(name, direction)]
        self.prepare(direction)
        rows = []
        for turn in range(repeats):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                if name in SLOW and turn and self.times >= SLOW[name]:
                    continue  # once is enough: it takes longer than all others together
                rows.append(self.run(name, direction))
                seconds = rows[-1].measured.seconds
                print(f"  {size} {direction} {name}: {seconds:.2f} s", file=sys.stderr, flush=True)
        return rows

    def _may(self, name: str, direction: str) -> bool:
        into_mysql = direction.endswith("-mysql") or name == "official"
        slow = name in SLOW and into_mysql and self.times > SLOW[name] and not self._slow
        return name in self.contenders and self.contenders[name].can(direction) and not slow

    def run(self, name: str, direction: str) -> Row:
        """Run a contender once on fresh ends, and make sure that it did the work.

        :raises RuntimeError: where it failed or did something else
        """
        self._empty()
        task = Task(direction, self.stage, self.file, self.result, secrets.token_hex(8))
        before = {server: self.servers.cpu(server) for server in self.servers.pids}
        measured = run(name, task, self.cores, TIMEOUT)
        cpu = {server: self.servers.cpu(server) - used for server, used in before.items()}
        found = self._count(name, direction.split("-")[1])
        if found != self.rows:
            raise RuntimeError(f"{name}: {direction} moved {found:,} rows instead of {self.rows:,}")
        return Row(name, measured, cpu)

    def prepare(self, direction: str) -> None:
        """Make the source that is read from, in place of the one before."""
        source = direction.split("-")[0]
        if source == self._source:
            return
        self.clean()
        write_csv(self.file, self.times)
        self.bytes = self.file.stat().st_size
        {"postgres": self._fill_postgres, "mysql": self._fill_mysql, "s3": self._upload}[source]()
        if source != "s3":  # where it stands for S3 to the raw client
            self.file.unlink()
        self._source = source

    def clean(self) -> None:
        """Drop what takes room."""
        self._empty()
        self._postgres(f"drop table if exists {TABLE}")
        self._mysql(f"DROP TABLE IF EXISTS {TABLE}")
        self.client.delete_object(Bucket=self.stage.bucket, Key=SOURCE)
        self.file.unlink(missing_ok=True)
        self._source = None

    def _upload(self) -> None:
        self.client.upload_file(str(self.file), self.stage.bucket, SOURCE)

    def _fill_postgres(self) -> None:
        self._postgres(ddl(TABLE))
        with contextlib.closing(self.stage.connect()) as connection, connection.cursor() as cursor:
            with self.file.open("rb") as source:
                cursor.copy_expert(f"copy {TABLE} from stdin (format csv, header, null '{NULL}')", source, 1 << 20)
            cursor.execute(f"vacuum (freeze, analyze) {TABLE}")

    def _fill_mysql(self) -> None:
        self._mysql(mysql_ddl(TABLE))
        fields = ", ".join(f"@{name}" for name in COLUMNS)
        sets = [f"`{name}` = NULLIF(@{name}, '{NULL}')" for name in list(COLUMNS)[:-1]]
        sets.append("time_hour = REPLACE(REPLACE(@time_hour, 'T', ' '), 'Z', '')")
        with contextlib.closing(self.stage.connect_mysql(local_infile=True)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(
                    f"LOAD DATA LOCAL INFILE '{self.file}' INTO TABLE {TABLE} FIELDS TERMINATED BY ',' "
                    f"OPTIONALLY ENCLOSED BY '\"' IGNORE 1 LINES ({fields}) SET {', '.join(sets)}"
                )

    def _empty(self) -> None:
        self._postgres(f"drop table if exists {COPY}")
        self._postgres(ddl(COPY))
        self._postgres("checkpoint")
        self._mysql(f"DROP TABLE IF EXISTS {COPY}")
        self._mysql(mysql_ddl(COPY))
        self.client.delete_object(Bucket=self.stage.bucket, Key=RESULT)
        self.result.unlink(missing_ok=True)

    def _count(self, name: str, target: str) -> int:
        count = f"select count(*) from {COPY}"
        if target == "postgres":
            return int(self._postgres(count)[0][0])
        if target == "mysql":
            return int(self._mysql(count)[0][0])
        if name == "raw":
            with self.result.open("rb") as file:
                lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        else:
            lines = self._lines(RESULT)
        return lines if lines == self.rows else lines - 1  # mariadb writes no header

    def _lines(self, key: str) -> int:
        body = self.client.get_object(Bucket=self.stage.bucket, Key=key)["Body"]
        return sum(block.count(b"\n") for block in body.iter_chunks(1 << 20))

    def _postgres(self, statement: str) -> list[Any]:
        with contextlib.closing(self.stage.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def _mysql(self, statement: str) -> list[Any]:
        with contextlib.closing(self.stage.connect_mysql()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
