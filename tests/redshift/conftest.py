"""A Data API that executes, on a PostgreSQL, and the operator that speaks with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fix_postgres import Database
from tests.fix_s3 import AWS
from tests.redshift.data_api import DataApi, DataApiServer
from tradewind.amazon.redshift.data import RedshiftDataHook, Warehouse
from tradewind.amazon.redshift.operators import RedshiftDataOperator

PLACE = {"cluster_identifier": "sales", "database": "dev", "db_user": "etl"}


@pytest.fixture
def api(database: Database) -> DataApi:
    """Return the service's inside: its journal, its faults."""
    dsn = f"host={database.host} port={database.port} dbname={database.name} user={database.user}"
    return DataApi(f"{dsn} password={database.password}", page=100)


@pytest.fixture
def data_api(api: DataApi, connection: Callable[..., str], parsed_once: None) -> Iterator[DataApiServer]:
    """Start the service, reached through the connection ``aws_default``."""
    with DataApiServer(api) as server:
        connection("aws_default", {**AWS, "extra": {"endpoint_url": server.url, "region_name": "eu-west-1"}})
        yield server


@pytest.fixture
def hook(data_api: DataApiServer) -> RedshiftDataHook:
    return RedshiftDataHook().at(Warehouse(**PLACE))


@pytest.fixture
def operator(data_api: DataApiServer) -> Callable[..., RedshiftDataOperator]:
    """Return a function that makes an operator which waits on the worker."""

    def make(sql: Any, **given: Any) -> RedshiftDataOperator:
        given = {"deferrable": False, "poll_interval": 0.2, **({} if "session_id" in given else PLACE), **given}
        return RedshiftDataOperator(task_id="run", sql=sql, **given)

    return make
