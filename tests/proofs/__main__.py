"""Prove on real processes and servers that what runs, survives: ``python -m tests.proofs matrix --seed 1``."""

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

from tests import fix_airflow  # noqa: F401 (first: it gives Airflow a home)
from tests.flights import write_csv
from tests.proofs import fault, kill, twin
from tests.proofs.injection import inject
from tests.proofs.listeners import open_services
from tests.proofs.matrix import HOUSES, MANY, PAIRS, SETS, Cell, head, summary, warehouses
from tests.proofs.scenes import OFFICIAL, SCENES, Load, Unload
from tests.proofs.servers import open_servers
from tests.proofs.submit_rivals import RIVALS
from tests.stage import open_stage

WHAT = {
    "matrix": "every pair of ends in every mode, broken in four ways at random moments, then the retries",
    "inject": "hostile names and values in every place that SQL is made of: none reaches a server unquoted",
    "tpch": "TPC-H: PostgreSQL, Parquet in S3, MySQL, CSV in S3, PostgreSQL; 22 answers before and after",
    "submit": "SQL given to a service by tasks that die at random moments runs once, and none runs on",
    "kill": "SIGKILL at a random moment, then the retry",
    "twin": "two tries of the same work at the same time",
    "fault": "dropped connections, delays and 503 between the task and its servers",
}

SUBMITTERS = ("ours", "snowflake", "official", *RIVALS)


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
    parser.add_argument("proof", choices=WHAT, help="; ".join(f"{name}: {what}" for name, what in WHAT.items()))
    parser.add_argument("--seed", type=int, default=None, help="makes the moments (default: a random one, printed)")
    parser.add_argument(
        "--count",
        type=int,
        default=None,
        help="how many times for each kind of copy (default: 50; matrix: 25), or how many payloads (inject: 10000)",
    )
    every = [*PAIRS, *MANY, *SETS, *HOUSES]
    parser.add_argument(
        "--copy",
        choices=[*SCENES, *OFFICIAL, *every, *SUBMITTERS],
        nargs="+",
        metavar="COPY",
        default=None,
        help=f"the kinds of copy: {', '.join([*SCENES, *OFFICIAL])} (default: append unload; official-* need the "
        f"providers of the bench group); for matrix, pairs with a mode as {every[0]}, many files as {MANY[0]}, a set "
        f"of files as {SETS[0]}, a warehouse as {HOUSES[0]} (default: all but the warehouses); for submit, "
        f"ours (Redshift), snowflake, official (Redshift), {', '.join(RIVALS)}",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of tpch: 1 is a gigabyte (default: 1)")
    asked = parser.parse_args()
    matrix = asked.proof == "matrix"
    asked.count = asked.count or {"matrix": 25, "inject": 10_000}.get(asked.proof, 50)
    submits = asked.proof == "submit"
    asked.copy = asked.copy or ([*PAIRS, *MANY, *SETS] if matrix else ["ours"] if submits else ["append", "unload"])
    if wrong := [name for name in asked.copy if (name in every) is not matrix or (name in SUBMITTERS) is not submits]:
        parser.error(f"{asked.proof} knows no copy {', '.join(wrong)}")
    return asked


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


def prove_matrix(names: list[str], seed: int, count: int, folder: Path) -> int:
    """Break each pair in each mode, print a row for each and for each way, and return how many tries went wrong."""
    print(f"\n### {WHAT['matrix']} (seed {seed})", flush=True)
    bad, last = 0, ""
    with open_servers(folder / "servers", warehouses(names)) as servers:
        for name in names:
            if (above := head(name)) != last:
                print(f"\n{above}", flush=True)
                last = above
            with closing(Cell(servers, name, folder, seed)) as cell:
                done = [cell.broken(kind, number) for number, kind in zip(range(count), cell.kinds, strict=False)]
            print("\n".join(summary(name, done)), flush=True)
            for each in done:
                if each.problems:
                    bad += 1
                    print(f"{name}, {each.kind} at {each.moment:.3f} s: {'; '.join(each.problems)}", file=sys.stderr)
    return bad


def prove_injection(seed: int, count: int, folder: Path) -> int:
    """Try hostile names and values, print what the servers saw, and return how many things went wrong."""
    print(f"\n### {WHAT['inject']} (seed {seed})\n", flush=True)
    with open_services(folder / "servers") as services:
        os.environ |= services[0].stage.connections()
        done = inject(services, seed, count)
    print(
        f"{done.payloads:,} names and values in {done.rounds:,} rounds; {done.told:,} of them stood in statements, "
        "the others went as data"
    )
    print("\n".join(done.problems) or "none stood outside quotes, and all were read back as they were")
    return len(done.problems)


def prove_tpch(scale: float, folder: Path) -> int:
    """Send TPC-H's tables around, and return how many tables or answers differ."""
    from tests.proofs.tpch import Tpch

    print(f"\n### {WHAT['tpch']} (scale {scale:g})\n", flush=True)
    with open_servers(folder / "servers") as servers:
        os.environ |= servers.stage.connections()
        with closing(Tpch(servers.stage, folder, scale)) as tpch:
            trip = tpch.travel()
    legs = ", ".join(f"{seconds:.1f}" for seconds in trip.seconds)
    print(f"{trip.rows:,} rows in 8 tables; the four legs took {legs} s; {trip.queries} answers compared")
    print("\n".join(trip.problems) or "all rows and all answers are the same at the end as at the start")
    return len(trip.problems)


def prove_submitting(name: str, seed: int, count: int, folder: Path) -> int:
    """Let tasks die that have a service run SQL, print a row for each run, and return how many went wrong."""
    from tests.proofs.submit import HEAD, open_submitter

    print(f"\n### {name}: {WHAT['submit']} (seed {seed})\n\n{HEAD}", flush=True)
    bad = 0
    with open_submitter(folder, seed, name) as submitter:
        for number in range(1, count + 1):
            outcome = submitter.run(number)
            bad += bool(outcome.problems)
            print(outcome.row(), flush=True)
        kills = ", ".join(f"{count} in {phase}" for phase, count in sorted(submitter.killed.items()))
        print(
            f"\n{submitter.killed.total()} kills: {kills}; {submitter.service.calls():,} calls of the service; ", end=""
        )
        print(f"the SQL ran on after a person's kill {submitter.ran_on} times")
    return bad


def prove_scenes(proof: str, names: list[str], seed: int, count: int, folder: Path) -> int:
    """Run one proof on some kinds of copy, each with servers of its own; return how many runs went wrong."""
    bad = 0
    file = write_csv(folder / "flights.csv")
    for name in names:
        with open_stage(folder / name) as stage:
            with closing({**SCENES, **OFFICIAL}[name](stage, file, name)) as scene:
                bad += prove(proof, name, seed, count, folder, scene)
    return bad


def main() -> int:
    """Run the proofs that the command line asks for."""
    asked = arguments()
    seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    started = time.monotonic()
    with working_folder() as folder:
        if asked.proof == "matrix":
            bad = prove_matrix(asked.copy, seed, asked.count, folder)
        elif asked.proof == "tpch":
            asked.copy, asked.count = [asked.proof], 30  # tables and queries
            bad = prove_tpch(asked.scale, folder)
        elif asked.proof == "submit":
            bad = sum(prove_submitting(name, seed, asked.count, folder) for name in asked.copy)
        elif asked.proof == "inject":
            asked.copy = [asked.proof]
            bad = prove_injection(seed, asked.count, folder)
        else:
            bad = prove_scenes(asked.proof, asked.copy, seed, asked.count, folder)
    total = asked.count * len(asked.copy)
    print(f"\n{asked.proof}: {total - bad:,} of {total:,} right, in {time.monotonic() - started:.0f} s (seed {seed})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
