"""The services beside Airflow, each in a container of its own: ``python -m tradewind.local.stack.serve NAME``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tradewind.local.metadata import Metadata
from tradewind.local.postgres import USER, PostgresServer
from tradewind.local.stack import layout
from tradewind.local.state import write_private
from tradewind.local.versions import version

SCRATCH = Path("/tmp")  # noqa: S108 - of the container, which nobody else is in
MARIADB_FAST: Mapping[str, str] = {
    "bind-address": "*",
    "skip-name-resolve": "1",
    "local-infile": "1",
    "character-set-server": "utf8mb4",
    "default-time-zone": "+00:00",
    "max-connections": "200",
    "innodb-buffer-pool-size": "128M",
    # A development database: a crash of its process loses nothing, a power cut may.
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-doublewrite": "0",
}
MARIADB_START = (  # before anybody can connect; one statement a line
    "DELETE FROM mysql.global_priv WHERE User IN ('', 'root');",
    "FLUSH PRIVILEGES;",
    "CREATE USER IF NOT EXISTS {user}@'%';",
    "ALTER USER {user}@'%' IDENTIFIED BY '{password}';",
    "GRANT ALL ON *.* TO {user}@'%' WITH GRANT OPTION;",
    "CREATE DATABASE IF NOT EXISTS warehouse;",
)


def postgres() -> int:
    """Serve PostgreSQL until SIGTERM: the warehouse, and Airflow's own database with its schema."""
    airflow = version(os.environ["TRADEWIND_AIRFLOW"])
    return _postgres("database", lambda server: Metadata(server, airflow, layout.SCHEMA).prepare())


def warehouse() -> int:
    """Serve PostgreSQL until SIGTERM: the warehouse alone."""
    return _postgres("warehouse", lambda server: None)


def _postgres(secret: str, prepare: Callable[[PostgresServer], object]) -> int:
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
        new_password=layout.secret(secret),
    )
    with server:
        prepare(server)
        print("PostgreSQL answers", flush=True)
        while not stopping.wait(1.0):
            if server.pid is None:
                print(server.log.read_text()[-4000:], file=sys.stderr)
                return 1
    return 0


def mariadb() -> int:
    """Become MariaDB: a database ``warehouse``, and one user who may do everything."""
    data, temporary = layout.DATA / "data", layout.DATA / "tmp"
    if not (data / "mysql").exists():
        shutil.rmtree(data, ignore_errors=True)  # the beginning of one that was ended while it was made
        new = layout.DATA / "new"
        shutil.rmtree(new, ignore_errors=True)
        arguments = ("--no-defaults", f"--datadir={new}", "--auth-root-authentication-method=normal", "--skip-test-db")
        subprocess.run(["mariadb-install-db", *arguments], check=True, timeout=300, stdout=subprocess.DEVNULL)
        new.rename(data)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    password, socket = layout.secret("mariadb"), SCRATCH / "mariadb.sock"
    write_private(SCRATCH / "init.sql", "\n".join(MARIADB_START).format(user=USER, password=password))
    write_private(layout.MARIADB_CLIENT, f"[client]\nsocket={socket}\nuser={USER}\npassword={password}\n")
    settings = {
        "datadir": data,
        "tmpdir": temporary,
        "socket": socket,
        "pid-file": SCRATCH / "mariadb.pid",
        "init-file": SCRATCH / "init.sql",
        "port": layout.MARIADB[1],
        **MARIADB_FAST,
    }
    program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    os.execv(program, [program, "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())])  # noqa: S606


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
    if layout.under_sqs():
        module += [str(layout.MESSAGES), layout.QUEUE, str(layout.VISIBILITY)]
    os.execv(sys.executable, module)  # noqa: S606


SERVICES = {"postgres": postgres, "warehouse": warehouse, "mariadb": mariadb, "broker": broker, "aws": aws}

if __name__ == "__main__":
    sys.exit(SERVICES[sys.argv[1]]())
