"""``tradewind status``: what runs, where, how much memory it takes, and how much work there is."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tradewind.local.look import Look
from tradewind.mwaa import folder
from tradewind.mwaa.terminal import Terminal

HELP = "show whether an environment runs: its processes, their memory, its workers and tasks, its addresses"


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
    look = Look(state, running)
    try:
        facts = {"running": True, "state": str(state.folder), **look.facts()}
    finally:
        look.close()
    terminal.data(json.dumps(facts) if arguments.json else table(facts))
    return 0


def work(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what there is of workers and tasks, as pairs of a word and a text."""
    lines = []
    if "class" in facts:
        draining = len(facts["draining"])
        least, most = facts["min_workers"], facts["max_workers"]
        between = f" of {least} to {most}" if most > least else ""
        going = f", {draining} of them take no more tasks" if draining else ""
        lines = [("class", facts["class"]), ("workers", f"{facts['workers']}{between}{going}")]
        if facts.get("with"):
            lines.append(("with", ", ".join(facts["with"])))
    tasks = facts["tasks"]
    found = f"{tasks['running']} running, {tasks['queued']} queued" if tasks else "not known yet"
    slots = f", {facts['slots']} at once" if facts.get("slots") else ""
    return [*lines, ("tasks", found + slots)]


def table(facts: dict[str, Any]) -> str:
    """Return the same as text."""
    lines = [
        f"Airflow {facts['airflow']} for {facts['path']}",
        f"  web      {facts['web']}",
        f"  bucket   s3://{facts['bucket']} at {facts['s3']}",
        *(f"  {word:<8} {text}" for word, text in work(facts)),
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
