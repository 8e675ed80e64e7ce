"""What Airflow is told, by environment variables alone."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tradewind.local import s3
from tradewind.local.errors import InvalidInput
from tradewind.local.postgres import USER
from tradewind.local.state import Secrets, State
from tradewind.local.versions import Version

PARALLELISM = 4
"""Tasks that run at the same time: each takes about 130 MB."""

DROPPED = ("AIRFLOW", "AWS_", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "UV_", "PIP_", "MWAA_")
"""Beginnings of variables of the calling shell that must not reach Airflow: above all credentials of a real account."""


@dataclass(frozen=True)
class Component:
    """One process of Airflow.

    :param name: what people call it
    :param arguments: of the command ``airflow``
    :param nice: its niceness; the web server is the slowest to start and everybody waits for it, so it goes first
    :param mwaa: the name that MWAA gives it in ``MWAA_AIRFLOW_COMPONENT``
    :param job: the ``job_type`` of its row in Airflow's table ``job``, None where it writes none
    """

    name: str
    arguments: tuple[str, ...]
    nice: int
    mwaa: str
    job: str | None = None


def components(major: int, port: int, host: str = "127.0.0.1") -> list[Component]:
    """Return the processes of an Airflow, the slowest to start first.

    :param major: Airflow's major version
    :param port: the web UI's
    :param host: the address it listens on
    """
    address = ("--port", str(port), "--workers", "1")
    if major == 2:
        return [
            Component("webserver", ("webserver", "--hostname", host, *address), 0, "webserver"),
            Component("scheduler", ("scheduler", "--skip-serve-logs"), 3, "scheduler", "SchedulerJob"),
            Component("triggerer", ("triggerer", "--skip-serve-logs"), 10, "scheduler", "TriggererJob"),
        ]
    return [
        Component("api-server", ("api-server", "--host", host, *address), 0, "webserver"),
        Component("scheduler", ("scheduler", "--skip-serve-logs"), 3, "scheduler", "SchedulerJob"),
        Component("dag-processor", ("dag-processor",), 3, "scheduler", "DagProcessorJob"),
        Component("triggerer", ("triggerer", "--skip-serve-logs"), 10, "scheduler", "TriggererJob"),
    ]


def passwords_file(user: str, password: str) -> str:
    """Return the content of the file in which Airflow 3 finds its logins."""
    return json.dumps({user: password}) + "\n"


def create_user(user: str) -> tuple[str, ...]:
    """Return the command that makes the login on Airflow 2, where it lives in the database.

    Its password is set afterwards, for everybody can read the arguments of a command.
    """
    names = ("--firstname", "Local", "--lastname", "Admin", "--email", "admin@localhost", "--role", "Admin")
    return ("users", "create", "--username", user, *names, "--use-random-password")


def option_variables(options: Mapping[str, str]) -> dict[str, str]:
    """Turn configuration options as MWAA takes them (``core.default_timezone``) into variables.

    :raises InvalidInput: for a key without a section
    """
    variables = {}
    for key, value in options.items():
        section, dot, name = key.partition(".")
        if not dot or not section or not name:
            raise InvalidInput(
                f"configuration option {key!r} has no section: write section.key, like core.default_timezone"
            )
        variables[f"AIRFLOW__{section.upper()}__{name.upper()}"] = str(value)
    return variables


def inherited(python: Path) -> dict[str, str]:
    """Return the variables that Airflow's processes take from the calling shell.

    :param python: the interpreter whose programs come first on the path
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(DROPPED)}
    kept["PATH"] = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return kept


def connections(host: str, port: int, password: str, aws_endpoint: str) -> dict[str, str]:
    """Return the connections ``aws_default``, ``postgres_default`` and ``warehouse`` as variables.

    :param host: where PostgreSQL listens
    :param port: likewise
    :param password: of its user
    :param aws_endpoint: the address of S3 and the other AWS services
    """
    aws = {
        "conn_type": "aws",
        "login": s3.ACCESS_KEY,
        "password": s3.SECRET_KEY,
        "extra": {"endpoint_url": aws_endpoint, "region_name": s3.REGION},
    }
    warehouse = {
        "conn_type": "postgres",
        "host": host,
        "port": port,
        "login": USER,
        "password": password,
        "schema": "warehouse",
    }
    return {
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW_CONN_POSTGRES_DEFAULT": json.dumps(warehouse),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse),
        # Code that asks for no connection finds the same server, and never an account of the person's own.
        "AWS_ACCESS_KEY_ID": s3.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": s3.SECRET_KEY,
        "AWS_DEFAULT_REGION": s3.REGION,
        "AWS_ENDPOINT_URL": aws_endpoint,
    }


def mysql_connection(host: str, port: int, password: str) -> dict[str, str]:
    """Return the connection ``mysql_default`` as a variable.

    :param host: where MariaDB listens
    :param port: likewise
    :param password: of its user
    """
    found = {
        "conn_type": "mysql",
        "host": host,
        "port": port,
        "login": USER,
        "password": password,
        "schema": "warehouse",
        "extra": {"local_infile": True},
    }
    return {"AIRFLOW_CONN_MYSQL_DEFAULT": json.dumps(found)}


def fast_variables(files: int = 0) -> dict[str, str]:
    """Return what makes a change show up within seconds and a task start at once; a person's options win over it.

    :param files: how many DAG files there are: what has not changed is parsed again the more seldom the more they are,
        or parsing them would take all of a core for ever
    """
    again, list_again = str(max(5, files // 5)), str(max(1, files // 200))
    return option_variables(
        {
            "scheduler.scheduler_idle_sleep_time": "0.2",
            "scheduler.min_file_process_interval": again,
            "scheduler.dag_dir_list_interval": list_again,
            "dag_processor.refresh_interval": list_again,
            "dag_processor.bundle_refresh_check_interval": "1",
            "dag_processor.min_file_process_interval": again,
            "core.min_serialized_dag_update_interval": "0",
            "core.min_serialized_dag_fetch_interval": "1",
            "api.dag_cache_ttl": "2",
            "core.parallelism": str(PARALLELISM),
            # Airflow 3 sees the end of a task's process up to this long after it (5 s by default). Until then it keeps
            # its slot, and the LocalExecutor, other than MWAA's Celery, fails a deferred task that resumes meanwhile.
            "workers.min_heartbeat_interval": "1",
        }
    )


def forced_variables(
    version: Version, state: State, secrets: Secrets, metadata: str, port: int, *, inside: str | None = None
) -> dict[str, str]:
    """Return what neither a person's options nor ``startup.sh`` may change.

    :param metadata: the DSN of Airflow's database
    :param port: the web UI's
    :param inside: the address of the web server for the other parts of Airflow, where it is not a person's
    """
    web = f"http://127.0.0.1:{port}"
    options = {
        "core.executor": "LocalExecutor",
        "core.load_examples": "False",
        "core.dags_folder": str(state.dags),
        "core.plugins_folder": str(state.plugins),
        "core.fernet_key": secrets.fernet_key,
        "core.hostname_callable": "socket.gethostname",
        "database.sql_alchemy_conn": metadata.replace("postgresql://", "postgresql+psycopg2://", 1),
        "database.check_migrations": "False",
        "database.load_default_connections": "False",
        "logging.base_log_folder": str(state.airflow / "logs"),
        "usage_data_collection.enabled": "False",
    }
    options |= _web_3(state, secrets, web, inside or web) if version.major == 3 else _web_2(secrets, web)
    return {"AIRFLOW_HOME": str(state.airflow), "PYTHONUNBUFFERED": "1", **option_variables(options)}


def _web_3(state: State, secrets: Secrets, web: str, inside: str) -> dict[str, str]:
    return {
        "core.auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "core.simple_auth_manager_users": f"{secrets.user}:admin",
        "core.simple_auth_manager_passwords_file": str(state.airflow / "passwords.json"),
        "core.execution_api_server_url": f"{inside}/execution/",
        "api.base_url": web,
        "api.secret_key": secrets.web_secret,
        "api_auth.jwt_secret": secrets.jwt_secret,
        "triggerer.queues_enabled": "False",
    }


def _web_2(secrets: Secrets, web: str) -> dict[str, str]:
    backends = ("airflow.providers.fab.auth_manager.api.auth.backend." + name for name in ("basic_auth", "session"))
    return {
        "webserver.base_url": web,
        "webserver.secret_key": secrets.web_secret,
        "webserver.show_trigger_form_if_no_params": "True",
        "api.auth_backends": ",".join(backends),
    }


def export_script(variables: Mapping[str, str]) -> str:
    """Return shell text that sets variables."""
    return "".join(f"export {key}={shlex.quote(value)}\n" for key, value in variables.items())
