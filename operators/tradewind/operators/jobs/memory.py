"""What Airflow itself remembers of a job, where it can: since 3.3 a task has a store that outlives its tries.

It is never the only memory, for a worker may die between submitting and remembering. It knows the job at once, though,
where the service's own list of jobs lags behind or has forgotten it.
"""

from __future__ import annotations

import logging
from typing import Any

from tradewind.hooks.compat import Context
from tradewind.operators.jobs.job import Job

KEY = "tradewind_job"

log = logging.getLogger(__name__)


def remember(context: Context, job: Job) -> None:
    """Keep a job for the next try; a store that fails costs no more than what it would have known.

    :param context: the task's
    :param job: what was submitted or taken over
    """
    store = context.get("task_state_store")
    if store is None:
        return
    try:
        store.set(KEY, job.as_dict())
    except Exception as error:
        log.warning("the job is not kept in Airflow's store of the task: %s", error)


def remembered(context: Context) -> Job | None:
    """Return the job that an earlier try kept, None where there is none, or no store.

    :param context: the task's
    """
    store = context.get("task_state_store")
    if store is None:
        return None
    try:
        kept: Any = store.get(KEY)
        return Job.from_dict(kept) if kept else None
    except Exception as error:
        log.warning("Airflow's store of the task does not tell its job: %s", error)
        return None
