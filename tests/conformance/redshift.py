"""Tables in the stand-in for Redshift, as the suite sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance.end import is_unicode
from tests.conformance.rows import COLUMNS, Row
from tests.conformance.tables import OTHERS, Table
from tests.redshift.fix_standin import ROLE
from tests.stage import LAKE, SHIFT
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable

if TYPE_CHECKING:
    from tradewind.operators.ends import Source, Target

LONGEST = 10_485_760
"""Bytes of the longest text that the PostgreSQL behind can have; the suite's are longer than a warehouse's 65,535."""


class Redshift(Table):
    """A table in the stand-in, looked at through the PostgreSQL behind it."""

    names_records = True

    kind = "redshift"
    schema = "'public'"
    types = dict(
        zip(
            COLUMNS,
            (
                "bigint",
                f"varchar({LONGEST})",
                f"varchar({LONGEST})",
                "numeric(20,6)",
                "date",
                "timestamp",
                "timestamptz",
                "boolean",
                "float8",
            ),
            strict=True,
        )
    )

    @property
    def place(self) -> dict[str, Any]:
        staging = f"s3://{self.stage.bucket}/staging-{self.name}/"
        return {"conn_id": SHIFT, "aws_conn_id": LAKE, "staging": staging, "iam_role": ROLE}

    def connect(self) -> Any:
        import psycopg2

        connection = psycopg2.connect(self.stage.behind, connect_timeout=10, application_name="onlooker")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
        return connection

    def remove(self) -> None:
        self.query(f"DROP TABLE IF EXISTS tradewind_ledger_{self.name}")
        super().remove()

    def make_query(self, sql: str) -> Source:
        return RedshiftQuery(sql, **self.place)

    def can_hold(self, row: Row) -> bool:
        texts = [text for text in row if isinstance(text, str)]
        return is_unicode(row) and not any("\0" in text or len(text.encode()) > LONGEST for text in texts)

    def rows(self) -> list[Row]:
        return [Row(*row) for row in self.query(f"SELECT * FROM {self.name} ORDER BY id")]

    def source(self) -> Source:
        return RedshiftTable(self.name, **self.place)

    def missing(self) -> Source:
        return RedshiftTable(f"{self.name}_none", **self.place)

    def target(self) -> Target:
        return RedshiftTable(self.name, **self.place)

    def sum(self) -> object:
        return self.query(f"SELECT count(*), sum(hash_record_extended(t, 0)::numeric) FROM {self.name} t")

    def left(self) -> list[str]:
        found = self.stage.client().list_objects_v2(Bucket=self.stage.bucket, Prefix=f"staging-{self.name}/")
        objects = [f"object {each['Key']}" for each in found.get("Contents", [])]
        uploads = self.stage.client().list_multipart_uploads(Bucket=self.stage.bucket).get("Uploads", [])
        objects += [f"multipart upload {each['Key']}" for each in uploads]
        return objects + [f"session {state}: {query}" for state, query in self.query(f"SELECT state, query {OTHERS}")]

    def cut(self) -> int:
        return len(self.query(f"SELECT pg_terminate_backend(pid) {OTHERS}"))

    def ledger(self) -> list[tuple[Any, ...]]:
        return self.query(f"SELECT try, mode, rows FROM tradewind_ledger_{self.name} ORDER BY loaded_at, try DESC")


class FetchedRedshift(Redshift):
    """A table whose rows are read without a bucket."""

    kind = "redshift-fetched"

    @property
    def warehouse(self) -> dict[str, Any]:
        return {"conn_id": SHIFT, "aws_conn_id": LAKE}

    def make_query(self, sql: str) -> Source:
        return RedshiftQuery(sql, **self.warehouse)

    def source(self) -> Source:
        return RedshiftTable(self.name, **self.warehouse)
