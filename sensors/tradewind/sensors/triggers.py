"""The trigger that looks again and again, in the triggerer, without ever blocking its event loop."""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, ClassVar, TypeVar

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from tradewind.hooks import errors
from tradewind.hooks.compat import TRIGGERS_HEAR_KILLS, AirflowFailException, task_is_deferred
from tradewind.hooks.errors import TimedOut, TradewindError, TransientError
from tradewind.sensors.pace import Pace

THREADS = 16
"""How many looks of all triggers run at a time; the others queue. They never take asyncio's own threads, which
other triggers need."""


KILL_SECONDS = 30.0
"""Seconds in which what a killed task waited for is stopped: as long as Airflow 3.3 gives."""

T = TypeVar("T")


class PollTrigger(BaseTrigger, ABC):
    """Look at an interval until something is found, the deadline is over, or looking cannot work.

    ``look`` is synchronous and runs in a thread, one call at a time. Transient faults are outlived: they are logged and
    tried again, with growing pauses, until the deadline. The one event that always ends the wait is a dictionary::

        {"state": "done", "found": ..., "pace": ...}
        {"state": "timeout", "reason": the last fault or "", "pace": ...}
        {"state": "failed", "error": class name, "reason": ..., "pace": ...}

    The first of them, with ``ends_task``, is a ``TaskSuccessEvent``: no worker starts once more. Of a short wait, that
    start may fail: Airflow's scheduler can read that the first one ended when the second is queued, and takes the task
    for killed ("finished with state success, but the task instance's state attribute is queued").

    :param pace: the clock of the wait, as :meth:`Pace.as_dict` gives it
    :param silent_fail: whether unexpected exceptions are outlived too
    :param ends_task: whether to end the task when something is found; :class:`~tradewind.sensors.waiting.WaitingSensor`
        decides it
    :param pushes_xcom: whether what is found is then the task's XCom
    """

    grace: ClassVar[float] = 60.0
    """Seconds that a look which hangs may take beyond the deadline."""

    def __init__(
        self,
        pace: Mapping[str, Any],
        silent_fail: bool = False,
        ends_task: bool = False,
        pushes_xcom: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pace = Pace.from_dict(pace)
        self.silent_fail = silent_fail
        self.ends_task = ends_task
        self.pushes_xcom = pushes_xcom

    @abstractmethod
    def look(self) -> Any | None:
        """Look once, in a thread; every network call in it has a time-out.

        :return: what was found, plain values of JSON; None for not yet
        :raises TransientError: for a fault that may be gone next time
        :raises PermanentError: for one that stays: it ends the wait at once
        """

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that make this trigger anew, plain values, without any secret."""

    def stop(self) -> None:
        """Stop, in a thread, what runs elsewhere and is waited for: a person has ended the task."""

    def close(self) -> None:
        """Let go of what ``look`` holds on to; called when the wait is over or cancelled."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of this trigger."""
        kind = type(self)
        shared = {
            "pace": self.pace.as_dict(),
            "silent_fail": self.silent_fail,
            "ends_task": self.ends_task,
            "pushes_xcom": self.pushes_xcom,
        }
        return f"{kind.__module__}.{kind.__qualname__}", {**self.arguments(), **shared}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event that ends the wait."""
        try:
            event = await self._wait()
        except asyncio.CancelledError:
            await self._heard_of_kill()
            raise
        except Exception as error:
            # Whatever it is: without an event the task would wait for ever, or fail without a reason.
            if not isinstance(error, TradewindError):
                self.log.exception("looking failed")
            event = {"state": "failed", "error": _kind(error), "reason": _reason(error)}
        yield self._event({**event, "pace": self.pace.as_dict()})

    async def cleanup(self) -> None:
        """Let go of everything here; what runs elsewhere runs on, for a triggerer that ends is no kill."""
        self.close()

    async def on_kill(self) -> None:
        """Stop what runs elsewhere: a person has ended the task. Airflow calls this from 3.3 on."""
        if type(self).stop is not PollTrigger.stop:
            await self._in_thread(self.stop)

    async def _heard_of_kill(self) -> None:
        """Do what a later Airflow does by itself: tell a kill from the end of the triggerer, by the task's state."""
        if TRIGGERS_HEAR_KILLS or type(self).stop is PollTrigger.stop:
            return
        try:
            async with asyncio.timeout(KILL_SECONDS):
                if await self._in_thread(task_is_deferred, self.task_instance):
                    return
                await self.on_kill()
        except Exception as error:
            self.log.warning("cancelled; whether by a person is unknown, so nothing is stopped: %s", _reason(error))

    def _event(self, payload: dict[str, Any]) -> TriggerEvent:
        if payload["state"] != "done":
            return TriggerEvent(payload)  # type: ignore[no-untyped-call]
        self.log.info("found %s", _shown(payload["found"]))
        if not self.ends_task:
            return TriggerEvent(payload)  # type: ignore[no-untyped-call]
        event = TaskSuccessEvent(xcoms={"return_value": payload["found"]} if self.pushes_xcom else None)
        # What runs triggers in line, as dag.test does, resumes the task all the same: with the payload.
        event.payload = payload
        return event

    async def _wait(self) -> dict[str, Any]:
        faults, reason = 0, ""
        while True:
            await asyncio.sleep(self.pace.pause(faults))
            last = self.pace.left() <= 0
            try:
                found = await self._look_in_thread()
            except Exception as error:
                if not self._outlived(error):
                    raise
                faults, reason = faults + 1, _reason(error)
                self.log.warning("look failed (%s in a row), %.0f s left: %s", faults, self.pace.left(), reason)
            else:
                if found is not None:
                    return {"state": "done", "found": found}
                faults, reason = 0, ""
            if last or self.pace.left() <= -self.grace:
                return {"state": "timeout", "reason": reason}

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        # Not asyncio.to_thread: Airflow 3.0 to 3.2 answer a connection lookup in a thread only if asgiref made it.
        from asgiref.sync import sync_to_async

        return await sync_to_async(call, thread_sensitive=False, executor=_threads(os.getpid()))(*arguments)

    async def _look_in_thread(self) -> Any | None:
        task = asyncio.ensure_future(self._in_thread(self._attempt))
        limit = max(self.pace.left(), 0.0) + self.grace
        began = time.monotonic()
        try:
            await asyncio.wait({task}, timeout=limit)
            if not task.done():
                raise TimedOut(f"no answer within {time.monotonic() - began:.0f} s")
            found, error = task.result()
        finally:
            task.cancel()
        if error is not None:
            raise error
        return found

    def _attempt(self) -> tuple[Any, Exception | None]:
        """Look, and return the exception: a future cannot carry each of them (StopIteration, SystemExit)."""
        try:
            return self.look(), None
        except Exception as error:
            return None, RuntimeError(_reason(error)) if isinstance(error, StopIteration) else error
        except BaseException as error:
            return None, RuntimeError(_reason(error))

    def _outlived(self, error: Exception) -> bool:
        if isinstance(error, TransientError):
            return True
        return self.silent_fail and not isinstance(error, AirflowFailException)


def failure(event: Mapping[str, Any]) -> TradewindError:
    """Make the error that a trigger's event tells of.

    :param event: an event whose state is ``failed``
    """
    kind = vars(errors).get(str(event.get("error")))
    if not (isinstance(kind, type) and issubclass(kind, TradewindError)):
        kind = TradewindError
    return kind(event.get("reason") or "the trigger failed")


@cache
def _threads(pid: int) -> ThreadPoolExecutor:
    """Return the threads of this process; a forked one has none of its parent's."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="tradewind-poll")


def _kind(error: Exception) -> str:
    """Name the nearest class of ``tradewind.hooks.errors``: those a worker knows, whatever providers it has."""
    known = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return next(known, "PermanentError" if isinstance(error, AirflowFailException) else "TradewindError")


def _shown(found: Any) -> str:
    if not isinstance(found, list):
        return str(found)
    return ", ".join(map(str, found[:10])) + (" ..." if len(found) > 10 else "")


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, TradewindError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
