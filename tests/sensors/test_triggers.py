"""The base trigger: it outlives faults, keeps its deadline, always ends with an event and never blocks the loop."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from tradewind.hooks.compat import AIRFLOW_3, AirflowFailException
from tradewind.hooks.errors import AccessDenied, ConnectionFailed, NotFound, Throttled, TimedOut, TradewindError
from tradewind.sensors.pace import Pace
from tradewind.sensors.triggers import THREADS, PollTrigger, failure


class ForeignNotFound(NotFound):
    """As a provider's own error, that the core does not know."""


class ScriptTrigger(PollTrigger):
    """Does at each look what its script says next: raise, return, or call; the last step is repeated."""

    grace: ClassVar[float] = 0.3

    def __init__(self, script: list[Any], pace: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(pace, **kwargs)
        self.script = script
        self.looks: list[float] = []
        self.threads: set[int] = set()
        self.closed = 0

    def arguments(self) -> dict[str, Any]:
        return {"script": self.script}

    def look(self) -> Any:
        step = self.script[min(len(self.looks), len(self.script) - 1)]
        self.looks.append(time.monotonic())
        self.threads.add(threading.get_ident())
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step

    def close(self) -> None:
        self.closed += 1


class FileTrigger(PollTrigger):
    """Waits for a file."""

    def __init__(self, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path

    def arguments(self) -> dict[str, Any]:
        return {"path": self.path}

    def look(self) -> Any:
        return Path(self.path).read_text() if Path(self.path).exists() else None


def pace(timeout: float = 5.0, interval: float = 0.01, **kwargs: Any) -> dict[str, Any]:
    return Pace.starting(timeout, interval, **kwargs).as_dict()


async def fired(trigger: PollTrigger) -> list[TriggerEvent]:
    return [event async for event in trigger.run()]


async def events_of(trigger: PollTrigger) -> list[Any]:
    return [event.payload for event in await fired(trigger)]


def only_event(trigger: PollTrigger) -> dict[str, Any]:
    [event] = asyncio.run(events_of(trigger))
    assert isinstance(event, dict)
    return event


def test_it_looks_until_something_is_found() -> None:
    trigger = ScriptTrigger([None, None, ["here"]], pace())

    event = only_event(trigger)

    assert (event["state"], event["found"]) == ("done", ["here"])
    assert event["pace"] == trigger.pace.as_dict()
    assert len(trigger.looks) == 3


def as_stored(event: TriggerEvent) -> TriggerEvent:
    """Make the event anew from what the triggerer's process of Airflow 3 sends to its supervisor."""
    if not AIRFLOW_3:
        return event
    from airflow.triggers.base import DiscrimatedTriggerEvent
    from pydantic import TypeAdapter

    adapter: TypeAdapter[TriggerEvent] = TypeAdapter(DiscrimatedTriggerEvent)
    return adapter.validate_json(adapter.dump_json(event))


@pytest.mark.parametrize(("pushes", "xcoms"), [(True, {"return_value": ["here"]}), (False, None)])
def test_it_ends_the_task_where_it_may(pushes: bool, xcoms: dict[str, Any] | None) -> None:
    trigger = ScriptTrigger([None, ["here"]], pace(), ends_task=True, pushes_xcom=pushes)

    [event] = asyncio.run(fired(trigger))
    sent = as_stored(event)

    assert isinstance(sent, TaskSuccessEvent)
    assert sent.xcoms == xcoms
    assert event.payload["found"] == ["here"]  # for dag.test, which resumes the task


@pytest.mark.parametrize(("script", "ends_task"), [(["here"], False), ([None], True), ([AccessDenied("denied")], True)])
def test_a_worker_goes_on_in_every_other_case(script: list[Any], ends_task: bool) -> None:
    trigger = ScriptTrigger(script, pace(timeout=0.1), ends_task=ends_task)

    [event] = asyncio.run(fired(trigger))

    assert not isinstance(as_stored(event), TaskSuccessEvent)
    assert event.payload["state"] in ("done", "timeout", "failed")


@pytest.mark.parametrize("ends_task", [True, False])
def test_the_task_s_log_tells_what_was_found(
    ends_task: bool, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")

    only_event(ScriptTrigger([[f"key{n}" for n in range(12)]], pace(), ends_task=ends_task))

    told = caplog.text + capsys.readouterr().out
    assert "found key0, key1," in told
    assert "key9 ..." in told
    assert "key10" not in told.split("found ")[1]


def test_a_restart_keeps_whether_it_may_end_the_task(tmp_path: Path) -> None:
    made = revived(FileTrigger(str(tmp_path), pace=pace(), ends_task=True, pushes_xcom=False))

    assert (made.ends_task, made.pushes_xcom) == (True, False)


def test_looks_run_in_threads_and_keep_their_interval() -> None:
    trigger = ScriptTrigger([None, None, None, 1], pace(interval=0.05))

    only_event(trigger)

    gaps = [later - earlier for earlier, later in zip(trigger.looks, trigger.looks[1:], strict=False)]
    assert min(gaps) >= 0.05 * 0.9
    assert threading.get_ident() not in trigger.threads


def test_transient_faults_are_outlived(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    faults = [Throttled("slow down"), ConnectionFailed("connection reset"), TimedOut("no answer")]
    trigger = ScriptTrigger([*faults, None, "found"], pace())

    event = only_event(trigger)

    assert event["found"] == "found"
    assert len(trigger.looks) == 5
    told = caplog.text + capsys.readouterr().out  # Airflow 2 logs by logging, 3 by structlog
    assert all(str(fault) in told for fault in faults)


def test_faults_in_a_row_slow_it_down() -> None:
    clock = Pace(started=0, deadline=time.time() + 1e6, interval=10)

    pauses = [clock.pause(faults) for faults in range(12)]

    expected = [10, 10, 20, 40, 80, 160] + [300] * 6
    assert pauses == pytest.approx(expected, rel=0.11)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotFound("no such bucket nirvana"), NotFound),
        (AccessDenied("s3:ListBucket is denied"), AccessDenied),
        (ForeignNotFound("no such bucket"), NotFound),
        (AirflowFailException("enough"), AirflowFailException),
        (ValueError("a bug"), TradewindError),
        (StopIteration("a bug"), TradewindError),
        (SystemExit("a bug"), TradewindError),
        (KeyboardInterrupt("a bug"), TradewindError),
        (asyncio.CancelledError("a bug"), TradewindError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_every_other_exception_ends_it_at_once_with_an_event(error: BaseException, kind: type[Exception]) -> None:
    trigger = ScriptTrigger([error], pace())

    event = only_event(trigger)

    assert event["state"] == "failed"
    assert str(error) in event["reason"]
    assert isinstance(failure(event), kind)
    assert len(trigger.looks) == 1
    json.dumps(event)


def test_a_bug_is_not_final_for_airflow() -> None:
    event = only_event(ScriptTrigger([ValueError("a bug")], pace()))

    assert not isinstance(failure(event), AirflowFailException)


def test_an_error_of_unknown_name_is_still_raised() -> None:
    assert str(failure({"error": "os", "reason": "what"})) == "what"


def test_silent_fail_outlives_bugs_but_not_what_stays() -> None:
    outlived = only_event(ScriptTrigger([ValueError("a bug"), "found"], pace(), silent_fail=True))
    ended = only_event(ScriptTrigger([AccessDenied("denied"), "found"], pace(), silent_fail=True))

    assert outlived["state"] == "done"
    assert ended["state"] == "failed"


def test_the_deadline_ends_it_with_the_last_fault() -> None:
    event = only_event(ScriptTrigger([None, Throttled("slow down")], pace(timeout=0.15)))

    assert (event["state"], event["reason"]) == ("timeout", "slow down")


def test_it_looks_once_more_at_the_deadline() -> None:
    trigger = ScriptTrigger([None], pace(timeout=0.1, interval=60))

    event = only_event(trigger)

    assert (event["state"], len(trigger.looks)) == ("timeout", 1)


def test_a_restart_keeps_the_deadline(tmp_path: Path) -> None:
    first = FileTrigger(str(tmp_path / "absent"), pace=pace(timeout=0.4, interval=0.02))
    began = time.monotonic()

    async def killed() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(events_of(first), 0.25)

    asyncio.run(killed())
    second = revived(first)
    event = only_event(second)

    assert event["state"] == "timeout"
    assert second.pace == first.pace
    assert 0.4 <= time.monotonic() - began < 0.65


def test_a_restart_after_the_deadline_looks_once(tmp_path: Path) -> None:
    here, absent = tmp_path / "here", tmp_path / "absent"
    here.write_text("x")
    over = Pace(started=time.time() - 100, deadline=time.time() - 50, interval=10).as_dict()

    assert only_event(FileTrigger(str(here), pace=over))["state"] == "done"
    assert only_event(FileTrigger(str(absent), pace=over))["state"] == "timeout"


def revived(trigger: PollTrigger) -> PollTrigger:
    """Make the trigger anew from what Airflow stored of it."""
    path, kwargs = trigger.serialize()
    module, name = path.rsplit(".", 1)
    kind = getattr(importlib.import_module(module), name)
    made: PollTrigger = kind(**json.loads(json.dumps(kwargs)))
    return made


async def longest_stall(until: Callable[[], bool]) -> float:
    """Measure by how much the loop is late for a tick, at worst."""
    worst = 0.0
    while not until():
        began = time.monotonic()
        await asyncio.sleep(0.005)
        worst = max(worst, time.monotonic() - began - 0.005)
    return worst


def test_looks_that_hang_neither_block_the_loop_nor_the_end() -> None:
    """More hang than there are threads; each ends at its deadline, and others find asyncio's own threads free."""
    release = threading.Event()
    triggers = [ScriptTrigger([lambda: release.wait(20) and None], pace(timeout=0.3)) for _ in range(THREADS + 8)]

    async def run() -> tuple[list[Any], float, str]:
        waits = [asyncio.create_task(events_of(trigger)) for trigger in triggers]
        stall = asyncio.create_task(longest_stall(lambda: all(wait.done() for wait in waits)))
        other = await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 2)
        return [event for wait in waits for event in await wait], await stall, other

    began = time.monotonic()
    try:
        events, stall, other = asyncio.run(run())
    finally:
        release.set()

    assert {event["state"] for event in events} == {"timeout"}
    assert all("no answer within" in event["reason"] for event in events)
    assert other == "free"
    assert stall < 5  # one look in the loop alone would hold it for 20 s
    assert time.monotonic() - began < 15  # release waits 20 s


def test_a_cancel_ends_it_at_once_and_closes() -> None:
    """What the triggerer does when a person marks the task, or when it shuts down."""
    release = threading.Event()
    trigger = ScriptTrigger([lambda: release.wait(20) and None], pace(timeout=60))

    async def cancelled() -> None:
        wait = asyncio.create_task(events_of(trigger))
        while not trigger.looks:
            await asyncio.sleep(0.005)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        await trigger.cleanup()

    began = time.monotonic()
    try:
        asyncio.run(cancelled())
    finally:
        release.set()

    assert time.monotonic() - began < 2
    assert trigger.closed == 1


def test_a_look_may_call_back_into_the_loop() -> None:
    """Airflow 3.0 to 3.2 answer a connection lookup in a thread through asgiref, on the triggerer's own loop."""
    from asgiref.sync import async_to_sync

    loops: list[asyncio.AbstractEventLoop] = []

    async def lookup() -> bool:
        loops.append(asyncio.get_running_loop())
        return True

    async def run() -> asyncio.AbstractEventLoop:
        await events_of(ScriptTrigger([lambda: async_to_sync(lookup)()], pace()))
        return asyncio.get_running_loop()

    assert [asyncio.run(run())] == loops
