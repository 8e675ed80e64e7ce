"""What every sensor of an AWS service shares: which account it asks, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.sensors.waiting import WaitingSensor


class AwsSensor(WaitingSensor):
    """Wait for something in AWS.

    :param aws_conn_id: the connection, None for the default credential chain
    :param region_name: the region, instead of the connection's
    :param verify: whether to check certificates, or a CA bundle's path, instead of the connection's
    :param kwargs: ``deferrable``, ``poke_interval``, ``timeout``, ``mode``, ``soft_fail`` and what else
        :class:`~tradewind.sensors.waiting.WaitingSensor` and Airflow's sensors take
    """

    template_fields: Sequence[str] = ("aws_conn_id", "region_name")

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

    @property
    def aws(self) -> dict[str, Any]:
        """The arguments that a hook and a trigger of the same account take."""
        return {"aws_conn_id": self.aws_conn_id, "region_name": self.region_name, "verify": self.verify}
