"""The trigger that waits for a statement of Snowflake."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

from tradewind.operators.jobs.triggers import JobTrigger
from tradewind.snowflake.jobs import SnowflakeJobs


class SnowflakeTrigger(JobTrigger):
    """Wait until a statement has ended; stop it when a person ends the task.

    All waits of a triggerer that log in alike share one session.

    :param snowflake_conn_id: Airflow's connection
    :param hook_params: further arguments of the hook; what is secret is the connection's alone
    :param kwargs: what every :class:`~tradewind.operators.jobs.triggers.JobTrigger` takes
    """

    def __init__(
        self,
        *,
        snowflake_conn_id: str = "snowflake_default",
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.snowflake_conn_id = snowflake_conn_id
        self.hook_params = dict(hook_params or {})

    def service(self) -> SnowflakeJobs:
        """Connect to the service, or share the session of those who wait already."""
        return _SHARED.take(self.snowflake_conn_id, self.hook_params)

    def service_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that say which connection it is."""
        return {"snowflake_conn_id": self.snowflake_conn_id, "hook_params": self.hook_params}

    def close(self) -> None:
        """Let go of the session; the last one closes it."""
        service, self._service = self._service, None
        if isinstance(service, SnowflakeJobs):
            _SHARED.give_back(service)


class _Shared:
    """What logs in, by how it does, and how many hold it. A forked process shares nothing with its parent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[Any, ...], tuple[SnowflakeJobs, int]] = {}

    def take(self, conn_id: str, hook_params: Mapping[str, Any]) -> SnowflakeJobs:
        from tradewind.snowflake.hooks import SnowflakeHook

        key = (os.getpid(), conn_id, json.dumps(dict(hook_params), sort_keys=True, default=str))
        with self._lock:
            service, holders = self._held.get(key, (None, 0))
            service = service or SnowflakeJobs(SnowflakeHook(conn_id, **hook_params))
            self._held[key] = (service, holders + 1)
        return service

    def give_back(self, service: SnowflakeJobs) -> None:
        with self._lock:
            key, holders = next((key, n) for key, (held, n) in self._held.items() if held is service)
            if holders > 1:
                self._held[key] = (service, holders - 1)
                return
            del self._held[key]
        service.close()


_SHARED = _Shared()
