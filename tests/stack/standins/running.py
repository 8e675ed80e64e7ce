"""What the stack has not, beside it: each service in a container of its own on the stack's private network."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.fix_up import wait_for
from tests.snowflake.server import ACCOUNT, PASSWORD
from tests.stack.fix_stack import BASE, docker
from tests.stack.standins.__main__ import READY
from tradewind.local import s3
from tradewind.local.stack import images, layout

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
REQUIREMENTS = (ROOT / "tests/snowflake/service/requirements.txt", FOLDER / "requirements.txt")
BUILD_SECONDS = 900
DATABASE = "shift"
"""Redshift's, in the stack's PostgreSQL."""
USER = "etl"
OWN_PASSWORD = "stand-in-7c41"
"""Of the database's user: the stack draws its own, which nobody knows before it is up."""
CLUSTER = "sales"
REDSHIFT_PORT, DATA_API_PORT, SNOWFLAKE_PORT = 5439, 8001, 8000


def connections() -> dict[str, dict[str, Any]]:
    """Return Airflow's connections to all of them, as they are inside of the network."""
    aws = {
        "endpoint_url": layout.url(layout.AWS),
        "region_name": s3.REGION,
        "service_config": {"redshift-data": {"endpoint_url": f"http://redshift:{DATA_API_PORT}"}},
    }
    snowflake = {
        "account": ACCOUNT,
        "host": "snowflake",
        "port": SNOWFLAKE_PORT,
        "protocol": "http",
        "warehouse": "WH",
        "database": "LODGE",
    }
    return {
        "aws_default": {"conn_type": "aws", "login": s3.ACCESS_KEY, "password": s3.SECRET_KEY, "extra": aws},
        "redshift_default": {
            "conn_type": "redshift",
            "host": "redshift",
            "port": REDSHIFT_PORT,
            "login": USER,
            "password": OWN_PASSWORD,
            "schema": DATABASE,
            "extra": {"sslmode": "disable"},
        },
        "snowflake_default": {
            "conn_type": "snowflake",
            "login": USER,
            "password": PASSWORD,
            "schema": "S",
            "extra": snowflake,
        },
    }


def startup() -> str:
    """Return a startup.sh that makes the connections, as a user of MWAA may."""
    lines = [
        f"export AIRFLOW_CONN_{name.upper()}={shlex.quote(json.dumps(value))}" for name, value in connections().items()
    ]
    return "\n".join([*lines, ""])


def image() -> str:
    """Return the image of all of them, built where it is not there; the same content is the same image."""
    base = os.environ.get(BASE) or "tradewind-test/base:3.12"  # the Snowflake's packages are pinned for 3.12
    requirements = "".join(path.read_text() for path in REQUIREMENTS)
    dockerfile = (FOLDER / "Dockerfile").read_text()
    key = hashlib.sha256("\0".join((base, requirements, dockerfile)).encode()).hexdigest()[:12]
    name = f"tradewind-test/standins:{key}"
    if subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0:
        return name
    bundle = os.environ.get("SSL_CERT_FILE") or os.devnull
    with tempfile.TemporaryDirectory() as context:
        (Path(context) / "Dockerfile").write_text(dockerfile)
        (Path(context) / "requirements.txt").write_text(requirements)
        arguments = ["--build-arg", f"BASE={base}", "--build-arg", f"UV={images.uv_version()}"]
        command = ["docker", "buildx", "build", "--load", "--secret", f"id=ca,src={bundle}", *arguments, "-t", name]
        done = subprocess.run([*command, context], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return name


@dataclass(frozen=True)
class Standins:
    """The services of one stack.

    :param project: the stack's project of Compose, whose network they are in, and with which they end
    :param warehouse: the address of a database in the stack's PostgreSQL, from outside
    """

    project: str
    warehouse: str

    def start(self) -> None:
        """Start all of them and wait until they answer."""
        behind = f"postgresql://{USER}:{OWN_PASSWORD}@{layout.POSTGRES[0]}:{layout.POSTGRES[1]}/{DATABASE}"
        aws = layout.url(layout.AWS)
        self._make_database()
        self._run("redshift", {"dsn": behind, "s3": aws, "port": REDSHIFT_PORT, "data_api": DATA_API_PORT})
        self._run(
            "snowflake",
            {
                "s3": aws,
                "account": ACCOUNT,
                "users": {USER.upper(): {"password": PASSWORD}},
                "url": f"http://snowflake:{SNOWFLAKE_PORT}",
                "port": SNOWFLAKE_PORT,
            },
        )
        for service in ("redshift", "snowflake"):
            wait_for(lambda service=service: READY in self.log(service), 300, f"an answer of {service}")  # type: ignore[misc]

    def log(self, service: str) -> str:
        """Return what a service wrote; fail where it has ended."""
        (id,) = docker("ps", "--all", "--quiet", *self._filters(service)).split()
        command = ["docker", "logs", id]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        assert docker("inspect", "--format", "{{.State.Running}}", id).strip() == "true", done.stdout
        return done.stdout

    def query(self, sql: str, database: str = "warehouse") -> list[tuple[Any, ...]]:
        """Run a statement in a database of the stack's PostgreSQL, from outside, and commit."""
        import psycopg2

        dsn = urlunsplit(urlsplit(self.warehouse)._replace(path=f"/{database}"))
        connection = psycopg2.connect(dsn, connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def _make_database(self) -> None:
        self.query(f"create role {USER} login password '{OWN_PASSWORD}'")
        self.query(f"create database {DATABASE} owner {USER}")

    def _filters(self, service: str) -> list[str]:
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        return [part for key, value in labels.items() for part in ("--filter", f"label={key}={value}")]

    def _run(self, service: str, settings: dict[str, Any]) -> None:
        # By the project's label they end with it, whoever ends it.
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        docker(
            *("run", "--detach", "--init", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
            *(part for key, value in labels.items() for part in ("--label", f"{key}={value}")),
            *("--network", f"{self.project}_inside", "--network-alias", service),
            *("--volume", f"{ROOT / 'tests'}:/srv/tests:ro"),
            *("--env", f"STANDIN={json.dumps(settings)}"),
            *(image(), service),
        )
