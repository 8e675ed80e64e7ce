"""A server of the Redshift Data API that executes what it is given, on a PostgreSQL.

It keeps to what the service's reference says of idempotent tokens (remembered for 8 hours), names (listed by prefix,
of finished statements alone unless ``Status`` is given), states, batches in one transaction, pages of results and of
lists, cancelling, and of the errors; and it keeps a journal of what was executed, which is what tests ask. ``faults``
break calls: before they are heard of, or after they have done their work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TYPES = {16: "bool", 17: "varbyte", 20: "int8", 21: "int2", 23: "int4", 25: "text", 114: "super", 700: "float4"}
TYPES |= {701: "float8", 1043: "varchar", 1082: "date", 1083: "time", 1114: "timestamp", 1184: "timestamptz"}
TYPES |= {1700: "numeric", 3802: "super", 1042: "bpchar"}
ENDED = ("FINISHED", "FAILED", "ABORTED")
TOKEN_SECONDS = 8 * 3600.0


class Refused(Exception):
    """What the service answers to a request that it does not take."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Statement:
    """What was submitted, one statement or a batch of them."""

    id: str
    sqls: Sequence[str]
    request: Mapping[str, Any]
    created: float = field(default_factory=time.time)
    status: str = "SUBMITTED"
    error: str = ""
    updated: float = 0.0
    results: list[Result] = field(default_factory=list)
    aborted: bool = False
    connection: Any = None
    pid: int = 0

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def told(self) -> dict[str, Any]:
        """Return the answer to DescribeStatement."""
        names = ("ClusterIdentifier", "WorkgroupName", "Database", "DbUser", "SecretArn", "SessionId")
        known = {name: self.request[name] for name in names if name in self.request}
        last = self.results[-1] if self.results else None
        told: dict[str, Any] = {
            **known,
            "Id": self.id,
            "Status": self.status,
            "CreatedAt": self.created,
            "UpdatedAt": self.updated or self.created,
            "Duration": int((self.updated - self.created) * 1e9) if self.ended else -1,
            "HasResultSet": self.status == "FINISHED" and any(result.columns for result in self.results),
            "ResultRows": last.count if last and self.status == "FINISHED" else -1,
            "ResultSize": -1,
            "RedshiftPid": self.pid,
            "QueryString": self.sqls[0] if len(self.sqls) == 1 else "",
        }
        if self.error:
            told["Error"] = self.error
        if len(self.sqls) > 1:
            told["SubStatements"] = [self.part(number) for number in range(1, len(self.sqls) + 1)]
        return told

    def part(self, number: int) -> dict[str, Any]:
        """Return what is told of one statement of a batch."""
        result = self.results[number - 1] if number <= len(self.results) else None
        done = self.status == "FINISHED" and result is not None
        return {
            "Id": f"{self.id}:{number}",
            "Status": self.status,
            "QueryString": self.sqls[number - 1],
            "HasResultSet": bool(done and result and result.columns),
            "ResultRows": result.count if done and result else -1,
        }


@dataclass
class Result:
    """The rows of one statement, or how many it touched."""

    columns: list[dict[str, Any]]
    rows: list[tuple[Any, ...]]
    count: int


@dataclass
class Session:
    """A session that is kept alive.

    :param connection: the connection of its statements
    :param seconds: how long it may be idle
    """

    connection: Any
    seconds: float
    idle_since: float = 0.0


class DataApi:
    """The service's state and its operations.

    :param dsn: the PostgreSQL on which statements run
    :param page: how many rows or statements an answer holds at most
    :param seed: of the faults
    :param faults: the share of calls that break, half of them after they have done their work
    :param delay: seconds for which a statement waits before it starts
    """

    def __init__(self, dsn: str, *, page: int = 1000, seed: int = 0, faults: float = 0.0, delay: float = 0.0) -> None:
        self.dsn = dsn
        self.page = page
        self.faults = faults
        self.delay = delay
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.statements: dict[str, Statement] = {}
        self.tokens: dict[str, tuple[float, str]] = {}
        self.calls: Counter[str] = Counter()
        self.denied: set[str] = set()
        self.sessions: dict[str, Session] = {}
        self.strict_sessions = False
        self.before: Callable[[str, Mapping[str, Any]], None] = lambda operation, request: None

    def answer(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a request asks.

        :raises Refused: with the service's error
        """
        self.calls[operation] += 1
        if operation in self.denied:
            raise Refused("AccessDeniedException", f"User is not authorized to perform: redshift-data:{operation}")
        self.before(operation, request)
        with self.lock:
            broken, late = self.random.random() < self.faults, self.random.random() < 0.5
            fault = self.random.choice(("ThrottlingException", "InternalServerException"))
        if broken and not late:
            raise Refused(fault, "Rate exceeded" if fault.startswith("T") else "Internal error")
        handlers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "ExecuteStatement": lambda asked: self.submit(asked, [asked["Sql"]]),
            "BatchExecuteStatement": lambda asked: self.submit(asked, asked["Sqls"]),
            "DescribeStatement": self.describe,
            "GetStatementResult": self.result,
            "CancelStatement": self.cancel,
            "ListStatements": self.listing,
        }
        if operation not in handlers:
            raise Refused("UnknownOperationException", operation)
        found = handlers[operation](request)
        if broken:
            raise ConnectionResetError(operation)
        return found

    def submit(self, request: Mapping[str, Any], sqls: Sequence[str]) -> dict[str, Any]:
        if not (request.get("ClusterIdentifier") or request.get("WorkgroupName") or request.get("SessionId")):
            raise Refused("ValidationException", "Either ClusterIdentifier or WorkgroupName must be specified")
        if request.get("ClusterIdentifier") == "none":
            raise Refused("ValidationException", "Redshift endpoint doesn't exist in this region.")
        if request.get("SessionId") and self.strict_sessions and request["SessionId"] not in self.sessions:
            raise Refused("ValidationException", "Session is not available.")
        token = request.get("ClientToken")
        with self.lock:
            made_at, id = self.tokens.get(token or "", (0.0, ""))
            if token and time.time() - made_at < TOKEN_SECONDS:
                return self._submitted(self.statements[id])
            statement = Statement(str(uuid.uuid4()), list(sqls), dict(request))
            if request.get("SessionKeepAliveSeconds") and not request.get("SessionId"):
                statement.request = {**request, "SessionId": str(uuid.uuid4())}
            self.statements[statement.id] = statement
            if token:
                self.tokens[token] = (time.time(), statement.id)
        threading.Thread(target=self._run, args=(statement,), daemon=True).start()
        return self._submitted(statement)

    @staticmethod
    def _submitted(statement: Statement) -> dict[str, Any]:
        told = statement.told()
        wanted = ("Id", "CreatedAt", "ClusterIdentifier", "WorkgroupName", "Database", "DbUser", "SessionId")
        return {name: told[name] for name in wanted if name in told}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        statement, number = self._find(request["Id"])
        if number is None:
            return statement.told()
        return statement.told() | statement.part(number)

    def result(self, request: Mapping[str, Any]) -> dict[str, Any]:
        statement, number = self._find(request["Id"])
        if statement.status != "FINISHED":
            raise Refused("ResourceNotFoundException", "Query result is not available.")
        result = statement.results[(number or 1) - 1]
        if not result.columns:
            raise Refused("ResourceNotFoundException", "Query does not have result.")
        begin = int(request.get("NextToken") or 0)
        rows = result.rows[begin : begin + self.page]
        told = {
            "Records": [[_field(value) for value in row] for row in rows],
            "ColumnMetadata": result.columns,
            "TotalNumRows": len(result.rows),
        }
        return told | ({"NextToken": str(begin + self.page)} if begin + self.page < len(result.rows) else {})

    def cancel(self, request: Mapping[str, Any]) -> dict[str, Any]:
        statement, _ = self._find(request["Id"])
        if statement.ended:
            raise Refused(
                "ValidationException",
                f"Could not cancel a query that is already in {statement.status} state with ID: {statement.id}",
            )
        statement.aborted = True
        if statement.pid:
            self._cancel(statement.pid)
        return {"Status": True}

    def _cancel(self, pid: int) -> None:
        """Cancel by another session: psycopg2's own cancel holds the interpreter's lock, and the proxy may be here."""
        import psycopg2

        with contextlib.closing(psycopg2.connect(self.dsn)) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_cancel_backend(%s)", [pid])

    def listing(self, request: Mapping[str, Any]) -> dict[str, Any]:
        status = request.get("Status", "FINISHED")
        prefix = request.get("StatementName", "")
        place = {name: request[name] for name in ("ClusterIdentifier", "WorkgroupName", "Database") if name in request}
        with self.lock:
            found = [
                each
                for each in self.statements.values()
                if status in ("ALL", each.status)
                and each.request.get("StatementName", "").startswith(prefix)
                and place.items() <= each.request.items()
            ]
        found.sort(key=lambda each: -each.created)
        begin = int(request.get("NextToken") or 0)
        size = min(request.get("MaxResults") or 100, self.page)
        told: dict[str, Any] = {"Statements": [self._listed(each) for each in found[begin : begin + size]]}
        return told | ({"NextToken": str(begin + size)} if begin + size < len(found) else {})

    @staticmethod
    def _listed(statement: Statement) -> dict[str, Any]:
        told = statement.told()
        wanted = ("Id", "Status", "CreatedAt", "UpdatedAt", "QueryString")
        return {name: told[name] for name in wanted} | {"StatementName": statement.request.get("StatementName", "")}

    def journal(self) -> list[dict[str, Any]]:
        """Return what was submitted, for tests."""
        with self.lock:
            return [
                {"name": each.request.get("StatementName", ""), "sqls": each.sqls, "status": each.status, "id": each.id}
                for each in self.statements.values()
            ]

    def _find(self, id: str) -> tuple[Statement, int | None]:
        own, _, number = id.partition(":")
        statement = self.statements.get(own)
        if statement is None or (number and int(number) > len(statement.sqls)):
            raise Refused("ResourceNotFoundException", "Query does not exist.")
        return statement, int(number) if number else None

    def _run(self, statement: Statement) -> None:
        import psycopg2
        from psycopg2.extensions import QueryCanceledError

        if (session := self.sessions.get(statement.request.get("SessionId") or "")) is not None:
            session.idle_since = 0.0
        try:
            statement.status = "PICKED"
            time.sleep(self.delay)
            connection = self._connection(statement)
            statement.connection, statement.pid = connection, connection.info.backend_pid
            statement.status = "STARTED"
            if statement.aborted:
                raise QueryCanceledError
            with self._transaction(statement, connection), connection.cursor() as cursor:
                for sql in statement.sqls:
                    statement.results.append(_execute(cursor, sql, statement.request.get("Parameters")))
            status = "FINISHED"
        except QueryCanceledError:
            status = "ABORTED"
        except psycopg2.Error as error:
            statement.error = "ERROR: " + str(error).splitlines()[0].removeprefix("ERROR:").strip()
            status = "FAILED"
        finally:
            self._release(statement)
        statement.updated = time.time()
        statement.status = status

    def _connection(self, statement: Statement) -> Any:
        """Connect, or take the connection of the statement's session."""
        import psycopg2

        session = statement.request.get("SessionId")
        kept = self.sessions.get(session or "")
        if kept is not None:
            return kept.connection
        connection = psycopg2.connect(self.dsn)
        if session and statement.request.get("SessionKeepAliveSeconds"):
            connection.autocommit = True  # BEGIN and COMMIT are statements of the session's
            self.sessions[session] = Session(connection, statement.request["SessionKeepAliveSeconds"])
        return connection

    def _transaction(self, statement: Statement, connection: Any) -> Any:
        return contextlib.nullcontext() if statement.request.get("SessionId") in self.sessions else connection

    def _release(self, statement: Statement) -> None:
        """Close the connection, that of a session once it has been idle for its time."""
        session = self.sessions.get(statement.request.get("SessionId") or "")
        if session is None:
            if statement.connection is not None:
                statement.connection.close()
            return
        session.idle_since = time.monotonic()
        timer = threading.Timer(session.seconds, self._expire, [statement.request["SessionId"], session.idle_since])
        timer.daemon = True
        timer.start()

    def _expire(self, id: str, idle_since: float) -> None:
        session = self.sessions.get(id)
        if session is not None and session.idle_since == idle_since:
            del self.sessions[id]
            session.connection.close()


def _execute(cursor: Any, sql: str, parameters: Sequence[Mapping[str, str]] | None) -> Result:
    if parameters:
        values = {each["name"]: each["value"] for each in parameters}
        cursor.execute(re.sub(r"(?<![:\w]):(\w+)", r"%(\1)s", sql.replace("%", "%%")), values)
    else:
        cursor.execute(sql)
    if cursor.description is None:
        return Result([], [], max(cursor.rowcount, 0))
    columns = [
        {
            "name": each.name,
            "label": each.name,
            "typeName": TYPES.get(each.type_code, "varchar"),
            "nullable": 1,
            "precision": each.precision if each.precision and each.precision < 65535 else 0,
            "scale": each.scale if each.precision and each.precision < 65535 else 0,
        }
        for each in cursor.description
    ]
    rows = cursor.fetchall()
    return Result(columns, rows, len(rows))


def _field(value: Any) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    if isinstance(value, bool):
        return {"booleanValue": value}
    if isinstance(value, int):
        return {"longValue": value}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": json.dumps(value) if isinstance(value, dict | list) else str(value)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: DataApiServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, self.server.api.journal())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        operation = self.headers.get("X-Amz-Target", "").partition(".")[2]
        try:
            self._send(200, self.server.api.answer(operation, request))
        except Refused as error:
            status = 500 if error.kind.startswith("Internal") else 400
            self._send(status, {"__type": error.kind, "Message": str(error), "message": str(error)})
        except ConnectionResetError:
            self.close_connection = True

    def _send(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class DataApiServer(ThreadingHTTPServer):
    """The service over HTTP, on a free port of this machine.

    :param api: the service
    :param port: the port, 0 for a free one
    :param host: the address it listens on
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, api: DataApi, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__((host, port), _Handler)
        self.api = api
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that die are what this is for."""

    def __enter__(self) -> DataApiServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    server = DataApiServer(DataApi(given.dsn, seed=given.seed, faults=given.faults, delay=given.delay), given.port)
    print(server.url, flush=True)
    server.serve_forever()
