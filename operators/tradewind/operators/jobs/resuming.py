"""Finding the job that an earlier try submitted, or submitting it: once, whenever a try dies.

A job's name is derived from its work and never stored::

    tradewind-<task instance>-<clears>-<input>-<attempt>

A try asks the service for all jobs of its task instance. One of the same clears and input that runs or has succeeded
is taken over; after one that failed, the next attempt is submitted. All others that still run are stopped first: they
are of a task that a person cleared, or of SQL that has been edited since. The name is the request's idempotency token
too, so that two tries that ask at the same moment, or a request that is repeated for want of an answer, submit one job.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from tradewind.hooks.errors import NotFound
from tradewind.hooks.work import Work
from tradewind.operators.jobs.job import Job, Jobs

PREFIX = "tradewind"
_NAME = re.compile(rf"{PREFIX}-([0-9a-f]{{24}})-(\d+)-([0-9a-f]{{12}})-(\d+)")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobName:
    """The name of one attempt at one piece of work; at most 64 characters.

    :param instance: 24 hexadecimal digits of the task instance
    :param clears: what a person's clear raises
    :param input: 12 hexadecimal digits of what is submitted
    :param attempt: counted from 1
    """

    instance: str
    clears: int
    input: str
    attempt: int = 1

    @classmethod
    def of(cls, work: Work, fingerprint: str) -> JobName:
        """Name the first attempt of a task's work.

        :param work: the task instance
        :param fingerprint: what identifies the input
        """
        return cls(work.token("", clears=False)[:24], work.max_tries, work.token(fingerprint, clears=False)[:12])

    @classmethod
    def parse(cls, text: str) -> JobName | None:
        """Read a name, None where it is none of ours."""
        found = _NAME.fullmatch(text)
        return cls(found[1], int(found[2]), found[3], int(found[4])) if found else None

    @property
    def family(self) -> str:
        """The start of the names of all jobs of the task instance."""
        return f"{PREFIX}-{self.instance}-"

    def same_work(self, other: JobName) -> bool:
        """Say whether another name is of the same work, whichever attempt."""
        return replace(self, attempt=0) == replace(other, attempt=0)

    def __str__(self) -> str:
        return f"{self.family}{self.clears}-{self.input}-{self.attempt}"


def resume(jobs: Jobs, first: JobName, submit: Callable[[str], Job], kept: Job | None = None) -> tuple[Job, bool]:
    """Take over the job of an earlier try, or submit it.

    :param jobs: the service
    :param first: the name of the first attempt
    :param submit: submits a job under a name, which is its idempotency token; the same name twice is one job
    :param kept: a job of the task instance that Airflow remembers, which the service's list may not show yet
    :return: the job, and whether it was there already
    :raises TransientError: where the service cannot tell now, or does not stop a job that must not run on
    """
    attempt, latest = 0, None
    for job in _known(jobs, first, kept):
        name = JobName.parse(job.name)
        if name is not None and name.same_work(first):
            if name.attempt > attempt:
                attempt, latest = name.attempt, job
        elif name is not None and not job.ended:
            log.info("%s is of this task before it was cleared or changed: stopping it", jobs.describe(job))
            jobs.stop(job)
    if latest is not None and latest.state in ("waiting", "running", "succeeded"):
        return latest, True
    if latest is not None:
        log.info("%s %s: submitting it again", jobs.describe(latest), latest.state)
    return submit(str(replace(first, attempt=attempt + 1))), False


def _known(jobs: Jobs, first: JobName, kept: Job | None) -> list[Job]:
    """Return the jobs of the task instance: those that the service lists, and the one that is remembered."""
    found = list(jobs.named(first.family))
    if kept is None or not kept.name.startswith(first.family) or any(job.id == kept.id for job in found):
        return found
    try:
        return [*found, replace(jobs.look(kept.id), name=kept.name)]
    except NotFound:
        return found
