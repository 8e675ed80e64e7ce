"""The trigger that waits for a statement of the Data API."""

from __future__ import annotations

from typing import Any

from tradewind.amazon.redshift.data import RedshiftDataHook
from tradewind.operators.jobs.triggers import JobTrigger


class RedshiftDataTrigger(JobTrigger):
    """Wait until a statement has ended; stop it when a person ends the task.

    :param aws_conn_id: the connection, None for the default credential chain
    :param region_name: the region, instead of the connection's
    :param verify: whether to check certificates, or a CA bundle's path
    :param kwargs: what every :class:`~tradewind.operators.jobs.triggers.JobTrigger` takes
    """

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify

    def service(self) -> RedshiftDataHook:
        """Connect to the Data API."""
        return RedshiftDataHook(self.aws_conn_id, region_name=self.region_name, verify=self.verify)

    def service_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that say which connection it is."""
        return {"aws_conn_id": self.aws_conn_id, "region_name": self.region_name, "verify": self.verify}
