"""How hooks look a connection up within a task of Airflow 3.0, whose own warn of it: later ones and 2 do it right."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from tradewind.hooks.compat import AIRFLOW_VERSION, AirflowNotFoundException

pytestmark = pytest.mark.skipif(AIRFLOW_VERSION != (3, 0), reason="Airflow 3.0 alone goes by the models")

HOOKS = {
    "tradewind.postgres.hooks": "PostgresHook",
    "tradewind.mysql.hooks": "MySqlHook",
    "tradewind.snowflake.hooks": "SnowflakeHook",
    "tradewind.amazon.redshift.hooks": "RedshiftSQLHook",
    "tradewind.amazon.s3.hooks": "S3Hook",
    "tradewind.hooks.compat": "BaseHook",
}


class Supervisor:
    """The task's side of its supervisor, with one connection."""

    def send(self, message: Any) -> Any:
        comms = import_module("airflow.sdk.execution_time.comms")
        if getattr(message, "conn_id", None) != "lake":
            errors = import_module("airflow.sdk.exceptions")
            return comms.ErrorResponse(error=errors.ErrorType.CONNECTION_NOT_FOUND)
        return comms.ConnectionResult(
            conn_id="lake", conn_type="generic", password="pa55word-x", extra='{"k": "s3cret-y"}'
        )


@pytest.mark.parametrize("module", HOOKS)
def test_a_task_asks_its_supervisor(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hook: Any = getattr(import_module(module), HOOKS[module])
    runner = import_module("airflow.sdk.execution_time.task_runner")
    monkeypatch.setattr(runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)

    found = hook.get_connection("lake")

    assert (found.conn_id, found.password, found.extra_dejson) == ("lake", "pa55word-x", {"k": "s3cret-y"})
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        hook.get_connection("nowhere")


def test_its_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    masker = import_module("airflow.sdk.execution_time.secrets_masker")
    runner = import_module("airflow.sdk.execution_time.task_runner")
    monkeypatch.setattr(runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    hook: Any = import_module("tradewind.postgres.hooks").PostgresHook

    hook.get_connection("lake")

    assert masker.redact("it is pa55word-x") == "it is ***"
