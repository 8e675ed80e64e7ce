"""How much work there is in a running environment, as Airflow's own database has it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tradewind.local.errors import LocalError

if TYPE_CHECKING:
    import psycopg2.extensions

ENDS = 8
"""Task ends that are shown."""


@dataclass(frozen=True)
class Load:
    """What runs and what waits for a worker.

    :param running: task instances
    :param queued: task instances that were given to the executor and do not run yet
    :param hosts: how many of those that run are on which host
    """

    running: int
    queued: int
    hosts: dict[str, int]

    @property
    def tasks(self) -> int:
        """Both together, which the number of workers follows."""
        return self.running + self.queued


class Meter:
    """Reads the load, through one connection that is kept.

    :param dsn: the address of Airflow's database, the password in it
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg2.extensions.connection | None = None

    def load(self) -> Load:
        """Return the load.

        :raises LocalError: when the database does not answer
        """
        rows = self._rows(
            "select state, coalesce(hostname, ''), count(*) from task_instance "
            "where state in ('running', 'restarting', 'queued') group by 1, 2"
        )
        hosts: dict[str, int] = {}
        for state, host, count in rows:
            if state != "queued":
                hosts[host] = hosts.get(host, 0) + count
        queued = sum(count for state, _, count in rows if state == "queued")
        return Load(sum(hosts.values()), queued, hosts)

    def ends(self, count: int = ENDS) -> list[dict[str, Any]]:
        """Return the tries that ended last, the latest first.

        :param count: how many
        :raises LocalError: when the database does not answer
        """
        rows = self._rows(
            "select dag_id, task_id, map_index, state, to_char(end_date at time zone 'utc', 'HH24:MI:SS'), "
            "round(coalesce(duration, 0)::numeric, 1)::float, coalesce(hostname, '') from task_instance "
            "where end_date is not null and state in ('success', 'failed', 'up_for_retry') "
            "order by end_date desc limit %s",
            count,
        )
        names = ("dag", "task", "index", "state", "at", "seconds", "host")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def unfinished(self, ids: list[str]) -> int:
        """Return how many of Celery's tasks have no end among its results.

        :param ids: Celery's own ids
        :raises LocalError: when the database does not answer
        """
        if not ids or self._rows("select to_regclass('celery_taskmeta')") == [(None,)]:
            return len(ids)
        ((ended,),) = self._rows(
            "select count(*) from celery_taskmeta "
            "where task_id = any(%s) and status in ('SUCCESS', 'FAILURE', 'REVOKED')",
            ids,
        )
        return len(ids) - int(ended)

    def facts(self, ends: int = 0) -> dict[str, Any]:
        """Return load and last ends as JSON has them."""
        return {**asdict(self.load()), **({"ends": self.ends(ends)} if ends else {})}

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, statement: str, *values: int | list[str]) -> list[tuple[Any, ...]]:
        import psycopg2

        fresh = self._connection is None
        try:
            if self._connection is None:
                options = "-c statement_timeout=5s -c default_transaction_read_only=on"
                self._connection = psycopg2.connect(self._dsn, connect_timeout=5, options=options)
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall()
        except psycopg2.Error as error:
            self.close()
            if not fresh:  # the server was started again since
                return self._rows(statement, *values)
            raise LocalError(f"Airflow's database does not answer: {str(error).strip()}") from error
