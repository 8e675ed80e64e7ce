"""The S3 server of all tests of S3KeySensor, a bucket for each, and the connection."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

import pytest

from tests.amazon.s3_sensors.waits import SECRET, Bucket
from tests.services import require
from tests.services import s3 as s3_service
from tradewind.amazon.s3 import triggers
from tradewind.local.s3 import S3Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, parsed_once: None) -> Iterator[S3Server]:
    if s3_service() != "moto":
        require("s3", "moto's server: it is stopped and started, and asked for rights")
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Make a bucket, and count the clients and calls of everybody else."""
    import botocore.session

    made = Bucket(f"test-{uuid.uuid4().hex}", server.client())
    made.client.create_bucket(Bucket=made.name)
    create = botocore.session.Session.create_client

    def count(params: dict[str, Any], model: Any, **_: Any) -> None:
        made.calls[model.name] += 1
        if model.name == "ListObjectsV2":
            made.prefixes.append(params["query_string"].get("prefix", ""))

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        client = create(self, *args, **kwargs)
        made.clients += 1
        client.meta.events.register("before-call.s3", count)
        return client

    monkeypatch.setattr(botocore.session.Session, "create_client", counting)
    return made


@pytest.fixture(autouse=True)
def aws(server: S3Server, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Point ``aws_default`` at the server; return a function that points it elsewhere."""

    def point(endpoint: str) -> str:
        monkeypatch.setattr(triggers, "_hooks", WeakValueDictionary())  # clients know the place they were made for
        extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        return connection("aws_default", {"conn_type": "aws", "login": "key", "password": SECRET, "extra": extra})

    point(server.endpoint_url)
    return point
