"""What every operator shares whose work a service does: submit, wait, fetch."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tradewind.hooks.compat import AirflowTaskTimeout, BaseOperator, Context, defers_by_default
from tradewind.hooks.errors import InvalidArgument, PermanentError, TradewindError, TransientError
from tradewind.hooks.work import Work
from tradewind.operators.jobs.job import HOW_ENDED, Job, Jobs
from tradewind.operators.jobs.memory import remember, remembered
from tradewind.operators.jobs.resuming import JobName, resume
from tradewind.sensors.pace import Pace

if TYPE_CHECKING:
    from tradewind.operators.jobs.triggers import JobTrigger

LONGEST = 7 * 24 * 3600.0
"""Seconds after which a wait without ``execution_timeout`` is given up."""
BACKSTOP = 180.0
"""Seconds beyond the deadline after which Airflow's scheduler ends a wait whose trigger did not: no triggerer ran."""
KILL_SECONDS = 4.0
"""Seconds in which a killed task sees that its job is stopped; Airflow 3 leaves it 5."""


class JobOperator(BaseOperator):
    """Have a service do the work: submit it once, wait for it, and fetch what came of it.

    A retry takes over what an earlier try submitted, found in the service by its name, and so does a try that runs
    beside another one. A task that a person cleared is new work. When the task is killed, on a worker or deferred, the
    job is stopped in the service.

    :param deferrable: whether to wait in the triggerer, without a worker. None asks Airflow's option
        ``[operators] default_deferrable``, and where nobody has set it, it is done
    :param poll_interval: seconds between two looks at the job
    :param defer_after: seconds to wait on the worker before the job is handed to the triggerer: for a short one, that
        and the start of another worker take longer than the work
    :param wait_for_completion: whether to wait at all
    """

    def __init__(
        self,
        *,
        deferrable: bool | None = None,
        poll_interval: float = 5.0,
        defer_after: float = 5.0,
        wait_for_completion: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if poll_interval <= 0:
            raise InvalidArgument(f"poll_interval must be above 0 seconds, not {poll_interval:g}")
        if defer_after < 0:
            raise InvalidArgument(f"defer_after must be 0 seconds or more, not {defer_after:g}")
        self.deferrable = defers_by_default() if deferrable is None else deferrable
        self.poll_interval = poll_interval
        self.defer_after = defer_after
        self.wait_for_completion = wait_for_completion
        self._service: Jobs | None = None
        self._name: JobName | None = None
        self._job: Job | None = None

    @abstractmethod
    def service(self) -> Jobs:
        """Connect to the service, with the rendered arguments."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return what identifies the work that is submitted, the same for every try."""

    @abstractmethod
    def submit(self, service: Any, name: str, context: Context) -> Job:
        """Submit the work.

        :param service: what :meth:`service` returned
        :param name: the job's name and idempotency token
        :param context: the task's, for what people are to read of the job
        """

    @abstractmethod
    def trigger(self, job: Job, pace: Pace) -> JobTrigger:
        """Make the trigger that waits on."""

    @abstractmethod
    def result(self, service: Any, job: Job, context: Context) -> Any:
        """Fetch what came of a job that has succeeded."""

    def unawaited(self, job: Job) -> Any:
        """Return the result of a task that does not wait."""
        return job.id

    def failure(self, service: Any, job: Job) -> TradewindError:
        """Say why a job failed; what Airflow is to retry is a TransientError."""
        return PermanentError(f"{service.describe(job)} failed: {job.reason}")

    def execute(self, context: Context) -> Any:
        """Submit the work or find it under way, and wait for it."""
        # Not for subclasses to override: Airflow 2 warns of an execute that another one calls.
        try:
            return self._do(context, self.defer_after if self.deferrable else None)
        finally:
            self._let_go()

    def _do(self, context: Context, defer_after: float | None) -> Any:
        pace = self._pace()
        service = self._service = self.service()
        self._name = self._named(context)
        job, found = resume(service, self._name, lambda name: self.submit(service, name, context), remembered(context))
        self._job = job
        remember(context, job)
        self.log.info("%s: %s", service.describe(job), "an earlier try submitted it" if found else "submitted")
        if not self.wait_for_completion:
            return self.unawaited(job)
        return self._wait(service, job, pace, defer_after, context)

    def execute_complete(self, context: Context, event: Mapping[str, Any], job: Mapping[str, Any]) -> Any:
        """Go on where the trigger ended.

        :param event: the trigger's event, see :class:`~tradewind.sensors.triggers.PollTrigger`
        :param job: the job that was waited for
        """
        from tradewind.sensors.triggers import failure

        service, waited = self._reconnect(job)
        if event["state"] == "done":
            return self._ended(service, Job.from_dict(event["found"]), context)
        if event["state"] == "timeout":
            raise self._timed_out(service, waited, Pace.from_dict(event["pace"]))
        self._stop(service, waited)
        raise failure(event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; Airflow calls this."""
        try:
            return self._resume(next_method, next_kwargs, context)
        finally:
            self._let_go()

    def _resume(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        if next_method != "__fail__":
            return super().resume_execution(next_method, next_kwargs, context)
        reason = str((next_kwargs or {}).get("error"))
        if "timeout" not in reason.lower():
            self.log.warning("the trigger failed (%s): waiting on the worker", reason)
            return self._do(context, None)
        self._service, self._name = self.service(), self._named(context)
        self.on_kill()
        raise AirflowTaskTimeout("no triggerer reported in time: is one running?")

    def on_kill(self) -> None:
        """Stop the job in the service, and see that it runs no more."""
        if self._service is not None:
            self._stop_all(self._service)

    def _stop_all(self, service: Jobs) -> None:
        if self._name is None:
            return
        if self._job is not None:
            self._stop(service, self._job, KILL_SECONDS)
            return
        for job in service.named(self._name.family):  # killed while it was submitted
            if not job.ended:
                self._stop(service, job, KILL_SECONDS)

    def _let_go(self) -> None:
        if self._service is not None:
            self._service.close()

    def _named(self, context: Context) -> JobName:
        return JobName.of(Work.from_context(context), self.fingerprint())

    def _pace(self) -> Pace:
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else LONGEST
        return Pace.starting(limit, self.poll_interval)

    def _reconnect(self, job: Mapping[str, Any]) -> tuple[Jobs, Job]:
        self._service, self._job = self.service(), Job.from_dict(job)
        return self._service, self._job

    def _wait(self, service: Jobs, job: Job, pace: Pace, defer_after: float | None, context: Context) -> Any:
        """Wait on the worker until the job has ended, or it is time to defer."""
        began, pause, faults = time.monotonic(), 0.1, 0
        while not job.ended:
            if defer_after is not None and time.monotonic() - began >= defer_after:
                self._defer(service, job, pace)
            if pace.left() <= 0:
                raise self._timed_out(service, job, pace)
            time.sleep(pace.pause(faults) if faults else min(pause, pace.pause()))
            pause *= 1.5
            try:
                job, faults = service.look(job.id), 0
            except TransientError as error:
                faults += 1
                self.log.warning("look failed (%s in a row), the next one may not: %s", faults, error)
        return self._ended(service, job, context)

    def _defer(self, service: Jobs, job: Job, pace: Pace) -> None:
        self.log.info("%s: waiting in the triggerer", service.describe(job))
        self.defer(
            trigger=self.trigger(job, pace),
            method_name="execute_complete",
            kwargs={"job": job.as_dict()},
            timeout=timedelta(seconds=pace.left() + BACKSTOP),
        )

    def _ended(self, service: Jobs, job: Job, context: Context) -> Any:
        self._job = None
        if job.state == "succeeded":
            return self.result(service, job, context)
        if job.state == "cancelled":
            raise TransientError(f"{service.describe(job)} was cancelled in the service, not by this task")
        raise self.failure(service, job)

    def _timed_out(self, service: Jobs, job: Job, pace: Pace) -> BaseException:
        self._stop(service, job)
        return AirflowTaskTimeout(f"{service.describe(job)} took longer than {pace.waited():.0f} s, and was stopped")

    def _stop(self, service: Jobs, job: Job, seconds: float | None = None) -> None:
        self.log.info("stopping %s", service.describe(job))
        try:
            ended = service.stop(job, seconds) if seconds else service.stop(job)
        except TradewindError as error:
            self.log.error("%s may still run: %s", service.describe(job), error)
        else:
            self.log.info("%s runs no more: it %s", service.describe(job), HOW_ENDED[ended.state])
