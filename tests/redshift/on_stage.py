"""The stand-in for Redshift beside other servers, for proofs and benchmarks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.redshift.data_api import DataApi, DataApiServer
from tests.redshift.standin.server import Redshift, prepare
from tests.stage import SHIFT, Stage
from tradewind.local.postgres import PostgresServer
from tradewind.local.processes import free_port


@contextmanager
def open_redshift(folder: Path, stage: Stage) -> Iterator[Stage]:
    """Start the stand-in for Redshift, on a PostgreSQL of its own, reached over the wire and through a Data API."""
    import psycopg2

    with PostgresServer(folder / "redshift", free_port(), databases=(SHIFT,)) as behind:
        dsn, url = behind.dsn(SHIFT), urlsplit(behind.dsn(SHIFT))

        def run(sql: str, parameters: Any = None) -> None:
            with contextlib.closing(psycopg2.connect(dsn, connect_timeout=10)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(sql, parameters)

        prepare(run, SHIFT)
        address = (url.hostname or "127.0.0.1", url.port or 5432)
        with Redshift(address, stage.client(), lambda _, sql, values: run(sql, values)) as server:
            place = f"postgresql://{url.username}:{url.password or ''}@127.0.0.1:{server.port}/{SHIFT}"
            api = DataApi(f"{place}?sslmode=disable")
            api.strict_sessions = True
            with DataApiServer(api) as listening:
                yield replace(stage, redshift=place, behind=dsn, data_api=listening.url)
