"""What S3KeySensor costs: calls and clients."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.amazon.s3_sensors.waits import Bucket, MakeContext, deferral, fire, sensor
from tradewind.amazon.s3 import triggers
from tradewind.local.s3 import S3Server


def test_a_poll_costs_one_call_for_each_key(bucket: Bucket, context: MakeContext) -> None:
    bucket.put("a", "in/1.csv", "in/2.csv", "re/1")
    keys = [bucket.url("a"), bucket.url("in/*.csv"), bucket.url("missing")]
    waiting = sensor(keys, poke_interval=5)
    trigger = deferral(lambda: waiting.execute(context(waiting)))

    assert bucket.counted() == {"HeadObject": 2, "ListObjectsV2": 1, "HeadBucket": 1}
    assert trigger.look() is None
    assert bucket.counted() == {"HeadObject": 2, "ListObjectsV2": 1}
    regex = deferral(lambda: sensor(bucket.url("re/[2-9]"), use_regex=True).execute(context(waiting)))
    bucket.counted()
    assert regex.look() is None
    assert bucket.counted() == {"ListObjectsV2": 1}


def test_the_first_missing_key_ends_a_poll(bucket: Bucket, context: MakeContext) -> None:
    waiting = sensor([bucket.url("missing"), bucket.url("in/*"), bucket.url("other")])
    trigger = deferral(lambda: waiting.execute(context(waiting)))
    bucket.counted()

    assert trigger.look() is None
    assert bucket.counted() == {"HeadObject": 1}


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_later_pokes_do_not_ask_for_the_bucket_again(bucket: Bucket, context: MakeContext, mode: str) -> None:
    from datetime import UTC, datetime, timedelta

    waiting = sensor(bucket.url("missing"), "poke", mode=mode, poke_interval=30)
    made = context(waiting)
    made["ti"].start_date = datetime.now(UTC) - timedelta(seconds=31)

    assert not waiting.poke(made)
    assert bucket.counted() == {"HeadObject": 1}


def test_many_triggers_share_one_client_however_often_they_look(bucket: Bucket, context: MakeContext) -> None:
    waiting = sensor(bucket.url("late"), poke_interval=0.02)
    all_of_them = [deferral(lambda: waiting.execute(context(waiting))) for _ in range(10)]
    before = bucket.clients
    bucket.counted()

    async def wait() -> list[dict[str, Any]]:
        firing = asyncio.gather(*(fire(one) for one in all_of_them))
        while bucket.calls["HeadObject"] < 50:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(bucket.put, "late")
        return await firing

    events = asyncio.run(wait())

    assert [event["found"] for event in events] == [[bucket.url("late")]] * 10
    assert bucket.clients - before == 1


def test_a_client_ends_with_the_last_trigger_that_used_it(bucket: Bucket, context: MakeContext) -> None:
    import gc

    bucket.put("here")
    waiting = sensor(bucket.url("never"))
    trigger = deferral(lambda: waiting.execute(context(waiting)))

    assert trigger.look() is None
    assert len(triggers._hooks) == 1
    asyncio.run(trigger.cleanup())
    gc.collect()

    assert len(triggers._hooks) == 0


def test_a_regular_expression_lists_from_its_literal_beginning(bucket: Bucket, context: MakeContext) -> None:
    bucket.put("in/2026/a.csv", "elsewhere")
    waiting = sensor(bucket.url(r"in/2026/.*\.csv"), use_regex=True)

    waiting.execute(context(waiting))

    assert bucket.prefixes == ["in/2026/"]


@pytest.fixture(scope="module")
def crowded(server: S3Server) -> str:
    """A bucket with more keys than a page of a listing holds."""
    name, client = f"crowded-{uuid.uuid4().hex}", server.client()
    client.create_bucket(Bucket=name)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: client.put_object(Bucket=name, Key=f"in/{n:04}"), range(1005)))
    return name


@pytest.mark.parametrize("arguments", [{"wildcard_match": True}, {"use_regex": True}])
def test_a_listing_reads_all_pages_but_none_too_many(
    bucket: Bucket, crowded: str, context: MakeContext, arguments: dict[str, Any]
) -> None:
    first = sensor(f"s3://{crowded}/in/0[0]0[3]", **arguments)
    last = sensor(f"s3://{crowded}/in/1[0]0[3]", **arguments)
    everything = sensor(f"s3://{crowded}/in/[0-9]", **(arguments | {"use_regex": True, "wildcard_match": None}))
    everything.check_fn = lambda files: len(files) == 1005

    assert first.execute(context(first)) == [f"s3://{crowded}/in/0003"]
    assert bucket.counted() == {"ListObjectsV2": 1}
    assert last.execute(context(last)) == [f"s3://{crowded}/in/1003"]
    bucket.counted()
    assert everything.execute(context(everything)) == [f"s3://{crowded}/in/0000"]
    assert bucket.counted() == {"ListObjectsV2": 2}
