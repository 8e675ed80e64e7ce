"""The sensor that waits for a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tradewind.amazon.redshift.clusters import RedshiftHook, check_reachable
from tradewind.hooks.compat import Context
from tradewind.sensors.waiting import Look, WaitingSensor

if TYPE_CHECKING:
    from tradewind.amazon.redshift.triggers import RedshiftClusterTrigger
    from tradewind.sensors.pace import Pace


class RedshiftClusterSensor(WaitingSensor):
    """Wait until a provisioned cluster is in a state; one that it cannot reach any more fails at once.

    :param cluster_identifier: the cluster
    :param target_status: the state, as ``available`` or ``paused``
    :param aws_conn_id: the connection, None for the default credential chain
    :param region_name: the region, instead of the connection's
    :param verify: whether to check certificates, or a CA bundle's path
    :param kwargs: ``deferrable``, ``poke_interval``, ``timeout`` and what else every sensor takes
    """

    template_fields: Sequence[str] = ("cluster_identifier", "target_status", "aws_conn_id", "region_name")
    ui_color = "#eeaa11"

    def __init__(
        self,
        *,
        cluster_identifier: str,
        target_status: str = "available",
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

    @cached_property
    def hook(self) -> RedshiftHook:
        """The hook that the worker looks with."""
        return RedshiftHook(self.aws_conn_id, region_name=self.region_name, verify=self.verify)

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
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            pace=pace.as_dict(),
            silent_fail=self.silent_fail,
        )
