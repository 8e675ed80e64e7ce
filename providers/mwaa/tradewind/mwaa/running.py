"""What ``up`` and ``demo`` share: the arguments of a start, and an orderly end."""

from __future__ import annotations

import argparse
import signal

from tradewind.local.versions import DEFAULT, VERSIONS


class Asked(Exception):
    """SIGTERM: somebody asked for an orderly end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--airflow`` and ``--port``."""
    parser.add_argument(
        "--airflow",
        choices=VERSIONS,
        default=DEFAULT,
        metavar="VERSION",
        help=f"one of {', '.join(VERSIONS)} (default: {DEFAULT})",
    )
    parser.add_argument("--port", type=port, help="the web UI's port (default: the last one, or a free one)")


def port(text: str) -> int:
    """Return a port number.

    :raises argparse.ArgumentTypeError: when it is none
    """
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)


def listen() -> None:
    """Raise :class:`Asked` on SIGTERM and SIGHUP."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ask)


def be_deaf() -> None:
    """Ignore further signals while everything is stopped: a second Ctrl-C must not leave half of it running."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _ask(*_: object) -> None:
    raise Asked
