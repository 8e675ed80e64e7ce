"""The other end of :mod:`tradewind.local.stack.intake`."""

from __future__ import annotations

import json
import socket
from typing import Any

from tradewind.local.stack import layout


def ask(host: str, do: str, timeout: float) -> dict[str, Any] | None:
    """Return the answer of a worker under SQS, None when it gives none.

    :param host: its host name
    :param do: ``work``, ``pause`` or ``resume``
    :param timeout: seconds
    """
    question = json.dumps({"key": layout.secret("broker"), "do": do}).encode()
    answer = b""
    try:
        with socket.create_connection((host, layout.INTAKE), timeout) as channel:
            channel.sendall(question)
            while more := channel.recv(4096):
                answer += more
        found: dict[str, Any] = json.loads(answer)
    except (OSError, ValueError):
        return None
    return found
