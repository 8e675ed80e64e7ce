"""Where things are inside of the containers, and how the containers reach one another."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tradewind.local import s3
from tradewind.local.state import Secrets, State

SECRETS = Path("/run/secrets")
DATA = Path("/data")
"""What a container keeps for the next start, a folder of the machine."""
AIRFLOW = State(Path("/usr/local"))
"""Airflow's folders: those of MWAA, below ``/usr/local/airflow``."""
CONSTRAINTS = Path("/etc/tradewind/constraints.txt")
PINS = {
    "plugins.zip": "TRADEWIND_PLUGINS",
    "requirements.txt": "TRADEWIND_REQUIREMENTS",
    "startup.sh": "TRADEWIND_STARTUP",
}
"""What a container starts with by its key, and the variable that holds its version in the bucket."""
MACHINERY = Path("/opt/tradewind")
"""Where our own modules lie that run a container: on no path of Airflow's but under SQS, whose Celery loads some."""
SCHEMA = Path("/etc/tradewind/airflow.sql")
"""Airflow's own schema, migrated when the images were built."""
MARIADB_CLIENT = Path("/tmp/client.cnf")  # noqa: S108 - of the container, which nobody else is in
"""How MariaDB's own client gets in."""
HEALTH = Path("/dev/shm/healthy")  # noqa: S108 - of the container, which nobody else is in; a task may fill /tmp
"""A file whose date says when a part of Airflow was last found well."""
ILLNESS = Path("/dev/shm/illness")  # noqa: S108 - likewise
"""Why it was not found well since."""

POSTGRES = ("postgres", 5432)
WAREHOUSE = ("warehouse", 5432)
MARIADB = ("mariadb", 3306)
BROKER = ("broker", 6379)
AWS = ("aws", 5000)
WEB = ("webserver", 8080)
INTAKE = 8794
"""The port at which a worker says what it holds, where SQS is the broker."""
MESSAGES = Path("/messages")
"""What is in SQS, as long as the environment."""
QUEUE = "default"
"""The one queue of an environment, as on MWAA."""
VISIBILITY = 43_200
"""Seconds until SQS hands out a message again that was received and not deleted, as on MWAA."""

FAILED = "tradewind failed: "
"""What a container writes before the reason of its end."""


def secret(name: str) -> str:
    """Return one secret; empty where this container is not given it."""
    try:
        return (SECRETS / name).read_text().strip()
    except FileNotFoundError:
        return ""


def secrets() -> Secrets:
    """Return the environment's secrets, those this container is not given empty."""
    return Secrets(**{name: secret(name) for name in Secrets.__dataclass_fields__})


def options() -> dict[str, str]:
    """Return the variables made of the configuration options that the user gave."""
    return dict(json.loads(secret("options") or "{}"))


def pinned() -> dict[str, str] | None:
    """Return the versions that this container starts with, by key; None where it takes the newest."""
    if not os.environ.get("TRADEWIND_GENERATION"):
        return None
    return {key: version for key, name in PINS.items() if (version := os.environ.get(name))}


def warehouse() -> tuple[tuple[str, int], str]:
    """Return address and password of the PostgreSQL in which the database ``warehouse`` is."""
    own = secret("warehouse")
    return (WAREHOUSE, own) if own else (POSTGRES, secret("database"))


def database_dsn(name: str) -> str:
    """Return the address of a database, its password in it."""
    host, port = POSTGRES
    return f"postgresql://tradewind:{secret('database')}@{host}:{port}/{name}"


def under_sqs() -> bool:
    """Say whether SQS is the broker."""
    return os.environ.get("TRADEWIND_BROKER") == "sqs"


def queue_url() -> str:
    """Return the address of the queue in SQS."""
    return f"{url(AWS)}/123456789012/{QUEUE}"


def broker_url() -> str:
    """Return the broker's address, its password in it."""
    if under_sqs():
        return f"sqs://{s3.ACCESS_KEY}:{s3.SECRET_KEY}@{AWS[0]}:{AWS[1]}//"
    host, port = BROKER
    return f"redis://:{secret('broker')}@{host}:{port}/0"


def url(address: tuple[str, int]) -> str:
    """Return the HTTP address of a service."""
    return f"http://{address[0]}:{address[1]}"
