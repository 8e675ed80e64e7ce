"""What the byte streams of S3 cost, ours and smart-open's: ``python -m tests.bench.s3_streams``.

Each run is a fork of its own, with everything imported and no connection open. The figures are in docs/s3-streams.md.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import multiprocessing
import os
import random
import resource
import socket
import ssl
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tests import fix_airflow  # noqa: F401 (first: it gives Airflow a home)
from tests.bench import disk_s3, servers

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook

MIB = 1024**2
BUCKET = "streams"
KEY = "object"
ROW = 128
"""Bytes that PostgreSQL's COPY hands over at once, one row."""

BLOCK = 64 * 1024


@dataclass(frozen=True)
class Place:
    """An S3 server, as a run sees it.

    :param verify: the bundle of the server's authority, None where it speaks plain HTTP
    """

    name: str
    endpoint: str
    verify: str | None = None

    def hook(self, **config: Any) -> S3Hook:
        """Return a hook on it."""
        from tradewind.amazon.s3.hooks import S3Hook

        extra = {"endpoint_url": self.endpoint, "region_name": "us-east-1"}
        if self.verify:
            extra["verify"] = self.verify
        connection = {"conn_type": "aws", "login": servers.KEYS[0], "password": servers.KEYS[1], "extra": extra}
        os.environ["AIRFLOW_CONN_STREAMS"] = json.dumps(connection)
        return S3Hook("streams", config=config or None)


@dataclass(frozen=True)
class Cost:
    """What a run took.

    :param cpu: seconds, user and system, of this process alone
    :param peak: bytes of resident memory above what it began with
    :param traced: bytes that Python's allocator held at most, 0 where nobody looked
    :param calls: API calls
    """

    cpu: float
    wall: float
    peak: int
    traced: int
    calls: int


# What reads: each takes a hook, and yields nothing before it is asked

Work = Callable[["S3Hook", int], None]


def drain(stream: Any, size: int, want: int) -> None:
    """Read a stream to its end."""
    count = 0
    while data := stream.read(size):
        count += len(data)
    if count != want:
        raise SystemExit(f"read {count} bytes of {want}")


def raw_read(hook: S3Hook, total: int) -> None:
    drain(hook.client().get_object(Bucket=BUCKET, Key=KEY)["Body"], MIB, total)


def our_read(hook: S3Hook, total: int) -> None:
    with hook.read(BUCKET, KEY) as stream:
        drain(stream, MIB, total)


def body_read(hook: S3Hook, total: int) -> None:
    from tradewind.amazon.s3.reading import Body

    if sum(map(len, Body(hook, BUCKET, KEY).chunks())) != total:
        raise SystemExit("read too little")


def smart_read(hook: S3Hook, total: int, **params: Any) -> None:
    with smart(hook, "rb", **params) as stream:
        drain(stream, MIB, total)


def smart(hook: S3Hook, mode: str, **params: Any) -> Any:
    import smart_open

    params = {"client": hook.client(), **params}
    return smart_open.open(f"s3://{BUCKET}/{KEY}", mode, compression="disable", transport_params=params)


# What writes


def pieces(total: int, size: int) -> Iterator[bytes]:
    """Yield bytes that do not compress, in pieces of a size."""
    block = random.Random(1).randbytes(MIB)
    cut = [block[start : start + size] for start in range(0, MIB, size)]
    for _ in range(total // MIB):
        yield from cut


def our_read_by(hook: S3Hook, total: int, **tuned: int) -> None:
    from tradewind.amazon.s3 import reading

    for name, value in tuned.items():
        setattr(reading, name, value)
    our_read(hook, total)


def our_write(hook: S3Hook, total: int, *, size: int, **tuned: int) -> None:
    from tradewind.amazon.s3 import writing

    for name, value in tuned.items():
        setattr(writing, name, value)
    with hook.write(BUCKET, KEY) as sink:
        write = sink.write
        for piece in pieces(total, size):
            write(piece)


def smart_write(hook: S3Hook, total: int, *, size: int, **params: Any) -> None:
    with smart(hook, "wb", **params) as sink:
        write = sink.write
        for piece in pieces(total, size):
            write(piece)


READS: dict[str, Work] = {
    "boto3, bare": raw_read,
    "**ours**": our_read,
    "ours, no thread": body_read,
    "smart-open, as it comes (buffer 128 KiB)": smart_read,
    "smart-open, buffer 1 MiB": partial(smart_read, buffer_size=MIB),
    "smart-open, buffer 4 MiB, defer_seek": partial(smart_read, buffer_size=4 * MIB, defer_seek=True),
    "smart-open, buffer 1 MiB, ranges of 16 MiB": partial(smart_read, buffer_size=MIB, range_chunk_size=16 * MIB),
}

SMART_WRITES: dict[str, dict[str, Any]] = {
    "smart-open, as it comes (part 50 MiB)": {},
    "smart-open, part 16 MiB": {"min_part_size": 16 * MIB},
    "smart-open, part 8 MiB": {"min_part_size": 8 * MIB},
    "smart-open, multipart_upload=False": {"multipart_upload": False},
}

WRITES: dict[str, Work] = {
    "**ours**": partial(our_write, size=BLOCK),
    **{name: partial(smart_write, size=BLOCK, **params) for name, params in SMART_WRITES.items()},
    "**ours**, rows of 128 bytes": partial(our_write, size=ROW),
    "smart-open, part 8 MiB, rows of 128 bytes": partial(smart_write, size=ROW, min_part_size=8 * MIB),
}

TUNING: dict[str, Work] = {
    f"ours, {uploads} at once, part {part} MiB": partial(our_write, size=BLOCK, UPLOADS=uploads, PART=part * MIB)
    for part in (8, 16, 32)
    for uploads in (1, 2, 4)
}

PIECES: dict[str, Work] = {
    f"ours, pieces of {piece} KiB": partial(our_write, size=BLOCK, PIECE=piece * 1024) for piece in (64, 128, 256, 1024)
}

CHUNKS: dict[str, Work] = {
    f"ours, chunks of {chunk} KiB": partial(our_read_by, WIRE_CHUNK=chunk * 1024) for chunk in (64, 128, 256, 512, 1024)
}

SETS = {"read": READS, "write": WRITES, "parts": TUNING, "pieces": PIECES, "chunks": CHUNKS}


# Measuring


def used() -> float:
    """Return the seconds of CPU this process has used."""
    times = resource.getrusage(resource.RUSAGE_SELF)
    return times.ru_utime + times.ru_stime


def memory(name: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024


def measure(place: Place, work: Work, total: int, traced: bool, config: dict[str, Any]) -> Cost:
    """Run work in this process; the client is made before."""
    hook = place.hook(**config)
    seen: Counter[str] = Counter()
    client = hook.client()
    client.head_bucket(Bucket=BUCKET)
    client.meta.events.register("before-call.s3", lambda model, **_: seen.update([model.name]))
    if traced:
        tracemalloc.start()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, proc(5)
    base, cpu, begun = memory("VmRSS"), used(), time.perf_counter()
    work(hook, total)
    wall, cpu = time.perf_counter() - begun, used() - cpu
    peak = tracemalloc.get_traced_memory()[1] if traced else 0
    return Cost(cpu, wall, memory("VmHWM") - base, peak, seen.total())


def prepare(place: Place, total: int) -> None:
    """Have the object there that is read."""
    hook = place.hook()
    client = hook.client()
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET)
    our_write(hook, total, size=MIB)


def forked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fork, and return what it returns."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def run() -> None:
        theirs.send(function(*arguments))

    child = context.Process(target=run)
    child.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit("a run failed") from None
    finally:
        child.join()


# Servers


@contextmanager
def tls(folder: Path) -> Iterator[tuple[str, int]]:
    """Start the file server behind TLS, as S3 is."""
    import trustme

    folder.mkdir(parents=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    port = socket.create_server(("127.0.0.1", 0))
    number = port.getsockname()[1]
    port.close()
    child = multiprocessing.get_context("fork").Process(target=serve_tls, args=(folder, number))
    child.start()
    try:
        yield f"https://127.0.0.1:{number}", child.pid or 0
    finally:
        child.kill()
        child.join()


class Unchunked(io.RawIOBase):
    """The body of a request in HTTP's own chunks (RFC 9112, 7.1), within which botocore has those of S3 over TLS."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self._left = -1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            if not self._left:
                self._stream.readline()
            self._left = int(self._stream.readline(), 16)
            if not self._left:
                self._stream.readline()
                return 0
        count: int = self._stream.readinto(memoryview(buffer)[: self._left])
        self._left -= count
        return count


class TlsHandler(disk_s3.Handler):
    """The file server's, with one more layer of chunks; it is as late with an object's bytes as it is told to."""

    latency: ClassVar[float] = 0.0

    def _receive(self) -> disk_s3.Blob:
        time.sleep(self.latency)
        return super()._receive()

    def _receive_chunked(self, write: Callable[[bytes | memoryview], Any]) -> None:
        outer = self.rfile
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.rfile = io.BufferedReader(Unchunked(outer), disk_s3.CHUNK)
        super()._receive_chunked(write)
        if self.rfile is not outer:
            self.rfile.read()  # the last chunk
            self.rfile = outer


def serve_tls(folder: Path, port: int) -> None:
    """Serve until killed."""
    (folder / "objects").mkdir()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    TlsHandler.store = disk_s3.Store(folder / "objects")
    server = disk_s3.Server(("127.0.0.1", port), TlsHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def start(stack: ExitStack, name: str, folder: Path) -> Place:
    """Start a server and wait until it answers."""
    made = tls if name == "tls" else servers.S3[name]
    endpoint, _ = stack.enter_context(made(folder / name))
    address = endpoint.rpartition("/")[2].split(":")
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError):
            socket.create_connection((address[0], int(address[1])), 5).close()
            break
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} does not answer")
        time.sleep(0.1)
    return Place(name, endpoint, str(folder / "tls" / "authority.pem") if name == "tls" else None)


def ready(place: Place, total: int) -> None:
    """Prepare a server, which may take its time to let clients in."""
    for attempt in range(20):
        try:
            forked(prepare, place, total)
            return
        except SystemExit:
            if attempt == 19:
                raise
            time.sleep(1)


# The table


def best(costs: list[Cost]) -> Cost:
    """Return the least of each figure: what disturbs only ever adds."""
    return Cost(*(min(values) for values in zip(*(vars(cost).values() for cost in costs), strict=True)))


def row(name: str, cost: Cost, traced: Cost | None) -> str:
    """Return one line of the table."""
    held = f"{traced.traced / 1e6:.0f}" if traced else "-"
    return f"| {name} | {cost.cpu:.2f} | {cost.wall:.2f} | {cost.peak / 1e6:.0f} | {held} | {cost.calls} |"


def main() -> None:
    """Measure what the command line asks for, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.s3_streams")
    parser.add_argument("--size", type=int, default=200, help="MiB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--s3", nargs="+", choices=[*servers.S3, "tls"], default=["moto", "tls"])
    parser.add_argument("--what", nargs="+", choices=SETS, default=["read", "write"])
    parser.add_argument("--only", default="", help="text in the names of what is measured")
    parser.add_argument("--traced", action="store_true", help="a further run that asks Python's allocator")
    parser.add_argument("--config", type=json.loads, default={}, help="botocore's Config, as JSON")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until tls takes an object's bytes")
    parser.add_argument("--folder", type=Path, help="where objects go")
    asked = parser.parse_args()
    import boto3
    import smart_open.s3  # noqa: F401

    import tradewind.amazon.s3.hooks
    import tradewind.amazon.s3.reading
    import tradewind.amazon.s3.writing  # noqa: F401

    logging.getLogger("smart_open").setLevel(logging.WARNING)
    boto3.session.Session().client("s3", region_name="us-east-1")  # reads the models once, for all forks
    total = asked.size * MIB
    TlsHandler.latency = asked.latency
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3-streams-", dir=asked.folder)))
        for server in asked.s3:
            place = start(stack, server, folder)
            ready(place, total)
            for what in asked.what:
                table(place, what, {n: w for n, w in SETS[what].items() if asked.only in n}, total, asked)


def table(place: Place, what: str, contenders: dict[str, Work], total: int, asked: Any) -> None:
    """Measure one set on one server in turns, and print its table."""
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(asked.repeats):
        for name, work in contenders.items():
            costs[name].append(forked(measure, place, work, total, False, asked.config))
    print(f"\n{what}, {place.name}, {asked.size} MiB, least of {asked.repeats}\n")
    print("| | CPU s | wall s | peak MB above idle | of it Python's, MB | calls |\n|---|---|---|---|---|---|")
    for name, work in contenders.items():
        traced = forked(measure, place, work, total, True, asked.config) if asked.traced else None
        print(row(name, best(costs[name]), traced), flush=True)


if __name__ == "__main__":
    main()
