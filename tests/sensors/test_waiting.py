"""The base sensor: three ways to wait, one behaviour, and a timeout that never starts anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from airflow.listeners import hookimpl

from tradewind.hooks.compat import (
    AIRFLOW_3,
    AIRFLOW_VERSION,
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
    BaseOperatorLink,
    BaseSensorOperator,
    Context,
    TaskDeferred,
    asset,
)
from tradewind.hooks.errors import AccessDenied, InvalidArgument, NotFound, Throttled
from tradewind.sensors.pace import Pace
from tradewind.sensors.triggers import PollTrigger
from tradewind.sensors.waiting import BACKSTOP, NOT_YET, Look, WaitingSensor

if AIRFLOW_3:
    from airflow.sdk import DAG, XComArg
else:
    from airflow import DAG, XComArg

MakeContext = Callable[..., Context]


class NeverTrigger(PollTrigger):
    """Waits for nothing; the sensor's tests only look at what it was given."""

    def __init__(self, seen: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seen = seen

    def arguments(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def look(self) -> None:
        return None


class ScriptSensor(WaitingSensor):
    """Sees at each look what its script says next; the last step is repeated."""

    def __init__(self, *, script: list[Any], decides: bool = False, **kwargs: Any) -> None:
        kwargs.setdefault("poke_interval", 0.01)
        kwargs.setdefault("timeout", 30)
        super().__init__(task_id="wait", **kwargs)
        self.script = script
        self.decides = decides
        self.looks = 0

    @property
    def worker_decides(self) -> bool:
        return self.decides

    def look(self, context: Context) -> Look:
        step = self.script[min(self.looks, len(self.script) - 1)]
        self.looks += 1
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, Look)
        return step

    def trigger(self, pace: Pace, seen: str | None) -> PollTrigger:
        return NeverTrigger(seen, pace=pace.as_dict(), silent_fail=self.silent_fail)


def deferral(run: Callable[[], Any]) -> tuple[NeverTrigger, TaskDeferred]:
    with pytest.raises(TaskDeferred) as caught:
        run()
    trigger = caught.value.trigger
    assert isinstance(trigger, NeverTrigger)
    return trigger, caught.value


def event(state: str, timeout: float = 30, **values: Any) -> dict[str, Any]:
    return {"state": state, "pace": Pace.starting(timeout, 0.01).as_dict(), **values}


def resume(sensor: WaitingSensor, context: Context, event: dict[str, Any]) -> Any:
    """As Airflow does when the trigger fired."""
    return sensor.resume_execution("execute_complete", {"event": event}, context)


FOUND = Look(True, ["it"])


def test_poking_waits_and_gives_its_value(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[NOT_YET, NOT_YET, FOUND])

    assert sensor.execute(context(sensor)) == ["it"]
    assert sensor.looks == 3


def test_poking_outlives_transient_faults(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[Throttled("slow down"), Throttled("slow down"), FOUND])

    assert sensor.execute(context(sensor)) == ["it"]


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_stays_wrong_fails_at_once(context: MakeContext, deferrable: bool) -> None:
    sensor = ScriptSensor(script=[NotFound("no such bucket")], deferrable=deferrable)

    with pytest.raises(AirflowFailException, match="no such bucket"):
        sensor.execute(context(sensor))
    assert sensor.looks == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_it_times_out(context: MakeContext, deferrable: bool) -> None:
    sensor = ScriptSensor(script=[NOT_YET], timeout=0, deferrable=deferrable)

    with pytest.raises(AirflowSensorTimeout):
        sensor.execute(context(sensor))


def test_found_at_once_it_does_not_defer(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[FOUND], deferrable=True)

    assert sensor.execute(context(sensor)) == ["it"]


def test_it_defers_with_an_absolute_deadline(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True, timeout=100, poke_interval=7, exponential_backoff=True)
    sensor.max_wait = timedelta(seconds=50)

    trigger, deferred = deferral(lambda: sensor.execute(context(sensor)))

    assert trigger.pace.deadline == pytest.approx(time.time() + 100, abs=2)
    assert (trigger.pace.interval, trigger.pace.backoff, trigger.pace.longest) == (7, True, 50)
    assert deferred.timeout is not None
    assert deferred.timeout.total_seconds() == pytest.approx(100 + BACKSTOP, abs=2)


def test_a_transient_fault_at_the_first_look_defers(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[Throttled("slow down")], deferrable=True)

    deferral(lambda: sensor.execute(context(sensor)))


def test_it_gives_what_the_trigger_found(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True)

    assert resume(sensor, context(sensor), event("done", found=["it"])) == ["it"]
    assert sensor.looks == 0


def test_a_timeout_says_how_long_and_why(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True, timeout=12)

    with pytest.raises(AirflowSensorTimeout, match=r"timeout is 12 s; the last look failed: slow down"):
        resume(sensor, context(sensor), event("timeout", 0, reason="slow down"))


def test_a_failure_of_the_trigger_is_raised_as_what_it_was(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True)

    with pytest.raises(AccessDenied, match="no right"):
        resume(sensor, context(sensor), event("failed", error="AccessDenied", reason="no right"))


def test_when_the_worker_decides_a_refusal_defers_again_on_the_same_clock(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[Look(False, seen="etag1"), Look(False, seen="etag2"), FOUND], decides=True)
    sensor.deferrable = True

    first, _ = deferral(lambda: sensor.execute(context(sensor)))
    fired = {"state": "done", "found": "etag2", "pace": first.pace.as_dict()}
    second, _ = deferral(lambda: resume(sensor, context(sensor), fired))

    assert (first.seen, second.seen) == ("etag1", "etag2")
    assert second.pace == first.pace
    assert resume(sensor, context(sensor), fired) == ["it"]


def test_when_the_worker_decides_it_is_asked_once_more_at_the_timeout(context: MakeContext) -> None:
    accepted = ScriptSensor(script=[FOUND], decides=True, deferrable=True)
    refused = ScriptSensor(script=[Look(False, seen="etag")], decides=True, deferrable=True)

    assert resume(accepted, context(accepted), event("timeout", 0, reason="")) == ["it"]
    with pytest.raises(AirflowSensorTimeout):
        resume(refused, context(refused), event("timeout", 0, reason=""))


@pytest.fixture
def standalone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Airflow 2, triggers end tasks only where there is a standalone DAG processor."""
    if not AIRFLOW_3:
        monkeypatch.setenv("AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR", "True")


def ends(sensor: ScriptSensor, context: MakeContext) -> bool:
    """Defer; return whether the trigger, as Airflow stores it, ends the task."""
    if AIRFLOW_3:
        sensor.do_xcom_push = False
    trigger, _ = deferral(lambda: sensor.execute(context(sensor)))
    ends_task = trigger.serialize()[1]["ends_task"]
    assert isinstance(ends_task, bool)
    return ends_task


@pytest.mark.usefixtures("standalone")
@pytest.mark.parametrize(
    "arguments", [{}, {"do_xcom_push": False}, {"soft_fail": True}, {"on_failure_callback": print}], ids=str
)
def test_its_trigger_ends_the_task_when_nothing_is_left_for_a_worker(
    context: MakeContext, arguments: dict[str, Any]
) -> None:
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True, **arguments)

    assert ends(sensor, context)
    trigger, _ = deferral(lambda: sensor.execute(context(sensor)))
    assert trigger.pushes_xcom is bool(sensor.do_xcom_push)


class Link(BaseOperatorLink):
    name = "page"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return "https://example.com"


class OwnEnd(ScriptSensor):
    def execute_complete(self, context: Context, event: Any) -> Any:
        return len(super().execute_complete(context, event))


class OwnPostExecute(ScriptSensor):
    def post_execute(self, context: Any, result: Any = None) -> None:
        return None


class OwnLinks(ScriptSensor):
    operator_extra_links = (Link(),)


class Takes(BaseOperator):
    def __init__(self, *, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value


@pytest.mark.usefixtures("standalone")
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (ScriptSensor, {"decides": True}),
        (ScriptSensor, {"outlets": [asset("s3://bucket/key")]}),
        (ScriptSensor, {"on_success_callback": print}),
        (ScriptSensor, {"post_execute": print}),
        (ScriptSensor, {"multiple_outputs": True}),
        (OwnEnd, {}),
        (OwnPostExecute, {}),
        (OwnLinks, {}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value),
)
def test_a_worker_resumes_it_when_something_is_left_to_do(
    context: MakeContext, kind: type[ScriptSensor], arguments: dict[str, Any]
) -> None:
    assert not ends(kind(script=[NOT_YET], deferrable=True, **arguments), context)


@pytest.mark.usefixtures("standalone")
def test_a_worker_resumes_it_when_tasks_expand_over_its_xcom(context: MakeContext) -> None:
    with DAG("expands", schedule=None):
        sensor = ScriptSensor(script=[NOT_YET], deferrable=True)
        Takes.partial(task_id="each").expand(value=XComArg(sensor))
    with DAG("takes", schedule=None):
        whole = ScriptSensor(script=[NOT_YET], deferrable=True)
        Takes(task_id="all", value=XComArg(whole))

    assert not ends(sensor, context)
    assert ends(whole, context)


class Listener:
    @hookimpl
    def on_task_instance_success(self) -> None:
        return None


@pytest.mark.usefixtures("standalone")
def test_a_worker_resumes_it_when_somebody_listens(context: MakeContext) -> None:
    module = import_module("airflow.sdk.listener" if AIRFLOW_VERSION >= (3, 2) else "airflow.listeners.listener")
    plugins = module.get_listener_manager().pm
    sensor, listener = ScriptSensor(script=[NOT_YET], deferrable=True), Listener()

    plugins.register(listener)
    try:
        assert not ends(sensor, context)
    finally:
        plugins.unregister(listener)
    assert ends(sensor, context)


@pytest.mark.usefixtures("standalone")
def test_a_worker_resumes_it_when_xcoms_are_kept_elsewhere(
    context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "company.xcoms.OurBackend")
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True)

    trigger, _ = deferral(lambda: sensor.execute(context(sensor)))
    assert trigger.ends_task is False


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 encodes the XCom once")
def test_a_worker_resumes_it_when_it_has_an_xcom(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True)

    trigger, _ = deferral(lambda: sensor.execute(context(sensor)))
    assert trigger.ends_task is False


@pytest.mark.skipif(AIRFLOW_3, reason="Airflow 3 has no other DAG processor")
def test_a_worker_resumes_it_without_a_standalone_dag_processor(context: MakeContext) -> None:
    """Nobody else would take away the row that Airflow 2 leaves in callback_request."""
    assert not ends(ScriptSensor(script=[NOT_YET], deferrable=True), context)


FAIL_EVENTS = [
    event("timeout", 0, reason=""),
    event("failed", error="AccessDenied", reason="no right"),
]


@pytest.mark.parametrize("fired", FAIL_EVENTS, ids=["timeout", "failed"])
@pytest.mark.parametrize("word", ["soft_fail", "never_fail"])
def test_soft_and_never_fail_skip_instead(context: MakeContext, fired: dict[str, Any], word: str) -> None:
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True, **{word: True})

    with pytest.raises(AirflowSkipException, match=word):
        resume(sensor, context(sensor), fired)


@pytest.mark.parametrize("deferrable", [False, True])
def test_only_never_fail_skips_a_bug(context: MakeContext, deferrable: bool) -> None:
    never = ScriptSensor(script=[ValueError("a bug")], deferrable=deferrable, never_fail=True)
    soft = ScriptSensor(script=[ValueError("a bug")], deferrable=deferrable, soft_fail=True)

    with pytest.raises(AirflowSkipException):
        never.execute(context(never))
    with pytest.raises(ValueError, match="a bug"):
        soft.execute(context(soft))


def test_silent_fail_outlives_a_bug(context: MakeContext) -> None:
    poking = ScriptSensor(script=[ValueError("a bug"), FOUND], silent_fail=True)
    deferred = ScriptSensor(script=[ValueError("a bug")], silent_fail=True, deferrable=True)

    assert poking.execute(context(poking)) == ["it"]
    trigger, _ = deferral(lambda: deferred.execute(context(deferred)))
    assert trigger.silent_fail is True


@pytest.mark.parametrize("error", ["Trigger/execution timeout", "Trigger timeout"])
def test_without_a_triggerer_it_times_out_all_the_same(context: MakeContext, error: str) -> None:
    """Airflow's scheduler ends the wait then; Airflow 2 would call that a failure to be retried."""
    hard = ScriptSensor(script=[NOT_YET], deferrable=True)
    soft = ScriptSensor(script=[NOT_YET], deferrable=True, soft_fail=True)

    with pytest.raises(AirflowSensorTimeout, match="no triggerer"):
        hard.resume_execution("__fail__", {"error": error}, context(hard))
    with pytest.raises(AirflowSkipException):
        soft.resume_execution("__fail__", {"error": error}, context(soft))


def test_a_trigger_that_could_not_start_is_a_failure(context: MakeContext) -> None:
    sensor = ScriptSensor(script=[NOT_YET], deferrable=True)

    with pytest.raises(AirflowException) as caught:
        sensor.resume_execution(
            "__fail__", {"error": "Trigger failure", "traceback": ["no such module"]}, context(sensor)
        )
    assert not isinstance(caught.value, AirflowSensorTimeout)


@pytest.mark.parametrize(("option", "expected"), [("True", True), ("False", False)])
def test_airflow_decides_whether_it_defers_by_default(
    monkeypatch: pytest.MonkeyPatch, option: str, expected: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", option)

    assert ScriptSensor(script=[FOUND]).deferrable is expected
    assert ScriptSensor(script=[FOUND], deferrable=not expected).deferrable is not expected


@pytest.mark.parametrize("interval", [0, timedelta(0)])
def test_an_interval_of_zero_is_refused(interval: Any) -> None:
    with pytest.raises(InvalidArgument, match="poke_interval must be above 0"):
        ScriptSensor(script=[FOUND], poke_interval=interval)


def test_it_is_a_sensor_of_airflow() -> None:
    assert issubclass(WaitingSensor, BaseSensorOperator)
