"""What the tests of S3KeySensor share: a bucket that counts, and a sensor run to its end without a scheduler."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.amazon.s3.triggers import S3KeyTrigger
from tradewind.hooks.compat import (
    Context,
    TaskDeferred,
)
from tradewind.sensors.waiting import Look

MakeContext = Callable[..., Context]
SECRET = "a-secret-that-must-not-travel"
WAYS = ["poke", "deferrable"]


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
        return _poke(waiting, context, meanwhile)
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


def _poke(waiting: S3KeySensor, context: Context, meanwhile: Callable[[], Any]) -> Any:
    look, began = waiting.look, False

    def watched(context: Context) -> Look:
        nonlocal began
        seen = look(context)
        if not (seen.done or began):
            began = True
            meanwhile()
        return seen

    object.__setattr__(waiting, "look", watched)
    return waiting.execute(context)
