"""``tradewind down``: end an environment from another terminal."""

from __future__ import annotations

import argparse
import signal
from typing import Any

from tradewind.local.errors import LocalError
from tradewind.local.state import State
from tradewind.mwaa import folder
from tradewind.mwaa.terminal import Terminal

HELP = "stop the environment of a folder; what it holds is kept"
PATIENCE = 120.0


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
        left = _clear(state)
        said = f"no environment runs in {state.folder}"
        terminal.tell(f"{said}: removed the containers that were left of it" if left else said)
        return 0
    with terminal.busy("stopping"):
        try:
            process = psutil.Process(running["pid"])
            process.send_signal(signal.SIGTERM)
            if not state.wait_free(PATIENCE):
                process.kill()  # its guard, or its reaper, ends the rest
                raise LocalError(f"the environment (pid {process.pid}) did not end in {PATIENCE:.0f} s: it was killed")
        except psutil.NoSuchProcess:
            pass
        except psutil.AccessDenied as error:
            raise LocalError(f"the environment (pid {running['pid']}) belongs to another user") from error
    terminal.tell(f"stopped the environment of {running['path']}")
    return 0


def _clear(state: State) -> bool:
    """Remove the containers of an environment whose process and reaper were killed, and say whether there were any."""
    if not (state.folder / "docker").exists() or not state.wait_free(0):  # somebody is just starting, or clearing
        return False
    from tradewind.local.stack import compose
    from tradewind.local.stack.engine import project_name

    compose.check()
    found = compose.containers(project_name(state))
    compose.clear(project_name(state))
    return bool(found)
