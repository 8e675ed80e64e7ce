"""What ends S3KeySensor at once, and its timeout."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.amazon.s3_sensors.waits import SECRET, WAYS, Bucket, MakeContext, deferral, fire, resume, run, sensor
from tradewind.hooks.compat import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from tradewind.hooks.errors import AccessDenied, NotFound
from tradewind.local.s3 import S3Server


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", ["key", "in/*.csv"])
def test_a_missing_bucket_fails_at_once(context: MakeContext, way: str, key: str) -> None:
    waiting = sensor(f"s3://nirvana-{uuid.uuid4().hex}/{key}", way, poke_interval=5)

    with pytest.raises(NotFound, match="no such bucket"):
        run(waiting, context(waiting))


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_connection_fails_at_once(context: MakeContext, way: str) -> None:
    waiting = sensor("s3://bucket/key", way, aws_conn_id="nobody_defined_me")

    with pytest.raises(NotFound, match="nobody_defined_me"):
        run(waiting, context(waiting))


def test_a_bucket_that_goes_ends_the_trigger(bucket: Bucket, context: MakeContext) -> None:
    waiting = sensor(bucket.url("in/*.csv"))

    with pytest.raises(NotFound, match="no such bucket"):
        run(waiting, context(waiting), lambda: bucket.client.delete_bucket(Bucket=bucket.name))


@contextmanager
def rights_checked(server: S3Server) -> Iterator[None]:
    def switch(count: str) -> None:
        url = f"{server.endpoint_url}/moto-api/reset-auth"
        request = Request(url, data=count.encode(), headers={"Content-Type": "text/plain"}, method="POST")
        urlopen(request, timeout=10).close()

    switch("0")
    try:
        yield
    finally:
        switch("inf")


@pytest.mark.parametrize("key", ["key", "in/*.csv"])
def test_a_denied_right_fails_at_once(server: S3Server, bucket: Bucket, context: MakeContext, key: str) -> None:
    waiting = sensor(bucket.url(key))
    trigger = deferral(lambda: waiting.execute(context(waiting)))

    with rights_checked(server):
        with pytest.raises(AccessDenied):
            waiting.execute(context(waiting))
        event = asyncio.run(fire(trigger))
    with pytest.raises(AccessDenied) as caught:
        resume(waiting, context(waiting), event)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("word", "error"), [({}, AirflowSensorTimeout), ({"soft_fail": True}, AirflowSkipException)])
@pytest.mark.parametrize("way", WAYS)
def test_a_timeout_fails_or_skips(
    bucket: Bucket, context: MakeContext, way: str, word: dict[str, Any], error: type[AirflowException]
) -> None:
    waiting = sensor(bucket.url("never"), way, timeout=0.2, **word)
    began = time.monotonic()

    with pytest.raises(error):
        run(waiting, context(waiting))
    assert time.monotonic() - began < 3
