"""The sensor that waits on a worker or, deferred, in the triggerer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf

from tradewind.hooks.compat import (
    NAMES_MAPPED_EARLY,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseOperator,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    end_events_are_whole,
)
from tradewind.hooks.errors import InvalidArgument, TransientError
from tradewind.sensors.pace import Pace

if TYPE_CHECKING:
    from tradewind.sensors.triggers import PollTrigger

BACKSTOP = 180.0
"""Seconds beyond the deadline after which Airflow's scheduler ends a wait whose trigger did not: no triggerer ran."""

FINAL = (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException)
"""What ends a sensor for good; everything else Airflow tries again."""


@dataclass(frozen=True)
class Look:
    """What a sensor saw.

    :param done: whether the wait is over
    :param value: the sensor's XCom then
    :param seen: identifies what was there and was refused; a deferred sensor asks again only when it is another
    """

    done: bool
    value: Any = None
    seen: str | None = None


NOT_YET = Look(False)


class WaitingSensor(BaseSensorOperator):
    """Wait for something, in one of three ways: poke, reschedule, or deferred.

    A deferred sensor looks once on the worker, then its trigger looks in the triggerer. If nothing is left for a worker
    to do when it found something, the trigger ends the task itself; else a worker resumes it. In each of the ways
    transient faults are outlived, and an error that stays fails at once.

    ``timeout`` counts from the first poke. It goes on over reschedules (as Airflow counts them: over the retries too),
    and over restarts of the triggerer and repeated deferrals of one try; a new try of a poking or deferred sensor is a
    new wait, as with every sensor of Airflow. When it is over, the task fails with ``AirflowSensorTimeout``, which
    Airflow does not retry, or is skipped with ``soft_fail`` or ``never_fail``.

    :param deferrable: whether to wait in the triggerer; wins over ``mode``. None asks Airflow's option
        ``[operators] default_deferrable``
    :raises InvalidArgument: where ``poke_interval`` is not above 0: it would poll without a pause
    """

    def __init__(self, *, deferrable: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.poke_interval <= 0:
            raise InvalidArgument(f"poke_interval must be above 0 seconds, not {self.poke_interval:g}")
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable

    @abstractmethod
    def look(self, context: Context) -> Look:
        """Look once, on the worker."""

    @abstractmethod
    def trigger(self, pace: Pace, seen: str | None) -> PollTrigger:
        """Make the trigger that waits on.

        :param pace: the clock of the wait
        :param seen: what was there and was refused: the trigger waits until it is another
        """

    @property
    def worker_decides(self) -> bool:
        """Whether what the trigger found must be shown to code of the DAG, which only a worker runs."""
        return False

    @property
    def trigger_may_end(self) -> bool:
        """Whether a trigger that found something may end the task: nothing is lost that only a worker does.

        A worker alone asks ``check_fn`` and its like, makes asset events, calls ``on_success_callback`` and
        ``post_execute``, counts an XCom over which tasks expand, and stores XComs in a backend of the user's own. On
        Airflow 3 a worker alone stores any XCom: there, ``do_xcom_push=False`` lets the trigger end the task.
        """
        return not (
            self.worker_decides
            or self.outlets
            or self.on_success_callback
            or self._post_execute_hook
            or self.multiple_outputs
            or self.operator_extra_links
            or type(self).execute_complete is not WaitingSensor.execute_complete
            or type(self).resume_execution is not WaitingSensor.resume_execution
            or type(self).post_execute is not BaseOperator.post_execute
            or (self.map_index_template and not NAMES_MAPPED_EARLY)
            or not self.has_dag()  # type: ignore[no-untyped-call]
            or next(iter(self.iter_mapped_dependants()), None) is not None
            or not end_events_are_whole(bool(self.do_xcom_push))
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once, in poke and reschedule mode."""
        look = self._outlive(context)
        return PokeReturnValue(look.done, look.value)

    def execute(self, context: Context) -> Any:
        """Wait, or begin to."""
        if not self.deferrable:
            return super().execute(context)
        longest = self.max_wait.total_seconds() if self.max_wait is not None else None
        pace = Pace.starting(self.timeout, self.poke_interval, backoff=self.exponential_backoff, longest=longest)
        with self._as_asked():
            look = self._ask(context)
            if look.done:
                return look.value
            return self._wait_on(pace, look.seen)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on where the trigger ended.

        :param event: the trigger's event, see :class:`~tradewind.sensors.triggers.PollTrigger`
        """
        from tradewind.sensors.triggers import failure

        state, pace = event["state"], Pace.from_dict(event["pace"])
        if state == "failed":
            raise failure(event)
        if state == "done" and not self.worker_decides:
            return event["found"]
        seen = None
        if self.worker_decides:
            look = self._ask(context)
            if look.done:
                return look.value
            seen = look.seen
        if state == "timeout":
            raise self._timed_out(pace, event["reason"])
        return self._wait_on(pace, seen)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; Airflow calls this."""
        with self._as_asked():
            try:
                # Past BaseSensorOperator's own, which differs from version to version.
                return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
            except Exception as error:
                if next_method == "__fail__" and "timeout" in str((next_kwargs or {}).get("error")).lower():
                    raise AirflowSensorTimeout(
                        f"timed out after {self.timeout:g} s: no triggerer reported in time; is one running?"
                    ) from error
                raise

    def _wait_on(self, pace: Pace, seen: str | None) -> None:
        left = pace.left()
        if left <= 0:
            raise self._timed_out(pace)
        trigger = self.trigger(pace, seen)
        trigger.ends_task, trigger.pushes_xcom = self.trigger_may_end, bool(self.do_xcom_push)
        self.log.info("waiting in the triggerer, %.0f s at most", left)
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=left + BACKSTOP),
        )

    def _ask(self, context: Context) -> Look:
        try:
            return self._outlive(context)
        except (*FINAL, AirflowSkipException):
            raise
        except Exception:
            if not self.silent_fail:
                raise
            self.log.exception("poke failed; silent_fail is set, so the wait goes on")
            return NOT_YET

    def _outlive(self, context: Context) -> Look:
        try:
            return self.look(context)
        except TransientError as error:
            self.log.warning("poke failed, the next one may not: %s", error)
            return NOT_YET

    @contextmanager
    def _as_asked(self) -> Iterator[None]:
        """Turn failures into a skip as ``soft_fail`` and ``never_fail`` ask, alike on all versions of Airflow."""
        try:
            yield
        except AirflowSkipException:
            raise
        except FINAL as error:
            if self.soft_fail or self.never_fail:
                word = "soft_fail" if self.soft_fail else "never_fail"
                raise AirflowSkipException(f"skipped, for {word} is set: {error}") from error
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"skipped, for never_fail is set: {error}") from error
            raise

    def _timed_out(self, pace: Pace, reason: str = "") -> AirflowSensorTimeout:
        text = f"timed out: waited {pace.waited():.0f} s, timeout is {self.timeout:g} s"
        return AirflowSensorTimeout(f"{text}; the last look failed: {reason}" if reason else text)
