"""Connections of type aws: keys, and an environment that holds none."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tradewind.amazon.connection import AwsSettings
    from tradewind.amazon.hooks import AwsHook

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "the-very-secret-key", "the-very-secret-token"
ROLE = "arn:aws:iam::123456789012:role/data"
Connect = Callable[[str, "str | Mapping[str, Any]"], str]


def settings(login: str | None = None, password: str | None = None, extra: Any = None) -> AwsSettings:
    """Read a connection as a hook reads it."""
    from tradewind.amazon.connection import AwsSettings

    text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    made: Any = SimpleNamespace(conn_id="my_aws", login=login, password=password, extra=text)
    return AwsSettings.from_connection(made)


def credentials(hook: AwsHook) -> tuple[str | None, str | None, str | None]:
    """Return the access key, the secret key and the token that a hook's calls are signed with."""
    found = hook.session.get_credentials()
    assert found is not None
    keys = found.get_frozen_credentials()
    return keys.access_key, keys.secret_key, keys.token


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nobody's own AWS configuration in, and ask no metadata service."""
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


def told(error: BaseException) -> str:
    """Return all that a log would show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)
