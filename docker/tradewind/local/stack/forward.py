"""A port of this machine's loopback that leads to a service of the private network, through ``docker exec``."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading

AT_ONCE = 32
"""Connections: each is a process."""


class Forward:
    """One such port; it is there as long as this object is open.

    :param container: the container through which it goes, which has Python and our package
    :param address: host and port of the service, as that container sees them
    """

    def __init__(self, container: str, address: tuple[str, int]) -> None:
        self._command = [
            *("docker", "exec", "--interactive", container),
            *("python3", "-m", "tradewind.local.stack.relay", address[0], str(address[1])),
        ]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._thread = threading.Thread(target=self._accept, name="tradewind-forward", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the port and every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._listener.close()
        for process in list(self._running):
            process.kill()
        self._thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                channel, _ = self._listener.accept()
                self._slots.acquire()
                with channel:
                    process = subprocess.Popen(
                        self._command,
                        stdin=channel.fileno(),
                        stdout=channel.fileno(),
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                self._running.add(process)
                threading.Thread(target=self._reap, args=(process,), daemon=True).start()

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._running.discard(process)
        self._slots.release()
