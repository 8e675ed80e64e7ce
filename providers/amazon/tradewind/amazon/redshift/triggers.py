"""The triggers that wait for a statement of the Data API, and for a cluster."""

from __future__ import annotations

from typing import Any

from tradewind.amazon.redshift.clusters import RedshiftHook, check_reachable
from tradewind.amazon.redshift.data import RedshiftDataHook
from tradewind.operators.jobs.triggers import JobTrigger
from tradewind.sensors.triggers import PollTrigger


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


class RedshiftClusterTrigger(PollTrigger):
    """Wait until a cluster is in a state. What it finds is the state.

    :param cluster_identifier: the cluster
    :param target_status: the state, as ``available``
    :param aws_conn_id: the connection, None for the default credential chain
    :param region_name: the region, instead of the connection's
    :param verify: whether to check certificates, or a CA bundle's path
    :param kwargs: what every :class:`~tradewind.sensors.triggers.PollTrigger` takes
    """

    def __init__(
        self,
        *,
        cluster_identifier: str,
        target_status: str,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_identifier = cluster_identifier
        self.target_status = target_status
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self._hook: RedshiftHook | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that make this trigger anew."""
        return {
            "cluster_identifier": self.cluster_identifier,
            "target_status": self.target_status,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
        }

    def look(self) -> str | None:
        """Look once."""
        if self._hook is None:
            self._hook = RedshiftHook(self.aws_conn_id, region_name=self.region_name, verify=self.verify)
        status = self._hook.cluster_status(self.cluster_identifier)
        check_reachable(self.cluster_identifier, status, self.target_status)
        return status if status == self.target_status else None

    def close(self) -> None:
        """Let go of the client."""
        self._hook = None
