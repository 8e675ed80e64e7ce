"""What a copy costs: calls of S3 and statements in PostgreSQL, counted on the wire."""

from __future__ import annotations

import gzip
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.fix_proxy import Faults, Proxy, behind
from tests.stage import LAKE, WAREHOUSE, Stage

ROWS = 1000
BODY = b"id,name\n" + b"".join(b"%d,name %d\n" % (number, number) for number in range(ROWS))
ENCRYPTION_REQUESTS = (80877103, 80877104)
"""SSLRequest and GSSENCRequest (PostgreSQL's manual, "Message Formats")."""


class Statements:
    """The statements in the bytes that a client sends: simple queries, which are all that psycopg2 uses."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._buffer = b""
        self._started = False

    def feed(self, data: bytes) -> None:
        """Take bytes of one connection."""
        self._buffer += data
        while (message := self._message()) is not None:
            if message[:1] == b"Q":
                self.texts.append(message[5:-1].decode())
            elif message[:1] == b"X":
                self._started = False  # the next connection begins anew

    def _message(self) -> bytes | None:
        start = 1 if self._started else 0
        if len(self._buffer) < start + 4:
            return None
        end = start + struct.unpack_from("!i", self._buffer, start)[0]
        if len(self._buffer) < end:
            return None
        message, self._buffer = self._buffer[:end], self._buffer[end:]
        if not self._started:
            self._started = struct.unpack_from("!i", message, 4)[0] not in ENCRYPTION_REQUESTS
            return b""
        return message


class Meter:
    """Proxies in front of both ends that count."""

    def __init__(self, stage: Stage, s3: Proxy, postgres: Proxy) -> None:
        url = urlsplit(stage.dsn)
        place = f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{postgres.port}"
        self.stage = replace(stage, endpoint=s3.url, dsn=urlunsplit(url._replace(netloc=place)))
        self._s3 = s3
        self._statements = Statements()
        postgres.on_bytes = self._statements.feed

    @property
    def calls(self) -> Counter[str]:
        """The calls of S3 by kind."""
        return Counter(_kind(request) for request in self._s3.requests)

    @property
    def statements(self) -> list[str]:
        return self._statements.texts

    def restart(self) -> None:
        """Count from zero."""
        self._s3.requests.clear()
        self._statements.texts.clear()


def _kind(request: str) -> str:
    method, _, target = request.partition(" ")
    path, _, query = target.partition("?")
    key = path.lstrip("/").partition("/")[2]
    part = next((name for name in ("uploads", "uploadId", "list-type") if name in query), "")
    return " ".join(word for word in (method, part or ("object" if key else "bucket")) if word)


@pytest.fixture
def meter(stage: Stage, connection: Callable[..., str]) -> Iterator[Meter]:
    """Count what passes between a copy and its ends."""
    with ExitStack() as stack:
        s3 = stack.enter_context(Proxy(behind(stage.endpoint), Faults(), 0))
        postgres = stack.enter_context(Proxy(behind(stage.dsn), Faults(), 0, http=False))
        meter = Meter(stage, s3, postgres)
        for name, value in meter.stage.connections().items():
            connection(name.removeprefix("AIRFLOW_CONN_"), value)
        yield meter


@pytest.fixture
def table(stage: Stage) -> str:
    """Give a table to load."""
    connection = stage.connect()
    with connection.cursor() as cursor:
        cursor.execute("drop table if exists public.costly; create table public.costly (id int primary key, name text)")
    connection.close()
    return "public.costly"


def clear(stage: Stage, table: str) -> None:
    connection = stage.connect()
    with connection.cursor() as cursor:
        cursor.execute(f"truncate {table}")
    connection.close()


def run(context: Callable[..., Any], source: Any, target: Any, run_id: str, **arguments: Any) -> dict[str, Any]:
    from tradewind.operators.copy import CopyOperator

    operator = CopyOperator(task_id="copy", source=source, target=target, **arguments)
    result: dict[str, Any] = operator.execute(context(operator, run_id=run_id))
    return result


def ends(stage: Stage, key: str, table: str) -> tuple[Any, Any]:
    from tradewind.amazon.s3.files import S3File
    from tradewind.postgres.tables import PostgresTable

    return S3File(f"s3://{stage.bucket}/{key}", conn_id=LAKE), PostgresTable(table, conn_id=WAREHOUSE)


@pytest.mark.parametrize(("mode", "most"), [("append", 14), ("replace", 16), ("merge", 17)])
def test_a_load_costs_a_few_calls(
    mode: str, most: int, stage: Stage, meter: Meter, table: str, context: Callable[..., Any]
) -> None:
    stage.client().put_object(Bucket=stage.bucket, Key="in/cost.csv.gz", Body=gzip.compress(BODY))
    source, target = ends(stage, "in/cost.csv.gz", table)
    key = {"key": "id"} if mode == "merge" else {}
    run(context, source, target, f"{mode}-1", mode=mode, **key)  # makes the ledger
    clear(stage, table)
    meter.restart()

    run(context, source, target, f"{mode}-2", mode=mode, **key)

    assert meter.calls.total() <= 2, meter.calls
    # One load in sixteen, by its token, prunes the ledger too.
    statements = [text for text in meter.statements if not text.startswith('DELETE FROM "public"."tradewind_ledger"')]
    assert len(statements) <= most, statements


def test_a_retry_after_success_reads_nothing(
    stage: Stage, meter: Meter, table: str, context: Callable[..., Any]
) -> None:
    stage.client().put_object(Bucket=stage.bucket, Key="in/cost.csv", Body=BODY)
    source, target = ends(stage, "in/cost.csv", table)
    first = run(context, source, target, "again")
    meter.restart()

    second = run(context, source, target, "again")

    assert (first["rows"], second["rows"]) == (ROWS, ROWS)
    assert Counter({"HEAD object": 1}) == meter.calls
    assert not [text for text in meter.statements if "FROM STDIN" in text]
    assert len(meter.statements) <= 10, meter.statements


def test_a_wildcard_costs_one_call_for_each_file(
    stage: Stage, meter: Meter, table: str, context: Callable[..., Any]
) -> None:
    client = stage.client()
    for number in range(5):
        client.put_object(Bucket=stage.bucket, Key=f"many/{number}.csv", Body=b"id,name\n%d,n\n" % number)
    source, target = ends(stage, "many/*.csv", table)
    meter.restart()

    result = run(context, source, target, "many")

    assert result["rows"] == 5
    assert Counter({"GET list-type": 1, "GET object": 5}) == meter.calls


def test_a_small_unload_costs_one_put(stage: Stage, meter: Meter, table: str, context: Callable[..., Any]) -> None:
    target, source = ends(stage, "out/cost.csv", table)

    run(context, source, target, "out")

    assert meter.calls["PUT object"] <= 1, meter.calls
    assert meter.calls.total() <= 4, meter.calls
    assert len(meter.statements) <= 16, meter.statements
