"""A service that the stack has not, in a container of its own: ``python -m tests.stack.standins NAME``.

``STANDIN`` in the environment holds its settings as JSON: see :mod:`tests.stack.standins.running`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

READY = "the stand-in answers"
EVERYWHERE = "0.0.0.0"


def snowflake(settings: dict[str, Any]) -> None:
    """Serve Snowflake, as :mod:`tests.snowflake.service` does: it takes its settings by a pipe, and ends with it."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.snowflake.service"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({**settings, "host": EVERYWHERE}) + "\n")
    process.stdin.flush()
    if process.stdout.readline():
        print(READY, flush=True)
    sys.exit(process.wait())


def redshift(settings: dict[str, Any]) -> None:
    """Serve Redshift over the wire and its Data API, before a database of the stack's PostgreSQL."""
    import boto3
    import psycopg2

    from tests.redshift.data_api import DataApi, DataApiServer
    from tests.redshift.standin.server import Redshift, prepare

    url = urlsplit(settings["dsn"])
    database = url.path.lstrip("/")

    def run(sql: str, parameters: list[Any] | None = None) -> None:
        with closing(psycopg2.connect(settings["dsn"], connect_timeout=10)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)

    prepare(run, database)
    s3 = boto3.client(
        "s3",
        endpoint_url=settings["s3"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    address = (str(url.hostname), url.port or 5432)
    with Redshift(address, s3, lambda _, sql, values: run(sql, values), settings["port"], EVERYWHERE) as wire:
        place = f"host=127.0.0.1 port={wire.port} dbname={database} user={url.username} password={url.password}"
        api = DataApi(f"{place} sslmode=disable")
        api.strict_sessions = True
        with DataApiServer(api, settings["data_api"], EVERYWHERE):
            print(READY, flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    {"snowflake": snowflake, "redshift": redshift}[sys.argv[1]](json.loads(os.environ["STANDIN"]))
