"""The official operators of Snowflake, played like ours: through the SQL API and through the connector."""

from __future__ import annotations

import json
import os
from typing import Any

from tests.snowflake.server import PAT

RIVALS = ("official-snowflake", "official-snowflake-deferred", "official-sql")
"""SnowflakeSqlApiOperator, which remembers in Airflow's task state store; deferred, which does not;
SQLExecuteQueryOperator through the connector."""


def connections(connection: dict[str, Any]) -> dict[str, str]:
    """Return the connections of the operators: the SQL API takes no password.

    :param connection: the one with a password
    """
    connection = {**connection, "schema": connection["extra"].pop("schema")}  # where the official hook looks for it
    token = {**connection, "password": PAT}
    token["extra"] = {**connection["extra"], "authenticator": "programmatic_access_token"}
    made = {"snowflake_default": connection, "snowflake_api": token}
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in made.items()}


def prepare() -> None:
    """Lead the official hooks, which know the service's own hosts and HTTPS alone, to the one of the tests."""
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

    extra = json.loads(os.environ["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"])["extra"]
    plain = SnowflakeHook._get_conn_params

    def by_http(self: Any) -> Any:
        return {**(plain(self) if callable(plain) else plain.__get__(self)), "protocol": "http"}

    SnowflakeHook._get_conn_params = by_http
    SnowflakeHook.account_identifier = f"http://{extra['host']}:{extra['port']}/{extra['account']}"


def operator(what: str, sql: str) -> Any:
    """Make an official operator.

    :param what: one of :data:`RIVALS`
    :param sql: two statements
    """
    if what == "official-sql":
        from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

        # One request of two statements, as the others send it.
        parameters = {"session_parameters": {"MULTI_STATEMENT_COUNT": 0}}
        return SQLExecuteQueryOperator(
            task_id="submit", conn_id="snowflake_default", sql=sql, split_statements=False, hook_params=parameters
        )
    from airflow.providers.snowflake.operators.snowflake import SnowflakeSqlApiOperator

    return SnowflakeSqlApiOperator(
        task_id="submit",
        snowflake_conn_id="snowflake_api",
        sql=sql,
        poll_interval=1,
        deferrable=what.endswith("deferred"),
    )
