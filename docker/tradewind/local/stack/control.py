"""Questions and commands of the machine, answered inside: ``/entrypoint control``.

One JSON object a line comes in, one goes out. The machine starts it by ``docker exec`` in a container of Airflow that
runs no user code; it ends with its standard input.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from tradewind.local.load import Meter
from tradewind.local.stack import layout, variables
from tradewind.local.stack.ask import ask
from tradewind.local.versions import version

TIMEOUT = 3.0
"""Seconds that a worker may take to answer."""


@functools.cache
def meter() -> Meter:
    """Return the meter of Airflow's database."""
    return Meter(variables.metadata_dsn(version(os.environ["TRADEWIND_AIRFLOW"])))


@functools.cache
def celery() -> Any:
    """Return a way to Celery's workers through the broker."""
    from celery import Celery

    app = Celery(broker=layout.broker_url(), set_as_current=False)
    app.conf.broker_transport_options = {"socket_timeout": 3 * TIMEOUT, "socket_connect_timeout": TIMEOUT}
    return app.control


def load(ends: int = 0) -> dict[str, Any]:
    """Return the load, and the last task ends."""
    return meter().facts(ends)


def pause(host: str) -> bool:
    """Have a worker take no tasks; say whether it answered."""
    if layout.under_sqs():
        return ask(host, "pause", TIMEOUT) is not None
    return _agreed(celery().cancel_consumer(layout.QUEUE, **_only(host)))


def resume(host: str) -> bool:
    """Have a worker take tasks again; say whether it answered."""
    if layout.under_sqs():
        return ask(host, "resume", TIMEOUT) is not None
    return _agreed(celery().add_consumer(layout.QUEUE, **_only(host)))


def work(host: str) -> dict[str, Any] | None:
    """Return how many tasks a worker holds and from which queues it takes them, None when it does not answer."""
    if layout.under_sqs():
        said = ask(host, "work", TIMEOUT)
        return said and {name: said[name] for name in ("queues", "tasks")}
    name = f"celery@{host}"
    inspect = celery().inspect(destination=[name], timeout=TIMEOUT)
    # Queues first: a worker that takes none, and then holds nothing, gets nothing any more.
    answers = [getattr(inspect, what)() for what in ("active_queues", "reserved", "active", "scheduled")]
    if not all(answer and name in answer for answer in answers):
        return None
    queues, reserved, active, scheduled = (answer[name] for answer in answers)
    # A task that ran when the broker went away stays among the active: Celery 5.4 does not hear of its end (5.6 does).
    running = meter().unfinished(sorted({task["id"] for task in active}))
    return {"queues": [queue["name"] for queue in queues], "tasks": len(reserved) + len(scheduled) + running}


def _agreed(answers: list[dict[str, Any]] | None) -> bool:
    return any("ok" in said for answer in answers or () for said in answer.values())


def _only(host: str) -> dict[str, Any]:
    return {"destination": [f"celery@{host}"], "reply": True, "timeout": TIMEOUT}


COMMANDS: dict[str, Callable[..., Any]] = {"load": load, "pause": pause, "resume": resume, "work": work}


def main() -> None:
    """Answer until the end of the input."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"answer": COMMANDS[asked.pop("do")](**asked)}
        except Exception as error:  # whatever it is, the machine tells it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
