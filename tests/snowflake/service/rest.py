"""The SQL API: a statement is submitted, asked for and cancelled, each call with the user's own token.

Only what the official operators use: statements that run by themselves, and programmatic access tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.snowflake.service.engine import Engine
from tests.snowflake.service.journal import Query
from tests.snowflake.service.logins import Session


class SqlApi:
    """The calls of the SQL API.

    :param engine: runs statements
    :param users: who may log in
    :param open_session: opens a session of a user, in a database and a schema
    """

    def __init__(
        self,
        engine: Engine,
        users: dict[str, dict[str, str]],
        open_session: Callable[[str, str | None, str | None], Session],
    ) -> None:
        self.engine = engine
        self.users = users
        self.open_session = open_session
        self._requests: dict[tuple[str, str], Query] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """Return what is answered: below any first part, for a client that writes the account's host by itself."""
        place = "/{account}/api/v2/statements"
        return [
            Route(place, self.submit, methods=["POST"]),
            Route(place + "/{id}", self.status, methods=["GET"]),
            Route(place + "/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def submit(self, request: Request) -> JSONResponse:
        """Begin a statement, or find the one that was begun under the same id."""
        user = self._user(request)
        if user is None:
            return _refused()
        key = (user, request.query_params.get("requestId", ""))
        query = self._requests.get(key)
        if query is None:
            asked = await request.json()
            session = self.open_session(user, asked.get("database"), asked.get("schema"))
            body = {"sqlText": asked["statement"], "parameters": asked.get("parameters"), "asyncExec": True}
            query = self.engine.submit(session, {**body, "bindings": asked.get("bindings")}, None)
            self._requests[key] = query
            task = asyncio.create_task(self._end(session, query))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        return _begun(query)

    async def _end(self, session: Session, query: Query) -> None:
        await query.finished.wait()
        self.engine.close(session)

    async def status(self, request: Request) -> JSONResponse:
        """Say how far a statement is."""
        query = self._query(request)
        if query is None:
            return _refused()
        if not query.ended:
            return _begun(query)
        if not query.answer["success"]:
            state = (query.answer.get("data") or {}).get("sqlState")
            told = {"code": query.code, "message": query.message, "sqlState": state, "statementHandle": query.id}
            return JSONResponse(told, status_code=422)
        told = {"code": "090001", "message": "Statement executed successfully.", "statementHandle": query.id}
        return JSONResponse(told | ({"statementHandles": query.children} if query.children else {}))

    async def cancel(self, request: Request) -> JSONResponse:
        """Stop a statement."""
        query = self._query(request)
        if query is None:
            return _refused()
        self.engine.cancel(query)
        return JSONResponse({"code": "000604", "message": "successfully canceled", "statementHandle": query.id})

    def _user(self, request: Request) -> str | None:
        kind = request.headers.get("x-snowflake-authorization-token-type")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if kind != "PROGRAMMATIC_ACCESS_TOKEN" or not token:
            return None
        return next((name for name, known in self.users.items() if known.get("pat") == token), None)

    def _query(self, request: Request) -> Query | None:
        query = self.engine.journal.queries.get(request.path_params["id"])
        return query if query is not None and query.session.user == self._user(request) else None


def _refused() -> JSONResponse:
    return JSONResponse({"code": "394400", "message": "Programmatic access token is invalid."}, status_code=401)


def _begun(query: Query) -> JSONResponse:
    told = {
        "code": "333334",
        "message": "Asynchronous execution in progress. Use provided query id to perform query monitoring.",
        "statementHandle": query.id,
        "statementStatusUrl": f"/api/v2/statements/{query.id}",
    }
    return JSONResponse(told, status_code=202)
