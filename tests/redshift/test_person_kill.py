"""On a real Airflow, a person ends a deferred task: the statement is stopped. A triggerer that dies stops nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_s3 import AWS
from tests.fix_up import Up
from tests.person_kill import RUNNING, end_a_deferred_task
from tests.redshift.data_api import DataApi, DataApiServer
from tradewind.local.versions import VERSIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OPERATOR = """RedshiftDataOperator(
        task_id="slow", sql="SELECT pg_sleep(300)", cluster_identifier="sales", database="dev", db_user="etl",
        aws_conn_id="warehouse", deferrable=True, defer_after=0, poll_interval=1,
    )"""


class Seen:
    """The Data API, seen from its inside."""

    def __init__(self, api: DataApi) -> None:
        self.api = api

    def looks(self) -> int:
        return self.api.calls["DescribeStatement"]

    def statuses(self) -> list[str]:
        known = {"STARTED": "running", "ABORTED": "stopped"}
        return [known.get(each["status"], each["status"]) for each in self.api.journal()]


@pytest.mark.skipif(RUNNING not in VERSIONS, reason=f"MWAA does not offer Airflow {RUNNING}")
def test_a_person_s_end_of_a_deferred_task_stops_the_statement(
    up: Callable[..., Up], project: Path, api: DataApi, data_api: DataApiServer
) -> None:
    end_a_deferred_task(
        up,
        project,
        Seen(api),
        connection={**AWS, "extra": {"endpoint_url": data_api.url, "region_name": "eu-west-1"}},
        imports="from tradewind.amazon.redshift.operators import RedshiftDataOperator",
        operator=OPERATOR,
    )
