"""Airflow's schema, migrated while the images are built: ``python -m tradewind.local.stack.schema FILE``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tradewind.local.metadata import Metadata
from tradewind.local.postgres import PostgresServer
from tradewind.local.versions import version


def main() -> None:
    """Migrate an empty database and write its dump."""
    wanted = version(os.environ["TRADEWIND_AIRFLOW"])
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder, "postgres")) as server:
        metadata = Metadata(server, wanted, Path(sys.argv[1]))
        server.create_database(metadata.name)
        variables = {
            "AIRFLOW_HOME": folder,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.dsn.replace("postgresql://", "postgresql+psycopg2://", 1),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        }
        subprocess.run(["airflow", "db", "migrate"], env={**os.environ, **variables}, check=True, timeout=600)
        metadata.keep()
    if not Path(sys.argv[1]).exists():
        sys.exit("the schema was not written")


if __name__ == "__main__":
    main()
