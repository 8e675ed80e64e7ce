"""Seeing that a server has hung up while bytes are still being sent to it.

A server that ends a connection in the middle of LOAD DATA LOCAL (KILL, a crash of its thread) reads no more. Whoever
waits then for room in a closed window is not told: the kernel asks for room again and again, until its own time-outs,
one to two minutes later.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HUNG_UP = getattr(select, "POLLRDHUP", 0)  # Linux alone tells it


@contextmanager
def hanging_up_with(sock: socket.socket) -> Iterator[None]:
    """Shut a socket down as soon as its peer has: a send that waits then fails at once.

    :param sock: a connected socket, plain or TLS
    """
    if not _HUNG_UP:
        yield
        return
    wakes, wake = os.pipe()
    thread = threading.Thread(target=_watch, args=(sock, wakes), name="tradewind-hang-up", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(wake)
        thread.join()
        os.close(wakes)


def _watch(sock: socket.socket, wakes: int) -> None:
    poll = select.poll()
    poll.register(wakes, 0)  # an end that is closed is always told
    with suppress(OSError, ValueError):  # closed meanwhile
        number = sock.fileno()
        poll.register(number, _HUNG_UP)
        if any(found == number for found, _ in poll.poll()):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
