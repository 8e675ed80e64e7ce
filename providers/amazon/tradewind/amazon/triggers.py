"""What every trigger of an AWS service shares: which account it asks, and how."""

from __future__ import annotations

from typing import Any


class AwsTrigger:
    """Stands before the kind of trigger: ``class RedshiftClusterTrigger(AwsTrigger, PollTrigger)``.

    :param aws_conn_id: the connection, None for the default credential chain
    :param region_name: the region, instead of the connection's
    :param verify: whether to check certificates, or a CA bundle's path
    :param kwargs: what the kind of trigger takes
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

    @property
    def aws(self) -> dict[str, Any]:
        """The arguments that a hook of the same account takes, and this trigger made anew."""
        return {"aws_conn_id": self.aws_conn_id, "region_name": self.region_name, "verify": self.verify}
