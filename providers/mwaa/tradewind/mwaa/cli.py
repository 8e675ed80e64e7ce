"""The command ``tradewind``.

Each subcommand is a module with ``add_parser(subparsers)``, which sets ``run`` to a function that takes the parsed
arguments and the :class:`~tradewind.mwaa.terminal.Terminal` and returns the exit code: 0 done, 1 failed, 2 wrong
usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version

from tradewind.local.errors import InvalidInput, LocalError
from tradewind.mwaa.terminal import Terminal

SUBCOMMANDS = ("demo", "up", "status", "top", "down", "pack")
"""Modules of this package, in the order of the help."""

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """Return the command's parser, all subcommands in it."""
    root = argparse.ArgumentParser(
        prog="tradewind",
        description="Run what you upload to Amazon MWAA on this machine: a real Airflow, PostgreSQL and S3.",
    )
    root.add_argument("--version", action="version", version=f"tradewind {version('tradewind-mwaa')}")
    subparsers = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in SUBCOMMANDS:
        importlib.import_module(f"tradewind.mwaa.{name}").add_parser(subparsers)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: its arguments, those of the process when None
    :return: the exit code
    """
    arguments = parser().parse_args(argv)
    terminal = Terminal()
    try:
        return int(arguments.run(arguments, terminal))
    except InvalidInput as error:
        terminal.error(str(error))
        return USAGE
    except LocalError as error:
        terminal.error(str(error))
        return FAILED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        terminal.error(
            f"no space left on the disk of {error.filename or 'the state folder'}: free some, or choose --state"
        )
        return FAILED
    except KeyboardInterrupt:
        terminal.tell("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
