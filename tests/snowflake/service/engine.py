"""Statements at work: one after another in a session, side by side when they are asynchronous, and cancelled."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any

import fakesnow.server
import sqlglot
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from tests.snowflake.service import copying, looking, special, temporary, unloading
from tests.snowflake.service.external import OUTSIDE, Failed
from tests.snowflake.service.journal import CANCELLED, Journal, Query
from tests.snowflake.service.logins import Session
from tests.snowflake.service.transactions import WAITING, Transactions

DONE = "Multiple statements executed successfully."
_TEXT = {
    "type": "text", "length": 16777216, "precision": None, "scale": None, "nullable": False, "byteLength": 16777216,
}  # fmt: skip


def failure(code: str, state: str, message: str, id: str | None = None) -> dict[str, Any]:
    """Return the service's answer to a statement that failed."""
    data = {"errorCode": code, "sqlState": state, "queryId": id, "internalError": False}
    return {"data": data, "code": code, "message": message, "success": False}


def split(sql: str) -> list[str]:
    """Split a text at the semicolons that end statements."""
    tokens = sqlglot.tokenize(sql, read="snowflake")
    parts, begin, filled = [], 0, False
    for token in tokens:
        if token.token_type == sqlglot.TokenType.SEMICOLON:
            if filled:
                parts.append(sql[begin : token.start].strip())
            begin, filled = token.end + 1, False
        else:
            filled = True
    return [*parts, sql[begin:].strip()] if filled else parts


class Engine:
    """What runs statements.

    :param base_url: the service's own address, where clients upload to
    :param account: the account's name
    :param ids_of: whether a request's id is known to all sessions of a ``user``, or to its own ``session`` alone
    """

    def __init__(self, base_url: str, account: str, ids_of: str = "user") -> None:
        self.base_url = base_url
        self.account = account
        self.ids_of = ids_of
        self.sessions: dict[str, Session] = {}
        self.journal = Journal(fakesnow.server.shared_fs.duck_conn.cursor())
        self.history_delay = 0.0
        self._locks: dict[int, asyncio.Lock] = {}
        self.transactions = Transactions()
        self._closing: set[asyncio.Task[None]] = set()
        self._defining = asyncio.Lock()  # DuckDB refuses two tables of one name at once, IF NOT EXISTS or not

    def submit(self, session: Session, body: Mapping[str, Any], request_id: str | None) -> Query:
        """Begin a request, or find the one that was sent before under the same id."""
        key = (self.owner(session), request_id or "")
        if request_id and key in self.journal.requests:
            return self.journal.queries[self.journal.requests[key]]
        given = {str(name).upper(): value for name, value in (body.get("parameters") or {}).items()}
        tag = given.get("QUERY_TAG", session.parameters.get("QUERY_TAG", ""))
        sql = body["sqlText"]
        query = Query(sql, session, str(tag or ""), request_id=request_id, asynchronous=bool(body.get("asyncExec")))
        several = str(given.get("MULTI_STATEMENT_COUNT", session.parameters.get("MULTI_STATEMENT_COUNT", 1)))
        query.type = "MULTI_STATEMENT" if several != "1" else _type(sql)
        self.journal.add(query)
        if request_id:
            self.journal.requests[key] = query.id
        query.task = asyncio.create_task(self._run(query, body, given, several))
        return query

    def owner(self, session: Session) -> str:
        """Return to whom a request's id belongs."""
        return session.user if self.ids_of == "user" else str(session.id)

    async def wait(self, query: Query, seconds: float) -> dict[str, Any]:
        """Return a request's answer, or that it is not there yet."""
        with suppress(TimeoutError):
            await asyncio.wait_for(query.finished.wait(), seconds)
        if query.finished.is_set():
            return query.answer
        return self.in_progress(query, "333333")

    def fill(self, database: str, table: str, columns: list[str], rows: list[list[str | None]]) -> int:
        """Put rows of texts into a table past SQL, which takes a second for a hundred of them; nothing else is there.

        :return: how many rows there are
        """
        import pyarrow as pa

        duck = fakesnow.server.shared_fs.duck_conn.cursor()
        place = f'"{database}"."S"."{table}"'
        types = {row[0]: row[1] for row in duck.execute(f"DESCRIBE {place}").fetchall()}
        given = pa.table({f"c{at}": pa.array([row[at] for row in rows], pa.string()) for at in range(len(columns))})
        duck.register("_filled", given)
        values = ", ".join(f"CAST(c{at} AS {types[name]})" for at, name in enumerate(columns))
        duck.execute("BEGIN")
        duck.execute(f"DELETE FROM {place}")
        duck.execute(f"INSERT INTO {place} SELECT {values} FROM _filled")
        duck.execute("COMMIT")
        self.transactions.commits += 1
        duck.close()
        return len(rows)

    def sum(self, database: str, table: str) -> list[int]:
        """Return how many rows a table has, and a sum over all of them that no order changes."""
        duck = fakesnow.server.shared_fs.duck_conn.cursor()
        found = duck.execute(f'SELECT count(*), coalesce(sum(hash(t)), 0) FROM "{database}"."S"."{table}" t').fetchone()
        duck.close()
        return [int(value) for value in found or ()]

    @staticmethod
    def in_progress(query: Query, code: str) -> dict[str, Any]:
        """Return the answer for a request whose result is not there yet."""
        data = {"queryId": query.id, "getResultUrl": f"/queries/{query.id}/result", "queryAbortsAfterSecs": 86400}
        return {"data": data, "code": code, "message": "Query execution in progress.", "success": True}

    def cancel(self, query: Query) -> None:
        """Stop a request and all that it consists of."""
        for each in (query, *(self.journal.queries[child] for child in query.children)):
            if not each.ended:
                each.cancelled.set()
                if each.connection is not None:
                    each.connection._duck_conn.interrupt()

    def close(self, session: Session) -> None:
        """End a session: what runs there ends, its transaction rolls back, what is temporary goes with it."""
        self.sessions.pop(session.token, None)
        fakesnow.server.sessions.pop(session.token, None)
        for query in self.journal.queries.values():
            if query.session is session:
                self.cancel(query)
        task = asyncio.create_task(self._closed(session))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _closed(self, session: Session) -> None:
        async with self._locks.setdefault(session.id, asyncio.Lock()):
            self.transactions.end(session.token)
            with suppress(Exception):
                session.connection.close()
            temporary.drop(session.stages, self.journal.duck)

    def expire(self, user: str) -> int:
        """End all sessions of a user, as the service does when they have been idle for their time; return how many."""
        found = [each for each in self.sessions.values() if each.user == user]
        for each in found:
            self.close(each)
        return len(found)

    async def _run(self, query: Query, body: Mapping[str, Any], given: Mapping[str, Any], several: str) -> None:
        session: Session = query.session
        lock = self._locks.setdefault(session.id, asyncio.Lock())
        token = session.token
        if query.asynchronous and not session.connection._in_transaction:
            # A connection of DuckDB does one thing at a time; the service's sessions do not.
            token, lock = secrets.token_hex(16), asyncio.Lock()
            made = fakesnow.server.shared_fs.connect(session.database, session.schema)
            fakesnow.server.sessions[token] = made
        try:
            async with lock:
                answer = await self._all(query, body, token, several)
            connection = fakesnow.server.sessions.get(token)
            if not answer["success"] and connection is not None and connection._in_transaction and query.asynchronous:
                query.left_open = str(given.get("TRANSACTION_ABORT_ON_ERROR")).lower() != "true"
        except Exception as error:
            answer = failure("000002", "0A000", f"the test server failed: {error!r}", query.id)
        if token != session.token:
            with suppress(Exception):
                fakesnow.server.sessions.pop(token).close()
        query.end(answer)
        self.journal.write(query)

    async def _all(self, query: Query, body: Mapping[str, Any], token: str, several: str) -> dict[str, Any]:
        parts = split(query.sql)
        if several not in ("0", str(len(parts))) and (len(parts) > 1 or several != "1"):
            message = f"Actual statement count {len(parts)} did not match the desired statement count {several}."
            return failure("000008", "0A000", message, query.id)
        if several == "1":
            return await self._one(query, body, token)
        ids, types, taken = [], [], 0
        for sql in parts:
            child = Query(sql, query.session, query.tag, _type(sql), parent=query.id)
            if query.cancelled.is_set():
                return failure(*CANCELLED, query.id)
            query.children.append(self.journal.add(child).id)
            bindings, taken = _bindings(sql, body.get("bindings"), taken)
            child.answer = await self._one(child, {**body, "bindings": bindings, "parameters": {}}, token)
            child.end(child.answer)
            self.journal.write(child)
            if not child.answer["success"]:
                return {**child.answer, "data": {**(child.answer.get("data") or {}), "queryId": query.id}}
            ids.append(child.id)
            types.append(str((child.answer.get("data") or {}).get("statementTypeId") or 4096))
        data = {
            "queryId": query.id,
            "resultIds": ",".join(ids),
            "resultTypes": ",".join(types),
            "rowtype": [{"name": "multiple statement execution", **_TEXT}],
            "rowset": [[DONE]],
            "queryResultFormat": "json",
            "total": 1,
            "returned": 1,
            "statementTypeId": 40960,
            "parameters": [],
        }
        return {"data": data, "code": None, "message": None, "success": True}

    async def _one(self, query: Query, body: Mapping[str, Any], token: str) -> dict[str, Any]:
        """Run one statement, whatever it is."""
        sql, session = query.sql, query.session
        if query.cancelled.is_set():
            return failure(*CANCELLED, query.id)
        if (seconds := special.waiting_seconds(sql)) is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(query.cancelled.wait(), seconds)
            if query.cancelled.is_set():
                return failure(*CANCELLED, query.id)
            sql = f"SELECT 'waited {seconds:g} seconds' AS \"SYSTEM$WAIT\""
        elif found := special.CANCEL.fullmatch(sql):
            sql = f"SELECT '{self._cancel_by_id(session, found[1])}' AS \"SYSTEM$CANCEL_QUERY\""
        elif found := special.CANCEL_ALL.fullmatch(sql):
            sql = f"SELECT '{self._cancel_session(session, int(found[1]))}' AS \"SYSTEM$CANCEL_ALL_QUERIES\""
        elif (found := special.SCAN.fullmatch(sql)) and found[1] in self.journal.queries:
            answer = await self.wait(self.journal.queries[found[1]], 3600)
            return _named(answer, query.id)
        elif found := special.SET.fullmatch(sql):
            given = special.settings(found[1])
            session.parameters |= given
            if "AUTOCOMMIT" not in given:
                sql = "SELECT 'Statement executed successfully.' AS \"status\""
        elif special.SHOW_TRANSACTIONS.fullmatch(sql):
            shown = [
                (id, self.sessions[each])
                for each, id in self.transactions.open().items()
                if each in self.sessions and self.sessions[each].user == session.user
            ]
            rows = [f"SELECT {id} AS id, '{each.user}' AS user, {each.id} AS session" for id, each in shown]
            sql = " UNION ALL ".join(rows or ["SELECT 0 AS id, '' AS user, 0 AS session WHERE FALSE"])
        elif found := special.ABORT_TRANSACTION.fullmatch(sql):
            await self._abort(int(found[1]), session)
            sql = "SELECT 'Aborted transaction id: " + found[1] + "' AS status"
        elif special.CURRENT_TRANSACTION.fullmatch(sql):
            number = self.transactions.open().get(token)
            sql = f"SELECT {'NULL' if number is None else repr(str(number))}::VARCHAR AS id"
        elif found := special.UNSET.fullmatch(sql):
            session.parameters.pop(found[1].upper(), None)
            sql = "SELECT 'Statement executed successfully.' AS \"status\""
        elif found := special.USE.fullmatch(sql):
            if found[1].lower() in ("warehouse", "role"):
                setattr(session, found[1].lower(), found[2].upper())
            sql = "SELECT 'Statement executed successfully.' AS \"status\""
        sql = special.without_schema(sql, session.temporary)
        sql = special.with_history(special.with_facts(sql, session, self.account), session, self.history_delay)
        return await self._in_transaction(query, {**body, "sqlText": sql}, token)

    async def _in_transaction(self, query: Query, body: Mapping[str, Any], token: str) -> dict[str, Any]:
        """Run one statement as a transaction of the service does, see ``transactions.py``."""
        connection, sql = fakesnow.server.sessions.get(token), str(body["sqlText"])
        if connection is None:
            return await self._execute(query, body, token)

        async def run(given: Mapping[str, Any]) -> dict[str, Any]:
            return await self._copied(query, given, token, connection)

        if not await self.transactions.before(token, connection, sql, run, query.cancelled):
            return failure(*(CANCELLED if query.cancelled.is_set() else WAITING), query.id)
        if special.DEFINES.match(sql):
            async with self._defining:
                answer = await run(body)
        else:
            answer = await run(body)
        self.transactions.after(token, connection, sql, body, failed=not answer["success"])
        if answer["success"] and (stage := temporary.stage(sql, query.session)):
            query.session.stages.add(stage)
        return answer

    async def _copied(self, query: Query, body: Mapping[str, Any], token: str, connection: Any) -> dict[str, Any]:
        """Run one statement: COPY INTO by rules of our own, all others by fakesnow."""
        sql = str(body["sqlText"])
        try:
            answer = await run_in_threadpool(_outside, connection, sql)
            copy = None if answer else copying.parse(sql)
            if copy is not None:
                answer = copying.answer(await run_in_threadpool(copying.load, connection, copy))
        except Failed as error:
            return failure(error.code, error.state, str(error), query.id)
        if answer is None:
            return await self._execute(query, body, token)
        return await self._execute(query, {**body, "sqlText": answer, "bindings": None}, token)

    async def _abort(self, id: int, by: Session) -> None:
        """Abort a transaction between two statements: what follows in its session is not in it."""
        token = next((token for token, each in self.transactions.open().items() if each == id), "")
        session = self.sessions.get(token)
        if session is None:
            return
        busy = nullcontext() if session is by else self._locks.setdefault(session.id, asyncio.Lock())
        async with busy:
            if self.transactions.open().get(token) == id:
                session.connection._duck_conn.rollback()
                session.connection._in_transaction = False
                self.transactions.end(token)

    def _cancel_by_id(self, session: Session, id: str) -> str:
        query = self.journal.queries.get(id)
        if query is None or query.session.user != session.user:
            return "Identified SQL statement is not currently executing."
        running = not query.ended
        self.cancel(query)
        return f"query [{id}] terminated." if running else "Identified SQL statement is not currently executing."

    def _cancel_session(self, session: Session, id: int) -> str:
        mine = [query for query in self.journal.queries.values() if query.session.id == id and not query.ended]
        for query in mine:
            if query.session.user == session.user:
                self.cancel(query)
        return f"{len(mine)} queries cancelled."

    async def _execute(self, query: Query, body: Mapping[str, Any], token: str) -> dict[str, Any]:
        """Run one statement through fakesnow; what it does not know is an error, and never HTTP 500."""
        query.connection = fakesnow.server.sessions.get(token)
        raw = json.dumps(dict(body)).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        host, _, port = self.base_url.partition("://")[2].partition(":")
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/queries/v1/query-request",
            "headers": [(b"authorization", f'Snowflake Token="{token}"'.encode())],
            "query_string": b"",
            "server": (host, int(port)),
            "scheme": "http",
        }
        response = await fakesnow.server.query_request(Request(scope, receive))
        query.connection = None
        answer: dict[str, Any] = json.loads(response.body)
        if query.cancelled.is_set() and not answer["success"]:
            return failure(*CANCELLED, query.id)
        if response.status_code == 500:
            return failure(
                "000002", "0A000", f"Unsupported by the test server: {str(answer['message'])[:300]}", query.id
            )
        if not answer["success"]:
            code, state = str(answer["code"]), str((answer.get("data") or {}).get("sqlState"))
            return failure(code, state, str(answer["message"]), query.id)
        return _named({"code": None, "message": None, **answer}, query.id)


def _outside(connection: Any, sql: str) -> str | None:
    """Do what has to do with objects in S3, COPY INTO a table left out; return what gives the answer."""
    if (found := OUTSIDE.defined(sql, connection)) is not None:
        names = ("parent_property", "property", "property_type", "property_value", "property_default")
        return copying.answer(found, names) if found else "SELECT 'Statement executed successfully.' AS \"status\""
    if (found := looking.look(connection, sql)) is not None:
        return copying.answer(found, [f"C{at}" for at in range(1, len(found[0]) + 1)] if found else ["C1"])
    if (found := unloading.unload(connection, sql)) is not None:
        return copying.answer(found, unloading.ANSWER)
    return None


def _named(answer: dict[str, Any], id: str) -> dict[str, Any]:
    return {**answer, "data": {**answer["data"], "queryId": id}} if answer.get("data") else answer


def _type(sql: str) -> str:
    found = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*([a-z]+)", sql, re.I | re.S)
    return found[1].upper() if found else "UNKNOWN"


def _bindings(sql: str, given: Mapping[str, Any] | None, taken: int) -> tuple[dict[str, Any] | None, int]:
    """Return the values that belong to one statement of several: they are counted through."""
    if not given:
        return None, taken
    count = sum(token.token_type == sqlglot.TokenType.PLACEHOLDER for token in sqlglot.tokenize(sql, read="snowflake"))
    mine = {str(number): given[str(taken + number)] for number in range(1, count + 1)}
    return mine or None, taken + count
