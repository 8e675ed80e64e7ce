"""LocalFile: found by patterns, read as it was found, written whole or not at all."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy, drain
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, SourceChanged, Superseded, TransientError
from tradewind.operators.files.compression import COMPRESSIONS
from tradewind.operators.files.local_storage import LocalSink
from tradewind.operators.local_files import LocalFile

PLAIN = b"id,name\n1,a\n2,b\n"
ENDINGS = {"gzip": ".gz", "zstd": ".zst", "bz2": ".bz2", "xz": ".xz"}

# Writes until it is killed, having told that a part of it is on the disk.
WRITER = """
import sys
from tradewind.operators.files.local_storage import LocalSink
sink = LocalSink(sys.argv[1], sys.argv[2])
while True:
    sink.write(bytes(1 << 20))
    print(flush=True)
"""


def hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def names(source: LocalFile) -> list[str]:
    with source.open(WORK) as reading:
        return [os.path.basename(part.name) for part in reading.parts()]


# the declaration


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "data/k.csv"}, "no absolute path"),
        ({"path": "~/k.csv"}, "no absolute path"),
        ({"path": "s3://b/k.csv"}, "no absolute path"),
        ({"path": "file://data/k.csv"}, "no absolute path"),
        ({"path": "/data/"}, "names no file"),
        ({"path": "/data\0/k"}, "names no file"),
        ({"path": []}, "path is an empty list"),
        ({"path": ["/data/k", 5]}, "path must be a string or a list of strings"),
        ({"path": "/data/k", "compression": "rar"}, "compression must be one of"),
    ],
)
def test_what_cannot_work_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        LocalFile(**arguments).check()


def test_templates_wait_and_assets_are_single_files() -> None:
    LocalFile("{{ params.folder }}/k.csv").check()
    source = LocalFile(["/data/{{ ds }}.csv", "/data/*.csv", Path("/data/a b.csv"), "file:///data//c.csv"])

    assert source.assets() == ["file:///data/a%20b.csv", "file:///data/c.csv"]
    assert LocalFile("/data/k.csv").openlineage_dataset() == ("file", "/data/k.csv")
    assert LocalFile(["/a", "/b"]).describe() == "/a and 1 more"


# as a source


def test_a_pattern_stays_in_its_folder_unless_it_says_otherwise(tmp_path: Path) -> None:
    for name in ("a1.csv", "a2.csv", "a[1].csv", ".a3.csv", "sub/a4.csv", "sub/deep/a5.csv", "folder.csv/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PLAIN)

    assert names(LocalFile(f"{tmp_path}/*.csv")) == ["a1.csv", "a2.csv", "a[1].csv"]
    assert names(LocalFile(f"{tmp_path}/**/a*.csv")) == ["a1.csv", "a2.csv", "a[1].csv", "a4.csv", "a5.csv"]
    assert names(LocalFile(f"{tmp_path}/a[1].csv")) == ["a[1].csv"]
    assert names(LocalFile(f"{tmp_path}/a[1].csv", wildcard_match=True)) == ["a1.csv"]
    with pytest.raises(NotFound, match=r"no file matches .*/b\*: set allow_empty=True"):
        names(LocalFile(f"{tmp_path}/b*"))
    assert names(LocalFile(f"{tmp_path}/b*", allow_empty=True)) == []


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "k").write_bytes(PLAIN)
    for path, kind, words in (
        (tmp_path, InvalidArgument, "is no file but a folder"),
        (tmp_path / "pipe", InvalidArgument, "is no file but a pipe"),
        (tmp_path / "none", NotFound, f"read {tmp_path}/none: No such file"),
        (tmp_path / "k" / "k", InvalidArgument, "Not a directory"),
    ):
        with pytest.raises(kind, match=words):
            drain(LocalFile(path))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_each_compression_is_known_by_its_ending_or_by_name(tmp_path: Path, compression: str) -> None:
    data = b"id,name\n" + random.Random(3).randbytes(400_000).hex().encode() + b",x\n"
    zipped = f"{tmp_path}/a.CSV{ENDINGS[compression].upper()}"
    copy(MemoryFiles(data), LocalFile(zipped))
    copy(MemoryFiles(data), LocalFile(f"{tmp_path}/plain", compression=compression))

    stored = drain(LocalFile(zipped, compression=None))
    assert stored != data
    assert drain(LocalFile(f"{tmp_path}/plain", compression=None)) == stored
    assert drain(LocalFile(zipped)) == data
    assert drain(LocalFile(f"{tmp_path}/plain", compression=compression)) == data


def test_the_fingerprint_is_the_input_s(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"

    def fingerprint(**how: Any) -> str:
        with LocalFile(path, **how).open(WORK) as reading:
            assert reading.total_bytes == path.stat().st_size
            assert list(reading.files) == [str(path)]
            return reading.fingerprint

    path.write_bytes(PLAIN)
    first, again, other = fingerprint(), fingerprint(), fingerprint(delimiter=";")
    stamp = path.stat().st_mtime_ns
    path.write_bytes(PLAIN.replace(b"a", b"x"))
    os.utime(path, ns=(stamp, stamp))
    same_time = fingerprint()
    os.utime(path, ns=(stamp, stamp + 1))

    assert first == again
    assert len({first, other, same_time, fingerprint()}) == 4


def test_a_change_after_the_look_is_told(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_bytes(PLAIN)
    with LocalFile(path).open(WORK) as reading:
        (part,) = reading.parts()
        path.write_bytes(PLAIN + b"3,c\n")
        with pytest.raises(SourceChanged, match=f"{path} changed while it was read"):
            part.open().read()


def test_a_change_in_the_middle_of_reading_is_told(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_bytes(bytes(40 << 20))
    with LocalFile(path).open(WORK) as reading:
        (part,) = reading.parts()
        stream = part.open()
        stream.read(10)
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(SourceChanged, match="changed while it was read"):
            stream.read(-1)
        stream.close()


def test_a_range_is_read_from_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(bytes(range(256)))
    storage = LocalFile(path).storage()
    found = storage.find(str(path))

    assert storage.read_at(found, 10, 5) == bytes(range(10, 15))
    assert storage.read_at(found, 250, 100) == bytes(range(250, 256))
    path.write_bytes(b"other")
    with pytest.raises(SourceChanged):
        storage.read_at(found, 0, 1)


# as a target


def test_folders_are_made_and_the_mode_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.csv"
    copy(MemoryFiles(PLAIN), LocalFile(path))
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    path.chmod(0o640)
    copy(MemoryFiles(PLAIN + b"3,c\n"), LocalFile(path))

    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (PLAIN + b"3,c\n", 0o640)
    assert os.listdir(path.parent) == ["out.csv"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "there" / "real.csv")
    copy(MemoryFiles(PLAIN), LocalFile(tmp_path / "out.csv"))

    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "there" / "real.csv").read_bytes() == PLAIN


def test_a_retry_writes_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "out.csv.gz"
    copy(MemoryFiles(PLAIN), LocalFile(path))
    first = path.read_bytes()
    copy(MemoryFiles(PLAIN), LocalFile(path))

    assert path.read_bytes() == first
    assert gzip.decompress(first) == PLAIN


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(DataError, match="other columns"):
        copy(MemoryFiles(PLAIN, b"id,other\n1,x\n"), LocalFile(path))

    assert path.read_text() == "old"
    assert hidden(tmp_path) == []


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is a folder"):
        copy(MemoryFiles(PLAIN), LocalFile(tmp_path))
    (tmp_path / "file").write_text("x")
    for name, words in (("file/out.csv", "File exists"), ("n" * 300, "File name too long")):
        with pytest.raises(InvalidArgument, match=words) as caught:
            copy(MemoryFiles(PLAIN), LocalFile(tmp_path / name))
        assert str(caught.value).startswith(f"write {tmp_path}/{name}: ")


def test_a_sink_appears_at_its_commit(tmp_path: Path) -> None:
    target = LocalFile(tmp_path / "rejects.csv.gz")
    kept, dropped = target.open_sink(WORK), target.open_sink(WORK, "-2")
    for sink in (kept, dropped):
        sink.write(b"bad,line\n")
    assert not (tmp_path / "rejects.csv.gz").exists()
    dropped.abort()
    kept.commit()

    assert gzip.decompress((tmp_path / "rejects.csv.gz").read_bytes()) == b"bad,line\n"
    assert os.listdir(tmp_path) == ["rejects.csv.gz"]


def test_a_write_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    target = LocalFile(tmp_path / "k.csv")
    target.cancel()
    sink = target.open_sink(WORK)
    sink.write(bytes(3 << 20))
    target.cancel()

    with pytest.raises(TransientError, match="was aborted"):
        sink.write(b"more")
    with pytest.raises(TransientError, match="was aborted"):
        sink.commit()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("token", ["the work", "another work"])
def test_what_a_killed_try_left_is_removed_by_the_next(tmp_path: Path, token: str) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), "the work"], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        for _ in range(random.randint(2, 20)):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    assert (path.read_text(), len(hidden(tmp_path))) == ("old", 1)

    with LocalSink(str(path), token) as sink:
        sink.write(b"new")

    assert path.read_text() == "new"
    assert len(hidden(tmp_path)) == (token != "the work")


def test_a_newer_try_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    old = LocalSink(str(path), "the work")
    old.write(b"old")
    with LocalSink(str(path), "the work") as new:
        new.write(b"new")

    with pytest.raises(Superseded, match="another try of the same work took over"):
        old.commit()
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_readers_leave_no_thread_and_no_file_behind(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_bytes(bytes(30 << 20))
    before = len(os.listdir("/proc/self/fd"))
    with LocalFile(path).open(WORK) as reading:
        for part in reading.parts():
            stream = part.open()
            stream.read(10)
            stream.close()
    until = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < until:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before
