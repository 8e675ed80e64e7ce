"""Connections of type aws, as users write them: what they mean, what they refuse, and that secrets stay secret."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tradewind.amazon import provider_info
from tradewind.amazon.connection import AwsSettings
from tradewind.amazon.hooks import AwsHook
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    InvalidArgument,
    NotFound,
    TradewindError,
)

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "the-very-secret-key", "the-very-secret-token"
ROLE = "arn:aws:iam::123456789012:role/data"
Connect = Callable[[str, "str | Mapping[str, Any]"], str]


def settings(login: str | None = None, password: str | None = None, extra: Any = None) -> AwsSettings:
    text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    made: Any = SimpleNamespace(conn_id="my_aws", login=login, password=password, extra=text)
    return AwsSettings.from_connection(made)


def credentials(hook: AwsHook) -> tuple[str | None, str | None, str | None]:
    found = hook.session.get_credentials()
    assert found is not None
    keys = found.get_frozen_credentials()
    return keys.access_key, keys.secret_key, keys.token


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nobody's own AWS configuration in, and ask no metadata service."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """List the calls that are made, with their arguments."""
    from botocore.client import BaseClient

    seen: list[tuple[str, dict[str, Any]]] = []
    real: Any = BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(self: Any, name: str, arguments: dict[str, Any]) -> Any:
        seen.append((name, arguments))
        return real(self, name, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return seen


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


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def test_no_secret_is_ever_told(
    connection: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {
        "aws_session_token": TOKEN,
        "region_name": "us-east-1",
        "endpoint_url": "http://127.0.0.1:1",
        "config_kwargs": {"retries": {"total_max_attempts": 1}, "proxies": {"http": f"http://u:{SECRET}@127.0.0.1:1"}},
    }
    connection("my_aws", {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra})
    hook = S3Hook("my_aws")
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(hook, "_log", logging.getLogger("tests.connection"))  # Airflow's own does not propagate
    caplog.set_level(logging.DEBUG, "tests.connection")
    caplog.set_level(logging.DEBUG, "tradewind")

    with pytest.raises(ConnectionFailed) as caught:
        hook.head("b", "k")
    ok, text = hook.test_connection()
    shown = [
        told(caught.value),
        text,
        caplog.text,
        repr(hook),
        str(hook),
        repr(hook.settings),
        repr(vars(hook)),
        repr(pickle.dumps(hook)),
        repr(hook.session),
    ]

    assert not ok
    for one in shown:
        assert SECRET not in one
        assert TOKEN not in one


def test_a_hook_travels_without_its_client(connection: Connect, s3_endpoint: str) -> None:
    connection("my_aws", {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": {"region_name": "us-east-1"}})
    hook = S3Hook("my_aws", region_name="eu-west-1")
    hook.client()

    there = pickle.loads(pickle.dumps(hook))
    assert there.client().meta.region_name == "eu-west-1"
    assert there.reaches_as(hook)
    assert not there.reaches_as(S3Hook("my_aws"))


def test_test_connection_says_who_or_why_not(connection: Connect, s3_endpoint: str) -> None:
    extra = {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}
    connection("good", {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra})
    connection("bad", {"conn_type": "aws", "login": KEY})

    assert AwsHook("good").test_connection() == (True, "connected as arn:aws:sts::123456789012:user/moto")
    ok, text = AwsHook("bad").test_connection()
    assert not ok
    assert "connection bad has no secret access key" in text


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


def test_the_form_is_valid() -> None:
    import airflow
    import jsonschema  # type: ignore[import-untyped]

    for hook in (AwsHook, S3Hook):
        behaviour = hook.get_ui_field_behaviour()
        schema = Path(airflow.__path__[0]) / "customized_form_field_behaviours.schema.json"
        jsonschema.validate(behaviour, json.loads(schema.read_text()))
        assert behaviour["relabeling"]["password"] == "AWS Secret Access Key"
        # The example can be pasted as it is.
        example = settings(extra=behaviour["placeholders"]["extra"])
        assert example.role_arn
        assert example.endpoint("s3") == "http://localhost:5000"


def test_the_type_is_offered_only_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow
    import jsonschema

    schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
    monkeypatch.setattr(provider_info, "version", lambda name: "9.0.0")
    beside = provider_info.get_provider_info()

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(provider_info, "version", missing)
    alone = provider_info.get_provider_info()

    assert "connection-types" not in beside
    assert alone["connection-types"] == [
        {"hook-class-name": "tradewind.amazon.hooks.AwsHook", "connection-type": AwsHook.conn_type}
    ]
    for info in (beside, alone):
        jsonschema.validate(info, schema)
