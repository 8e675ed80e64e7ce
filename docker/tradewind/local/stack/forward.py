"""A port of this machine's loopback that leads to a service of the private network.

Where this machine reaches the addresses of containers (Docker on Linux), connections are carried here. Else each goes
through ``docker exec``, a process of its own, for no port of a service is published.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading

from tradewind.local.stack import compose
from tradewind.local.stack.relay import BLOCK

AT_ONCE = 32
"""Connections."""
TIMEOUT = 1.0
"""Seconds for a connection to an address of this machine's own bridge."""


class Forward:
    """One such port; it is there as long as this object is open.

    :param project: the Compose project
    :param service: the service's name, which is its host name in the private network
    :param port: the service's port
    :param through: the service whose container has Python and our package
    :param direct: whether to try the container's address first
    """

    def __init__(self, project: str, service: str, port: int, through: str = "aws", *, direct: bool = True) -> None:
        self._project = project
        self._service = service, port
        self._through = through
        self._direct = direct
        self._address: str | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._thread = threading.Thread(target=self._accept, name="tradewind-forward", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the port and every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._listener.close()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)  # wakes its threads, which close it
            for process in self._running:
                process.kill()
        self._thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                channel, _ = self._listener.accept()
                self._slots.acquire()
                threading.Thread(target=self._serve, args=(channel,), daemon=True).start()

    def _serve(self, channel: socket.socket) -> None:
        try:
            with channel:
                service = self._connect() if self._direct else None
                if service is None:
                    self._relay(channel)
                else:
                    with service:
                        self._carry(channel, service)
        except Exception:  # noqa: S110 - the container is gone; who is connected sees the end of the connection
            pass
        finally:
            self._slots.release()

    def _connect(self) -> socket.socket | None:
        """Connect to the container's address: the one that answered last, or after a replacement its present one."""
        for known in (self._address, None):
            address = known or compose.address(self._project, self._service[0])
            if address is None:
                continue
            with contextlib.suppress(OSError):
                found = socket.create_connection((address, self._service[1]), TIMEOUT)
                found.settimeout(None)
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._address = address
                return found
        self._address = None
        return None

    def _carry(self, channel: socket.socket, service: socket.socket) -> None:
        ends = {channel, service}
        with self._lock:
            self._open |= ends
        try:
            back = threading.Thread(target=_pump, args=(service, channel), daemon=True)
            back.start()
            _pump(channel, service)
            back.join()
        finally:
            with self._lock:
                self._open -= ends

    def _relay(self, channel: socket.socket) -> None:
        through = next(each.id for each in compose.containers(self._project) if each.service == self._through)
        host = "127.0.0.1" if self._service[0] == self._through else self._service[0]
        process = subprocess.Popen(
            [
                *("docker", "exec", "--interactive", through),
                *("python3", "-m", "tradewind.local.stack.relay", host, str(self._service[1])),
            ],
            stdin=channel.fileno(),
            stdout=channel.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        channel.close()  # the process has it
        with self._lock:
            self._running.add(process)
        process.wait()
        with self._lock:
            self._running.discard(process)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Carry one direction to its end; the other one may go on."""
    with contextlib.suppress(OSError):
        while data := source.recv(BLOCK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
