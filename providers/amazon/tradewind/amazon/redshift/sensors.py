"""The sensor that waits for a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tradewind.amazon.redshift.clusters import RedshiftHook, check_reachable
from tradewind.amazon.sensors import AwsSensor
from tradewind.hooks.compat import Context
from tradewind.sensors.waiting import Look

if TYPE_CHECKING:
    from tradewind.amazon.redshift.triggers import RedshiftClusterTrigger
    from tradewind.sensors.pace import Pace


class RedshiftClusterSensor(AwsSensor):
    """Wait until a provisioned cluster is in a state; one that it cannot reach any more fails at once.

    :param cluster_identifier: the cluster
    :param target_status: the state, as ``available`` or ``paused``
    :param kwargs: ``aws_conn_id``, ``deferrable``, ``poke_interval``, ``timeout`` and what else
        :class:`~tradewind.amazon.sensors.AwsSensor` takes
    """

    template_fields: Sequence[str] = ("cluster_identifier", "target_status", *AwsSensor.template_fields)
    ui_color = "#eeaa11"

    def __init__(
        self,
        *,
        cluster_identifier: str,
        target_status: str = "available",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_identifier = cluster_identifier
        self.target_status = target_status

    @cached_property
    def hook(self) -> RedshiftHook:
        """The hook that the worker looks with."""
        return RedshiftHook(**self.aws)

    def look(self, context: Context) -> Look:
        """Look once."""
        status = self.hook.cluster_status(self.cluster_identifier)
        self.log.info("cluster %s is %s", self.cluster_identifier, status)
        check_reachable(self.cluster_identifier, status, self.target_status)
        return Look(status == self.target_status, status)

    def trigger(self, pace: Pace, seen: str | None) -> RedshiftClusterTrigger:
        """Make the trigger that waits on."""
        from tradewind.amazon.redshift.triggers import RedshiftClusterTrigger

        return RedshiftClusterTrigger(
            cluster_identifier=self.cluster_identifier,
            target_status=self.target_status,
            **self.aws,
            pace=pace.as_dict(),
            silent_fail=self.silent_fail,
        )
