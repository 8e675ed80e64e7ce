"""Airflow's own database: one for each Airflow version in an environment, migrated once on a machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tradewind.local.errors import StartFailed
from tradewind.local.postgres import PostgresServer
from tradewind.local.state import cache_folder
from tradewind.local.tables import Tables
from tradewind.local.versions import Version

TIMEOUT = 180.0


def database(version: Version) -> str:
    """Return the name of a version's database: going from one version to another and back needs no downgrade."""
    return "airflow_" + version.airflow.replace(".", "_")


class Metadata:
    """The metadata database of one environment.

    :param postgres: the server, started
    :param version: the Airflow version
    :param dump: the file with the migrated schema; one in the user's cache when None
    """

    def __init__(self, postgres: PostgresServer, version: Version, dump: Path | None = None) -> None:
        self.postgres = postgres
        self.name = database(version)
        self._dump = dump or cache_folder() / "metadata" / f"{version.airflow}.sql"

    @property
    def dsn(self) -> str:
        """The database's address, the password in it."""
        return self.postgres.dsn(self.name)

    @property
    def tables(self) -> Tables:
        """What is in it."""
        return Tables(self.dsn)

    def prepare(self) -> bool:
        """Make the database, from what an earlier migration on this machine left where there is something.

        :return: whether Airflow's schema is in it
        """
        if not self.postgres.create_database(self.name):
            return self.tables.migrated()
        return self._dump.exists() and self._restore()

    def keep(self) -> None:
        """Save the schema just migrated for the environments to come; a failure costs them time alone."""
        new = self._dump.with_name(f"{self._dump.name}.{os.getpid()}")
        try:
            self._dump.parent.mkdir(parents=True, exist_ok=True)
            done = self._program("pg_dump", "--no-owner", "--no-privileges", "--column-inserts", f"--file={new}")
            if done.returncode == 0:
                new.replace(self._dump)
        except (OSError, subprocess.SubprocessError):
            pass
        finally:
            new.unlink(missing_ok=True)

    def _restore(self) -> bool:
        options = ("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--file={self._dump}")
        try:
            return self._program("psql", *options).returncode == 0 and self.tables.migrated()
        except (OSError, subprocess.SubprocessError) as error:
            raise StartFailed(f"cannot restore Airflow's schema from {self._dump}: {error}") from error

    def _program(self, name: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        address = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.postgres.port),
            "PGUSER": "tradewind",
            "PGPASSWORD": self.postgres.password,
            "PGDATABASE": self.name,
        }
        program: Path = self.postgres.bin(name)
        return subprocess.run(
            [program, *options], env=environment | address, capture_output=True, timeout=TIMEOUT, check=False
        )
