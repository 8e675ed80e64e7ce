"""Signs of life of the parts of Airflow, from beside them: what a process that hangs does not give."""

from __future__ import annotations

import functools
import http.client
import json
import socket
from collections.abc import Callable, Iterable
from typing import Any

from tradewind.local.errors import LocalError
from tradewind.local.stack import layout
from tradewind.local.stack.ask import ask
from tradewind.local.tables import Tables

INTERVAL = 5.0
"""Seconds between two looks."""
BEAT = 30.0
"""Seconds after which a part that gave no sign is taken for broken, as Airflow does."""
TIMEOUT = 4.0

Check = Callable[[], None]


def of(name: str, tables: Tables, jobs: Iterable[str | None], major: int) -> Check:
    """Return a function that raises when one of a container's processes does not work.

    :param name: MWAA's name of the container
    :param tables: of Airflow's database
    :param jobs: Airflow's ``job_type`` of each of its processes
    :param major: Airflow's major version
    """
    if name == "webserver":
        return functools.partial(_web, major)
    beats = functools.partial(_beats, tables, [job for job in jobs if job])
    if name == "scheduler":
        return beats
    worker: Check = _sqs_worker if layout.under_sqs() else _Worker()
    return worker if name == "worker" else functools.partial(_all, (beats, worker))


def _all(checks: Iterable[Check]) -> None:
    for check in checks:
        check()


def _web(major: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", layout.WEB[1], timeout=TIMEOUT)
    try:
        connection.request("GET", "/api/v2/monitor/health" if major == 3 else "/health")
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read()) if answer.status == 200 else {}
    finally:
        connection.close()
    if found.get("metadatabase", {}).get("status") != "healthy":
        raise LocalError(f"the web server answers {answer.status}: {found}")


def _beats(tables: Tables, jobs: list[str]) -> None:
    silent = [job for job in jobs if not tables.beating(job, socket.gethostname(), BEAT)]
    if silent:
        raise LocalError(f"no sign of life for {BEAT:.0f} s: {', '.join(silent)}")


def _sqs_worker() -> None:
    said = ask("127.0.0.1", "work", TIMEOUT)
    if said is None:
        raise LocalError(f"celery@{socket.gethostname()} does not answer")
    if said["silent"] > BEAT:
        raise LocalError(f"celery@{socket.gethostname()} has not asked SQS for tasks for {said['silent']:.0f} s")


class _Worker:
    """Asks Celery's worker through the broker, the way its tasks come."""

    def __init__(self) -> None:
        from celery import Celery

        self._name = f"celery@{socket.gethostname()}"
        self._app = Celery(broker=layout.broker_url(), set_as_current=False)
        self._app.conf.broker_transport_options = {"socket_timeout": 2 * TIMEOUT, "socket_connect_timeout": TIMEOUT}

    def __call__(self) -> None:
        answers = self._app.control.inspect(destination=[self._name], timeout=TIMEOUT).ping()
        if not answers:
            raise LocalError(f"{self._name} does not answer")
