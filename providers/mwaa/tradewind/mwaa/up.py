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
    parser.add_argument("--workers", type=int, metavar="N", help="how many workers, with --engine docker (default: 1)")
    parser.add_argument(
        "--base-image",
        metavar="IMAGE",
        help="what the containers' images are built from (default: python:VERSION-slim-bookworm)",
    )
    parser.add_argument("--json", action="store_true", help="print addresses and login as one JSON object when ready")
    parser.set_defaults(run=run)


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
        "tell": terminal.warn,
        "progress": terminal.update,
    }
    if arguments.engine == "docker":
        from tradewind.local.stack.engine import Stack

        workers = 1 if arguments.workers is None else arguments.workers
        where = (arguments.path, arguments.state, arguments.airflow)
        return Stack(*where, **common, workers=workers, base=arguments.base_image)
    for name in ("workers", "base_image"):
        if getattr(arguments, name) is not None:
            raise InvalidInput(f"--{name.replace('_', '-')} is of the engine docker: add --engine docker")
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
    }


def summary(facts: dict[str, Any]) -> str:
    """Return the same as text."""
    return "\n".join(
        (
            f"Airflow {facts['airflow']} is ready after {facts['seconds']:.0f} s",
            f"  web        {facts['web']}  (user {facts['user']}, password {facts['password']})",
            f"  bucket     s3://{facts['bucket']} at {facts['s3']}  (connection aws_default)",
            f"  warehouse  {facts['warehouse']}  (connections warehouse, postgres_default)",
            f"  logs       {facts['state']}/logs",
            "Ctrl-C stops it.",
        )
    )
