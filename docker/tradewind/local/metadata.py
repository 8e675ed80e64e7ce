"""Airflow's own database: one for each Airflow version in an environment, migrated once on a machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tradewind.local.errors import LocalError, StartFailed
from tradewind.local.postgres import PostgresServer
from tradewind.local.state import cache_folder
from tradewind.local.versions import Version

TIMEOUT = 180.0


def database(version: Version) -> str:
    """Return the name of a version's database: going from one version to another and back needs no downgrade."""
    return "airflow_" + version.airflow.replace(".", "_")


class Metadata:
    """The metadata database of one environment.

    :param postgres: the server, started
    :param version: the Airflow version
    """

    def __init__(self, postgres: PostgresServer, version: Version) -> None:
        self.postgres = postgres
        self.name = database(version)
        self._dump = cache_folder() / "metadata" / f"{version.airflow}.sql"

    @property
    def dsn(self) -> str:
        """The database's address, the password in it."""
        return self.postgres.dsn(self.name)

    def prepare(self) -> bool:
        """Make the database, from what an earlier migration on this machine left where there is something.

        :return: whether Airflow's schema is in it
        """
        if not self.postgres.create_database(self.name):
            return self.migrated()
        return self._dump.exists() and self._restore()

    def migrated(self) -> bool:
        """Say whether a migration came to its end."""
        import psycopg2

        connection = psycopg2.connect(self.dsn, connect_timeout=10)
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "select to_regclass('alembic_version') is not null and to_regclass('dag_run') is not null"
                )
                if not cursor.fetchone()[0]:  # type: ignore[index]
                    return False
                cursor.execute("select count(*) from alembic_version")
                return bool(cursor.fetchone()[0])  # type: ignore[index]
        finally:
            connection.close()

    def end_jobs(self, kind: str | None = None) -> None:
        """Write down that a component ended which could not do so itself, so that the next one takes over at once.

        Airflow takes a job for running until ``scheduler_health_check_threshold`` (30 s) after its last beat, and looks
        for the tasks of the others at a scheduler's start and then every ``orphaned_tasks_check_interval`` (300 s).

        :param kind: Airflow's ``job_type``; all when None
        :raises LocalError: when the database does not answer
        """
        import psycopg2

        try:
            connection = psycopg2.connect(self.dsn, connect_timeout=10, options="-c statement_timeout=10s")
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(
                        "update job set state = 'failed', end_date = now() "
                        "where state = 'running' and (job_type = %(kind)s or %(kind)s::text is null)",
                        {"kind": kind},
                    )
            finally:
                connection.close()
        except psycopg2.Error as error:
            raise LocalError(f"cannot write to Airflow's database {self.name}: {str(error).strip()}") from error

    def set_password(self, user: str, password: str) -> None:
        """Set a login's password, on Airflow 2, as Flask AppBuilder stores it."""
        import psycopg2
        from werkzeug.security import generate_password_hash

        hashed = generate_password_hash(password, method="pbkdf2:sha256:260000")  # any Werkzeug since 2.2 reads it
        connection = psycopg2.connect(self.dsn, connect_timeout=10)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("update ab_user set password = %s where username = %s", (hashed, user))
        finally:
            connection.close()

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
            return self._program("psql", *options).returncode == 0 and self.migrated()
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
