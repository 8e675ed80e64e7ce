"""Temporary credentials of IAM for clusters and workgroups, and where these are.

Sources: GetClusterCredentials, GetClusterCredentialsWithIAM and DescribeClusters of the Amazon Redshift API Reference,
GetCredentials and GetWorkgroup of the Amazon Redshift Serverless API Reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.amazon.connection import AwsSettings
from tradewind.amazon.hooks import AwsHook
from tradewind.hooks.errors import InvalidArgument

PORT = 5439
"""Where Redshift listens."""


def with_iam(options: Mapping[str, Any], extra: Mapping[str, Any], aws_conn_id: str | None) -> dict[str, Any]:
    """Put temporary credentials, and the endpoint where it was left out, into libpq's options.

    :param options: libpq's options
    :param extra: the connection's extra
    :param aws_conn_id: the connection of type ``aws``
    :return: the options with user and password
    :raises InvalidArgument: where something is missing
    :raises AccessDenied: where IAM refuses
    """
    hook = _hook(extra, aws_conn_id)
    made = dict(options)
    if not made.get("dbname"):
        raise InvalidArgument("iam needs the database: set the connection's schema, or database in its extra")
    found = _serverless(hook, made, extra) if extra.get("is_serverless") else _provisioned(hook, made, extra)
    return {**made, **found}


def _hook(extra: Mapping[str, Any], aws_conn_id: str | None) -> AwsHook:
    region = extra.get("region") or extra.get("region_name")
    profile = extra.get("profile")
    if not profile:
        return AwsHook(extra.get("aws_conn_id") or aws_conn_id, region_name=region)
    hook = AwsHook(None, region_name=region)
    hook.settings = AwsSettings(profile=str(profile))
    return hook


def _serverless(hook: AwsHook, options: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    workgroup = extra.get("serverless_work_group")
    if not workgroup:
        raise InvalidArgument("iam of a serverless workgroup needs serverless_work_group in the connection's extra")
    client = hook.client("redshift-serverless")
    seconds = int(extra.get("serverless_token_duration_seconds", 3600))
    with hook.errors(f"credentials of workgroup {workgroup}"):
        given = client.get_credentials(dbName=options["dbname"], workgroupName=workgroup, durationSeconds=seconds)
        place = {}
        if not options.get("host"):
            endpoint = client.get_workgroup(workgroupName=workgroup)["workgroup"]["endpoint"]
            place = {"host": endpoint["address"], "port": endpoint["port"]}
    return {"user": given["dbUser"], "password": given["dbPassword"], **place}


def _provisioned(hook: AwsHook, options: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    cluster = extra.get("cluster_identifier") or str(options.get("host") or "").split(".", 1)[0]
    if not cluster:
        raise InvalidArgument("iam needs cluster_identifier in the connection's extra, or the cluster's host")
    client = hook.client("redshift")
    with hook.errors(f"credentials of cluster {cluster}"):
        given = _cluster_credentials(client, cluster, options, extra)
        place = {}
        if not options.get("host"):
            endpoint = client.describe_clusters(ClusterIdentifier=cluster)["Clusters"][0]["Endpoint"]
            place = {"host": endpoint["Address"], "port": endpoint["Port"]}
    return {"user": given["DbUser"], "password": given["DbPassword"], **place}


def _cluster_credentials(
    client: Any, cluster: str, options: Mapping[str, Any], extra: Mapping[str, Any]
) -> Mapping[str, Any]:
    place = {"DbName": options["dbname"], "ClusterIdentifier": cluster}
    user = extra.get("db_user") or options.get("user")
    if extra.get("group_federation") or not user:  # the user that IAM's own identity is mapped to
        found: Mapping[str, Any] = client.get_cluster_credentials_with_iam(**place)
        return found
    groups = {"DbGroups": list(extra["db_groups"])} if extra.get("db_groups") else {}
    given: Mapping[str, Any] = client.get_cluster_credentials(
        DbUser=user, AutoCreate=bool(extra.get("auto_create")), **place, **groups
    )
    return given
