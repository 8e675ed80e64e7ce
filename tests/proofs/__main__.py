"""Prove on real processes and servers that what runs, survives: ``python -m tests.proofs kill --seed 1 --count 50``."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from tests.flights import write_csv
from tests.proofs import fault, kill, twin
from tests.proofs.scenes import OFFICIAL, SCENES, Load, Unload
from tests.stage import open_stage

WHAT = {
    "kill": "SIGKILL at a random moment, then the retry",
    "twin": "two tries of the same work at the same time",
    "fault": "dropped connections, delays and 503 between the task and its servers",
}


class Outcome(Protocol):
    """One line of a proof."""

    @property
    def problems(self) -> list[str]:
        """What went wrong, nothing where all is right."""

    def row(self) -> str:
        """Return it as a row of a Markdown table."""


Prover = Callable[[Load | Unload, Path, int], tuple[str, Callable[[int], Outcome]]]


def _kill(scene: Load | Unload, folder: Path, seed: int) -> tuple[str, Callable[[int], Outcome]]:
    killer = kill.Killer(scene, folder, seed)
    print(f"undisturbed: {killer.duration:.2f} s\n")
    return kill.HEAD, killer.kill


def _twin(scene: Load | Unload, folder: Path, seed: int) -> tuple[str, Callable[[int], Outcome]]:
    twinner = twin.Twinner(scene, folder, seed)
    print(f"undisturbed: {twinner.duration:.2f} s\n")
    return twin.HEAD, twinner.twins


def _fault(scene: Load | Unload, folder: Path, seed: int) -> tuple[str, Callable[[int], Outcome]]:
    return fault.HEAD, fault.Breaker(scene, folder, seed).run


PROVERS: dict[str, Prover] = {"kill": _kill, "twin": _twin, "fault": _fault}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs", description=__doc__)
    parser.add_argument("proof", choices=PROVERS, help="; ".join(f"{name}: {what}" for name, what in WHAT.items()))
    parser.add_argument("--seed", type=int, default=None, help="makes the moments (default: a random one, printed)")
    parser.add_argument("--count", type=int, default=50, help="how many times for each kind of copy (default: 50)")
    parser.add_argument(
        "--copy",
        choices=[*SCENES, *OFFICIAL],
        nargs="+",
        default=["append", "unload"],
        help="the kinds of copy (default: append unload); official-* need the providers of the bench group",
    )
    return parser.parse_args()


def prove(proof: str, name: str, seed: int, count: int, folder: Path, scene: Load | Unload) -> int:
    """Run one proof on one kind of copy, print its table, and return how many runs went wrong."""
    print(f"\n### {name}: {WHAT[proof]} (seed {seed})\n")
    started = time.monotonic()
    head, run = PROVERS[proof](scene, folder, seed)
    print(head, flush=True)
    bad = 0
    for number in range(1, count + 1):
        outcome = run(number)
        bad += bool(outcome.problems)
        print(outcome.row(), flush=True)
    print(f"\n{name}: {count - bad} of {count} right, in {time.monotonic() - started:.0f} s", flush=True)
    return bad


@contextmanager
def working_folder() -> Iterator[Path]:
    """Give a folder for everything; the temporary files of the tries go there too."""
    with tempfile.TemporaryDirectory(prefix="tradewind-proofs-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)  # PostgreSQL may run as another user
        os.environ["TMPDIR"] = folder
        yield Path(folder)


def main() -> int:
    """Run the proofs that the command line asks for."""
    asked = arguments()
    seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    bad = 0
    with working_folder() as folder:
        file = write_csv(folder / "flights.csv")
        for name in asked.copy:
            with open_stage(folder / name) as stage:
                with closing({**SCENES, **OFFICIAL}[name](stage, file, name)) as scene:
                    bad += prove(asked.proof, name, seed, asked.count, folder, scene)
    total = asked.count * len(asked.copy)
    print(f"\n{asked.proof}: {total - bad} of {total} right (seed {seed})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
