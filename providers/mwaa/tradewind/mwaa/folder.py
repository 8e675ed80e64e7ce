"""The arguments by which every subcommand finds an environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from tradewind.local.errors import InvalidInput
from tradewind.local.state import State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add PATH and ``--state``."""
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="PATH",
        help="the folder with dags/ in it (default: this one)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="where databases, buckets and logs are kept (default: PATH/.tradewind)",
    )


def existing_state(arguments: argparse.Namespace) -> State:
    """Return the state folder that the arguments mean.

    :raises InvalidInput: when neither it nor its project is there
    """
    path: Path = arguments.path
    if arguments.state is None and not path.is_dir():
        raise InvalidInput(f"there is no folder {path.absolute()}")
    return State(arguments.state or path.absolute() / ".tradewind")
