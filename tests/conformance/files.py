"""Files in S3, as the suite sees them."""

from __future__ import annotations

import gzip
import io
import json
import re
from abc import abstractmethod
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from tests.conformance.end import End, is_unicode
from tests.conformance.rows import COLUMNS, Row, from_texts, to_text
from tests.stage import LAKE
from tradewind.amazon.s3.files import S3File
from tradewind.operators.projection import Field

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tradewind.operators.ends import Source, Target


class File(End):
    """One object in S3."""

    keeps_ledger = False
    ending: ClassVar[str]

    @property
    def client(self) -> S3Client:
        return self.stage.client()

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

    def typed(self) -> Source:
        kinds = ("bigint", "text", "text", "decimal(20,6)", "date", "timestamp", "timestamptz", "boolean", "double")
        columns = {name: Field(name, type=kind) for name, kind in zip(COLUMNS, kinds, strict=True)}
        return S3File(f"s3://{self.stage.bucket}/{self.key}", conn_id=LAKE, columns=columns)

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


class S3Jsonl(File):
    """JSON lines in S3."""

    kind = "s3jsonl"
    ending = ".jsonl"

    def encode(self, rows: Iterable[Row]) -> bytes:
        return b"".join(f"{{{', '.join(map(_json_pair, COLUMNS, row))}}}\n".encode() for row in rows)

    def can_hold(self, row: Row) -> bool:
        return is_unicode(row)

    def line_of(self, rows: list[Row], row: Row) -> int:
        return rows.index(row) + 1

    def decode(self, data: bytes) -> list[Row]:
        return [_as_row(json.loads(line, parse_float=str, parse_int=str)) for line in data.splitlines()]


def _json_pair(name: str, value: Any) -> str:
    shown = format(value, "f") if isinstance(value, Decimal) else None
    plain = value if value is None or isinstance(value, bool | int | float) else str(value)
    return f"{json.dumps(name)}: {shown or json.dumps(plain)}"


class S3Parquet(File):
    """Parquet in S3."""

    kind = "s3parquet"
    ending = ".parquet"

    def encode(self, rows: Iterable[Row]) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = (
            pa.int64(),
            pa.string(),
            pa.string(),
            pa.decimal128(20, 6),
            pa.date32(),
            pa.timestamp("us"),
            pa.timestamp("us", "UTC"),
            pa.bool_(),
            pa.float64(),
        )
        schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
        sink = io.BytesIO()
        found = pa.Table.from_pylist([row._asdict() for row in rows], schema)
        pq.write_table(found, sink, row_group_size=500, compression="zstd")
        return sink.getvalue()

    def can_hold(self, row: Row) -> bool:
        return is_unicode(row)

    def line_of(self, rows: list[Row], row: Row) -> int:
        return rows.index(row) + 1

    def decode(self, data: bytes) -> list[Row]:
        import pyarrow.parquet as pq

        return [_as_row(record) for record in pq.read_table(io.BytesIO(data)).to_pylist()]

    def failing(self, rows: list[Row]) -> Source:
        """Return a file with a hole in the middle."""
        whole = self.encode(rows)
        half, hole = len(whole) // 2, 2000
        self.put(whole[:half] + b"\xff" * hole + whole[half + hole :])
        return self.file()


def _as_row(record: dict[str, Any]) -> Row:
    """Return a record as a row; what a format has no type for is a text."""
    texts = [None if record.get(name) is None else _plain_text(record[name]) for name in COLUMNS]
    return from_texts(texts)


def _plain_text(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)
