"""A cancel request that cannot freeze the process.

psycopg2's ``connection.cancel()`` holds the interpreter's lock while it waits for the server: measured, a server that
accepts and does not answer stops every thread. libpq's own function, called through ctypes, lets the others run.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import connection

_ERROR_SIZE = 256


class CancelRequest:
    """What is needed to cancel a connection's statement, taken while the connection is idle.

    :param conn: a connection of psycopg2
    """

    def __init__(self, conn: connection) -> None:
        self._libpq = _libpq()
        self._lock = threading.Lock()
        self._handle: int | None = self._libpq.PQgetCancel(conn.pgconn_ptr)

    def send(self) -> None:
        """Ask the server to stop what it runs, and wait until it took the request; may block, never raises."""
        with self._lock:
            if self._handle is not None:
                error = ctypes.create_string_buffer(_ERROR_SIZE)
                self._libpq.PQcancel(self._handle, error, _ERROR_SIZE)

    def free(self) -> None:
        """Give the memory back, unless a request is on its way."""
        if self._lock.acquire(blocking=False):
            try:
                self._libpq.PQfreeCancel(self._handle)
                self._handle = None
            finally:
                self._lock.release()


def _libpq() -> ctypes.CDLL:
    from psycopg2 import _psycopg

    # The very libpq that psycopg2 is linked to: its symbols are found through the extension module.
    libpq = ctypes.CDLL(_psycopg.__file__)
    libpq.PQgetCancel.restype = ctypes.c_void_p
    libpq.PQgetCancel.argtypes = [ctypes.c_void_p]
    libpq.PQcancel.restype = ctypes.c_int
    libpq.PQcancel.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    libpq.PQfreeCancel.restype = None
    libpq.PQfreeCancel.argtypes = [ctypes.c_void_p]
    return libpq
