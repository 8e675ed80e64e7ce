"""TPC-H's eight tables on a round trip: PostgreSQL, Parquet in S3, MySQL, CSV in S3, PostgreSQL.

The answers to its 22 queries must be the same at the end as at the start. DuckDB makes the tables and knows the
queries.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.contenders import extension
from tests.fix_airflow import make_context
from tests.stage import LAKE, MART, WAREHOUSE, Stage

BEGIN, END = "tpch_begin", "tpch_end"
INDEXES = {
    "lineitem": ("l_orderkey", "l_partkey, l_suppkey"),
    "orders": ("o_orderkey", "o_custkey"),
    "customer": ("c_custkey",),
    "part": ("p_partkey",),
    "partsupp": ("ps_partkey, ps_suppkey",),
    "supplier": ("s_suppkey",),
}
"""What keeps PostgreSQL from reading a table for each row of another one."""


@dataclass
class Trip:
    """What came of it.

    :param rows: of all tables
    :param seconds: of each of the four legs
    :param problems: the tables and queries that differ
    """

    rows: int = 0
    seconds: list[float] = field(default_factory=lambda: [0.0] * 4)
    queries: int = 0
    problems: list[str] = field(default_factory=list)


class Tpch:
    """The tables at one scale, in a stage with PostgreSQL, MySQL and S3.

    :param stage: the servers
    :param folder: where the tables' files go
    :param scale: 1 is a gigabyte
    """

    def __init__(self, stage: Stage, folder: Path, scale: float) -> None:
        import duckdb

        self.stage = stage
        self.folder = folder
        self.postgres = stage.connect()
        self.duckdb = duckdb.connect(str(folder / "tpch.duckdb"), config={"allow_unsigned_extensions": "true"})
        self.duckdb.load_extension(str(extension("tpch")))
        self.duckdb.execute(f"call dbgen(sf = {scale})")
        self.tables = [name for (name,) in self.duckdb.execute("show tables").fetchall()]
        self.queries = [
            sql for (sql,) in self.duckdb.execute("select query from tpch_queries() order by query_nr").fetchall()
        ]

    def close(self) -> None:
        """Drop both schemas and close the connections."""
        self._run(f"drop schema if exists {BEGIN}, {END} cascade")
        self.postgres.close()
        self.duckdb.close()

    def travel(self) -> Trip:
        """Fill PostgreSQL, ask, send all tables around, and ask again."""
        trip = Trip()
        for schema in (BEGIN, END):
            self._run(f"create schema {schema}")
            for table in self.tables:
                self._run(f"create table {schema}.{table} ({self._columns(table)})")
        for table in self.tables:
            self._fill(table)
            trip.rows += self._around(table, trip.seconds)
            if self._sum(BEGIN, table) != self._sum(END, table):
                trip.problems.append(f"{table}: other rows at the end than at the start")
        answers = [list(self._answers(schema)) for schema in (BEGIN, END)]
        for number, (begin, end) in enumerate(zip(*answers, strict=True), 1):
            trip.queries += 1
            if begin != end:
                trip.problems.append(f"query {number}: {end[:3]} at the end, {begin[:3]} at the start")
        return trip

    def _run(self, sql: str) -> list[tuple[Any, ...]]:
        with self.postgres.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def _columns(self, table: str) -> str:
        found = self.duckdb.execute(f"describe {table}").fetchall()
        return ", ".join(f"{name} {kind.lower()} not null" for name, kind, *_ in found)

    def _fill(self, table: str) -> None:
        path = self.folder / f"{table}.csv"
        self.duckdb.execute(f"copy {table} to '{path}' (format csv, header)")
        with path.open("rb") as file, self.postgres.cursor() as cursor:
            cursor.copy_expert(f"copy {BEGIN}.{table} from stdin (format csv, header)", file, 1 << 20)
        path.unlink()

    def _around(self, table: str, seconds: list[float]) -> int:
        """Send a table around; return its rows."""
        from tradewind.amazon.s3.files import S3File
        from tradewind.mysql.tables import MySqlTable
        from tradewind.operators.copy import CopyOperator
        from tradewind.postgres.tables import PostgresTable

        folder = f"s3://{self.stage.bucket}/tpch"
        ends: list[Any] = [
            PostgresTable(f"{BEGIN}.{table}", conn_id=WAREHOUSE),
            S3File(f"{folder}/{table}.parquet", conn_id=LAKE),
            MySqlTable(table, conn_id=MART),
            S3File(f"{folder}/{table}.csv", conn_id=LAKE),
            PostgresTable(f"{END}.{table}", conn_id=WAREHOUSE),
        ]
        rows = 0
        for leg, (source, target) in enumerate(itertools.pairwise(ends)):
            operator = CopyOperator(
                task_id=f"{table}_{leg}", source=source, target=target, create=isinstance(target, MySqlTable)
            )
            started = time.monotonic()
            rows = operator.execute(make_context(operator))["rows"]
            seconds[leg] += time.monotonic() - started
        return rows

    def _sum(self, schema: str, table: str) -> list[tuple[Any, ...]]:
        return self._run(f"select count(*), sum(hash_record_extended(t, 0)::numeric) from {schema}.{table} t")

    def _answers(self, schema: str) -> Iterator[list[tuple[Any, ...]]]:
        for table, indexes in INDEXES.items():
            for columns in indexes:
                self._run(f"create index on {schema}.{table} ({columns})")
        self._run(f"set search_path = {schema}")
        for table in self.tables:
            self._run(f"analyze {table}")
        for query in self.queries:
            yield sorted(self._run(query), key=repr)
