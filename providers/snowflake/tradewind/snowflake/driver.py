"""The differences between the connector's versions (3.12 to 5), in one place."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
import uuid
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

from tradewind.hooks.errors import TransientError
from tradewind.snowflake.errors import classify, made
from tradewind.snowflake.keys import load_key
from tradewind.snowflake.oauth import request_token
from tradewind.snowflake.options import Options

APPLICATION = "Tradewind"
TRIES = 5
"""How often a call is made that breaks."""

log = logging.getLogger(__name__)


@cache
def version() -> tuple[int, ...]:
    """Return the connector's version."""
    from snowflake.connector import __version__

    return tuple(int(part) for part in str(__version__).split(".")[:2])


def connect(options: Options, *, keep_session: bool = False) -> Any:
    """Connect.

    :param options: how
    :param keep_session: whether the session stays when the connection is closed, so that what runs there runs on
    :return: a connection of the connector
    """
    import snowflake.connector

    given = {**options.connect, **options.secret, "application": APPLICATION}
    if options.key is not None:
        given["private_key"] = load_key(*options.key)
    if options.oauth is not None:
        given["token"] = request_token(options.oauth, given.get("account"))
    if given["authenticator"] in ("OAUTH", "WORKLOAD_IDENTITY") and not given["user"]:
        del given["user"]
    parameters = dict(options.session_parameters)
    if keep_session:
        parameters["ABORT_DETACHED_QUERY"] = False
    given["session_parameters"] = parameters
    with _quiet():
        return snowflake.connector.connect(**_of_version(given, options, keep_session))


def _of_version(given: dict[str, Any], options: Options, keep_session: bool) -> dict[str, Any]:
    if not options.checks_revocation:
        log.warning("insecure_mode: whether the server's certificate was revoked is not checked")
    if version() >= (5,):
        timeout = given.pop("network_timeout")
        given.pop("ocsp_fail_open", None)
        keep = {"server_session_keep_alive": keep_session, "enable_server_session_keep_alive_auto_detection": False}
        return {**given, "request_timeout": timeout, "retry_timeout": timeout, **keep}
    # Without it, closing a connection ends the session and all that runs there.
    given["server_session_keep_alive"] = keep_session
    given["socket_timeout"] = given["network_timeout"]
    if not options.checks_revocation:
        given["insecure_mode" if version() < (4,) else "disable_ocsp_checks"] = True
    if given["authenticator"] == "PROGRAMMATIC_ACCESS_TOKEN" and not _knows_access_tokens():
        # The service takes such a token for a password, too.
        given |= {"authenticator": "snowflake", "password": given.pop("token")}
    return given


def _knows_access_tokens() -> bool:
    from snowflake.connector import network

    return hasattr(network, "PROGRAMMATIC_ACCESS_TOKEN")


def session_id(connection: Any) -> int:
    """Return the session's number in the service."""
    return int(connection.session_id)


def submit(
    connection: Any,
    sql: str,
    request_id: str,
    parameters: Mapping[str, Any],
    bindings: Mapping[str, Mapping[str, Any]] | None,
) -> str:
    """Submit a request that runs by itself; the same request id again submits nothing.

    The connectors that let a caller choose the id of an asynchronous request do so in three different ways; all of
    them send what is asked to the same address.

    :param connection: of the connector
    :param sql: one statement or several
    :param request_id: a UUID of version 4
    :param parameters: parameters of the request, as ``QUERY_TAG``
    :param bindings: values for ``?``, by position
    :return: the query's id
    :raises TradewindError: where the service takes it not
    """
    url = f"/queries/v1/query-request?requestId={uuid.UUID(request_id)}"
    body: dict[str, Any] = {
        "sqlText": sql,
        "asyncExec": True,
        "sequenceId": 1,
        "querySubmissionTime": int(time.time() * 1000),
        "parameters": dict(parameters),
    }
    if bindings:
        body["bindings"] = dict(bindings)
    answer = call(connection, "post", url, body)
    if not answer.get("success"):
        data = answer.get("data") or {}
        raise made(
            int(answer.get("code") or 0), str(data.get("sqlState") or ""), str(answer.get("message")), "submitting SQL"
        )
    return str(answer["data"]["queryId"])


def call(connection: Any, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make a call of the service within a connection's session.

    :param connection: of the connector
    :param method: ``get`` or ``post``
    :param url: its path
    :param body: what is sent
    :return: the answer
    """
    if version() < (5,):
        found = connection.rest.request(url, body or {}, method=method, _no_results=True)
    else:
        found = _call_again_and_again(connection, method, url, body)
    if isinstance(found, bytes | str):
        found = json.loads(found)
    if not isinstance(found, dict):
        raise TransientError(f"the service gave no answer to {url.partition('?')[0]}")
    return found


def _call_again_and_again(connection: Any, method: str, url: str, body: dict[str, Any] | None) -> Any:
    """Make a call of connector 5, which makes it once, where its elders try again. All of ours may be repeated."""
    from snowflake.connector.errors import Error

    for attempt in range(1, TRIES + 1):
        try:
            with _quiet():
                return connection.rest.request(url, body, method=method, client="rest")
        except Error as error:
            if attempt == TRIES or not isinstance(classify(error), TransientError):
                raise
            log.info("call failed, trying again: %s", type(error).__name__)
        time.sleep(random.uniform(0.5, 1.0) * min(2.0 ** (attempt - 2), 8.0))  # noqa: S311
    return None


def open_result(cursor: Any, id: str) -> None:
    """Let a cursor have the result of a statement that has succeeded, whichever session it ran in.

    :param cursor: of the connector
    :param id: the statement
    """
    # get_results_from_sfqid does the same, but later: until rows are fetched its cursor has no description.
    cursor.execute(f"SELECT * FROM TABLE(RESULT_SCAN('{uuid.UUID(id)}'))")  # noqa: S608


def close(connection: Any) -> None:
    """Close a connection, without trying again where nobody answers; never raises."""
    with contextlib.suppress(Exception), _quiet():
        if version() < (5,):
            connection.close(retry=False)
        else:
            connection.close()


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the connector's advice to its own developers out of DAGs' logs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
