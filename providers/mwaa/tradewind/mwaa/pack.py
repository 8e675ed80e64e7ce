"""``tradewind pack``: make what is uploaded."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.local.versions import DEFAULT, VERSIONS, version
from tradewind.mwaa.terminal import Terminal

if TYPE_CHECKING:
    from tradewind.mwaa.packing.bundle import Packed

HELP = "make plugins.zip and requirements.txt for the bucket"
TEXT = """
Make of a folder laid out like the bucket of an MWAA environment what its environment installs: a requirements.txt with
every version pinned under the constraints of that Airflow, and a plugins.zip with your plugins and what no index has.
The same folder gives the same bytes.
"""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("pack", help=HELP, description=TEXT)
    parser.add_argument(
        "path", nargs="?", type=Path, default=Path(), metavar="PATH", help="the folder with dags/ in it (default: this)"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="where the files go (default: PATH/dist)")
    parser.add_argument("--airflow", choices=VERSIONS, default=DEFAULT, help=f"MWAA's Airflow (default: {DEFAULT})")
    parser.add_argument(
        "--constraints", type=Path, metavar="FILE", help="constraints in place of Airflow's published ones"
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--wheels",
        action="store_const",
        dest="way",
        const="wheels",
        help="put every wheel into plugins.zip, for an environment that reaches no index",
    )
    way.add_argument(
        "--unpack",
        action="store_const",
        dest="way",
        const="unpacked",
        help="put every package's modules into plugins.zip, so that nothing is installed",
    )
    parser.add_argument("--json", action="store_true", help="print what was made as one JSON object")
    parser.set_defaults(run=run, way="index")


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Pack, tell."""
    from tradewind.local.project import Project
    from tradewind.mwaa.packing.bundle import make

    project = Project(arguments.path)
    with terminal.busy("reading"):
        packed = make(
            project,
            version(arguments.airflow),
            arguments.out or project.folder / "dist",
            way=arguments.way,
            constraints=arguments.constraints,
            tell=terminal.update,
        )
    for warning in packed.warnings:
        terminal.warn(f"warning: {warning}")
    terminal.data(json.dumps(describe(packed)) if arguments.json else summary(packed))
    return 0


def describe(packed: Packed) -> dict[str, Any]:
    """Return what was made, for a program."""
    digests = packed.digests()
    return {
        "files": [
            {"path": str(path), "bytes": path.stat().st_size, "sha256": digests[path.name]} for path in packed.files
        ],
        "packages": [str(pin) for pin in packed.pins],
        "unpacked_bytes": packed.unpacked_bytes,
        "warnings": packed.warnings,
    }


def summary(packed: Packed) -> str:
    """Return the same as text."""
    digests = packed.digests()
    lines = [f"{path}  {path.stat().st_size:,} bytes  sha256 {digests[path.name]}" for path in packed.files]
    return "\n".join([*lines, f"{len(packed.pins)} packages beyond what the image has"])
