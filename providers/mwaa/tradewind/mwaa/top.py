"""``tradewind top``: what an environment does now, again and again."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from tradewind.local.load import ENDS
from tradewind.local.look import Look
from tradewind.mwaa import folder, status
from tradewind.mwaa.terminal import Terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

HELP = "show what an environment does now: workers, tasks, processor, memory, the last ends of tasks"
INTERVAL = 2.0
COLOURS = {"success": "green", "failed": "red", "up_for_retry": "yellow"}


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    text = f"{HELP.capitalize()}. Ctrl-C ends it; where the output is no terminal, one look is all. Exit code 1 when "
    parser = subparsers.add_parser("top", help=HELP, description=f"{text}the environment does not run.")
    folder.add_arguments(parser)
    parser.add_argument("--once", action="store_true", help="one look, on a terminal too")
    parser.add_argument(
        "--interval", type=seconds, default=INTERVAL, metavar="S", help="seconds between two looks (default: 2)"
    )
    parser.set_defaults(run=run)


def seconds(text: str) -> float:
    """Return a number of seconds.

    :raises argparse.ArgumentTypeError: when it is none
    """
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds: give one from 0.1 to 3600")
    return found


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Look once, or until Ctrl-C or the end of the environment."""
    from rich.console import Console

    state = folder.existing_state(arguments)
    running = state.running()
    if running is None:
        terminal.tell(f"no environment runs in {state.folder}")
        return 1
    console = Console(highlight=False, markup=False)
    look = Look(state, running)
    try:
        if arguments.once or not sys.stdout.isatty():
            console.print(view(look.facts(cores=True, ends=ENDS)))
            return 0
        return _live(look, console, arguments.interval)
    except KeyboardInterrupt:
        return 0
    finally:
        look.close()


def _live(look: Look, console: Any, interval: float) -> int:
    from rich.live import Live

    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            began = time.monotonic()
            found = look.again()
            if found is None:
                break
            live.update(view(look.facts(cores=True, ends=ENDS)), refresh=True)
            time.sleep(max(0.0, began + interval - time.monotonic()))
    console.print("the environment ended")
    return 1


def view(facts: dict[str, Any]) -> RenderableType:
    """Return what is shown, of :meth:`tradewind.local.look.Look.facts`."""
    from rich.console import Group
    from rich.text import Text

    head = Text(f"Airflow {facts['airflow']} for {facts['path']}", style="bold")
    lines = [Text(f"{word:<8} {text}") for word, text in status.work(facts)]
    return Group(head, *lines, Text(), _components(facts["components"]), Text(), _ends(facts["ends"]))


def _components(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("component")
    for name in ("id", "cpu", "memory", "of", "tasks"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        memory = f"{row['bytes'] >> 20} MB" if row["processes"] else "gone"
        limit = f"{row['limit'] >> 20} MB" if "limit" in row else ""
        tasks = str(row["tasks"]) if "tasks" in row else ""
        going = "takes no more" if row.get("draining") else ""
        name, id = str(row["name"]), str(row.get("pid") or row["id"])
        table.add_row(name, id, f"{row['cpu']:.0f} %", memory, limit, tasks, going)
    return table


def _ends(ends: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ended (UTC)", "state"):
        table.add_column(name)
    table.add_column("seconds", justify="right")
    table.add_column("task", overflow="ellipsis", no_wrap=True)
    table.add_column("on")
    for each in ends:
        index = "" if each["index"] == -1 else f"[{each['index']}]"
        state = Text(each["state"], style=COLOURS.get(each["state"], ""))
        task = Text(f"{each['dag']}.{each['task']}{index}")
        table.add_row(each["at"], state, f"{each['seconds']:.1f}", task, Text(each["host"]))
    return table
