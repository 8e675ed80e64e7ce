"""On a real Airflow, a person ends a deferred task: the statement is stopped. A triggerer that dies stops nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tests.fix_up import Up
from tests.person_kill import RUNNING, end_a_deferred_task
from tests.snowflake.server import SnowflakeServer
from tradewind.local.versions import VERSIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OPERATOR = """SnowflakeOperator(
        task_id="slow", sql="SELECT SYSTEM$WAIT(300.5)", snowflake_conn_id="warehouse", deferrable=True, defer_after=0,
        poll_interval=1,
    )"""


class Seen:
    """The service, seen from its inside."""

    def __init__(self, server: SnowflakeServer) -> None:
        self.server = server

    def looks(self) -> int:
        return sum(count for path, count in self.server.calls().items() if path.startswith("/monitoring/"))

    def statuses(self) -> list[str]:
        known = {"RUNNING": "running", "ABORTED": "stopped"}
        return [known.get(each["status"], each["status"]) for each in self.server.jobs("WAIT(300.5)")]


@pytest.mark.skipif(RUNNING not in VERSIONS, reason=f"MWAA does not offer Airflow {RUNNING}")
def test_a_person_s_end_of_a_deferred_task_stops_the_statement(
    up: Callable[..., Up], project: Path, snowflake_database: SnowflakeDatabase
) -> None:
    server = snowflake_database.server
    end_a_deferred_task(
        up,
        project,
        Seen(server),
        connection=server.connection(database=snowflake_database.name, schema="S"),
        imports="from tradewind.snowflake.operators import SnowflakeOperator",
        operator=OPERATOR,
    )
