"""What a connection of type aws means as users write it, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.amazon.fix_connections import KEY, SECRET, TOKEN, Connect, credentials, settings, told
from tradewind.amazon.hooks import AwsHook
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.hooks.errors import (
    InvalidArgument,
)

pytestmark = pytest.mark.usefixtures("bare_environment")


@pytest.mark.parametrize(
    "written",
    [
        {"login": KEY, "password": SECRET, "extra": {"aws_session_token": TOKEN}},
        {"extra": {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_session_token": TOKEN}},
        {
            "extra": {
                "session_kwargs": {
                    "aws_access_key_id": KEY,
                    "aws_secret_access_key": SECRET,
                    "aws_session_token": TOKEN,
                    "region_name": "eu-west-1",
                }
            }
        },
    ],
    ids=["login", "extra", "session_kwargs"],
)
def test_keys_are_found_wherever_they_are_written(connection: Connect, written: dict[str, Any]) -> None:
    written["extra"].setdefault("region_name", "eu-west-1")
    connection("my_aws", {"conn_type": "aws", **written})
    hook = AwsHook("my_aws")

    assert credentials(hook) == (KEY, SECRET, TOKEN)
    assert hook.region_name == "eu-west-1"
    assert not hook.settings.refreshable
    assert hook.settings.temporary


def test_a_connection_written_as_a_uri(connection: Connect) -> None:
    connection("my_aws", "aws://AKID:a%2Fb%2Bc@/?region_name=eu-west-1&endpoint_url=http%3A%2F%2F127.0.0.1%3A9")
    hook = S3Hook("my_aws")

    assert credentials(hook) == ("AKID", "a/b+c", None)
    assert hook.client().meta.endpoint_url == "http://127.0.0.1:9"
    assert hook.client().meta.region_name == "eu-west-1"


def test_keys_of_one_place_are_a_pair() -> None:
    extra = {"aws_access_key_id": "other", "aws_secret_access_key": "other-secret"}

    assert settings(KEY, SECRET, extra).secret_key == SECRET
    with pytest.raises(InvalidArgument, match="no secret access key"):
        settings(KEY, None, extra)


@pytest.mark.parametrize(
    ("login", "password", "extra", "words"),
    [
        (KEY, None, None, "has no secret access key (password)"),
        (None, SECRET, None, "has no access key id (login)"),
        (None, None, {"session_kwargs": {"aws_access_key_id": KEY}}, "has no secret access key"),
        (KEY, SECRET, "{nonsense " + TOKEN, "the extra of connection my_aws is not a JSON object"),
        (KEY, SECRET, "[1]", "is not a JSON object"),
        (None, None, {"endpoint_url": "localhost:9000"}, "endpoint_url of connection my_aws must start with http"),
        (None, None, {"endpoint_url": 5}, "must start with http"),
        (None, None, {"config_kwargs": [1]}, "config_kwargs of connection my_aws must be a JSON object"),
        (None, None, {"config_kwargs": "{"}, "config_kwargs of connection my_aws must be a JSON object"),
        (None, None, {"service_config": {"s3": "http://x"}}, "s3 of connection my_aws must be a JSON object"),
        (None, None, {"service_config": {"s3": {"endpoint_url": "x"}}}, "must start with http"),
        (
            None,
            None,
            {"session_kwargs": {"regoin_name": TOKEN, "aws_account": "1"}},
            "session_kwargs of connection my_aws has unknown keys: aws_account, regoin_name: use aws_access_key_id,",
        ),
        (None, None, {"assume_role_method": "assume_role_with_saml"}, "'assume_role_with_saml' of connection my_aws"),
        (None, None, {"assume_role_kwargs": "x"}, "assume_role_kwargs of connection my_aws must be a JSON object"),
    ],
)
def test_what_cannot_work_is_named(login: str | None, password: str | None, extra: Any, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        settings(login, password, extra)

    assert words in str(caught.value)
    assert SECRET not in told(caught.value)
    assert TOKEN not in told(caught.value)


@pytest.mark.parametrize(
    ("given", "read"),
    [(None, None), ("", None), ("true", True), ("False", False), (False, False), ("/ca.pem", "/ca.pem")],
)
def test_verify(given: Any, read: Any) -> None:
    assert settings(extra={"verify": given}).verify == read


def test_time_outs_and_retries_are_bounded_and_the_connection_s_word_wins(connection: Connect) -> None:
    connection("my_aws", {"conn_type": "aws", "login": KEY, "password": SECRET})
    mine = {"read_timeout": 7, "retries": {"total_max_attempts": 2}, "s3": {"addressing_style": "path"}}
    other = {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": {"config_kwargs": json.dumps(mine)}}
    connection("other", other)

    usual = S3Hook("my_aws", region_name="us-east-1").client().meta.config
    theirs = S3Hook("other", region_name="us-east-1").client().meta.config
    ours = S3Hook("other", region_name="us-east-1", config={"read_timeout": 5}).client().meta.config
    assert (usual.connect_timeout, usual.read_timeout, usual.retries["total_max_attempts"]) == (10, 60, 6)
    assert (theirs.connect_timeout, theirs.read_timeout, theirs.retries["total_max_attempts"]) == (10, 7, 2)
    assert theirs.s3["addressing_style"] == "path"
    assert ours.read_timeout == 5


def test_a_config_that_botocore_does_not_know_is_refused(connection: Connect) -> None:
    connection("my_aws", {"conn_type": "aws", "extra": {"config_kwargs": {"read_timeuot": 3}}})

    with pytest.raises(InvalidArgument, match=r"config_kwargs: .*read_timeuot"):
        S3Hook("my_aws", region_name="us-east-1").client()


def test_an_unsigned_client_reads_public_data(connection: Connect) -> None:
    from botocore import UNSIGNED

    connection("my_aws", {"conn_type": "aws", "extra": {"config_kwargs": {"signature_version": "unsigned"}}})
    assert S3Hook("my_aws", region_name="us-east-1").client().meta.config.signature_version is UNSIGNED


def test_services_have_endpoints_of_their_own(connection: Connect) -> None:
    extra = {
        "region_name": "us-east-1",
        "endpoint_url": "http://127.0.0.1:1",
        "service_config": {"s3": {"endpoint_url": "http://127.0.0.1:2"}},
    }
    connection("my_aws", {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra})
    hook = AwsHook("my_aws")

    assert hook.client("s3").meta.endpoint_url == "http://127.0.0.1:2"
    assert hook.client("sts").meta.endpoint_url == "http://127.0.0.1:1"


@pytest.mark.parametrize("place", ["extra", "session_kwargs"])
def test_a_profile(connection: Connect, tmp_path: Path, place: str) -> None:
    (tmp_path / "credentials").write_text(f"[team]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n")
    (tmp_path / "config").write_text("[profile team]\nregion=eu-north-1\n")
    named = {"profile_name": "team"}
    connection("my_aws", {"conn_type": "aws", "extra": named if place == "extra" else {"session_kwargs": named}})
    hook = AwsHook("my_aws")

    assert credentials(hook) == (KEY, SECRET, None)
    assert hook.region_name == "eu-north-1"


def test_a_profile_that_is_not_there_is_named(connection: Connect) -> None:
    connection("my_aws", {"conn_type": "aws", "extra": {"profile_name": "nobody"}})

    with pytest.raises(InvalidArgument, match="nobody"):
        S3Hook("my_aws").client()
