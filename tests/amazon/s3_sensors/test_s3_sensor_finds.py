"""What S3KeySensor finds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.amazon.s3_sensors.waits import WAYS, Bucket, MakeContext, run, sensor
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.hooks.compat import (
    AirflowSensorTimeout,
)
from tradewind.hooks.errors import InvalidArgument


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "key", ["dir/wh?t.csv", "a#b", "a:b/c", "with blanks.csv", "ünï/✓.csv", "a+b%20c&d=e", "[x].csv", "~a;b,c@d!'()"]
)
def test_an_odd_key_is_found(bucket: Bucket, context: MakeContext, way: str, key: str) -> None:
    waiting = sensor(bucket.url(key), way)

    assert run(waiting, context(waiting), lambda: bucket.put(key)) == [bucket.url(key)]


@pytest.mark.parametrize("way", WAYS)
def test_a_question_mark_does_not_cut_the_key(bucket: Bucket, context: MakeContext, way: str) -> None:
    bucket.put("dir/wh")
    waiting = sensor(bucket.url("dir/wh?t.csv"), way, timeout=0.2)

    with pytest.raises(AirflowSensorTimeout):
        run(waiting, context(waiting))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("pattern", "arguments", "wrong", "right"),
    [
        ("in/*.csv", {}, "in/a.txt", "in/deep/a.csv"),
        ("in/*.csv", {"wildcard_match": True}, "out/a.csv", "in/a.csv"),
        ("in/a?[bc]", {"wildcard_match": True}, "in/axd", "in/axb"),
        ("in/v1:*#.csv", {}, "in/v1:a.csv", "in/v1:a#.csv"),
        (r"in/\d{4}/.*\.csv", {"use_regex": True}, "in/20x6/a.csv", "in/2026/a.csv"),
        (r"(in|out)/a$", {"use_regex": True}, "in/ab", "out/a"),
        ("in/*", {"wildcard_match": False}, "in/a", "in/*"),
    ],
)
def test_a_pattern_is_found(
    bucket: Bucket, context: MakeContext, way: str, pattern: str, arguments: dict[str, Any], wrong: str, right: str
) -> None:
    bucket.put(wrong)
    refused = sensor(bucket.url(pattern), way, timeout=0, **arguments)
    waiting = sensor(bucket.url(pattern), way, **arguments)

    with pytest.raises(AirflowSensorTimeout):
        run(refused, context(refused))
    assert run(waiting, context(waiting), lambda: bucket.put(right)) == [bucket.url(right)]


@pytest.mark.parametrize("way", WAYS)
def test_each_key_of_a_list_must_be_there(bucket: Bucket, context: MakeContext, way: str) -> None:
    keys = ["a", "b/*.csv", "c"]
    bucket.put("a", "b/1.csv")
    waiting = sensor(keys, way, bucket_name=bucket.name)

    found = run(waiting, context(waiting), lambda: bucket.put("c"))

    assert found == [bucket.url("a"), bucket.url("b/1.csv"), bucket.url("c")]


def test_templates_are_rendered(bucket: Bucket, context: MakeContext) -> None:
    bucket.put("in/2026-01-02")
    waiting = S3KeySensor(task_id="wait", bucket_key="in/{{ ds }}", bucket_name=f"{{{{ '{bucket.name}' }}}}")

    assert waiting.execute(context(waiting, render=True)) == [bucket.url("in/2026-01-02")]


def test_a_template_that_renders_to_nothing_is_refused(context: MakeContext) -> None:
    waiting = S3KeySensor(task_id="wait", bucket_key="{{ '' }}")

    with pytest.raises(InvalidArgument, match="names no bucket"):
        waiting.execute(context(waiting, render=True))


def test_poke_mode_waits_until_the_key_is_there(bucket: Bucket, context: MakeContext) -> None:
    waiting = sensor(bucket.url("late"), "poke")

    assert run(waiting, context(waiting), lambda: bucket.put("late")) == [bucket.url("late")]
    assert bucket.counted()["HeadObject"] == 2


def test_reschedule_mode_leaves_the_worker_between_pokes(
    bucket: Bucket, context: MakeContext, migrated_airflow: Path
) -> None:
    from airflow.exceptions import AirflowRescheduleException

    waiting = sensor(bucket.url("late"), "poke", mode="reschedule", poke_interval=60)

    with pytest.raises(AirflowRescheduleException) as caught:
        waiting.execute(context(waiting))
    assert 50 < caught.value.reschedule_date.timestamp() - time.time() <= 60
    bucket.put("late")
    assert waiting.execute(context(waiting)) == [bucket.url("late")]
