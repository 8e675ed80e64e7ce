"""``tradewind down``: end an environment from another terminal."""

from __future__ import annotations

import argparse
import signal
from typing import Any

from tradewind.local.errors import LocalError
from tradewind.mwaa import folder
from tradewind.mwaa.terminal import Terminal

HELP = "stop the environment of a folder; what it holds is kept"
PATIENCE = 60.0


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("down", help=HELP, description=f"{HELP.capitalize()} for the next start.")
    folder.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Ask the environment's process to end, and wait for it."""
    import psutil

    state = folder.existing_state(arguments)
    running = state.running()
    if running is None:
        terminal.tell(f"no environment runs in {state.folder}")
        return 0
    with terminal.busy("stopping"):
        try:
            process = psutil.Process(running["pid"])
            process.send_signal(signal.SIGTERM)
            if not state.wait_free(PATIENCE):
                process.kill()  # its guard ends the rest
                raise LocalError(f"the environment (pid {process.pid}) did not end in {PATIENCE:.0f} s: it was killed")
        except psutil.NoSuchProcess:
            pass
        except psutil.AccessDenied as error:
            raise LocalError(f"the environment (pid {running['pid']}) belongs to another user") from error
    terminal.tell(f"stopped the environment of {running['path']}")
    return 0
