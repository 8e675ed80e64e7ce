"""The service over HTTP: ``python -m tests.snowflake.service`` reads its settings, as JSON, from the standard input."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import secrets
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import fakesnow.server
import uvicorn
from fakesnow.transforms import stage
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.snowflake.service import patches, temporary
from tests.snowflake.service.engine import Engine, failure
from tests.snowflake.service.faults import Fault, Faults
from tests.snowflake.service.logins import Refused, Session, check
from tests.snowflake.service.rest import SqlApi

GONE = {"data": None, "code": "390104", "message": "User must login again to access the service.", "success": False}
FINE = {"data": None, "code": None, "message": None, "success": True}


class Service:
    """The calls that clients make.

    :param engine: runs statements
    :param users: who may log in
    """

    def __init__(self, engine: Engine, users: dict[str, dict[str, str]]) -> None:
        self.engine = engine
        self.users = users
        self.logins: list[dict[str, Any]] = []
        self.faults: Faults | None = None

    async def login(self, request: Request) -> JSONResponse:
        body = await _body(request)
        data = body["data"]
        asked = {
            name: request.query_params.get(name) for name in ("databaseName", "schemaName", "warehouse", "roleName")
        }
        self.logins.append({**asked, "user": data.get("LOGIN_NAME"), "environment": data.get("CLIENT_ENVIRONMENT", {})})
        try:
            user = check(self.users, self.engine.account, data)
        except Refused as error:
            return JSONResponse({"data": {}, "code": error.code, "message": str(error), "success": False})
        parameters = {str(name).upper(): value for name, value in (data.get("SESSION_PARAMETERS") or {}).items()}
        session = self.open_session(user, asked["databaseName"], asked["schemaName"], parameters)
        database, schema = session.database, session.schema
        autocommit = session.connection._autocommit
        session.role = (asked["roleName"] or session.role).upper()
        session.warehouse = (asked["warehouse"] or "").upper() or None
        told = {
            "token": session.token,
            "masterToken": secrets.token_urlsafe(32),
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400,
            "sessionId": session.id,
            "displayUserName": user,
            "serverVersion": fakesnow.server.SERVER_VERSION,
            "firstLogin": False,
            "healthCheckInterval": 45,
            "parameters": [
                {"name": "AUTOCOMMIT", "value": autocommit},
                {"name": "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY", "value": 3600},
                {"name": "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", "value": 0},
            ],
            "sessionInfo": {
                "databaseName": database,
                "schemaName": schema,
                "warehouseName": session.warehouse,
                "roleName": session.role,
            },
        }
        return JSONResponse({"data": told, "code": None, "message": None, "success": True})

    def open_session(
        self, user: str, database: str | None, schema: str | None, parameters: dict[str, Any] | None = None
    ) -> Session:
        """Open a session of a user's."""
        given = parameters or {}
        autocommit = str(given.get("AUTOCOMMIT", True)).lower() != "false"
        database, schema = ((name or "").upper() or None for name in (database, schema))
        connection = fakesnow.server.shared_fs.connect(database, schema, autocommit=autocommit)
        session = Session(user, secrets.token_urlsafe(32), connection, parameters=given)
        self.engine.sessions[session.token] = session
        fakesnow.server.sessions[session.token] = connection
        return session

    async def query(self, request: Request, session: Session) -> JSONResponse:
        body = await _body(request)
        if body.get("describeOnly"):
            return await self._describe(session, body)
        query = self.engine.submit(session, body, request.query_params.get("requestId"))
        if body.get("asyncExec"):
            await asyncio.sleep(0)
            return JSONResponse(self.engine.in_progress(query, "333334"))
        return JSONResponse(await self.engine.wait(query, 45))

    async def _describe(self, session: Session, body: dict[str, Any]) -> JSONResponse:
        raw = json.dumps(body).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        headers = [(b"authorization", f'Snowflake Token="{session.token}"'.encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
        response = await fakesnow.server.query_request(Request(scope, receive))
        answer = json.loads(response.body)
        if response.status_code == 500:
            answer = failure("000002", "0A000", f"Unsupported by the test server: {answer['message']}")
        return JSONResponse({"code": None, "message": None, **answer})

    async def result(self, request: Request, session: Session) -> JSONResponse:
        query = self.engine.journal.queries.get(request.path_params["id"])
        if query is None or query.session.user != session.user:
            return JSONResponse(failure("000709", "02000", f"Statement {request.path_params['id']} not found"))
        return JSONResponse(await self.engine.wait(query, 45))

    async def monitor(self, request: Request, session: Session) -> JSONResponse:
        query = self.engine.journal.queries.get(request.path_params["id"])
        if query is None or query.session.user != session.user:
            return JSONResponse({**FINE, "data": {"queries": []}})
        told = {
            "id": query.id,
            "status": query.status,
            "state": query.status,
            "sqlText": query.sql,
            "errorCode": query.code or None,
            "errorMessage": query.message or None,
            "startTime": int(query.began * 1000),
            "endTime": int(query.ended * 1000),
            "totalDuration": 0,
        }
        return JSONResponse({**FINE, "data": {"queries": [told]}})

    async def abort(self, request: Request, session: Session) -> JSONResponse:
        id = request.path_params.get("id")
        if id is None:
            wanted = (await _body(request)).get("requestId")
            id = self.engine.journal.requests.get((self.engine.owner(session), str(wanted)))
        query = self.engine.journal.queries.get(str(id))
        if query is not None and query.session.user == session.user:
            self.engine.cancel(query)
        return JSONResponse(FINE)

    async def session(self, request: Request, session: Session) -> JSONResponse:
        if request.query_params.get("delete"):
            self.engine.close(session)
        return JSONResponse(FINE)

    async def nothing(self, request: Request) -> JSONResponse:
        return JSONResponse(FINE)

    async def control(self, request: Request) -> JSONResponse:
        """Answer tests: journal, calls, faults, users, sessions."""
        assert self.faults is not None
        what = request.path_params["what"]
        body = await _body(request) if request.method == "POST" else {}
        if what == "faults" and request.method == "POST":
            self.faults.rules = [Fault(**each) for each in body["rules"]]
            self.faults.random.seed(body.get("seed", 0))
        elif what == "users" and request.method == "POST":
            self.users |= body
        elif what == "history" and request.method == "POST":
            self.engine.history_delay = body["delay"]
        known: dict[str, Callable[[], Any]] = {
            "fill": lambda: self.engine.fill(**body),
            "journal": lambda: [query.told() for query in self.engine.journal.queries.values()],
            "calls": lambda: dict(self.faults.calls) if self.faults else {},
            "faults": lambda: [asdict(rule) for rule in self.faults.rules] if self.faults else [],
            "logins": lambda: self.logins,
            "running": lambda: [each.told() for each in self.engine.journal.queries.values() if not each.ended],
            "expire": lambda: self.engine.expire(body["user"]),
            "stages": lambda: temporary.listed(self.engine.journal.duck),
            "transactions": lambda: len(self.engine.transactions.open()),
            "sum": lambda: self.engine.sum(body["database"], body["table"]),
            "sessions": lambda: [
                {"id": each.id, "user": each.user, "parameters": each.parameters}
                for each in self.engine.sessions.values()
            ],
        }
        return JSONResponse(known[what]() if what in known else None)

    def known(self, call: Callable[[Request, Session], Any]) -> Callable[[Request], Any]:
        """Let only sessions in."""

        async def answer(request: Request) -> JSONResponse:
            token = request.headers.get("authorization", "").partition('Token="')[2].rstrip('"')
            session = self.engine.sessions.get(token)
            if session is None:
                return JSONResponse(GONE)
            found: JSONResponse = await call(request, session)
            return found

        return answer

    def routes(self) -> list[Route]:
        """Return what is answered here; the upload of files is fakesnow's."""
        upload = [route for route in fakesnow.server.routes if route.path.startswith("/fs_bucket")]
        return [
            Route("/session/v1/login-request", self.login, methods=["POST"]),
            Route("/session/heartbeat", self.known(self.session), methods=["POST"]),
            Route("/session/token-request", self.nothing, methods=["POST"]),
            Route("/session", self.known(self.session), methods=["POST"]),
            Route("/queries/v1/query-request", self.known(self.query), methods=["POST"]),
            Route("/queries/v1/abort-request", self.known(self.abort), methods=["POST"]),
            Route("/queries/{id}/abort-request", self.known(self.abort), methods=["POST"]),
            Route("/queries/{id}/result", self.known(self.result), methods=["GET"]),
            Route("/monitoring/queries/{id}", self.known(self.monitor), methods=["GET"]),
            Route("/monitoring/queries//{id}", self.known(self.monitor), methods=["GET"]),
            *SqlApi(self.engine, self.users, self.open_session).routes(),
            Route("/telemetry/send", self.nothing, methods=["POST"]),
            Route("/telemetry/send/sessionless", self.nothing, methods=["POST"]),
            Route("/_control/{what}", self.control, methods=["GET", "POST"]),
            *upload,
        ]


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    found: dict[str, Any] = json.loads(raw or b"{}")
    return found


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(stage.LOCAL_BUCKET_PATH, ignore_errors=True)
    os._exit(0)


def main() -> None:
    """Serve until the standard input ends."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listening = socket.create_server((asked.get("host", "127.0.0.1"), asked.get("port", 0)), backlog=128)
    url = asked.get("url") or f"http://127.0.0.1:{listening.getsockname()[1]}"
    patches.apply(asked.get("s3"))
    service = Service(Engine(url, asked.get("account", "TESTS"), asked.get("ids_of", "user")), asked.get("users", {}))
    service.faults = Faults(Starlette(routes=service.routes()))
    config = uvicorn.Config(service.faults, log_level="warning", http="h11", lifespan="off")
    print(json.dumps({"url": url}), flush=True)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
