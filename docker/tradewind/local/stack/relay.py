"""Standard input and output, joined to a port of the private network: ``python -m ... HOST PORT``.

The machine reaches the bucket and the warehouse through it, by ``docker exec``: no port of theirs is published.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

BLOCK = 1 << 16


def up(channel: socket.socket) -> None:
    """Send what comes in; its end ends that direction alone."""
    with contextlib.suppress(OSError):
        while data := os.read(0, BLOCK):
            channel.sendall(data)
        channel.shutdown(socket.SHUT_WR)


def main() -> None:
    """Relay until the service closes."""
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as channel:
        channel.settimeout(None)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=up, args=(channel,), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := channel.recv(BLOCK):
                while data:
                    data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
