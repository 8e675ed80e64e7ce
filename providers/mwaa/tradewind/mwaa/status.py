"""``tradewind status``: what runs, where, and how much memory it takes."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tradewind.mwaa import folder
from tradewind.mwaa.terminal import Terminal

HELP = "show whether an environment runs: its processes, their memory, its addresses"


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "status", help=HELP, description=f"{HELP.capitalize()}. Exit code 1 when it does not run."
    )
    folder.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Print the state of one environment."""
    state = folder.existing_state(arguments)
    running = state.running()
    if running is None:
        if arguments.json:
            terminal.data(json.dumps({"running": False, "state": str(state.folder)}))
        else:
            terminal.data(f"no environment runs in {state.folder}")
        return 1
    facts = {"running": True, "state": str(state.folder), **running, "components": components(running)}
    terminal.data(json.dumps(facts) if arguments.json else table(facts))
    return 0


def components(running: dict[str, Any]) -> list[dict[str, Any]]:
    """Return name, process or container id, number of processes and bytes of memory of each component.

    What has no bytes is gone.
    """
    if running.get("engine") == "docker":
        from tradewind.local.stack.compose import usage

        return usage(running["project"])
    from tradewind.local.environment import measure

    pids = {name: pid for name, pid in running["components"].items() if pid is not None}
    measured = measure(pids, running["pid"])
    rows = []
    for name, pid in {"tradewind": running["pid"], **pids}.items():
        found = measured.get(name)
        rows.append(
            {"name": name, "pid": pid, "processes": found.count if found else 0, "bytes": found.bytes if found else 0}
        )
    return rows


def table(facts: dict[str, Any]) -> str:
    """Return the same as text."""
    lines = [
        f"Airflow {facts['airflow']} for {facts['path']}",
        f"  web     {facts['web']}",
        f"  bucket  s3://{facts['bucket']} at {facts['s3']}",
        f"  {'component':<14}{'id':>14}{'processes':>11}{'memory':>10}",
    ]
    for row in facts["components"]:
        memory = f"{row['bytes'] >> 20} MB" if row["processes"] else "gone"
        lines.append(f"  {row['name']:<14}{row.get('pid') or row['id']:>14}{row['processes']:>11}{memory:>10}")
    total = sum(row["bytes"] for row in facts["components"])
    lines.append(
        f"  {'total':<14}{'':>14}{sum(row['processes'] for row in facts['components']):>11}{total >> 20:>7} MB"
    )
    return "\n".join(lines)
