"""What the parts of Airflow are told inside of their containers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tradewind.local import metadata, settings
from tradewind.local.stack import layout
from tradewind.local.versions import Version

KEPT = ("PATH", "HOME", "USER", "LANG", "HOSTNAME", "TZ", "PYTHONUSERBASE", "PIP_USER")
"""Variables of the container that Airflow's processes take over."""


def metadata_dsn(version: Version) -> str:
    """Return the address of Airflow's database, its password in it."""
    return layout.database_dsn(metadata.database(version))


def forced(version: Version, port: int) -> dict[str, str]:
    """Return what neither a person's options nor ``startup.sh`` may change.

    :param version: the Airflow version
    :param port: the port of the machine on which the web UI is published
    """
    dsn = metadata_dsn(version)
    variables = settings.forced_variables(
        version, layout.AIRFLOW, layout.secrets(), dsn, port, inside=layout.url(layout.WEB)
    )
    variables |= settings.option_variables(
        {
            "core.executor": "CeleryExecutor",
            "celery.broker_url": layout.broker_url(),
            "celery.result_backend": dsn.replace("postgresql://", "db+postgresql+psycopg2://", 1),
            "operators.default_queue": "default",
        }
    )
    if layout.under_sqs():
        variables |= settings.option_variables(
            {
                "celery.celery_config_options": "tradewind.local.stack.celery_sqs.CONFIG",
                "celery_broker_transport_options.visibility_timeout": str(layout.VISIBILITY),
            }
        )
        variables["PYTHONPATH"] = str(layout.MACHINERY)
    # What this container is not given stays away, for Airflow would take an empty secret for one.
    return {key: value for key, value in variables.items() if value}


def offered() -> dict[str, str]:
    """Return what options and ``startup.sh`` may change."""
    files = sum(1 for _ in layout.AIRFLOW.dags.rglob("*.py"))
    slots = os.environ.get("TRADEWIND_SLOTS", "5")
    fast = settings.option_variables(
        {
            "core.parallelism": os.environ.get("TRADEWIND_PARALLELISM", "32"),
            # As many processes as tasks, always, as on MWAA by default. Where Celery is let to end processes by itself,
            # it ends some on a busy machine that were just given a task.
            "celery.worker_autoscale": f"{slots},{slots}",
            # On a busy machine the usual 4 s for a process to start are too few, and so is 1 s to send a task, after
            # which Airflow takes it for failed.
            "celery.extra_celery_config": '{"worker_proc_alive_timeout": 60}',
            "celery.operation_timeout": "15",
            # Seconds until a scheduler takes over the tasks of one that an update ended: only its own does it miss.
            "scheduler.orphaned_tasks_check_interval": "30",
            # A task outlives the time without a web server while one is replaced.
            "workers.execution_api_retries": "30",
            "workers.execution_api_retry_wait_max": "5",
            "workers.max_failed_heartbeats": "10",
            "dag_processor.refresh_interval": str(max(2, files // 200)),
            "dag_processor.bundle_refresh_check_interval": "2",
        }
    )
    address, password = layout.warehouse()
    connections = settings.connections(*address, password, layout.url(layout.AWS))
    if password := layout.secret("mariadb"):
        connections |= settings.mysql_connection(*layout.MARIADB, password)
    return {**settings.fast_variables(files), **fast, **connections, **layout.options()}


def environment(forced: Mapping[str, str], mwaa: str) -> dict[str, str]:
    """Return the whole environment of Airflow's processes, before ``startup.sh``.

    :param forced: see :func:`forced`
    :param mwaa: MWAA's name of the component
    """
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    return {**kept, **offered(), **forced, "MWAA_AIRFLOW_COMPONENT": mwaa}
