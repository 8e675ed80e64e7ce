"""What is read and written in Airflow's own tables."""

from __future__ import annotations

from tradewind.local.errors import LocalError


class Tables:
    """The metadata database of a running environment.

    :param dsn: its address, the password in it
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def migrated(self) -> bool:
        """Say whether a migration came to its end."""
        import psycopg2

        connection = psycopg2.connect(self._dsn, connect_timeout=10)
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
            connection = psycopg2.connect(self._dsn, connect_timeout=10, options="-c statement_timeout=10s")
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
            raise LocalError(f"cannot write to Airflow's database: {str(error).strip()}") from error

    def has_user(self, user: str) -> bool:
        """Say whether a login is there, on Airflow 2."""
        import psycopg2

        connection = psycopg2.connect(self._dsn, connect_timeout=10)
        try:
            with connection.cursor() as cursor:
                cursor.execute("select 1 from ab_user where username = %s", (user,))
                return cursor.fetchone() is not None
        finally:
            connection.close()

    def set_password(self, user: str, password: str) -> None:
        """Set a login's password, on Airflow 2, as Flask AppBuilder stores it."""
        import psycopg2
        from werkzeug.security import generate_password_hash

        hashed = generate_password_hash(password, method="pbkdf2:sha256:260000")  # any Werkzeug since 2.2 reads it
        connection = psycopg2.connect(self._dsn, connect_timeout=10)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("update ab_user set password = %s where username = %s", (hashed, user))
        finally:
            connection.close()

    def beating(self, kind: str, hostname: str, within: float) -> bool:
        """Say whether a component on a host gave a sign of life lately.

        :param kind: Airflow's ``job_type``
        :param hostname: the host
        :param within: seconds
        :raises LocalError: when the database does not answer
        """
        import psycopg2

        try:
            connection = psycopg2.connect(self._dsn, connect_timeout=5, options="-c statement_timeout=5s")
            try:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "select count(*) from job where job_type = %s and hostname = %s and state = 'running' "
                        "and latest_heartbeat > now() - make_interval(secs => %s)",
                        (kind, hostname, within),
                    )
                    return bool(cursor.fetchone()[0])  # type: ignore[index]
            finally:
                connection.close()
        except psycopg2.Error as error:
            raise LocalError(f"Airflow's database does not answer: {str(error).strip()}") from error
