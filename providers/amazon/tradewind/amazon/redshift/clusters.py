"""Provisioned clusters: their state, and what changes it.

Source: "Cluster status" of the Amazon Redshift Management Guide, and PauseCluster, ResumeCluster of its API Reference.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from tradewind.amazon.errors import error_code
from tradewind.amazon.hooks import AwsHook
from tradewind.hooks.errors import NotFound, PermanentError

Change = Literal["pause", "resume"]

LOST = ("deleting", "final-snapshot", "hardware-failure", "incompatible-")
"""How states begin that a cluster does not leave by itself."""


class RedshiftHook(AwsHook):
    """Look at clusters, pause and resume them.

    :param arguments: see :class:`~tradewind.amazon.hooks.AwsHook`
    """

    service: ClassVar[str] = "redshift"
    hook_name = "Amazon Redshift"

    def cluster_status(self, cluster_identifier: str) -> str:
        """Return a cluster's state, as ``available``.

        :raises NotFound: where there is none of that name
        """
        with self.errors(f"cluster {cluster_identifier}"):
            found = self.client().describe_clusters(ClusterIdentifier=cluster_identifier)["Clusters"]
        if not found:
            raise NotFound(f"there is no cluster {cluster_identifier} in {self.region_name}")
        return str(found[0]["ClusterStatus"])

    def request(self, change: Change, cluster_identifier: str) -> bool:
        """Ask for a change.

        :return: whether the service took it; it does not while it says that the cluster's state forbids it, as it does
            for a moment of clusters that it already calls available
        """
        from botocore.exceptions import ClientError

        with self.errors(f"{change} cluster {cluster_identifier}"):
            try:
                call = getattr(self.client(), f"{change}_cluster")
                call(ClusterIdentifier=cluster_identifier)
            except ClientError as error:
                if error_code(error) != "InvalidClusterState":
                    raise
                return False
        return True


def check_reachable(cluster_identifier: str, status: str, target: str) -> None:
    """Refuse to wait for what will not come.

    :raises PermanentError: where the cluster is in a state that it does not leave by itself
    """
    if status != target and status.startswith(LOST):
        raise PermanentError(f"cluster {cluster_identifier} is {status}: it will not be {target}")
