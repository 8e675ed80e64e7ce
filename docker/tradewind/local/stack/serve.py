"""The services beside Airflow, each in a container of its own: ``python -m tradewind.local.stack.serve NAME``."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from pathlib import Path

from tradewind.local.metadata import Metadata
from tradewind.local.postgres import PostgresServer
from tradewind.local.stack import layout
from tradewind.local.state import write_private
from tradewind.local.versions import version

SCRATCH = Path("/tmp")  # noqa: S108 - of the container, which nobody else is in


def postgres() -> int:
    """Serve PostgreSQL until SIGTERM: the warehouse, and Airflow's own database with its schema."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    rules = SCRATCH / "pg_hba.conf"
    rules.write_text("host all all all scram-sha-256\n")
    server = PostgresServer(
        layout.DATA,
        layout.POSTGRES[1],
        {"listen_addresses": "*", "hba_file": str(rules), "max_connections": "200"},
        databases=("warehouse",),
        new_password=layout.secret("database"),
    )
    with server:
        Metadata(server, version(os.environ["TRADEWIND_AIRFLOW"]), layout.SCHEMA).prepare()
        print("PostgreSQL answers", flush=True)
        while not stopping.wait(1.0):
            if server.pid is None:
                print(server.log.read_text()[-4000:], file=sys.stderr)
                return 1
    return 0


def broker() -> int:
    """Become Redis, every message written down: MWAA's queue loses none either when one of its machines ends."""
    settings = {
        "bind": "* -::*",
        "port": str(layout.BROKER[1]),
        "requirepass": layout.secret("broker"),
        "save": '""',
        "appendonly": "yes",
        "appendfsync": "everysec",  # the end of the process loses nothing; what was written is the kernel's by then
        "dir": str(layout.DATA),
    }
    file = SCRATCH / "redis.conf"
    write_private(file, "".join(f"{key} {value}\n" for key, value in settings.items()))
    program = shutil.which("redis-server") or "/usr/bin/redis-server"
    os.execv(program, [program, str(file)])  # noqa: S606


def aws() -> int:
    """Become the local AWS services, S3's buckets kept."""
    address = ("0.0.0.0", str(layout.AWS[1]))  # noqa: S104 - on the private network
    module = [sys.executable, "-m", "tradewind.local.s3_process", address[1], str(layout.DATA), address[0]]
    os.execv(sys.executable, module)  # noqa: S606


SERVICES = {"postgres": postgres, "broker": broker, "aws": aws}

if __name__ == "__main__":
    sys.exit(SERVICES[sys.argv[1]]())
