"""What the local AWS server does beside S3, as far as moto itself does it otherwise: Step Functions and SQS."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

LOOK = 1.0
"""Seconds between two looks for messages that nobody just sent: they come back after a time-out."""
PAUSE = 0.02
"""Seconds until the next look where messages are there and none may be handed out: their group is being worked at."""

CHANGES = (
    "send_message",
    "send_message_batch",
    "delete_message",
    "delete_message_batch",
    "change_message_visibility",
    "change_message_visibility_batch",
    "purge_queue",
)
"""What of SQS changes messages, beside receiving them."""


def run_state_machines(port: int) -> None:
    """Have state machines run when they are started: moto leaves them RUNNING for ever.

    :param port: of this server, which their tasks call
    """
    from moto.core.config import default_user_config
    from moto.stepfunctions.responses import StepFunctionResponse

    os.environ["MOTO_PORT"] = str(port)
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    original = StepFunctionResponse._get_param

    def parameter(self: StepFunctionResponse, name: str, *arguments: Any, **named: Any) -> Any:
        found = original(self, name, *arguments, **named)
        # Without a name moto takes "None" for it: there is one such run of a machine then, and no second one.
        return (
            str(uuid.uuid4()) if found is None and name == "name" and self._get_action() == "StartExecution" else found
        )

    StepFunctionResponse._get_param = parameter  # type: ignore[method-assign,assignment]


def keep_messages_whole(changed: Callable[[], None] = lambda: None) -> None:
    """Have each SQS message handed out once, and to one who is still there.

    moto serves requests in threads and locks nothing: two may take the same message, and one that deletes a message
    loses another that is sent meanwhile. A request that waits takes a message for a client that was killed since:
    nobody has it then until its visibility time-out is over, which for Airflow is 12 hours.

    :param changed: called after each change, before its answer
    """
    from moto.sqs.models import SQSBackend

    lock = threading.RLock()
    for name in CHANGES:
        setattr(SQSBackend, name, _locked(getattr(SQSBackend, name), lock, changed))
    original = SQSBackend.receive_message

    def receive(
        self: SQSBackend,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Any]:
        queue, until = self.get_queue(queue_name), time.monotonic() + wait_seconds_timeout
        while True:
            with lock:
                if _client_is_gone():
                    return []
                found = original(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
                if found:
                    changed()
                blocked = bool(queue.messages)
            left = until - time.monotonic()
            if found or left <= 0:
                return list(found)
            if blocked:
                time.sleep(PAUSE)
            else:
                queue.wait_for_messages(min(LOOK, left))  # type: ignore[arg-type]

    SQSBackend.receive_message = receive  # type: ignore[method-assign]


def _locked(method: Callable[..., Any], lock: threading.RLock, changed: Callable[[], None]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        with lock:
            found = method(*arguments, **named)
            changed()
            return found

    return call


def _client_is_gone() -> bool:
    """Say whether the client of the request that is being answered closed its connection."""
    import flask

    channel = flask.request.environ.get("werkzeug.socket") if flask.has_request_context() else None
    if channel is None:
        return False
    poll = select.poll()  # select() itself ends at descriptor 1024
    poll.register(channel, select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        return not channel.recv(1, socket.MSG_PEEK)
    except OSError:
        return True
