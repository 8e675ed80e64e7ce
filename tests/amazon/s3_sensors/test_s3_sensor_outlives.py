"""What S3KeySensor outlives."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.amazon.s3_sensors.waits import Bucket, MakeContext, deferral, fire, sensor
from tests.fix_proxy import Faults, MakeProxy
from tradewind.amazon.s3.triggers import S3KeyTrigger
from tradewind.hooks.errors import TransientError
from tradewind.local.s3 import S3Server


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
        proxy.faults = Faults(drop_answer=0.1, slow_down=0.1, within=200)  # enough was outlived to end soon
        await asyncio.to_thread(bucket.put, "a", "in/b")
        return await firing

    assert asyncio.run(faults_first())["found"] == [bucket.url("a"), bucket.url("in/b")]


def test_it_outlives_a_server_that_goes_and_comes(
    tmp_path: Path, context: MakeContext, aws: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with S3Server(tmp_path) as first:
        port = first.port
        aws(first.endpoint_url)
        first.client().create_bucket(Bucket="kept")
        waiting = sensor("s3://kept/late", timeout=60)
        trigger = deferral(lambda: waiting.execute(context(waiting)))

    look = trigger.look
    faults: list[TransientError] = []

    def watched() -> Any:
        try:
            return look()
        except TransientError as error:
            faults.append(error)
            raise

    monkeypatch.setattr(trigger, "look", watched)

    async def gone_and_back() -> dict[str, Any]:
        firing = asyncio.create_task(fire(trigger))
        while len(faults) < 2:
            assert not firing.done()
            await asyncio.sleep(0.01)
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
