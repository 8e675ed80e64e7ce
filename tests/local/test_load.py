"""How much work there is, as Airflow's database has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.fix_postgres import Database
from tradewind.local.load import Meter


@pytest.fixture
def meter(database: Database) -> Iterator[Meter]:
    dsn = f"postgresql://{database.user}:{database.password}@{database.host}:{database.port}/{database.name}"
    with closing(Meter(dsn)) as made:
        yield made


def test_tasks_of_celery_are_under_way_until_their_end_is_among_its_results(database: Database, meter: Meter) -> None:
    assert meter.unfinished(["a", "b"]) == 2  # Celery makes its table with its first result
    database.query("create table celery_taskmeta (task_id text unique, status text)")
    database.query(
        "insert into celery_taskmeta values ('a', 'SUCCESS'), ('b', 'STARTED'), ('c', 'FAILURE'), ('d', 'REVOKED')"
    )

    assert meter.unfinished([]) == 0
    assert meter.unfinished(["a", "c", "d"]) == 0
    assert meter.unfinished(["a", "b", "not yet noted"]) == 2
