"""A port of this machine's loopback that leads to a service of the private network.

Where this machine reaches the addresses of containers (Docker on Linux), connections are carried here. Else each goes
through ``docker exec``, a process of its own, for no port of a service is published but the web server's.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time

from tradewind.local.errors import InvalidInput, LocalError
from tradewind.local.stack import compose
from tradewind.local.stack.relay import BLOCK

AT_ONCE = 32
"""Connections."""
TIMEOUT = 1.0
"""Seconds for a connection to an address of this machine's own bridge."""
PAUSE = 0.5
"""Seconds until a connection is closed that leads nowhere: who asks again at once is not to ask Docker each time."""


class Forward:
    """One such port; it is there as long as this object is open.

    :param project: the Compose project
    :param service: the service's name, which is its host name in the private network
    :param port: the service's port
    :param through: the service whose container has Python and our package
    :param direct: whether to try the container's address first
    :param published: whether the container publishes the port: then it leads there and nowhere else
    :param number: the port's own number, any when 0
    :raises InvalidInput: when somebody else has that number
    """

    def __init__(
        self,
        project: str,
        service: str,
        port: int,
        through: str = "aws",
        *,
        direct: bool = True,
        published: bool = False,
        number: int = 0,
    ) -> None:
        self._project = project
        self._service = service, port
        self._through = through
        self._direct = direct
        self._published = published
        self._address: tuple[str, int] | None = None
        try:
            self._listener = socket.create_server(("127.0.0.1", number))
        except OSError as error:
            raise InvalidInput(f"port {number} cannot be had: {error.strerror}") from error
        self.port: int = self._listener.getsockname()[1]
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._thread = threading.Thread(target=self._accept, name="tradewind-forward", daemon=True)
        self._thread.start()

    def turn(self) -> None:
        """Lead new connections to the container that serves now; those that are open stay where they are."""
        self._address = None

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
                if service is None and self._published:
                    time.sleep(PAUSE)
                elif service is None:
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
            with contextlib.suppress(OSError, LocalError):
                address = known or self._find()
                found = socket.create_connection(address, TIMEOUT)
                found.settimeout(None)
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._address = address
                return found
        self._address = None
        return None

    def _find(self) -> tuple[str, int]:
        service, port = self._service
        if self._published:
            return compose.published(self._project, service, port)
        address = compose.address(self._project, service)
        if address is None:
            raise LocalError(f"{service} has no address")
        return address, port

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
