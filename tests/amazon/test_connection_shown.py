"""What a connection shows: who it is and how it is filled in, and never a secret."""

from __future__ import annotations

import json
import logging
import pickle
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tests.amazon.fix_connections import KEY, SECRET, TOKEN, Connect, settings, told
from tradewind.amazon import provider_info
from tradewind.amazon.hooks import AwsHook
from tradewind.amazon.redshift.hooks import RedshiftSQLHook
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.hooks.errors import (
    ConnectionFailed,
)

pytestmark = pytest.mark.usefixtures("bare_environment")


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
        {"hook-class-name": "tradewind.amazon.hooks.AwsHook", "connection-type": AwsHook.conn_type},
        {
            "hook-class-name": "tradewind.amazon.redshift.hooks.RedshiftSQLHook",
            "connection-type": RedshiftSQLHook.conn_type,
        },
    ]
    for info in (beside, alone):
        jsonschema.validate(info, schema)
