"""``tradewind up``: start an environment and stay with it."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.local.errors import InvalidInput
from tradewind.mwaa import folder, running
from tradewind.mwaa.broken import BrokenDags
from tradewind.mwaa.terminal import Terminal

if TYPE_CHECKING:
    from tradewind.local.engine import Engine

HELP = "start a local environment for a folder and keep it in sync"
TEXT = """
Start Airflow, PostgreSQL and S3 for a folder laid out like the bucket of an MWAA environment: dags/ and, where you
have them, plugins.zip or plugins/, requirements.txt, startup.sh. What you save in dags/ is in Airflow within seconds.
Runs until Ctrl-C, which stops everything; what was written is there again at the next start.
"""

SIZES = ("environment_class", "min_workers", "max_workers", "workers")
NETWORK = ("web_access", "routing")
LOOK = 3.0
"""Seconds between two looks for DAG files that cannot be imported."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("up", help=HELP, description=TEXT)
    folder.add_arguments(parser)
    running.add_arguments(parser)
    parser.add_argument(
        "--constraints", type=Path, metavar="FILE", help="pins for requirements.txt (default: Airflow's published ones)"
    )
    parser.add_argument(
        "--option",
        type=option,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an Airflow configuration option as MWAA takes it, like core.default_timezone=utc; may be repeated",
    )
    parser.add_argument(
        "--engine",
        choices=("embedded", "docker"),
        default="embedded",
        help="processes of this machine, or containers as MWAA lays them out (default: embedded)",
    )
    add_sizes(parser)
    add_network(parser)
    parser.add_argument(
        "--broker",
        choices=("redis", "sqs"),
        help="with --engine docker, what carries tasks to the workers: Redis, or SQS as on MWAA (default: redis)",
    )
    parser.add_argument(
        "--with",
        dest="services",
        action="append",
        choices=("mariadb", "warehouse"),
        help="with --engine docker, a service more: MariaDB (connection mysql_default), or a PostgreSQL of its own for "
        "the connection warehouse, whose load does not touch Airflow's; may be repeated",
    )
    parser.add_argument(
        "--update",
        choices=("forced", "graceful"),
        help="with --engine docker, what becomes of the old workers when plugins, requirements.txt or startup.sh "
        "change: they are ended, or end their tasks first (default: forced)",
    )
    parser.add_argument(
        "--bare",
        action="store_true",
        help="leave Tradewind's own packages out, as MWAA does: requirements.txt or plugins have to bring them",
    )
    parser.add_argument(
        "--base-image",
        metavar="IMAGE",
        help="what the containers' images are built from (default: python:VERSION-slim-bookworm)",
    )
    parser.add_argument("--json", action="store_true", help="print addresses and login as one JSON object when ready")
    parser.set_defaults(run=run)


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Add what says how large an environment of containers is."""
    sizes = parser.add_argument_group("size, with --engine docker")
    sizes.add_argument(
        "--class",
        dest="environment_class",
        metavar="CLASS",
        help="MWAA's environment class, mw1.micro to mw1.2xlarge (default: mw1.small)",
    )
    sizes.add_argument("--min-workers", type=int, metavar="N", help="workers at least (default: 1)")
    sizes.add_argument(
        "--max-workers", type=int, metavar="N", help="workers at most (default: 10, or what the memory bears)"
    )
    sizes.add_argument("--workers", type=int, metavar="N", help="a fixed number of workers instead")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add what says who reaches an environment of containers, and what it reaches."""
    network = parser.add_argument_group("network, with --engine docker")
    network.add_argument(
        "--web-access",
        type=str.upper,
        choices=("PUBLIC_ONLY", "PRIVATE_ONLY", "PUBLIC_AND_PRIVATE"),
        help="MWAA's web server access mode: with PRIVATE_ONLY no container publishes a port (default: PUBLIC_ONLY)",
    )
    network.add_argument(
        "--routing",
        choices=("public", "private"),
        help="whether scheduler and workers have a way out of their network (default: private with PRIVATE_ONLY)",
    )


def option(text: str) -> tuple[str, str]:
    """Return key and value of an option.

    :raises argparse.ArgumentTypeError: when it is not of the form section.key=value
    """
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise argparse.ArgumentTypeError(f"{text!r} is not an option: write section.key=value")
    return key, value


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Start, tell, stay, stop."""
    began = time.monotonic()
    environment = make(arguments, terminal)
    running.listen()
    try:
        with terminal.busy("starting PostgreSQL and S3"):
            environment.start()
            environment.wait_ready()
        facts = describe(environment, time.monotonic() - began)
        terminal.data(json.dumps(facts) if arguments.json else summary(facts))
        broken = BrokenDags(environment.api(), environment.state.dags, terminal)
        while not environment.wait(LOOK):
            broken.look()
    except running.Asked:
        return 0
    finally:
        running.be_deaf()
        if environment.alive:
            with terminal.busy("stopping"):
                environment.stop()
            terminal.tell("stopped")
    return 0


def make(arguments: argparse.Namespace, terminal: Terminal) -> Engine:
    """Return the environment that was asked for, not started.

    :raises InvalidInput: for what the engine has no use for
    """
    common: dict[str, Any] = {
        "port": arguments.port,
        "constraints": arguments.constraints,
        "options": dict(arguments.option),
        "bare": arguments.bare,
        "tell": terminal.warn,
        "progress": terminal.update,
    }
    if arguments.engine == "docker":
        from tradewind.local.stack.engine import Stack

        common |= {name: getattr(arguments, name) for name in SIZES}
        common["routing"] = arguments.routing
        return Stack(
            arguments.path,
            arguments.state,
            arguments.airflow,
            **common,
            broker=arguments.broker or "redis",
            services=arguments.services or (),
            update=arguments.update or "forced",
            web_access=arguments.web_access or "PUBLIC_ONLY",
            base=arguments.base_image,
        )
    for name in (*SIZES, *NETWORK, "broker", "services", "update", "base_image"):
        if getattr(arguments, name) is not None:
            flag = "with" if name == "services" else name.removeprefix("environment_").replace("_", "-")
            raise InvalidInput(f"--{flag} is of the engine docker: add --engine docker")
    from tradewind.local.environment import Environment

    return Environment(arguments.path, arguments.state, arguments.airflow, **common)


def describe(environment: Engine, seconds: float) -> dict[str, Any]:
    """Return what a person or a program needs to use the environment."""
    user, password = environment.login
    return {
        "airflow": environment.version.airflow,
        "web": environment.web_url,
        "user": user,
        "password": password,
        "s3": environment.s3_endpoint,
        "bucket": environment.bucket,
        "warehouse": environment.warehouse_dsn,
        "state": str(environment.state.folder),
        "seconds": round(seconds, 1),
        **environment.beside,
        **environment.size,
    }


def summary(facts: dict[str, Any]) -> str:
    """Return the same as text."""
    return "\n".join(
        (
            f"Airflow {facts['airflow']} is ready after {facts['seconds']:.0f} s",
            f"  web        {facts['web']}  (user {facts['user']}, password {facts['password']})",
            f"  bucket     s3://{facts['bucket']} at {facts['s3']}  (connection aws_default)",
            f"  warehouse  {facts['warehouse']}  (connections warehouse, postgres_default)",
            *([f"  mariadb    {facts['mariadb']}  (connection mysql_default)"] if "mariadb" in facts else []),
            *([f"  size       {size(facts)}"] if "class" in facts else []),
            f"  logs       {facts['state']}/logs",
            "Ctrl-C stops it.",
        )
    )


def size(facts: dict[str, Any]) -> str:
    """Return the size of an environment of containers as text."""
    least, most = facts["min_workers"], facts["max_workers"]
    many = f"{least} to {most} workers" if most > least else f"{least} worker{'s' if least > 1 else ''}"
    each = f"{facts['tasks_per_worker']} tasks, {facts['cpus']} vCPU and {facts['memory']} GB each"
    return f"{facts['class']}: {many}, {each}"
