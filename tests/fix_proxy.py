"""A proxy that makes the faults of a network, and a fixture that starts it in front of a server.

In HTTP it knows requests: it drops a connection at a random byte of a request or an answer, delays an answer, or gives
``503 SlowDown`` in the server's place. In plain TCP it knows bytes alone. Every choice comes from a seed.
"""

from __future__ import annotations

import random
import select
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from typing import cast
from urllib.parse import urlsplit

import pytest

CHUNK = 1 << 16
TIMEOUT = 60.0
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.'
    b"</Message><RequestId>proxy</RequestId></Error>"
)


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong: chances between 0 and 1, each for one request (one connection in plain TCP).

    :param drop_request: the connection breaks while the request is sent
    :param drop_answer: the connection breaks while the answer is sent
    :param slow_down: the answer is 503 SlowDown, and the server never sees the request
    :param delay: the answer is late, by up to ``late`` seconds
    :param within: a drop happens within so many bytes, or within the length where that is known and shorter
    """

    drop_request: float = 0.0
    drop_answer: float = 0.0
    slow_down: float = 0.0
    delay: float = 0.0
    late: float = 0.2
    within: int = 8 << 20


class Dropped(Exception):
    """The connection is to break now."""


@dataclass
class Plan:
    """What happens to one request.

    :param request_bytes: break after so many bytes of the request's body, None for never
    :param answer_bytes: break after so many bytes of the answer, None for never
    """

    request_bytes: int | None = None
    answer_bytes: int | None = None
    slow_down: bool = False
    delay: float = 0.0


class Proxy:
    """A proxy on a free port of 127.0.0.1.

    :param target: host and port of the server behind it
    :param faults: what goes wrong
    :param seed: makes the choices
    :param http: whether it speaks HTTP, else plain TCP

    ``lose`` is a text: the first answer to an HTTP request whose line holds it is lost. ``made`` counts what happened,
    ``requests`` lists method and path of each HTTP request, ``on_bytes`` is called with
    the bytes that clients send in plain TCP, ``open`` holds the clients' connections.
    """

    def __init__(self, target: tuple[str, int], faults: Faults, seed: int, *, http: bool = True) -> None:
        self.target = target
        self.faults = faults
        self.seed = seed
        self.http = http
        self.made: Counter[str] = Counter()
        self.requests: list[str] = []
        self.lose: str | None = None
        self.on_bytes: Callable[[bytes], None] | None = None
        self.open: set[socket.socket] = set()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _HttpHandler if http else _TcpHandler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address of an HTTP proxy."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def plan(self, length: int | None = None, line: str = "") -> Plan:
        """Choose what happens to the next request.

        :param line: its first line
        :param length: the length of its body, if that is known
        """
        faults = self.faults
        with self._lock:
            draw = self._random.random
            plan = Plan(slow_down=draw() < faults.slow_down)
            if draw() < faults.delay:
                plan.delay = draw() * faults.late
            if draw() < faults.drop_request:
                plan.request_bytes = int(draw() * min(faults.within, length or faults.within))
            if draw() < faults.drop_answer:
                plan.answer_bytes = int(draw() * faults.within)
            if self.lose is not None and self.lose in line:
                self.lose, plan.answer_bytes = None, 0
            self.made["requests"] += 1
            if plan.delay:
                self.made["delays"] += 1
            if plan.slow_down:
                self.made["503"] += 1
        return plan

    def count(self, what: str) -> None:
        """Count a fault that was made."""
        with self._lock:
            self.made[what] += 1

    def cut(self) -> int:
        """Break all connections that are open; return how many they were."""
        with self._lock:
            found = list(self.open)
        for connection in found:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return len(found)

    def settle(self, seconds: float = TIMEOUT) -> None:
        """Wait until what clients that are gone have asked for is done: the server may still be at it."""
        deadline = time.monotonic() + seconds
        while self.open:
            assert time.monotonic() < deadline, f"{len(self.open)} connections stay open"
            time.sleep(0.005)

    def connect(self) -> socket.socket:
        """Connect to the server behind."""
        upstream = socket.create_connection(self.target, TIMEOUT)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return upstream


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    proxy: Proxy


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def setup(self) -> None:
        self.request.settimeout(TIMEOUT)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.proxy.open.add(self.request)

    def reset(self) -> None:
        """Break the connection as a network does: with RST, not with FIN."""
        with suppress(OSError):
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def finish(self) -> None:
        self.server.proxy.open.discard(self.request)
        with suppress(OSError):
            self.request.close()


class _TcpHandler(_Handler):
    """Pump bytes both ways, and break after as many as planned."""

    def handle(self) -> None:
        proxy = self.server.proxy
        plan = proxy.plan()
        time.sleep(plan.delay)
        left = {0: plan.request_bytes, 1: plan.answer_bytes}
        with suppress(OSError), proxy.connect() as upstream:
            ways = {self.request: (0, upstream), upstream: (1, self.request)}
            while True:
                for readable in select.select(list(ways), [], [], TIMEOUT)[0]:
                    way, other = ways[readable]
                    data = readable.recv(CHUNK)
                    if not data:
                        return
                    if way == 0 and proxy.on_bytes:
                        proxy.on_bytes(data)
                    allowed = left[way]
                    if allowed is not None and len(data) > allowed:
                        other.sendall(data[:allowed])
                        proxy.count("drops")
                        self.reset()
                        return
                    other.sendall(data)
                    left[way] = None if allowed is None else allowed - len(data)


@dataclass
class Head:
    """The head of a request or an answer.

    :param lines: the start line and the header lines
    """

    lines: list[bytes] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        start = name.lower().encode() + b":"
        for line in self.lines[1:]:
            if line.lower().startswith(start):
                return line.split(b":", 1)[1].strip().decode("latin-1")
        return None

    def without(self, name: str) -> Head:
        start = name.lower().encode() + b":"
        return Head([line for line in self.lines if not line.lower().startswith(start)])

    @property
    def length(self) -> int | None:
        """How long the body is, None where its chunks say it."""
        if "chunked" in (self.get("Transfer-Encoding") or "").lower():
            return None
        return int(self.get("Content-Length") or 0)

    def bytes(self) -> bytes:
        return b"\r\n".join(self.lines) + b"\r\n\r\n"


class _HttpHandler(_Handler):
    """Hand on one request after the other."""

    def handle(self) -> None:
        try:
            with suppress(OSError), self.server.proxy.connect() as upstream, ExitStack() as stack:
                client = stack.enter_context(_reader(self.request))
                server = stack.enter_context(_reader(upstream))
                while self._one(client, server, upstream):
                    pass
        except Dropped:
            self.server.proxy.count("drops")
            self.reset()

    def _one(self, client: BufferedReader, server: BufferedReader, upstream: socket.socket) -> bool:
        request = _read_head(client)
        if not request:
            return False
        line = request.lines[0].decode("latin-1").rpartition(" ")[0]
        plan = self.server.proxy.plan(request.length, line)
        self.server.proxy.requests.append(line)
        if (request.get("Expect") or "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            request = request.without("Expect")
        if plan.slow_down:
            _pump(client, request.length, lambda _: None, None)
            self._refuse(request)
            return True
        upstream.sendall(request.bytes())
        _pump(client, request.length, upstream.sendall, plan.request_bytes)
        answer = _read_head(server)
        if not answer:
            return False
        time.sleep(plan.delay)
        return self._answer(request, answer, server, plan)

    def _answer(self, request: Head, answer: Head, server: BufferedReader, plan: Plan) -> bool:
        head = answer.bytes()
        limit = plan.answer_bytes
        if limit is not None:
            whole = len(head) + (0 if request.lines[0].startswith(b"HEAD ") else answer.length or 0)
            limit %= whole  # somewhere in this answer, be it long or short
        if limit is not None and limit < len(head):
            self.request.sendall(head[:limit])
            raise Dropped
        self.request.sendall(head)
        status = int(answer.lines[0].split()[1])
        if not request.lines[0].startswith(b"HEAD ") and status not in (204, 304):
            _pump(server, answer.length, self.request.sendall, None if limit is None else limit - len(head))
        return (answer.get("Connection") or "").lower() != "close"

    def _refuse(self, request: Head) -> None:
        head = f"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {len(SLOW_DOWN)}\r\n\r\n"
        self.request.sendall(head.encode() + (b"" if request.lines[0].startswith(b"HEAD ") else SLOW_DOWN))


def _reader(connection: socket.socket) -> BufferedReader:
    return cast("BufferedReader", connection.makefile("rb", CHUNK))


def _read_head(stream: BufferedReader) -> Head | None:
    lines: list[bytes] = []
    while line := stream.readline():
        if line == b"\r\n":
            return Head(lines)
        lines.append(line.rstrip(b"\r\n"))
    return None


def _pump(stream: BufferedReader, length: int | None, write: Callable[[bytes], object], limit: int | None) -> None:
    """Hand on a body, and break after ``limit`` bytes of it.

    :param length: how long it is, None where it comes in chunks
    """
    sent = 0

    def hand_on(data: bytes) -> None:
        nonlocal sent
        if limit is not None and sent + len(data) > limit:
            write(data[: limit - sent])
            raise Dropped
        write(data)
        sent += len(data)

    def hand_on_exactly(count: int) -> None:
        while count:
            data = stream.read1(min(count, CHUNK))
            if not data:
                raise Dropped
            hand_on(data)
            count -= len(data)

    if length is not None:
        return hand_on_exactly(length)
    while True:
        line = stream.readline()
        hand_on(line)
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        hand_on_exactly(size + 2)
    while (line := stream.readline()) not in (b"\r\n", b""):
        hand_on(line)
    return hand_on(line)


def behind(url: str) -> tuple[str, int]:
    """Return host and port of a URL, for :class:`Proxy`."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


MakeProxy = Callable[[str, Faults, int], Proxy]


@pytest.fixture
def faulty() -> Iterator[MakeProxy]:
    """Return a function that starts a proxy in front of a URL: ``faulty(url, Faults(...), seed)``."""
    with ExitStack() as stack:

        def make(url: str, faults: Faults, seed: int) -> Proxy:
            http = url.startswith("http")
            return stack.enter_context(Proxy(behind(url), faults, seed, http=http))

        yield make
