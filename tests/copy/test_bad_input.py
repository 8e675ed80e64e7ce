"""What a copy does with input that cannot work: it says what is wrong, and leaves the target as it was."""

from __future__ import annotations

import json
import secrets
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.copy.cases import CASES, CHECKSUM, ROWS, SECRET, SETUP, TABLE, UNLOADS, Case
from tests.stage import LAKE, WAREHOUSE, Stage


class Room:
    """Both ends, as one case finds them.

    :param names: what ``{bucket}``, ``{role}`` and ``{silent}`` stand for
    """

    def __init__(self, stage: Stage, names: dict[str, Any]) -> None:
        self.stage = stage
        self.names = names
        self.client = stage.client()
        self.connection = stage.connect()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def fill(self, value: Any) -> Any:
        """Put the names into texts, however deep they stand."""
        if isinstance(value, str):
            for name, text in self.names.items():
                if value == f"{{{name}}}":
                    return text
                value = value.replace(f"{{{name}}}", str(text))
            return value
        if isinstance(value, Mapping):
            return {name: self.fill(item) for name, item in value.items()}
        return [self.fill(item) for item in value] if isinstance(value, list | tuple) else value

    def target(self) -> tuple[Any, ...]:
        return self.sql(CHECKSUM)[0]

    def objects(self) -> set[tuple[str, str]]:
        found = self.client.list_objects_v2(Bucket=self.stage.bucket).get("Contents", [])
        return {(item["Key"], item["ETag"]) for item in found}

    def uploads(self) -> list[str]:
        return [item["Key"] for item in self.client.list_multipart_uploads(Bucket=self.stage.bucket).get("Uploads", [])]


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """Return a port on which somebody listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def room(stage: Stage, silent: int) -> Iterator[Room]:
    """Set up both ends for one case, and clear them away."""
    role = f"role_{secrets.token_hex(6)}"
    room = Room(stage, {"bucket": stage.bucket, "role": role, "silent": silent})
    room.sql(SETUP + ";" + ROWS)
    room.sql(f"create role {role} login password '{SECRET}'")
    yield room
    room.sql(f"drop owned by {role} cascade; drop role {role}")
    room.sql("drop schema public cascade; create schema public; grant all on schema public to public")
    room.sql("drop schema if exists closed, books, nowhere cascade")
    for key, _ in room.objects():
        room.client.delete_object(Bucket=stage.bucket, Key=key)
    room.connection.close()


@pytest.fixture
def execute(
    room: Room, connection: Callable[..., str], context: Callable[..., Any]
) -> Callable[[Case], dict[str, Any]]:
    """Return a function that runs a case as a DAG author would write it."""

    def run(case: Case) -> dict[str, Any]:
        from tradewind.amazon.s3.files import S3File
        from tradewind.operators.copy import CopyOperator
        from tradewind.postgres.tables import PostgresTable

        define(room, connection, case)
        arguments = room.fill(dict(case.copy))
        if "rejects" in arguments:
            arguments["rejects"] = S3File(arguments["rejects"], conn_id=LAKE)
        url = room.fill(f"s3://{{bucket}}/{case.key}" if case.url is None else case.url)
        operator = CopyOperator(
            task_id="copy",
            source=S3File(url, conn_id=LAKE, **case.file),
            target=PostgresTable(**{"table": TABLE, "conn_id": WAREHOUSE, **case.table}),
            **arguments,
        )
        result: dict[str, Any] = operator.execute(context(operator))
        return result

    return run


def define(room: Room, connection: Callable[..., str], case: Case) -> None:
    """Define both connections, with what differs."""
    for name, changes in ((WAREHOUSE, case.postgres), (LAKE, case.aws)):
        whole = json.loads(room.stage.connections()[f"AIRFLOW_CONN_{name.upper()}"])
        changes = room.fill(changes)
        extra = {**whole.get("extra", {}), **changes.get("extra", {})}
        connection(name, {**whole, **changes, "extra": extra})


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.error])
def test_bad_input_is_named_and_the_target_stays(
    name: str, room: Room, execute: Callable[[Case], dict[str, Any]]
) -> None:
    case = CASES[name]
    assert case.error
    room.client.put_object(Bucket=room.stage.bucket, Key=case.key, Body=case.body)
    for statement in case.sql:
        room.sql(room.fill(statement))
    target, objects = room.target(), room.objects()

    with pytest.raises(case.error) as caught:
        execute(case)

    text = str(caught.value).lower()
    assert [said for said in case.says if room.fill(said).lower() not in text] == [], text
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert (target, objects, []) == (room.target(), room.objects(), room.uploads())


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.error])
def test_odd_input_is_loaded_right(name: str, room: Room, execute: Callable[[Case], dict[str, Any]]) -> None:
    case = CASES[name]
    room.client.put_object(Bucket=room.stage.bucket, Key=case.key, Body=case.body)
    for statement in case.sql:
        room.sql(room.fill(statement))

    result = execute(case)

    names = [row[0] for row in room.sql("select name from people where id > 2 order by id")]
    assert (case.rows, case.rows) == (result["rows"], len(names))
    assert [each for each in names if each.split(",")[0] not in ("Carl", "Emmy", "Käthe")] == []


@pytest.mark.parametrize("name", UNLOADS)
def test_a_bad_unload_is_named_and_the_object_stays(
    name: str, room: Room, connection: Callable[..., str], context: Callable[..., Any]
) -> None:
    from tradewind.amazon.s3.files import S3File
    from tradewind.operators.copy import CopyOperator
    from tradewind.postgres.tables import PostgresQuery, PostgresTable

    case = UNLOADS[name]
    assert case.error
    define(room, connection, case)
    room.client.put_object(Bucket=room.stage.bucket, Key="out/people.csv", Body=b"what was there before")
    objects, target = room.objects(), room.target()

    def unload() -> None:
        query = case.copy.get("sql")
        table = {"table": TABLE, "conn_id": WAREHOUSE, **case.table}
        url = room.fill(case.url or "s3://{bucket}/out/people.csv")
        operator = CopyOperator(
            task_id="copy",
            source=PostgresQuery(query, conn_id=WAREHOUSE) if query else PostgresTable(**table),
            target=S3File(url, conn_id=LAKE, **case.file),
        )
        operator.execute(context(operator))

    with pytest.raises(case.error) as caught:
        unload()

    text = str(caught.value).lower()
    assert [said for said in case.says if said.lower() not in text] == [], text
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert (objects, target, []) == (room.objects(), room.target(), room.uploads())
