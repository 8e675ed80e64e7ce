"""The arguments of ``tradewind demo``, and its course from start to end."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
from pathlib import Path
from typing import Any

from tradewind.mwaa import running
from tradewind.mwaa.terminal import Terminal

HELP = "load, transform and report a year of flights in a local environment"
TEXT = """
Start a local environment (Airflow, PostgreSQL, S3) and run the DAG flights in it: twelve monthly files of real flights
arrive in S3 while the DAG waits for them, are merged into PostgreSQL, counted by day together with the weather, drawn
as a report and unloaded to S3. Then count everything again. A second run in the same folder loads nothing twice.
"""
FOLDER = Path(".tradewind/demo")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("demo", help=HELP, description=TEXT)
    parser.add_argument("--keep", action="store_true", help="leave the environment running until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on stdout")
    running.add_arguments(parser)
    parser.add_argument(
        "--state",
        type=Path,
        default=FOLDER,
        metavar="DIR",
        help=f"the demo's folder: its DAG, databases, bucket, report (default: {FOLDER})",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Run the demo.

    :return: 0 only if every task succeeded and every number is right
    """
    from tradewind.mwaa.demo.runner import Demo
    from tradewind.mwaa.demo.summary import as_text

    running.listen()
    demo = Demo(arguments.state, arguments.airflow, arguments.port, terminal)
    try:
        summary = demo.run()
        terminal.tell(as_text(summary, demo.login if arguments.keep else None))
        if arguments.json:
            terminal.data(json.dumps(summary.as_dict()))
        if arguments.keep:
            with contextlib.suppress(KeyboardInterrupt, running.Asked):  # the way it is meant to end
                demo.environment.wait()
    except running.Asked:
        terminal.tell("asked to stop")
        return 128 + signal.SIGTERM
    finally:
        running.be_deaf()
        with terminal.busy("stopping"):
            demo.stop()
    return 1 if summary.problems else 0
