"""Runs contenders between a warehouse and another end."""

from __future__ import annotations

import contextlib
import csv
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.houses import HOUSE_CONTENDERS, UNLOADED, snowflake_ddl
from tests.bench.pair_bench import PairBench
from tests.bench.pairs import COPY, RESULT
from tests.bench.servers import Servers
from tests.flights import COLUMNS, NULL, TABLE, ddl
from tests.redshift.on_stage import open_redshift
from tests.snowflake.server import ACCOUNT, PASSWORD, SnowflakeServer

HOUSE_LABELS = {name: made.label for name, made in HOUSE_CONTENDERS.items()}


@contextmanager
def open_houses(folder: Path, servers: Servers) -> Iterator[Servers]:
    """Start the stand-ins for the warehouses beside other servers."""
    with ExitStack() as stack:
        stage = stack.enter_context(open_redshift(folder, servers.stage))
        users = {"ETL": {"password": PASSWORD}}
        snowflake = stack.enter_context(SnowflakeServer(stage.endpoint, users, folder / "snowflake.log"))
        stage = replace(stage, snowflake=snowflake, snowflake_database=f"BENCH_{secrets.token_hex(4).upper()}")
        yield Servers(stage, {**servers.pids, "snowflake": snowflake.process.pid, "redshift": servers.pids["postgres"]})


class HouseBench(PairBench):
    """Runs contenders on one size of the data; see :class:`PairBench`."""

    contenders = HOUSE_CONTENDERS

    def prepare(self, direction: str) -> None:
        source = direction.split("-")[0]
        if source in ("s3", "postgres") or source == self._source:
            super().prepare(direction)
            return
        super().prepare("s3-s3")
        self._source = source
        if source == "redshift":
            self._redshift(f"drop table if exists {TABLE}")
            self._redshift(ddl(TABLE))
            with contextlib.closing(self._behind()) as connection, connection.cursor() as cursor:
                with self.file.open("rb") as file:
                    cursor.copy_expert(f"copy {TABLE} from stdin (format csv, header, null '{NULL}')", file, 1 << 20)
                connection.commit()
        else:
            self._snowflake(snowflake_ddl(TABLE))
            assert self.stage.snowflake is not None
            with self.file.open(newline="") as text:
                rows = [[None if value == NULL else value for value in row] for row in csv.reader(text)][1:]
            names = [name.upper() for name in COLUMNS]
            self.stage.snowflake.fill(self.stage.snowflake_database, TABLE.upper(), names, rows)

    def clean(self) -> None:
        super().clean()
        self._redshift(f"drop table if exists {TABLE}")
        self._snowflake(f"DROP TABLE IF EXISTS {TABLE}")

    def _empty(self) -> None:
        super()._empty()
        self._redshift(f"drop table if exists {COPY}")
        self._redshift(ddl(COPY))
        self._snowflake(snowflake_ddl(COPY))
        for key in self._unloaded():
            self.client.delete_object(Bucket=self.stage.bucket, Key=key)

    def _count(self, name: str, target: str) -> int:
        count = f"select count(*) from {COPY}"
        if target == "redshift":
            return int(self._redshift(count)[0][0])
        if target == "snowflake":
            return int(self._snowflake(count)[0][0])
        keys = [RESULT] if RESULT in self._unloaded() else self._unloaded()
        return sum(self._lines(key) - 1 for key in keys)

    def _unloaded(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.stage.bucket, Prefix=UNLOADED).get("Contents", [])
        return [each["Key"] for each in found]

    def _behind(self) -> Any:
        import psycopg2

        return psycopg2.connect(self.stage.behind, connect_timeout=10)

    def _redshift(self, statement: str) -> list[Any]:
        with contextlib.closing(self._behind()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            found = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
            return found

    def _snowflake(self, statement: str) -> list[Any]:
        import snowflake.connector

        server = self.stage.snowflake
        assert server is not None
        place: dict[str, Any] = {"account": ACCOUNT, "host": server.host, "port": server.port, "protocol": "http"}
        place |= {"database": self.stage.snowflake_database, "schema": "S"}
        with snowflake.connector.connect(user="etl", password=PASSWORD, login_timeout=30, **place) as connection:
            return list(connection.cursor().execute(statement).fetchall())  # type: ignore[union-attr]
