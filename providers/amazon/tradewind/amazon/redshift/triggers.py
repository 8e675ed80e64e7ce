"""The triggers that wait for a statement of the Data API, and for a cluster."""

from __future__ import annotations

from typing import Any

from tradewind.amazon.redshift.clusters import RedshiftHook, check_reachable
from tradewind.amazon.redshift.data import RedshiftDataHook
from tradewind.amazon.triggers import AwsTrigger
from tradewind.operators.jobs.triggers import JobTrigger
from tradewind.sensors.triggers import PollTrigger


class RedshiftDataTrigger(AwsTrigger, JobTrigger):
    """Wait until a statement has ended; stop it when a person ends the task.

    :param kwargs: what :class:`~tradewind.amazon.triggers.AwsTrigger` and every
        :class:`~tradewind.operators.jobs.triggers.JobTrigger` take
    """

    def service(self) -> RedshiftDataHook:
        """Connect to the Data API."""
        return RedshiftDataHook(**self.aws)

    def service_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that say which connection it is."""
        return self.aws


class RedshiftClusterTrigger(AwsTrigger, PollTrigger):
    """Wait until a cluster is in a state. What it finds is the state.

    :param cluster_identifier: the cluster
    :param target_status: the state, as ``available``
    :param kwargs: what :class:`~tradewind.amazon.triggers.AwsTrigger` and every
        :class:`~tradewind.sensors.triggers.PollTrigger` take
    """

    def __init__(
        self,
        *,
        cluster_identifier: str,
        target_status: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_identifier = cluster_identifier
        self.target_status = target_status
        self._hook: RedshiftHook | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that make this trigger anew."""
        return {
            "cluster_identifier": self.cluster_identifier,
            "target_status": self.target_status,
            **self.aws,
        }

    def look(self) -> str | None:
        """Look once."""
        if self._hook is None:
            self._hook = RedshiftHook(**self.aws)
        status = self._hook.cluster_status(self.cluster_identifier)
        check_reachable(self.cluster_identifier, status, self.target_status)
        return status if status == self.target_status else None

    def close(self) -> None:
        """Let go of the client."""
        self._hook = None
