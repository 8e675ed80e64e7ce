"""Where credentials come from, how a role renews them, and what is said where there are none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.amazon.fix_connections import KEY, ROLE, SECRET, TOKEN, Connect, credentials, told
from tradewind.amazon.hooks import AwsHook
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.hooks.errors import (
    AccessDenied,
    NotFound,
    TradewindError,
)

pytestmark = pytest.mark.usefixtures("bare_environment")


@pytest.mark.parametrize("conn_id", [None, "aws_default"])
def test_without_a_connection_the_environment_counts(
    s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, conn_id: str | None
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setattr(AwsHook, "get_connection", not_defined)
    hook = S3Hook(conn_id)

    assert credentials(hook) == (KEY, SECRET, None)
    assert hook.settings.refreshable
    hook.create_bucket("environment-counts")
    hook.put("environment-counts", "k", b"x")
    assert hook.exists("environment-counts", "k")


def not_defined(*_: Any) -> Any:
    """Say what Airflow says, without the database that it looks into."""
    from tradewind.hooks.compat import AirflowNotFoundException

    raise AirflowNotFoundException("not defined")


def test_another_connection_must_be_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AwsHook, "get_connection", not_defined)

    with pytest.raises(NotFound, match="connection typo is not defined: define it, or give aws_conn_id=None"):
        S3Hook("typo").client()


def test_no_credentials_at_all_are_named(s3_endpoint: str, connection: Connect) -> None:
    connection("my_aws", {"conn_type": "aws", "extra": {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}})

    with pytest.raises(AccessDenied, match="no credentials: give the connection keys, or run with a role"):
        S3Hook("my_aws").exists("b", "k")


def role_connection(endpoint: str, seconds: int) -> dict[str, Any]:
    extra = {
        "endpoint_url": endpoint,
        "region_name": "us-east-1",
        "role_arn": ROLE,
        "external_id": "tradewind-7",
        "assume_role_kwargs": {"DurationSeconds": seconds},
    }
    return {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra}


def test_a_role_is_assumed_once_and_named_after_the_dag(
    s3_endpoint: str,
    connection: Connect,
    asked: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "daily load/ä")
    connection("my_aws", role_connection(s3_endpoint, 3600))
    hook = S3Hook("my_aws")

    ok, text = hook.test_connection()
    hook.create_bucket("role-bucket")
    hook.put("role-bucket", "k", b"x")

    assert ok
    assert text == ("connected as arn:aws:sts::123456789012:assumed-role/data/airflow-daily-load")
    assert hook.settings.refreshable
    assert [arguments for name, arguments in asked if name == "AssumeRole"] == [
        {
            "RoleArn": ROLE,
            "RoleSessionName": "airflow-daily-load",
            "ExternalId": "tradewind-7",
            "DurationSeconds": 3600,
        }
    ]


def test_a_role_s_credentials_are_renewed_before_they_end(
    s3_endpoint: str, connection: Connect, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    # botocore renews what ends within a quarter of an hour.
    connection("my_aws", role_connection(s3_endpoint, 900))
    hook = S3Hook("my_aws")
    first = credentials(hook)
    second = credentials(hook)

    assert first[0] != second[0]
    assert [name for name, _ in asked] == ["AssumeRole", "AssumeRole"]


def test_a_role_that_cannot_be_assumed_is_named(connection: Connect, s3_endpoint: str) -> None:
    connection("my_aws", {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": refused_role(s3_endpoint)})

    with pytest.raises(TradewindError, match=f"assume role {ROLE}") as caught:
        S3Hook("my_aws").exists("b", "k")
    assert SECRET not in told(caught.value)


def refused_role(endpoint: str) -> dict[str, Any]:
    return {
        "region_name": "us-east-1",
        "endpoint_url": endpoint,
        "role_arn": ROLE,
        "service_config": {"sts": {"endpoint_url": "http://127.0.0.1:1"}},
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }


def test_an_expired_token_in_a_head_is_told_as_such(connection: Connect, s3_endpoint: str) -> None:
    keys = {"conn_type": "aws", "login": KEY, "password": SECRET}
    place = {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}
    connection("lasting", {**keys, "extra": place})
    connection("token", {**keys, "extra": {**place, "aws_session_token": TOKEN}})
    connection("role", {**keys, "extra": {**place, "role_arn": ROLE}})

    def head(conn_id: str) -> str:
        hook = S3Hook(conn_id)
        bare = (
            SimpleNamespace(status_code=400, headers={}),
            {
                "Error": {"Code": "400", "Message": "Bad Request"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            },
        )
        hook.client().meta.events.register_first("before-call.s3.HeadObject", lambda **_: bare)
        with pytest.raises(TradewindError) as caught:
            hook.head("b", "k")
        return f"{type(caught.value).__name__}: {caught.value}"

    assert head("lasting").startswith("PermanentError: head s3://b/k: bad request")
    assert head("token").startswith("AccessDenied: head s3://b/k: bad request (S3 gives a HEAD no reason")
    assert head("role").startswith("CredentialsExpired: head s3://b/k: bad request")
