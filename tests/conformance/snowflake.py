"""Tables in Snowflake, as the suite sees them: on the server that stands in for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from tests.conformance.end import is_unicode
from tests.conformance.rows import COLUMNS, Row, to_text
from tests.conformance.tables import Table
from tests.snowflake.server import ACCOUNT, PASSWORD, SnowflakeServer
from tests.stage import LODGE
from tradewind.snowflake.queries import SnowflakeQuery
from tradewind.snowflake.tables import SnowflakeTable

if TYPE_CHECKING:
    from tradewind.operators.ends import Source, Target


class Snowflake(Table):
    """A table in Snowflake."""

    kind = "snowflake"
    schema = "'S'"
    refusal = "out of range"
    types: ClassVar[dict[str, str]] = dict(
        zip(
            COLUMNS,
            (
                "NUMBER(19,0)", "VARCHAR", "VARCHAR", "NUMBER(26,6)", "DATE", "TIMESTAMP_NTZ(9)", "TIMESTAMP_TZ(9)",
                "BOOLEAN", "FLOAT",
            ),
            strict=True,
        )
    )  # fmt: skip

    @property
    def server(self) -> SnowflakeServer:
        assert self.stage.snowflake is not None
        return self.stage.snowflake

    def make(self, key: str = "NUMBER(19,0)") -> None:
        types = {**self.types, "id": key}
        columns = ", ".join(f'"{column}" {kind}' for column, kind in types.items())
        self.query(f"CREATE OR REPLACE TABLE {self.name} ({columns})")

    def remove(self) -> None:
        self.query(f"DROP TABLE IF EXISTS {self.name}")
        self.query(f"DROP TABLE IF EXISTS {self.name}_kept")
        self.connection.close()

    def refuse_large_ids(self) -> None:
        self.make("NUMBER(3,0)")

    def connect(self) -> Any:
        import snowflake.connector

        server = self.server
        place: dict[str, Any] = {"account": ACCOUNT, "host": server.host, "port": server.port, "protocol": "http"}
        place |= {"database": self.stage.snowflake_database, "schema": "S"}
        return snowflake.connector.connect(user="other", password=PASSWORD, login_timeout=30, **place)

    def _query(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            return list(cursor.execute(sql, parameters).fetchall())

    def make_query(self, sql: str) -> Source:
        return SnowflakeQuery(sql, conn_id=LODGE)

    def fill(self, rows: Iterable[Row]) -> None:
        texts = [[to_text(value) for value in row] for row in rows]
        self.server.fill(self.stage.snowflake_database, self.name.upper(), COLUMNS, texts)

    def rows(self) -> list[Row]:
        return [_plain(Row(*row)) for row in self.query(f'SELECT * FROM {self.name} ORDER BY "id"')]

    def can_hold(self, row: Row) -> bool:
        return is_unicode(row)

    def line_of(self, rows: list[Row], row: Row) -> int:
        return rows.index(row) + 1

    def source(self) -> Source:
        return SnowflakeTable(self.name, conn_id=LODGE)

    def missing(self) -> Source:
        return SnowflakeTable(f"{self.name}_none", conn_id=LODGE)

    def target(self) -> Target:
        return SnowflakeTable(self.name, conn_id=LODGE)

    def changed(self, rows: Iterable[Row]) -> Source:
        self.fill(rows)
        return self.make_query(f'SELECT * FROM {self.name} ORDER BY "id"')

    def failing(self, rows: list[Row]) -> Source:
        self.fill(rows)
        half = rows[len(rows) // 2].id
        broken = f'CASE WHEN "id" = {half} THEN CAST("note" AS NUMBER(19,0)) ELSE "id" END AS "id"'
        others = ", ".join(f'"{column}"' for column in COLUMNS[1:])
        return self.make_query(f"SELECT {broken}, {others} FROM {self.name}")

    def sum(self) -> object:
        return self.server.sum(self.stage.snowflake_database, self.name.upper())

    def left(self) -> list[str]:
        return [f"session {each['id']}" for each in self.server.sessions() if each["user"] != "OTHER"]

    def cut(self) -> int:
        return self.server.expire("ETL")

    def ledger(self) -> list[tuple[Any, ...]]:
        target = f"{self.stage.snowflake_database}.S.{self.name.upper()}"
        return self.query(
            f"SELECT try, mode, rows FROM tradewind_ledger WHERE target = '{target}' AND loaded_at IS NOT NULL "
            "ORDER BY loaded_at"
        )


class StagedSnowflake(Snowflake):
    """A table in Snowflake that reads objects of S3 by itself, through a stage."""

    kind = "snowflakestage"

    def target(self) -> Target:
        return SnowflakeTable(self.name, conn_id=LODGE, stage=f"s3://{self.stage.bucket}/")


def _plain(row: Row) -> Row:
    """Give numbers and moments the types that the others' drivers give them."""
    seen = None if row.seen is None else row.seen.astimezone(dt.UTC)
    return row._replace(id=int(row.id), seen=seen)
