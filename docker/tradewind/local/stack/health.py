"""Whether the service in this container works: ``python -m tradewind.local.stack.health NAME``, exit status 0 or 1."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys

from tradewind.local.postgres import USER
from tradewind.local.stack import layout

TIMEOUT = 4.0


def postgres() -> bool:
    """Log in and ask."""
    import psycopg2

    (_, port), password = layout.warehouse()
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=port,
        user=USER,
        password=password,
        dbname="warehouse",
        connect_timeout=int(TIMEOUT),
        options="-c statement_timeout=4s",
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            return cursor.fetchone() == (1,)
    finally:
        connection.close()


def mariadb() -> bool:
    """Log in and ask."""
    command = ["mariadb", f"--defaults-file={layout.MARIADB_CLIENT}", "--batch", "--skip-column-names"]
    done = subprocess.run(
        [*command, "--execute", "select 1"], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode != 0:
        raise OSError(done.stderr.strip())
    return done.stdout.strip() == "1"


def broker() -> bool:
    """Log in and ping."""
    with socket.create_connection(("127.0.0.1", layout.BROKER[1]), TIMEOUT) as channel:
        channel.sendall(f"AUTH {layout.secret('broker')}\r\nPING\r\n".encode())
        answer = b""
        while b"PONG" not in answer and (more := channel.recv(256)):
            answer += more
        return b"PONG" in answer


def aws() -> bool:
    """List the buckets."""
    connection = http.client.HTTPConnection("127.0.0.1", layout.AWS[1], timeout=TIMEOUT)
    connection.request("GET", "/", headers={"Host": "s3.amazonaws.com"})
    return connection.getresponse().status == 200


SERVICES = {"postgres": postgres, "warehouse": postgres, "mariadb": mariadb, "broker": broker, "aws": aws}

if __name__ == "__main__":
    try:
        well = SERVICES[sys.argv[1]]()
    except Exception as error:  # whatever it is, the service does not work
        sys.exit(f"{type(error).__name__}: {error}")
    sys.exit(0 if well else 1)
