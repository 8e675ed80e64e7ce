"""A private S3 server: moto in a process of its own, with buckets that outlive it."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tradewind.local.errors import LocalError, StartFailed
from tradewind.local.processes import Child, Guard, free_port, tail

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
ACCESS_KEY = "test"
SECRET_KEY = "test"  # noqa: S105 - the server asks for none, clients want one


def client(endpoint_url: str) -> S3Client:
    """Return a boto3 client for a local S3 server.

    :param endpoint_url: its address
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 2}),
    )


class S3Server:
    """An S3 server on 127.0.0.1 that ends with this process.

    Buckets, objects and their versions (ETags, version ids, metadata and tags as they were) are saved in the folder
    every few seconds and at the stop, and are back at the next start. Content larger than 256 KiB lies in files, not in
    memory.

    :param folder: the state folder, made when missing
    :param port: the port, a free one when None
    :param guard: the guard to start under; one of its own when None
    :param nice: the niceness of its process
    """

    def __init__(self, folder: Path, port: int | None = None, *, guard: Guard | None = None, nice: int = 0) -> None:
        self.folder = Path(folder).absolute()
        self.log = self.folder / "s3.log"
        self._wanted_port = port
        self._port = port
        self._guard = guard
        self._own_guard = guard is None
        self._nice = nice
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise LocalError("the S3 server is not started")
        return self._port

    @property
    def pid(self) -> int | None:
        """Its process id, None when it does not run."""
        return None if self._child is None or self._child.poll() is not None else self._child.pid

    @property
    def endpoint_url(self) -> str:
        """The address to give to clients."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> S3Client:
        """Return a boto3 client for it."""
        return client(self.endpoint_url)

    def start(self, wait: bool = True) -> S3Server:
        """Start the server with the buckets of the last time.

        :param wait: whether to return only when it answers, see :meth:`wait_ready`
        :raises StartFailed: when it does not come up, with the last lines of its log
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log.unlink(missing_ok=True)
        if self._own_guard:
            self._guard = Guard()
        try:
            self._launch()
            if wait:
                self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self, timeout: float = 90.0) -> None:
        """Wait until it answers; where the port was ours to choose and somebody took it first, choose again.

        :param timeout: seconds
        :raises StartFailed: when it does not come up
        """
        deadline = time.monotonic() + timeout
        while not self._answers():
            assert self._child is not None  # noqa: S101
            if self._child.poll() is not None or time.monotonic() > deadline:
                taken = "Address already in use" in tail(self.log)
                if taken and self._wanted_port:
                    raise StartFailed(f"port {self._port} is in use: choose another one for S3")
                if not taken or time.monotonic() > deadline:
                    raise StartFailed(f"the S3 server did not start:\n{tail(self.log)}")
                self.log.unlink(missing_ok=True)
                self._launch()
            self._child.wait(0.05)

    def stop(self) -> None:
        """Save the buckets and end the server."""
        if self._child is not None and self._guard is not None and not self._guard.closed:
            self._child.stop(signal.SIGTERM, timeout=60)
        self._child = None
        if self._own_guard and self._guard is not None:
            self._guard.close()
            self._guard = None

    def _launch(self) -> None:
        assert self._guard is not None  # noqa: S101
        self._port = self._wanted_port or free_port()
        self._child = self._guard.start(
            "s3",
            [sys.executable, "-m", "tradewind.local.s3_process", str(self._port), self.folder],
            # Large blocks go back to the system when they are freed.
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"},
            output=self.log,
            nice=self._nice,
        )

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/moto-api/")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    def __enter__(self) -> S3Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
