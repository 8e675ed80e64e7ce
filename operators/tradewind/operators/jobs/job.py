"""A piece of work in a service, and what is asked of the service about it."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tradewind.hooks.errors import TimedOut, TransientError

State = Literal["waiting", "running", "succeeded", "failed", "cancelled"]

STOPPING = 20.0
"""Seconds in which a service is expected to stop a job that was cancelled."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A piece of work in a service.

    :param id: what the service calls it
    :param name: what it was called when it was submitted
    :param state: how far it is
    :param reason: why it failed, in the service's words
    """

    id: str
    name: str
    state: State
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.state in ("succeeded", "failed", "cancelled")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that Airflow can store."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """Read what :meth:`as_dict` wrote."""
        return cls(**values)


class Jobs(ABC):
    """A service that does work for tasks. All calls have time-outs, and raise our errors."""

    @abstractmethod
    def named(self, prefix: str) -> Sequence[Job]:
        """Return the jobs whose name begins like this, in any state.

        :raises TransientError: where the service cannot tell now
        """

    @abstractmethod
    def look(self, id: str) -> Job:
        """Return how far a job is.

        :raises NotFound: where the service knows it no more
        """

    @abstractmethod
    def cancel(self, id: str) -> None:
        """Ask the service to stop a job; one that has ended is left as it is."""

    def close(self) -> None:  # noqa: B027 (a service without a session has nothing to close)
        """Let go of what is kept open between calls; the next call opens it again."""

    def describe(self, job: Job) -> str:
        """Name a job in a message."""
        return f"job {job.id}"

    def stop(self, job: Job, seconds: float = STOPPING) -> Job:
        """Cancel a job, and wait until it runs no more.

        :param job: the job
        :param seconds: how long to wait for its end
        :return: the job as it ended: it may have succeeded or failed in the meantime
        :raises TimedOut: where it still runs then
        """
        deadline = time.monotonic() + seconds
        pause = 0.1
        while True:
            try:
                self.cancel(job.id)
                job = self.look(job.id)
            except TransientError as error:
                if time.monotonic() >= deadline:
                    raise
                log.warning("stopping %s: %s", self.describe(job), error)
            if job.ended:
                return job
            if time.monotonic() >= deadline:
                raise TimedOut(f"{self.describe(job)} still runs {seconds:.0f} s after it was cancelled")
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


HOW_ENDED: Mapping[State, str] = {
    "succeeded": "had succeeded before",
    "failed": "had failed before",
    "cancelled": "was cancelled",
}
