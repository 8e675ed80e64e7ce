"""Faults on demand: calls that are dropped, refused or late, before they are heard of or after they did their work."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Asgi = Callable[..., Awaitable[None]]


@dataclass
class Fault:
    """What happens to calls.

    :param path: a regular expression of the paths that it meets
    :param kind: drop the connection, answer an HTTP status, or delay
    :param after: whether the work is done before
    :param count: how often, 0 for always
    :param share: of the calls that it could meet
    :param body: a regular expression that the request must match
    """

    path: str = ""
    kind: str = "drop"
    after: bool = False
    status: int = 503
    seconds: float = 1.0
    count: int = 0
    share: float = 1.0
    body: str = ""
    used: int = 0


class Faults:
    """The application behind faults.

    :param app: the service
    """

    def __init__(self, app: Asgi) -> None:
        self.app = app
        self.rules: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.random = random.Random(0)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_control"):
            await self.app(scope, receive, send)
            return
        self.calls[re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", scope["path"])] += 1
        body = await _read(receive)
        fault = self._meets(scope["path"], body)
        if fault is not None and (not fault.after or fault.kind == "delay"):
            if fault.kind != "delay":
                await _break(fault, send)
                return
            await asyncio.sleep(fault.seconds)
            fault = None

        async def replay() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        if fault is None:
            await self.app(scope, replay, send)
            return

        async def swallow(message: dict[str, Any]) -> None:
            pass

        await self.app(scope, replay, swallow)
        await _break(fault, send)

    def _meets(self, path: str, body: bytes) -> Fault | None:
        for rule in self.rules:
            fits = re.search(rule.path, path) and (not rule.body or re.search(rule.body, _text(body)))
            if fits and not (rule.count and rule.used >= rule.count) and self.random.random() < rule.share:
                rule.used += 1
                return rule
        return None


async def _read(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _break(fault: Fault, send: Any) -> None:
    if fault.kind == "drop":
        send.__self__.transport.abort()
        return
    await send({"type": "http.response.start", "status": fault.status, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps({"message": "injected"}).encode()})


def _text(body: bytes) -> str:
    import gzip

    return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode(errors="replace")
