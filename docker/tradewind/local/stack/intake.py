"""What a worker under SQS holds, and whether it takes more: asked and told through a port of its own.

SQS carries tasks alone and none of Celery's remote control. This is a step of the worker's own event loop: a worker
that hangs does not answer. Celery loads this module as one of its ``imports``.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
from typing import Any

from celery import bootsteps, signals
from celery.worker import state

from tradewind.local.stack import layout
from tradewind.local.stack.sqs import INTAKE

LIMIT = 4096
"""Bytes of one question."""


class Port(bootsteps.StartStopStep):  # type: ignore[misc]
    """Answers one question for each connection, of who knows the broker's password."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        self._listener: socket.socket | None = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Listen; what comes before the loop runs waits."""
        self._listener = socket.create_server(("0.0.0.0", layout.INTAKE))  # noqa: S104 - on the private network
        self._listener.setblocking(False)

    def stop(self, parent: Any) -> None:
        """Listen no more."""
        if self._listener is not None:
            if parent.hub is not None:
                parent.hub.remove(self._listener)
            self._listener.close()
            self._listener = None

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:
        """Be called when somebody connects."""
        if self._listener is not None:
            hub.add_reader(self._listener, self._accept, parent, hub)

    def _accept(self, parent: Any, hub: Any) -> None:
        with contextlib.suppress(OSError):
            assert self._listener is not None  # noqa: S101
            channel, _ = self._listener.accept()
            channel.setblocking(False)
            hub.add_reader(channel, self._serve, parent, hub, channel)

    def _serve(self, parent: Any, hub: Any, channel: socket.socket) -> None:
        hub.remove(channel)
        with channel, contextlib.suppress(OSError, ValueError, KeyError):
            asked = json.loads(channel.recv(LIMIT))
            if hmac.compare_digest(str(asked["key"]), layout.secret("broker")):
                channel.sendall(json.dumps(_answer(str(asked["do"]), parent)).encode() + b"\n")


def _answer(do: str, parent: Any) -> dict[str, Any]:
    if do in ("pause", "resume"):
        INTAKE.paused = do == "pause"
    consumer = parent.task_consumer
    queues = [queue.name for queue in consumer.queues] if consumer is not None else []
    # A worker that has asked may still be given a task: it takes from its queues until it was answered.
    taking = not INTAKE.paused or INTAKE.asking > 0
    tasks = len(state.reserved_requests) + len(INTAKE.undeleted)
    return {"queues": queues if taking else [], "tasks": tasks, "silent": INTAKE.silent}


def _add(instance: Any, **_: Any) -> None:
    instance.app.steps["consumer"].add(Port)


signals.celeryd_init.connect(_add, weak=False)
