"""What Airflow is told about the provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec

import jsonschema  # type: ignore[import-untyped]
import pytest

from tradewind.mysql.provider_info import get_provider_info


def test_it_is_valid_by_airflows_schema() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_connection_type_is_left_to_the_official_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = find_spec("airflow.providers.mysql") is None
    assert ("connection-types" in get_provider_info()) == alone
    monkeypatch.setattr("tradewind.mysql.provider_info.find_spec", lambda name: object())
    assert "connection-types" not in get_provider_info()


@pytest.mark.skipif(find_spec("airflow.providers.mysql") is not None, reason="the official provider owns the type")
@pytest.mark.filterwarnings("ignore")  # Airflow 2 imports its web server here, whose libraries deprecate each other
def test_a_connection_of_the_type_makes_our_hook(connection: Callable[..., str]) -> None:
    from tradewind.hooks.compat import BaseHook
    from tradewind.mysql.hooks import MySqlHook

    connection("ours", "mysql://me@localhost/d")
    hook = BaseHook.get_connection("ours").get_hook()  # type: ignore[no-untyped-call]
    assert isinstance(hook, MySqlHook)
    assert hook.mysql_conn_id == "ours"
