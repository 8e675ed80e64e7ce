"""The trigger that waits for a statement of Snowflake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.operators.jobs.triggers import JobTrigger
from tradewind.snowflake.jobs import SnowflakeJobs


class SnowflakeTrigger(JobTrigger):
    """Wait until a statement has ended; stop it when a person ends the task.

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
        """Connect to the service."""
        from tradewind.snowflake.hooks import SnowflakeHook

        return SnowflakeJobs(SnowflakeHook(self.snowflake_conn_id, **self.hook_params))

    def service_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that say which connection it is."""
        return {"snowflake_conn_id": self.snowflake_conn_id, "hook_params": self.hook_params}
