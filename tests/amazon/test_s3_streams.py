"""Streams from and to S3: whole, resumed, compressed, superseded."""

from __future__ import annotations

import gzip
import random
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fix_proxy import Faults, Proxy
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.amazon.s3.writing import PART, TOKEN, part_size
from tradewind.hooks.errors import ConnectionFailed, DataError, SourceChanged, Superseded
from tradewind.operators.files.compression import COMPRESSIONS, compressor

pytestmark = pytest.mark.anywhere

Through = Callable[[Faults, int], tuple[S3Hook, Proxy]]
TEXT = b"".join(b"%d,some text,%d\n" % (n, n * n) for n in range(60_000))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a hundredth of what botocore and the reader would between two tries."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 100)))
    monkeypatch.setattr("tradewind.amazon.s3.reading._LONGEST_WAIT", 0.05)


@pytest.mark.parametrize("seed", range(5))
def test_a_broken_read_goes_on_where_it_broke(through: Through, s3_hook: S3Hook, bucket: str, seed: int) -> None:
    data = random.Random(seed).randbytes(3_000_000)
    s3_hook.put(bucket, "k", data)
    hook, proxy = through(Faults(drop_answer=0.7, within=1_000_000), seed)

    with hook.read(bucket, "k") as stream:
        assert stream.read() == data

    assert proxy.made["drops"] > 0 or proxy.made["requests"] == 1


def test_a_read_that_always_breaks_ends_with_the_reason(
    through: Through, s3_hook: S3Hook, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.amazon.s3.reading.RESUMES", 2)
    s3_hook.put(bucket, "k", b"x" * 500_000)
    hook, _ = through(Faults(drop_answer=1.0, within=1), 1)

    with hook.read(bucket, "k") as stream, pytest.raises(ConnectionFailed, match=f"s3://{bucket}/k"):
        stream.read()


def test_an_object_that_changes_while_it_is_read_is_named(s3_hook: S3Hook, bucket: str) -> None:
    from tradewind.amazon.s3.reading import Body

    s3_hook.put(bucket, "k", b"a" * 1_000_000)
    body = Body(s3_hook, bucket, "k")
    chunks = body.chunks()
    next(chunks)
    s3_hook.put(bucket, "k", b"b" * 1_000_000)
    body.close()  # the connection is gone: what follows is asked for anew

    with pytest.raises(SourceChanged, match="changed while it was read"):
        list(chunks)


def test_another_object_than_the_one_found_is_refused(s3_hook: S3Hook, bucket: str) -> None:
    old = s3_hook.put(bucket, "k", b"old")
    s3_hook.put(bucket, "k", b"new")

    with s3_hook.read(bucket, "k", etag=old) as stream, pytest.raises(SourceChanged):
        stream.read()


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS])
@pytest.mark.parametrize("data", [b"", TEXT], ids=["empty", "text"])
def test_what_is_written_is_read_again(s3_hook: S3Hook, bucket: str, compression: str | None, data: bytes) -> None:
    etags = []
    for step in (100_000, 33_333):  # a retry gets its bytes in other pieces
        with s3_hook.write(bucket, "k", compression=compression) as sink:
            for start in range(0, len(data), step):
                sink.write(data[start : start + step])
        etags.append(s3_hook.head(bucket, "k").etag)

    assert etags[0] == etags[1]
    with s3_hook.read(bucket, "k", compression=compression) as stream:
        assert stream.read() == data


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_several_members_are_one_text_and_a_cut_one_is_named(s3_hook: S3Hook, bucket: str, compression: str) -> None:
    stored = b""
    for text in (TEXT, b"", b"tail\n"):
        engine = compressor(compression)
        stored += engine.compress(text) + engine.flush()
    s3_hook.put(bucket, "whole", stored)
    s3_hook.put(bucket, "cut", stored[: len(stored) // 2])

    with s3_hook.read(bucket, "whole", compression=compression) as stream:
        assert stream.read() == TEXT + b"tail\n"
    with s3_hook.read(bucket, "cut", compression=compression) as stream, pytest.raises(DataError) as caught:
        stream.read()
    assert caught.value.source == f"s3://{bucket}/cut"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_is_not_compressed_is_named(s3_hook: S3Hook, bucket: str, compression: str) -> None:
    s3_hook.put(bucket, "k", TEXT)

    with s3_hook.read(bucket, "k", compression=compression) as stream, pytest.raises(DataError, match=compression):
        stream.read()


def test_gzip_says_nothing_of_the_time(s3_hook: S3Hook, bucket: str) -> None:
    with s3_hook.write(bucket, "k.gz", compression="infer") as sink:
        sink.write(TEXT)
    with s3_hook.read(bucket, "k.gz") as stream:
        stored = stream.read()

    assert stored[4:8] == bytes(4)
    assert gzip.decompress(stored) == TEXT


def test_small_objects_cost_one_put_and_large_ones_come_by_parts(
    s3_hook: S3Hook, bucket: str, calls: Counter[str]
) -> None:
    with s3_hook.write(bucket, "small", token="t") as sink:
        sink.write(b"x")
    assert calls == {"ListMultipartUploads": 1, "PutObject": 1}

    calls.clear()
    data = random.Random(1).randbytes(PART * 2 + 7)
    with s3_hook.write(bucket, "large", token="t") as sink:
        sink.write(data)
    expected = {"ListMultipartUploads": 1, "CreateMultipartUpload": 1, "UploadPart": 3, "CompleteMultipartUpload": 1}
    assert calls == expected
    assert s3_hook.head(bucket, "large").metadata == {TOKEN: "t"}
    with s3_hook.read(bucket, "large") as stream:
        assert stream.read() == data


def test_parts_are_the_same_however_the_bytes_come(s3_hook: S3Hook, bucket: str) -> None:
    data = random.Random(4).randbytes(PART * 2 + 7)
    for key, step in (("whole", len(data)), ("odd", 99_991), ("exact", PART // 8)):
        with s3_hook.write(bucket, key) as sink:
            for start in range(0, len(data), step):
                sink.write(data[start : start + step])

    found = [s3_hook.head(bucket, key) for key in ("whole", "odd", "exact")]

    assert {(one.etag, one.size) for one in found} == {(found[0].etag, len(data))}
    with s3_hook.read(bucket, "odd") as stream:
        read = b"".join(iter(lambda: stream.read(77_777), b""))
    assert read == data


def test_an_exception_leaves_nothing(s3_hook: S3Hook, bucket: str) -> None:
    def fail() -> None:
        with s3_hook.write(bucket, "k") as sink:
            sink.write(bytes(PART + 1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert not s3_hook.exists(bucket, "k")
    assert uploads(s3_hook, bucket) == []


def test_a_commit_that_fails_leaves_nothing(s3_hook: S3Hook, bucket: str) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionResetError("gone")

    sink = s3_hook.write(bucket, "k")
    sink.write(bytes(PART + 1))
    s3_hook.client().meta.events.register("before-call.s3.CompleteMultipartUpload", refuse)

    with pytest.raises(ConnectionFailed):
        sink.commit()
    assert not s3_hook.exists(bucket, "k")
    assert uploads(s3_hook, bucket) == []


def test_a_newer_try_takes_over(s3_hook: S3Hook, bucket: str) -> None:
    s3_hook.client().create_multipart_upload(Bucket=bucket, Key="k-other")
    old = s3_hook.write(bucket, "k", token="t")
    old.write(bytes(PART))
    old._parts._sent[0].result()  # moto answers a part of an aborted upload with 500, S3 with NoSuchUpload
    with s3_hook.write(bucket, "k", token="t") as new:
        new.write(b"new")

    with pytest.raises(Superseded):
        old.commit()
    assert uploads(s3_hook, bucket) == ["k-other"]
    assert s3_hook.read_key("k", bucket) == "new"


def test_a_part_that_comes_too_late_tells_who_took_over(s3_hook: S3Hook, bucket: str) -> None:
    from tests.amazon.test_s3_hook import refusing

    # S3 answers a part of an aborted upload so; moto with 500.
    s3_hook.client().meta.events.register_first("before-call.s3.UploadPart", refusing("NoSuchUpload", 404))

    def write() -> None:
        with s3_hook.write(bucket, "k") as sink:
            for _ in range(6):
                sink.write(bytes(PART))

    with pytest.raises(Superseded, match=f"the upload of s3://{bucket}/k was aborted: another try"):
        write()
    assert uploads(s3_hook, bucket) == []


def test_a_reader_sees_the_old_object_until_the_new_one_is_whole(s3_hook: S3Hook, bucket: str) -> None:
    s3_hook.put(bucket, "k", b"old")
    with s3_hook.write(bucket, "k") as sink:
        sink.write(bytes(PART + 1))
        assert uploads(s3_hook, bucket) == ["k"]
        assert s3_hook.read_key("k", bucket) == "old"

    assert s3_hook.head(bucket, "k").size == PART + 1


def test_faults_of_the_network_do_not_harm_a_write(through: Through, s3_hook: S3Hook, bucket: str) -> None:
    data = random.Random(3).randbytes(PART * 4)
    hook, proxy = through(Faults(drop_answer=0.3, drop_request=0.1, slow_down=0.1), 5)

    with hook.write(bucket, "k") as sink:
        sink.write(data)

    assert sum(proxy.made.values()) > proxy.made["requests"]
    with s3_hook.read(bucket, "k") as stream:
        assert stream.read() == data
    assert uploads(s3_hook, bucket) == []


def test_ten_thousand_parts_hold_the_largest_object() -> None:
    assert sum(part_size(number) for number in range(1, 10_001)) >= 5 * 1024**4
    assert part_size(10_000) <= 5 * 1024**3


def test_memory_stays_flat(s3_hook: S3Hook, bucket: str) -> None:
    block = random.Random(1).randbytes(1024**2)
    s3_hook.write(bucket, "warm").commit()
    tracemalloc.start()
    try:
        with s3_hook.write(bucket, "k") as sink:
            for _ in range(100):
                sink.write(block)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        with s3_hook.read(bucket, "k") as stream:
            count = 0
            while data := stream.read(1024**2):
                count += len(data)
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert count == 100 * 1024**2
    assert written < 60e6
    assert read < 20e6


def test_a_reader_that_is_closed_early_ends_its_thread(s3_hook: S3Hook, bucket: str) -> None:
    s3_hook.put(bucket, "k", bytes(20_000_000))
    stream = s3_hook.read(bucket, "k")
    stream.read(10)
    stream.close()

    assert not [thread for thread in threading.enumerate() if thread.name == "tradewind-read-ahead"]


def uploads(hook: S3Hook, bucket: str) -> list[str]:
    return [found["Key"] for found in hook.client().list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


def test_a_range_is_read_from_anywhere(s3_hook: S3Hook, bucket: str) -> None:
    data = random.Random(5).randbytes(300_000)
    s3_hook.put(bucket, "k", data)
    for offset, length in ((0, 10), (5, 0), (299_990, 100), (1000, 280_000), (299_999, 1)):
        assert s3_hook.read_range(bucket, "k", offset, length) == data[offset : offset + length]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_range_goes_on_after_a_break(s3_hook: S3Hook, bucket: str, through: Through, seed: int) -> None:
    data = random.Random(seed).randbytes(3_000_000)
    s3_hook.put(bucket, "k", data)
    hook, proxy = through(Faults(drop_answer=0.7, within=1_000_000), seed)

    assert hook.read_range(bucket, "k", 77, 2_900_000) == data[77 : 77 + 2_900_000]
    assert proxy.made["drops"] > 0 or proxy.made["requests"] == 1


def test_a_range_of_another_version_is_refused(s3_hook: S3Hook, bucket: str) -> None:
    s3_hook.put(bucket, "k", b"old")
    etag = s3_hook.head(bucket, "k").etag
    s3_hook.put(bucket, "k", b"new")

    with pytest.raises(SourceChanged):
        s3_hook.read_range(bucket, "k", 0, 2, etag=etag)
