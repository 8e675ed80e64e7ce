"""Sets of numbered files, in S3 and on the disk: whole or not taken for whole, no stale parts, read back exactly."""

from __future__ import annotations

import gzip
import io
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy, drain
from tests.fix_postgres import Database
from tests.services import pyarrow
from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, SourceChanged
from tradewind.operators.copy import CopyOperator
from tradewind.operators.expectations import RowCount
from tradewind.operators.files.ends import FileEnd
from tradewind.operators.files.manifests import Journal, PartNames
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.local_files import LocalFile
from tradewind.operators.projection import Field, Projection

PLAIN = b"id,name\n" + b"".join(b"%d,name %d\n" % (number, number) for number in range(100))
MANIFEST = "_manifest.json"
INTEGERS = Projection.make({"id": Field("id", type="integer")}, None)

# Writes a set of files on the disk until it is killed, having told how many parts are there.
WRITER = """
import sys
from tests.fix_copies import MemoryFiles, copy
from tradewind.operators.local_files import LocalFile
from tradewind.operators.files.partitioning import PartitionedWrite
end = PartitionedWrite._end
def told(self):
    end(self)
    print(len(self._members), flush=True)
    sys.stdin.readline()
PartitionedWrite._end = told
copy(MemoryFiles(sys.argv[2].encode()), LocalFile(sys.argv[1], max_rows=10))
"""


@dataclass
class Store:
    """A folder of a store."""

    folder: str
    end: Callable[..., FileEnd]
    read: Callable[[str], bytes]
    names: Callable[[], list[str]]
    put: Callable[[str, bytes], object]

    def file(self, name: str, **how: Any) -> FileEnd:
        return self.end(f"{self.folder}/{name}", **how)

    def manifest(self, name: str = MANIFEST) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read(name))
        return found


@pytest.fixture(params=["s3", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":

        def put(name: str, data: bytes) -> None:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)

        def names() -> list[str]:
            return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())

        return Store(str(tmp_path), LocalFile, lambda name: (tmp_path / name).read_bytes(), names, put)
    hook: S3Hook = request.getfixturevalue("s3_hook")
    bucket: str = request.getfixturevalue("bucket")
    return Store(
        f"s3://{bucket}",
        S3File,
        lambda name: hook.read(bucket, name).read(),
        lambda: [found.key for found in hook.list_objects(bucket)],
        lambda name, data: hook.put(bucket, name, data),
    )


def parts(count: int, ending: str = "csv") -> list[str]:
    return [f"part-{number:05d}.{ending}" for number in range(count)]


@pytest.mark.parametrize(
    ("bounds", "count"), [({"max_rows": 40}, 3), ({"max_bytes": 500}, 3), ({"max_rows": 30, "max_bytes": 600}, 4)]
)
def test_parts_have_a_header_and_whole_records(store: Store, bounds: dict[str, int], count: int) -> None:
    target = store.file("part-{n}.csv", **bounds)
    result = copy(MemoryFiles(PLAIN), target)

    assert store.names() == [MANIFEST, *parts(count)]
    found = [store.read(name) for name in parts(count)]
    assert all(data.startswith(b"id,name\n") and data.endswith(b"\n") for data in found)
    assert b"id,name\n" + b"".join(data.removeprefix(b"id,name\n") for data in found) == PLAIN
    assert all(len(data) <= bounds.get("max_bytes", 1 << 20) for data in found)
    assert all(data.count(b"\n") - 1 <= bounds.get("max_rows", 1 << 20) for data in found)

    assert (result.rows, result.counted) == (100, True)
    assert result.files == [f"{store.folder}/{name}" for name in parts(count)]
    manifest = store.manifest()
    assert [file["url"] for file in manifest["files"]] == result.files
    assert [file["bytes"] for file in manifest["files"]] == [len(data) for data in found]
    assert [file["rows"] for file in manifest["files"]] == [data.count(b"\n") - 1 for data in found]
    assert (manifest["rows"], manifest["bytes"], manifest["columns"]) == (100, result.bytes, ["id", "name"])
    assert manifest["written"]["format"] == "csv"
    assert len(manifest["token"]) == 64


def test_a_set_is_read_back_by_its_manifest(store: Store) -> None:
    target = store.file("day=1/part-{n}.csv.gz", max_rows=40)
    copy(MemoryFiles(PLAIN), target)
    store.put("day=1/part-00007.csv.gz", gzip.compress(b"id,name\n8,stranger\n"))
    copy(MemoryFiles(b"id,name\n"), store.file("day=2/part-{n}.csv.gz", max_rows=40))

    for source in (target, store.file(f"day=1/{MANIFEST}", manifest=True)):
        assert drain(source).replace(b"id,name\n", b"") == PLAIN.replace(b"id,name\n", b"")
        assert copy(source, store.file("out.csv")).files == [f"{store.folder}/out.csv"]
        assert store.read("out.csv") == PLAIN
    both = store.file(f"*/{MANIFEST}", manifest=True)
    with both.open(WORK) as reading:
        assert len(list(reading.parts())) == 4
    assert drain(store.file("none*/_manifest.json", manifest=True, allow_empty=True)) == b""


def test_a_shorter_rerun_leaves_no_stale_part_and_no_stranger_is_touched(store: Store) -> None:
    target = store.file("part-{n}.csv", max_rows=10)
    copy(MemoryFiles(PLAIN), target)
    assert store.names() == [MANIFEST, *parts(10)]
    strangers = ["part-00077.csv", "part-7.csv", "part-x.csv"]
    for name in strangers:
        store.put(name, b"x")
    shorter = PLAIN[: PLAIN.index(b"25,")]
    copy(MemoryFiles(shorter), target)

    assert store.names() == sorted([MANIFEST, *parts(3), *strangers])
    assert drain(target).count(b"\n") == 25 + 3
    copy(MemoryFiles(b""), target)
    assert store.names() == sorted([MANIFEST, *parts(1), *strangers])
    assert (store.read("part-00000.csv"), store.manifest()["columns"]) == (b"", None)


def test_a_retry_writes_the_same(store: Store) -> None:
    seen = []
    for tries in (1, 2):
        copy(MemoryFiles(PLAIN), store.file("part-{n}.csv.gz", max_bytes=300), work=replace(WORK, try_number=tries))
        files = [{**file, "etag": ""} for file in store.manifest()["files"]]
        seen.append((files, [store.read(name) for name in store.names() if name != MANIFEST]))
    assert seen[0] == seen[1]


def test_a_failure_in_the_middle_is_not_taken_for_a_set(store: Store) -> None:
    target = store.file("part-{n}.csv", max_rows=10)
    copy(MemoryFiles(PLAIN), target)
    for failing, words in ((MemoryFiles(PLAIN, b"other\n1\n"), "other columns"), (MemoryFiles(PLAIN), "RowCount")):
        expect = (RowCount(max=1),) if words == "RowCount" else ()
        with pytest.raises(DataError, match=words):
            copy(failing, target, expect=expect)
        assert MANIFEST not in store.names()
        with pytest.raises(NotFound, match=r"there is no manifest .*: the set is not written, or not to its end"):
            drain(target)
    copy(MemoryFiles(PLAIN[:20]), target)
    assert store.names() == [MANIFEST, "part-00000.csv"]


def test_a_part_that_changed_is_told(store: Store) -> None:
    target = store.file("part-{n}.csv", max_rows=50)
    copy(MemoryFiles(PLAIN), target)
    store.put("part-00001.csv", b"id,name\n1,other\n")
    with pytest.raises(SourceChanged, match=r"part-00001.csv is not as .*_manifest.json says"):
        drain(target)


def test_another_manifest_is_not_overwritten(store: Store) -> None:
    copy(MemoryFiles(PLAIN), store.file("part-{n}.csv", max_rows=50))
    before = store.names()
    with pytest.raises(InvalidArgument, match=r"_manifest.json is the manifest of .*part-\{n\}.csv: delete that set"):
        copy(MemoryFiles(PLAIN), store.file("other-{n}.csv", max_rows=50))
    store.put("mine.json", b'{"a": 1}')
    with pytest.raises(InvalidArgument, match=r"mine.json is no manifest of a set of files: 'kind': give manifest="):
        copy(MemoryFiles(PLAIN), store.file("part-{n}.csv", max_rows=50, manifest=f"{store.folder}/mine.json"))
    assert store.names() == sorted([*before, "mine.json"])
    copy(MemoryFiles(PLAIN), store.file("other-{n}.csv", max_rows=50, manifest=f"{store.folder}/other.json"))
    assert len(store.manifest("other.json")["files"]) == 2
    with pytest.raises(InvalidArgument, match=r"the set has delimiter ',', not ';': say so"):
        drain(store.file(MANIFEST, manifest=True, delimiter=";"))


def test_a_manifest_that_a_twin_deletes_while_it_is_read_is_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    target = store.file("part-{n}.csv", max_rows=40)
    copy(MemoryFiles(PLAIN), target)
    kind = type(target.storage())
    find = kind.find

    def find_and_lose(storage: Storage, url: str) -> StoredFile:
        found = find(storage, url)
        if url.endswith(MANIFEST):
            storage.delete([url])
        return found

    monkeypatch.setattr(kind, "find", find_and_lose)
    copy(MemoryFiles(PLAIN), target)
    assert store.names() == [MANIFEST, *parts(3)]


def test_a_manifest_cannot_name_files_of_others_for_deletion(store: Store) -> None:
    target = store.file("part-{n}.csv", max_rows=50)
    copy(MemoryFiles(PLAIN), target)
    store.put("precious.csv", b"x")
    changed = store.manifest()
    changed["files"].append({**changed["files"][0], "url": f"{store.folder}/precious.csv"})
    store.put(MANIFEST, json.dumps(changed).encode())
    copy(MemoryFiles(PLAIN[:20]), target)
    assert store.names() == [MANIFEST, "part-00000.csv", "precious.csv"]


@pytest.mark.parametrize("written", [1, 2, 3, 4])
def test_a_killed_try_is_cleared_up_by_the_next(tmp_path: Path, written: int) -> None:
    target = LocalFile(tmp_path / "part-{n}.csv", max_rows=10)
    copy(MemoryFiles(PLAIN[: PLAIN.index(b"35,")]), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, *parts(4)]
    command = [sys.executable, "-c", WRITER, str(tmp_path / "part-{n}.csv"), PLAIN.decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin
        assert writer.stdout
        for number in range(1, written + 5):
            assert writer.stdout.readline() == f"{number}\n"
            if number < written + 4:
                print(file=writer.stdin, flush=True)
        writer.send_signal(signal.SIGKILL)
    (tmp_path / ".tradewind-other").touch()
    unfinished = LocalFile(tmp_path / "part-{n}.csv", max_rows=10).storage()
    token = json.loads((tmp_path / f"{MANIFEST}.writing").read_text())["token"]
    sink = unfinished.write(str(tmp_path / "part-00003.csv"), token=token)
    for path in tmp_path.glob(".tradewind-*-*"):
        path.with_name(f"{path.name}-left").touch()  # as a kill leaves it
    sink.abort()
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert left == [f"{MANIFEST}.writing", *parts(max(4, written + 4))]
    assert len(list(tmp_path.glob(".tradewind-*"))) == 2
    with pytest.raises(NotFound, match="there is no manifest"):
        drain(target)

    copy(MemoryFiles(PLAIN[: PLAIN.index(b"15,")]), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tradewind-other", MANIFEST, *parts(2)]
    assert drain(target).count(b"\n") == 15 + 2


def test_what_a_killed_try_had_not_finished_is_cleared_up_by_a_shorter_one(s3_hook: S3Hook, bucket: str) -> None:
    """Its input was longer: the next one writes no part of that number, and still no upload of it may be left."""
    names = PartNames.of(f"s3://{bucket}/day/part-{{n}}.csv")
    target = S3File(names.target, max_rows=40)
    journal = Journal(target.storage(), names, "longer")
    for number in range(6):
        journal.part(names.url(number))
    client = s3_hook.client()
    for key in ("day/part-00004.csv", "day/part-00005.csv", "day/part-000055.csv", "day/other.csv"):
        client.create_multipart_upload(Bucket=bucket, Key=key)

    copy(MemoryFiles(PLAIN), target)
    left = sorted(upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"])
    assert left == ["day/other.csv", "day/part-000055.csv"]  # strangers, which no journal names


def rows_of(data: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow().parquet.read_table(io.BytesIO(data)).to_pylist()
    return found


def test_parquet_parts_are_whole_files(store: Store) -> None:
    target = store.file("part-{n}.parquet", max_rows=40)
    result = copy(MemoryFiles(PLAIN), target)

    assert store.names() == [MANIFEST, *parts(3, "parquet")]
    found = [store.read(name) for name in parts(3, "parquet")]
    assert [len(rows_of(data)) for data in found] == [40, 40, 20]
    whole = [{"id": number, "name": f"name {number}"} for number in range(100)]
    assert [row for data in found for row in rows_of(data)] == whole
    assert (result.rows, result.counted, result.bytes) == (100, True, sum(map(len, found)))
    manifest = store.manifest()
    assert [file["rows"] for file in manifest["files"]] == [40, 40, 20]
    assert [file["bytes"] for file in manifest["files"]] == [file["size"] for file in manifest["files"]]
    assert (manifest["columns"], manifest["written"]) == (["id", "name"], {"format": "parquet", "compression": "zstd"})

    store.put("part-00007.parquet", b"a stranger")
    for source in (target, store.file(MANIFEST, manifest=True)):
        copy(source, store.file("out.parquet"))
        assert rows_of(store.read("out.parquet")) == whole


def test_parquet_parts_keep_to_their_bytes(store: Store) -> None:
    """The random texts cannot be compressed, so that it takes parts."""
    some = random.Random(2013)
    data = b"id,name\n" + b"".join(b"%d,%s\n" % (number, some.randbytes(500).hex().encode()) for number in range(400))
    seen = []
    for tries in (1, 2):
        target = store.file("part-{n}.pq", max_bytes=50_000, compression="snappy")
        copy(MemoryFiles(data), target, work=replace(WORK, try_number=tries))
        names = [name for name in store.names() if name != MANIFEST]
        assert names == parts(len(names), "pq")
        seen.append([store.read(name) for name in names])
    assert seen[0] == seen[1]
    assert 8 <= len(seen[0]) <= 16
    assert max(map(len, seen[0])) <= 50_000
    assert [row["id"] for file in seen[0] for row in rows_of(file)] == list(range(400))
    assert store.manifest()["written"]["compression"] == "snappy"

    copy(MemoryFiles(data[: data.index(b"\n150,")]), store.file("part-{n}.pq", max_bytes=50_000))
    assert store.names() == [MANIFEST, *parts(2, "pq")]
    with pytest.raises(DataError, match=r"memory/1\.csv, line 3, column id: 'x' is no"):
        copy(MemoryFiles(b"id\n1\nx\n", projection=INTEGERS), store.file("part-{n}.pq", max_rows=1))
    assert store.names() == [MANIFEST, *parts(2, "pq")]  # the first records were looked at before
    copy(MemoryFiles(b"id,name\n"), store.file("part-{n}.pq", max_bytes=50_000))
    assert store.names() == [MANIFEST, *parts(1, "pq")]
    assert rows_of(store.read("part-00000.pq")) == []


@pytest.mark.parametrize(("ending", "count"), [("csv.zst", 7), ("jsonl.gz", 10), ("parquet", 4)])
def test_a_table_goes_out_in_parts_and_back(
    database: Database, store: Store, context: Callable[..., Any], ending: str, count: int
) -> None:
    from tradewind.postgres.tables import PostgresTable

    database.query("CREATE TABLE a AS SELECT n AS id, repeat('x', n % 50) AS name FROM generate_series(1, 20000) n")
    database.query("CREATE TABLE b (LIKE a)")
    files = store.file("{{ ds }}/part-{n}." + ending, max_bytes=100_000 if ending != "parquet" else 25_000)
    assert files.assets() == []
    out = CopyOperator(task_id="out", source=PostgresTable("a", conn_id=database.conn_id), target=files)
    back = CopyOperator(task_id="back", source=files, target=PostgresTable("b", conn_id=database.conn_id))
    for task in (out, back):
        task.render_template_fields({"ds": "2026-01-02"})
        result = task.execute(context(task))
        assert result["rows"] == 20_000
        assert len(result["files"]) == count
    assert database.query("SELECT * FROM a EXCEPT ALL SELECT * FROM b") == []
    assert database.query("SELECT count(*) FROM b") == [(20_000,)]


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("part.csv", {"max_rows": 5}, r"write \{n\} where the number of a part stands in \w+"),
        ("part.csv", {"manifest": "x"}, r"write \{n\} where the number"),
        ("part-{n}.csv", {"max_rows": 0}, "max_rows must be a whole number from 1 on, not 0"),
        ("part-{n}.csv", {"max_bytes": 1.5}, "max_bytes must be a whole number"),
        ("{n}/part.csv", {"max_rows": 5}, r"\{n\} must stand once, in the name of the file"),
        ("{n}-{n}.csv", {"max_rows": 5}, r"\{n\} must stand once"),
        ("part-{n}.csv", {}, "is a set of files: bound its parts by max_bytes= or max_rows="),
        ("part-{n}.csv", {"max_rows": 5, "manifest": True}, "is read by its manifest: no manifest=True"),
        (MANIFEST, {"manifest": True}, "manifest=True says that manifests are read"),
    ],
)
def test_what_cannot_work_is_refused(store: Store, name: str, how: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        CopyOperator(task_id="copy", source=MemoryFiles(), target=store.file(name, **how))
    with pytest.raises(InvalidArgument, match="rejects must be one file, not the set"):
        CopyOperator(
            task_id="copy",
            source=MemoryFiles(),
            target=store.file("x"),
            max_errors=1,
            rejects=store.file("r-{n}.csv", max_rows=5),
        )
