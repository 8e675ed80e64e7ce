"""S3KeySensor against a real S3 server: what it finds, what it costs, what it outlives."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from weakref import WeakValueDictionary

import pytest

from tests.fix_proxy import Faults, MakeProxy
from tests.services import require
from tests.services import s3 as s3_service
from tradewind.amazon.s3 import triggers
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.amazon.s3.triggers import S3KeyTrigger
from tradewind.hooks.compat import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    Context,
    TaskDeferred,
)
from tradewind.hooks.errors import AccessDenied, InvalidArgument, NotFound
from tradewind.local.s3 import S3Server

MakeContext = Callable[..., Context]
SECRET = "a-secret-that-must-not-travel"
WAYS = ["poke", "deferrable"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if s3_service() != "moto":
        require("s3", "moto's server: it is stopped and started, and asked for rights")
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@dataclass
class Bucket:
    """A bucket of the test's own, and the calls that sensors made since the last look."""

    name: str
    client: Any
    calls: Counter[str] = field(default_factory=Counter)
    prefixes: list[str] = field(default_factory=list)
    clients: int = 0

    def put(self, *keys: str, body: bytes = b"x") -> None:
        for key in keys:
            self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def url(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def counted(self) -> dict[str, int]:
        counted, self.calls = dict(self.calls), Counter()
        return counted


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


def sensor(key: str | list[str], way: str = "deferrable", **kwargs: Any) -> S3KeySensor:
    arguments = {"poke_interval": 0.05, "timeout": 20, "deferrable": way == "deferrable", **kwargs}
    return S3KeySensor(task_id="wait", bucket_key=key, **arguments)


def deferral(run: Callable[[], Any]) -> S3KeyTrigger:
    """Run what defers; return the trigger as the triggerer gets it, through Airflow's database."""
    with pytest.raises(TaskDeferred) as caught:
        run()
    path, kwargs = caught.value.trigger.serialize()
    stored = json.dumps(kwargs)
    assert SECRET not in stored
    module, name = path.rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**json.loads(stored))
    assert isinstance(trigger, S3KeyTrigger)
    return trigger


async def fire(trigger: S3KeyTrigger) -> dict[str, Any]:
    try:
        [event] = [event.payload async for event in trigger.run()]
    finally:
        await trigger.cleanup()
    event = json.loads(json.dumps(event))
    assert isinstance(event, dict)
    return event


def resume(waiting: S3KeySensor, context: Context, event: dict[str, Any]) -> Any:
    return waiting.resume_execution("execute_complete", {"event": event}, context)


def run(waiting: S3KeySensor, context: Context, meanwhile: Callable[[], Any] = lambda: None) -> Any:
    """Run a sensor to its end, in its way; ``meanwhile`` happens when it has begun to wait."""
    if not waiting.deferrable:
        timer = threading.Timer(0.2, meanwhile)
        timer.start()
        try:
            return waiting.execute(context)
        finally:
            timer.join()
    step: Callable[[], Any] = lambda: waiting.execute(context)  # noqa: E731
    while True:
        try:
            return step()
        except TaskDeferred as deferred:
            again = deferred

            def defers(again: TaskDeferred = again) -> None:
                raise again

            trigger = deferral(defers)
            meanwhile()
            meanwhile = lambda: None  # noqa: E731
            event = asyncio.run(fire(trigger))
            step = lambda event=event: resume(waiting, context, event)  # type: ignore[misc]  # noqa: E731


# What it finds


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
    began = time.monotonic()

    assert run(waiting, context(waiting), lambda: bucket.put("late")) == [bucket.url("late")]
    assert time.monotonic() - began >= 0.2


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


# What it refuses


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


# What it costs


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


# What check_fn gets, and when


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


# What it outlives


def test_it_outlives_throttling_resets_and_delays(
    bucket: Bucket, context: MakeContext, server: S3Server, aws: Callable[[str], str], faulty: MakeProxy
) -> None:
    faults = Faults(drop_answer=0.3, slow_down=0.4, delay=0.3, late=0.05, within=200)
    proxy = faulty(server.endpoint_url, faults, 20261123)
    aws(proxy.url)
    waiting = sensor([bucket.url("a"), bucket.url("in/*")], poke_interval=0.01, timeout=60)
    trigger = deferral(lambda: waiting.execute(context(waiting)))

    async def faults_first() -> dict[str, Any]:
        firing = asyncio.create_task(fire(trigger))
        while proxy.made["503"] < 5 or proxy.made["drops"] < 3:
            assert not firing.done()
            await asyncio.sleep(0.01)
        await asyncio.to_thread(bucket.put, "a", "in/b")
        return await firing

    assert asyncio.run(faults_first())["found"] == [bucket.url("a"), bucket.url("in/b")]


def test_it_outlives_a_server_that_goes_and_comes(
    tmp_path: Path, context: MakeContext, aws: Callable[[str], str]
) -> None:
    with S3Server(tmp_path) as first:
        port = first.port
        aws(first.endpoint_url)
        first.client().create_bucket(Bucket="kept")
        waiting = sensor("s3://kept/late", timeout=60)
        trigger = deferral(lambda: waiting.execute(context(waiting)))

    async def gone_and_back() -> dict[str, Any]:
        firing = asyncio.create_task(fire(trigger))
        await asyncio.sleep(0.5)
        assert not firing.done()
        second = S3Server(tmp_path, port)
        await asyncio.to_thread(second.start)
        try:
            await asyncio.to_thread(second.client().put_object, Bucket="kept", Key="late", Body=b"")
            return await firing
        finally:
            await asyncio.to_thread(second.stop)

    assert asyncio.run(gone_and_back())["found"] == ["s3://kept/late"]


@contextmanager
def silent_server() -> Iterator[str]:
    """Take connections and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        taken: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    taken.append(listener.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in taken:
                connection.close()


def test_s3_that_hangs_stalls_neither_the_loop_nor_the_timeout(
    bucket: Bucket, context: MakeContext, aws: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3KeyTrigger, "grace", 0.3)
    waiting = sensor(bucket.url("late"), timeout=1.5)
    waits = [deferral(lambda: waiting.execute(context(waiting))) for _ in range(20)]
    stalls: list[float] = []

    async def measure() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            stalls.append(time.monotonic() - began - 0.005)

    async def hang() -> list[dict[str, Any]]:
        measuring = asyncio.create_task(measure())
        try:
            return await asyncio.gather(*(fire(trigger) for trigger in waits))
        finally:
            measuring.cancel()

    with silent_server() as url:
        aws(url)
        began = time.monotonic()
        events = asyncio.run(hang())
        took = time.monotonic() - began

    assert {event["state"] for event in events} == {"timeout"}
    assert all("no answer" in event["reason"] for event in events)
    assert took < 10
    assert max(stalls) < 1  # one blocking call alone would take 30 s
    print(f"longest stall of the loop: {max(stalls) * 1000:.0f} ms over {len(stalls)} ticks")


# Cost of the import, and a whole DAG


def test_the_import_brings_no_driver_and_costs_next_to_nothing() -> None:
    code = """
import sys, time
import tradewind.hooks.compat
before, began = set(sys.modules), time.process_time()
import tradewind.amazon.s3.sensors
took = time.process_time() - began
drivers = {"boto3", "botocore", "urllib3", "smart_open"} & ({name.split(".")[0] for name in set(sys.modules) - before})
print("RESULT", took * 1000, sorted(drivers))
"""
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
        for _ in range(2)
    ]
    results = [run.split("RESULT ")[1].strip().split(" ", 1) for run in runs]

    assert [drivers for _, drivers in results] == ["[]", "[]"]
    assert min(float(milliseconds) for milliseconds, _ in results) < 30


DAG_FILE = """
import json, sys, threading
import boto3
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.amazon.s3.sensors import S3KeySensor

bucket, endpoint, out = sys.argv[1:] if len(sys.argv) > 1 else ("none", "http://127.0.0.1:1", "none")
asked = []

def put(key, body):
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                          aws_access_key_id="a", aws_secret_access_key="b")
    client.put_object(Bucket=bucket, Key=key, Body=body)

def enough(files, **context):
    asked.append([context["ti"].task_id, files[0]["Size"]])
    grown = files[0]["Size"] > 3
    if not grown:
        put("in/a.csv", b"12345")
    return grown

common = dict(bucket_name=bucket, deferrable=True, poke_interval=0.5)
with DAG("waits", schedule=None) as dag:
    grows = S3KeySensor(task_id="grows", bucket_key="in/{{ 'a' }}*.csv", check_fn=enough, timeout=60, **common)
    late = S3KeySensor(task_id="late", bucket_key="late/{{ 'b' }}", timeout=60,
                       on_execute_callback=lambda context: threading.Timer(3, put, ("late/b", b"")).start(), **common)
    never = S3KeySensor(task_id="never", bucket_key="never", timeout=1, soft_fail=True, **common)
    wrong = S3KeySensor(task_id="wrong", bucket_key="s3://nirvana-nirvana/x", timeout=60, retries=3, deferrable=True)
    grows >> late >> never
    late >> wrong

if __name__ == "__main__":
    run = dag.test()
    found = {ti.task_id: [str(ti.state), ti.xcom_pull(task_ids=ti.task_id) if ti.state == "success" else None]
             for ti in run.get_task_instances()}
    open(out, "w").write(json.dumps({"tasks": found, "asked": asked}))
"""


@pytest.mark.slow
def test_a_dag_with_deferred_sensors_runs(bucket: Bucket, server: S3Server, migrated_airflow: Path) -> None:
    """Airflow itself defers the tasks, runs their triggers, resumes them and stores their XComs."""
    bucket.put("in/a.csv", body=b"1")
    file, out = migrated_airflow / "dags" / "waits_dag.py", migrated_airflow / "waits.json"
    file.write_text(DAG_FILE)

    done = subprocess.run(
        [sys.executable, str(file), bucket.name, server.endpoint_url, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    told = json.loads(out.read_text())
    assert told["asked"] == [["grows", 1], ["grows", 5]]
    assert told["tasks"] == {
        "grows": ["success", [bucket.url("in/a.csv")]],
        "late": ["success", [bucket.url("late/b")]],
        "never": ["skipped", None],
        "wrong": ["failed", None],
    }, done.stdout[-6000:]
    assert SECRET not in done.stdout
