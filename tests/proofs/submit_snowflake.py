"""Snowflake as a service of the proof that SQL is submitted once."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from tests.proofs import submit_rivals
from tests.snowflake.server import ACCOUNT, PASSWORD, PAT, SnowflakeServer


def statements(run: str, seconds: float) -> str:
    """Return the SQL of a run: two statements, of which the second one leaves a row."""
    return f"SELECT SYSTEM$WAIT({seconds}); INSERT INTO runs VALUES ('{run}')"


def operator(run: str, seconds: float) -> Any:
    """Make the operator of a run."""
    from tradewind.snowflake.operators import SnowflakeOperator

    return SnowflakeOperator(
        task_id="submit",
        sql=statements(run, seconds),
        deferrable=True,
        poll_interval=0.1,
        defer_after=0.2,
    )


class SnowflakeService:
    """A Snowflake that executes, refuses and loses answers.

    :param folder: where it logs
    :param seed: of the faults
    :param faults: the share of calls that break
    """

    seconds = 1.2
    """A process logs in twice before it submits."""

    def __init__(self, folder: Path, seed: int, faults: float) -> None:
        # The less that the service promises, the more is proven: a request's id means nothing to another session.
        self.server = SnowflakeServer(
            None, {"ETL": {"password": PASSWORD, "pat": PAT}}, folder / "snowflake.log", "session"
        )
        self.seed, self.faults = seed, faults
        self.connections: dict[str, str] = {}
        self._onlooker: Any = None

    def __enter__(self) -> SnowflakeService:
        import snowflake.connector

        logging.getLogger("snowflake.connector").setLevel(logging.WARNING)
        self.server.__enter__()
        extra = {"database": "WAREHOUSE", "schema": "S", "network_timeout": 20, "login_timeout": 20}
        self.connections = submit_rivals.connections(self.server.connection(**extra))
        place = {"account": ACCOUNT, "host": self.server.host, "port": self.server.port, "protocol": "http"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._onlooker = snowflake.connector.connect(
                user="etl", password=PASSWORD, database="WAREHOUSE", schema="S", **place
            )
        self._query("CREATE TABLE runs (run VARCHAR)")
        share = self.faults / 3
        path = "query-request|monitoring|login|result|abort|statements"
        self.server.faults(
            {"path": path, "kind": "drop", "share": share, "body": "^(?!.*onlooker)"},
            {"path": path, "kind": "drop", "after": True, "share": share, "body": "^(?!.*onlooker)"},
            {"path": path, "kind": "status", "share": share, "body": "^(?!.*onlooker)"},
            seed=self.seed,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.server.faults()
        self._onlooker.close()
        self.server.__exit__()

    def statuses(self, run: str) -> list[str]:
        known = {"SUCCESS": "done", "FAILED_WITH_ERROR": "ended", "ABORTED": "ended"}
        found = [each for each in self.server.journal() if f"INTO runs VALUES ('{run}')" in each["sql"]]
        return [known.get(each["status"], "running") for each in found if not each["parent"]]

    def rows(self, run: str) -> int:
        return int(self._query(f"SELECT COUNT(*) FROM runs WHERE run = '{run}' -- onlooker")[0][0])

    def calls(self) -> int:
        return sum(self.server.calls().values())

    def _query(self, sql: str) -> Any:
        return self._onlooker.cursor().execute(sql).fetchall()
