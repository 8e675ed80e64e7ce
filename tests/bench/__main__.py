"""Load and unload the flights, multiplied, with Tradewind and with what else there is: ``uv run --group bench python -m
tests.bench``. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from tests.bench.contenders import CONTENDERS, FORMATS, Contender, Task, result_key, source_key
from tests.bench.house_bench import HOUSE_LABELS, HouseBench, open_houses
from tests.bench.houses import HOUSES
from tests.bench.measure import Measured, run
from tests.bench.pair_bench import PAIR_LABELS, PairBench
from tests.bench.pairs import PAIRS
from tests.bench.parquet import rows_of, upload
from tests.bench.servers import S3, Servers, open_servers
from tests.bench.table import Row, markdown, surroundings
from tests.flights import NULL, ROWS, TABLE, ddl, write_csv

TIMES = {"30MB": 1, "100MB": 3, "300MB": 10, "1GB": 32, "3GB": 100, "5GB": 161}
"""How many times the flights are repeated; 5 GB take 20 GB of disk."""

RIVALS = ["raw", "raw-s3", "ours", "duckdb", "official"]
NEVER = {("official", "300MB", "unload")}
NEVER |= {("official", size, direction) for size in ("1GB", "3GB", "5GB") for direction in ("load", "unload")}
"""Not run: these take minutes or more memory than the machine has."""

TIMEOUT = 1800.0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("direction", nargs="*", default=["load", "unload"], help="load, unload (default: both)")
    parser.add_argument("--size", nargs="+", choices=TIMES, default=["30MB", "300MB"], help="default: 30MB 300MB")
    parser.add_argument(
        "--pairs",
        nargs="*",
        choices=[*PAIRS, *HOUSES],
        help=f"measure pairs of ends in place of load and unload: {', '.join(PAIRS)} (default: these), "
        f"with a stand-in for a warehouse {', '.join(HOUSES)}",
    )
    parser.add_argument("--rival", nargs="+", choices=RIVALS, default=RIVALS, help="default: all")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="of the object in S3 (default: csv)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, one after the other in turn (default: 3)")
    parser.add_argument("--s3", choices=S3, default="disk", help="the S3 server (default: disk, which takes no CPU)")
    parser.add_argument(
        "--worker-cores",
        type=int,
        help="cores that the contenders have to themselves, the servers get the others, as if they were other machines "
        "(default: all share all)",
    )
    parser.add_argument("--slow", action="store_true", help="of pairs, run those too that take minutes at a size")
    parser.add_argument("--folder", type=Path, help="where data and servers go (default: a temporary folder)")
    return parser.parse_args()


class Bench:
    """Runs contenders on one size of the data.

    :param servers: the servers
    :param folder: where files go
    :param times: how many times the flights are repeated
    :param cores: where the contenders run
    :param kind: the format of the object
    """

    def __init__(self, servers: Servers, folder: Path, times: int, cores: Collection[int], kind: str) -> None:
        self.cores = cores
        self.kind = kind
        self.servers = servers
        self.stage = servers.stage
        self.file = write_csv(folder / f"flights-{times}.csv", times)
        self.result = folder / "result.csv"
        self.rows = ROWS * times
        self.bytes = self.file.stat().st_size
        self.client = self.stage.client()

    def prepare(self, direction: str) -> None:
        """Put the input where it is read from."""
        self._empty_table()
        if direction == "load":
            self._upload()
        else:
            self._fill_table()

    def _upload(self) -> None:
        key = source_key(self.kind)
        if self.kind == "csv":
            self.client.upload_file(str(self.file), self.stage.bucket, key)
        else:
            upload(self.client, self.file, self.stage.bucket, key)

    def run(self, name: str, direction: str) -> Row:
        """Run a contender once on fresh ends, and make sure that it did the work.

        :raises RuntimeError: where it failed or did something else
        """
        if direction == "load":
            self._empty_table()
        else:
            self.client.delete_object(Bucket=self.stage.bucket, Key=result_key(self.kind))
            self.result.unlink(missing_ok=True)
        self._sql("checkpoint")
        task = Task(direction, self.stage, self.file, self.result, secrets.token_hex(8), self.kind)
        before = {server: self.servers.cpu(server) for server in self.servers.pids}
        measured = run(name, task, self.cores, TIMEOUT)
        cpu = {server: self.servers.cpu(server) - used for server, used in before.items()}
        self._verify(name, direction)
        return Row(name, measured, cpu)

    def idle(self) -> Measured:
        """Measure psql doing nothing."""
        return run("idle", Task("load", self.stage, self.file, self.result, ""), self.cores, TIMEOUT)

    def clean(self) -> None:
        """Drop what takes room."""
        self._empty_table()
        for key in (source_key(self.kind), result_key(self.kind)):
            self.client.delete_object(Bucket=self.stage.bucket, Key=key)
        self.result.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)

    def _verify(self, name: str, direction: str) -> None:
        if direction == "load":
            found = self._sql(f"select count(*) from {TABLE}")[0][0]
        elif CONTENDERS[name].external:
            with self.result.open("rb") as file:
                found = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1
        elif self.kind == "parquet":
            found = rows_of(self.client, self.stage.bucket, result_key(self.kind))
        else:
            body = self.client.get_object(Bucket=self.stage.bucket, Key=result_key(self.kind))["Body"]
            found = sum(block.count(b"\n") for block in body.iter_chunks(1 << 20)) - 1
        if found != self.rows:
            raise RuntimeError(f"{name}: {direction} moved {found:,} rows instead of {self.rows:,}")

    def _empty_table(self) -> None:
        self._sql(f"drop table if exists {TABLE}")
        self._sql(ddl())

    def _fill_table(self) -> None:
        connection = self.stage.connect()
        try:
            with self.file.open("rb") as source, connection.cursor() as cursor:
                statement = f"copy {TABLE} from stdin (format csv, header, null '{NULL}')"
                cursor.copy_expert(statement, source, 1 << 20)
                cursor.execute(f"vacuum (freeze, analyze) {TABLE}")
        finally:
            connection.close()

    def _sql(self, statement: str) -> list[tuple[int, ...]]:
        connection = self.stage.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()


def compare(bench: Bench, size: str, direction: str, rivals: list[str], repeats: int) -> list[Row]:
    """Run all contenders in turn, again and again.

    :return: all runs
    """
    never = {name for name, *_ in NEVER} if bench.kind != "csv" else set()
    names = [name for name in rivals if (name, size, direction) not in NEVER and name not in never]
    bench.prepare(direction)
    rows = []
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if name == "official" and turn:
                continue  # once is enough: it takes longer than all others together
            row = bench.run(name, direction)
            rows.append(row)
            print(f"  {size} {direction} {name}: {row.measured.seconds:.2f} s", file=sys.stderr, flush=True)
    return rows


def shared_out(count: int | None) -> Collection[int]:
    """Leave the cores that are not the contenders' to this process and the servers it starts; return theirs."""
    cores = sorted(os.sched_getaffinity(0))
    if count is None:
        return cores
    if not 0 < count < len(cores):
        raise SystemExit(f"--worker-cores must leave at least one of {len(cores)} cores to each side, not be {count}")
    os.sched_setaffinity(0, cores[count:])
    return cores[:count]


def labels() -> dict[str, str]:
    """Return how each contender is called in the table."""
    return {name: made.label for name, made in CONTENDERS.items() if issubclass(made, Contender)}


def measure_houses(asked: argparse.Namespace, folder: Path, worker: Collection[int], directions: list[str]) -> None:
    """Measure pairs with a stand-in for a warehouse at one end, and print the tables."""
    for size in asked.size:
        with (
            open_servers(folder / size, asked.s3, mysql=True) as servers,
            open_houses(folder / size, servers) as houses,
        ):
            bench = HouseBench(houses, folder, TIMES[size], worker, slow=asked.slow)
            for direction in directions:
                rows = bench.compare(size, direction, asked.rival, asked.repeats)
                print(markdown(rows, HOUSE_LABELS, direction, bench.bytes, bench.rows, bench.idle), flush=True)
            bench.clean()


def main() -> int:
    """Run what the command line asks for, and print the tables."""
    asked = arguments()
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tradewind-bench-", dir=asked.folder, ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o711)  # PostgreSQL may run as another user
        os.environ["TMPDIR"] = made
        command = f"python -m tests.bench {shlex.join(sys.argv[1:])}".strip()
        print(surroundings(command, asked.s3))
        worker = shared_out(asked.worker_cores)
        pairs = asked.pairs or PAIRS
        if houses := [direction for direction in pairs if direction in HOUSES]:
            measure_houses(asked, folder, worker, houses)
        for size in asked.size if asked.pairs is not None and len(houses) < len(pairs) else ():
            with open_servers(folder / size, asked.s3, mysql=True) as servers:
                pair_bench = PairBench(servers, folder, TIMES[size], worker, slow=asked.slow)
                for direction in [each for each in pairs if each not in houses]:
                    rows = pair_bench.compare(size, direction, asked.rival, asked.repeats)
                    shown = markdown(rows, PAIR_LABELS, direction, pair_bench.bytes, pair_bench.rows, pair_bench.idle)
                    print(shown, flush=True)
                pair_bench.clean()
        for size in asked.size if asked.pairs is None else ():
            with open_servers(folder / size, asked.s3) as servers:
                bench = Bench(servers, folder, TIMES[size], worker, asked.format)
                idle = bench.idle()
                for direction in asked.direction:
                    rows = compare(bench, size, direction, asked.rival, asked.repeats)
                    print(
                        markdown(rows, labels(), direction, bench.bytes, bench.rows, idle, kind=bench.kind), flush=True
                    )
                bench.clean()
    return 0


if __name__ == "__main__":
    sys.exit(main())
