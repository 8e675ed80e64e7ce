"""A token of AWS IAM in place of a database password, for RDS and Aurora.

https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradewind.hooks.compat import BaseHook
from tradewind.hooks.errors import AccessDenied, ConnectionFailed, InvalidArgument

if TYPE_CHECKING:
    import boto3

_RDS_HOST = re.compile(r"\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?\.?$", re.IGNORECASE)
_STS_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 4, "mode": "standard"}}


def rds_token(host: str, port: int, user: str | None, extra: Mapping[str, Any]) -> str:
    """Make a fresh token; it holds for 15 minutes, and a session outlives it.

    :param host: one host name: a token is for one host and port
    :param port: the port
    :param user: the database's user
    :param extra: the connection's extra: ``aws_conn_id`` and ``region``
    :return: what takes the password's place
    :raises InvalidArgument: without one host, a user and a region
    :raises AccessDenied: without AWS credentials
    """
    if not host or "," in host or host.startswith("/"):
        raise InvalidArgument(f"iam needs one host name, not {host!r}: a token is for one host and port")
    if not user:
        raise InvalidArgument("iam needs the database user in the connection's login")
    if extra.get("redshift"):
        raise InvalidArgument("iam with redshift is not for this hook: it makes tokens of RDS")
    aws = _aws_connection(extra.get("aws_conn_id"))
    region = extra.get("region") or extra.get("region_name") or aws.get("region_name") or _region(host)
    return _token(aws, region, host, port, user)


def _token(aws: Mapping[str, Any], region: str | None, host: str, port: int, user: str) -> str:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        client = _session(aws, region).client("rds")
        return str(client.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user))
    except NoRegionError as error:
        raise InvalidArgument(f"iam needs a region for {host}: set region in the connection's extra") from error
    except NoCredentialsError as error:
        raise AccessDenied("iam found no aws credentials: set aws_conn_id in the connection's extra") from error
    except ClientError as error:
        raise AccessDenied(f"iam: aws refused to assume the role: {error}") from error
    except BotoCoreError as error:
        raise ConnectionFailed(f"iam: {error}") from error


def _session(aws: Mapping[str, Any], region: str | None) -> boto3.Session:
    import boto3
    from botocore.config import Config

    session = boto3.Session(
        aws_access_key_id=aws.get("aws_access_key_id"),
        aws_secret_access_key=aws.get("aws_secret_access_key"),
        aws_session_token=aws.get("aws_session_token"),
        profile_name=aws.get("profile_name"),
        region_name=region,
    )
    if not aws.get("role_arn"):
        return session
    sts = session.client("sts", endpoint_url=aws.get("endpoint_url"), config=Config(**_STS_TIMEOUTS))  # type: ignore[arg-type]
    asked = {"RoleArn": aws["role_arn"], "RoleSessionName": "tradewind", **dict(aws.get("assume_role_kwargs") or {})}
    if aws.get("external_id"):
        asked["ExternalId"] = aws["external_id"]
    given = sts.assume_role(**asked)["Credentials"]
    return boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=region,
    )


def _aws_connection(conn_id: str | None) -> dict[str, Any]:
    """Read what a token needs off an ``aws`` connection; none named is AWS's default chain."""
    if not conn_id:
        return {}
    connection = BaseHook.get_connection(conn_id)
    found: dict[str, Any] = dict(connection.extra_dejson)
    if connection.login:
        found |= {"aws_access_key_id": connection.login, "aws_secret_access_key": connection.password}
    return found


def _region(host: str) -> str | None:
    match = _RDS_HOST.search(host)
    return match[1] if match else None
