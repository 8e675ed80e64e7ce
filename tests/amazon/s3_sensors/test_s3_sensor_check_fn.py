"""What check_fn gets, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.amazon.s3_sensors.waits import WAYS, Bucket, MakeContext, deferral, fire, resume, run, sensor
from tradewind.hooks.compat import (
    AirflowSensorTimeout,
)


@pytest.mark.parametrize("way", WAYS)
def test_check_fn_gets_size_and_key_and_the_context_if_it_wants(bucket: Bucket, context: MakeContext, way: str) -> None:
    bucket.put("a", body=b"12345")
    shown: list[Any] = []

    def plain(files: list[Any]) -> bool:
        shown.append(files)
        return True

    def with_context(files: list[Any], **kwargs: Any) -> bool:
        shown.append((files, kwargs["ti"].task_id))
        return True

    for function in (plain, with_context):
        waiting = sensor(bucket.url("a"), way, check_fn=function)
        run(waiting, context(waiting))
    assert shown == [[{"Size": 5, "Key": "a"}], ([{"Size": 5, "Key": "a"}], "wait")]


@pytest.mark.parametrize(
    ("key", "arguments", "heads"),
    [("in/a", {}, 1), ("in/*", {}, 1), (r"in/\w", {"use_regex": True}, 1)],
    ids=["key", "wildcard", "regex"],
)
def test_check_fn_gets_the_metadata_that_is_asked_for(
    bucket: Bucket, context: MakeContext, key: str, arguments: dict[str, Any], heads: int
) -> None:
    metadata = {"owner": "me"}
    bucket.client.put_object(Bucket=bucket.name, Key="in/a", Body=b"123", ContentType="text/csv", Metadata=metadata)
    shown: list[Any] = []

    def collect(files: list[dict[str, Any]]) -> bool:
        shown.extend(files)
        return True

    for names in (["Size", "ETag"], ["ContentType", "Metadata", "Nothing"], ["*"]):
        waiting = sensor(bucket.url(key), check_fn=collect, metadata_keys=names, **arguments)
        bucket.counted()
        waiting.execute(context(waiting))
        expected = heads if "*" in names or "ContentType" in names or key == "in/a" else 0
        assert bucket.counted().get("HeadObject", 0) == expected

    named, asked, everything = shown
    assert named["Size"] == 3
    assert len(named["ETag"]) == 34
    assert asked == {"ContentType": "text/csv", "Metadata": metadata, "Nothing": None}
    assert everything["ContentLength"] == everything["Size"] == 3
    assert everything["Key"] == "in/a"


@pytest.mark.parametrize("arguments", [{}, {"wildcard_match": True}, {"use_regex": True}], ids=str)
def test_a_refusal_waits_in_the_triggerer_until_something_changed(
    bucket: Bucket, context: MakeContext, arguments: dict[str, Any]
) -> None:
    """No bounce between worker and triggerer at each poll: the function is asked once for each state of the objects."""
    asked: list[int] = []

    def enough(files: list[dict[str, Any]]) -> bool:
        asked.append(files[0]["Size"])
        return asked[-1] > 3

    bucket.put("grows", body=b"1")
    waiting = sensor(bucket.url("grows"), check_fn=enough, poke_interval=0.02, **arguments)
    first = deferral(lambda: waiting.execute(context(waiting)))
    bucket.counted()

    async def quiet_then_changed() -> dict[str, Any]:
        firing = asyncio.create_task(fire(first))
        while sum(bucket.calls.values()) < 5:
            assert not firing.done()
            await asyncio.sleep(0.01)
        await asyncio.to_thread(bucket.put, "grows", body=b"12")
        return await firing

    event = asyncio.run(quiet_then_changed())
    second = deferral(lambda: resume(waiting, context(waiting), event))

    assert asked == [1, 2]
    assert second.pace == first.pace
    bucket.put("grows", body=b"12345")
    assert resume(waiting, context(waiting), asyncio.run(fire(second))) == [bucket.url("grows")]
    assert asked == [1, 2, 5]


def test_an_overwrite_of_the_same_size_is_a_change(bucket: Bucket, context: MakeContext) -> None:
    answers = iter([False, True])
    bucket.put("same", body=b"1")
    waiting = sensor(bucket.url("same"), check_fn=lambda files: next(answers))

    assert run(waiting, context(waiting), lambda: bucket.put("same", body=b"2")) == [bucket.url("same")]


def test_check_fn_is_asked_for_each_key(bucket: Bucket, context: MakeContext) -> None:
    bucket.put("a", "b")
    shown: list[str] = []

    def collect(files: list[dict[str, Any]]) -> bool:
        shown.append(files[0]["Key"])
        return True

    waiting = sensor([bucket.url("a"), bucket.url("b")], check_fn=collect)

    run(waiting, context(waiting))

    assert shown == ["a", "b"]


def test_check_fn_that_never_agrees_times_out(bucket: Bucket, context: MakeContext) -> None:
    asked: list[int] = []
    bucket.put("a")

    def never(files: list[Any]) -> bool:
        asked.append(1)
        return False

    waiting = sensor(bucket.url("a"), check_fn=never, timeout=2, poke_interval=0.02)

    with pytest.raises(AirflowSensorTimeout):
        run(waiting, context(waiting))
    assert len(asked) == 2  # at first, and at the timeout


def test_check_fn_that_fails_is_silenced_only_when_asked(bucket: Bucket, context: MakeContext) -> None:
    bucket.put("a")

    def broken(files: list[Any]) -> bool:
        raise ValueError("a bug")

    loud = sensor(bucket.url("a"), check_fn=broken)
    silent = sensor(bucket.url("a"), check_fn=broken, silent_fail=True)

    with pytest.raises(ValueError, match="a bug"):
        loud.execute(context(loud))
    assert deferral(lambda: silent.execute(context(silent))).seen
