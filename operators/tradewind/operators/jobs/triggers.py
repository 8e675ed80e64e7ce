"""The trigger that waits for a job."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from tradewind.operators.jobs.job import HOW_ENDED, Job, Jobs
from tradewind.sensors.triggers import PollTrigger


class JobTrigger(PollTrigger):
    """Wait until a job has ended; stop it when a person ends the task.

    What it finds is the job, as :meth:`~tradewind.operators.jobs.job.Job.as_dict` gives it.

    :param job: the job, as a mapping
    :param stops: whether it is stopped when a person ends the task
    :param kwargs: what every :class:`~tradewind.sensors.triggers.PollTrigger` takes
    """

    def __init__(self, *, job: Mapping[str, Any], stops: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = Job.from_dict(job)
        self.stops = stops
        self._service: Jobs | None = None

    @abstractmethod
    def service(self) -> Jobs:
        """Connect to the service."""

    @abstractmethod
    def service_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that say which service it is, plain values, without any secret."""

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that make this trigger anew."""
        return {"job": self.job.as_dict(), "stops": self.stops, **self.service_arguments()}

    def look(self) -> dict[str, Any] | None:
        """Look how far the job is."""
        job = self._connected().look(self.job.id)
        return job.as_dict() if job.ended else None

    def stop(self) -> None:
        """Stop the job, and see that it runs no more."""
        if not self.stops:
            return
        service = self._connected()
        self.log.info("a person ended the task: stopping %s", service.describe(self.job))
        ended = service.stop(self.job)
        self.log.info("%s runs no more: it %s", service.describe(ended), HOW_ENDED[ended.state])

    def close(self) -> None:
        """Let go of the connection."""
        service, self._service = self._service, None
        if service is not None:
            service.close()

    def _connected(self) -> Jobs:
        if self._service is None:
            self._service = self.service()
        return self._service
