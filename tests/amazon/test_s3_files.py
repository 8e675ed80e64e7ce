"""S3File on a real server: as a source, as a target, as a sink, and from one file to another."""

from __future__ import annotations

import copy as copying
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.amazon.test_s3_hook import ODD, refusing
from tests.amazon.test_s3_streams import uploads
from tests.fix_copies import WORK, MemoryFiles, copy, drain
from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.amazon.s3.writing import PART, TOKEN
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, SourceChanged, TransientError
from tradewind.operators.copy import CopyOperator
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyResult
from tradewind.operators.files.compression import COMPRESSIONS

ENDINGS = {"gzip": ".gz", "zstd": ".zst", "bz2": ".bz2", "xz": ".xz"}
PLAIN = b"id,name\n1,a\n2,b\n"


@pytest.fixture
def url(s3_hook: S3Hook, bucket: str) -> str:
    """Return where the bucket is, as ``s3://bucket/``; the connection is there."""
    return f"s3://{bucket}/"


def names(source: S3File) -> list[str]:
    with source.open(WORK) as reading:
        return [part.name.rsplit("/", 1)[1] for part in reading.parts()]


def text(hook: S3Hook, bucket: str, key: str) -> str:
    return hook.read_key(key, bucket)


# the declaration


def test_the_connection_has_two_names_and_a_default() -> None:
    assert S3File("s3://b/k").conn_id == "aws_default"
    assert S3File("s3://b/k", conn_id="x").conn_id == "x"
    assert S3File("s3://b/k", aws_conn_id="x").conn_id == "x"
    assert S3File("s3://b/k", conn_id=None).conn_id is None
    assert S3File("s3://b/k", aws_conn_id=None).conn_id is None
    assert copying.deepcopy(S3File("s3://b/k", aws_conn_id=None)).conn_id is None
    for both in ({"conn_id": "a", "aws_conn_id": "b"}, {"conn_id": None, "aws_conn_id": None}):
        with pytest.raises(InvalidArgument, match="are the same: give one of them"):
            S3File("s3://b/k", **both)


def test_the_default_chain_reads(s3_endpoint: str, s3_hook: S3Hook, bucket: str, monkeypatch: Any) -> None:
    s3_hook.put(bucket, "k.csv", PLAIN)
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    environment = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**environment, "ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(f"AWS_{name}", value)

    assert drain(S3File(f"s3://{bucket}/k.csv", aws_conn_id=None)) == PLAIN


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"url": "b/k"}, "write s3://bucket/key"),
        ({"url": "s3://b"}, "names no file"),
        ({"url": "s3://b/folder/"}, "names no file"),
        ({"url": []}, "empty list"),
        ({"url": ["s3://b/k", 5]}, "must be a string or a list of strings"),
        ({"url": "s3://b/k", "compression": "rar"}, "compression must be one of"),
        ({"url": "s3://b/k", "columns": "a,b"}, "columns must be a list"),
        ({"url": "s3://b/k", "delimiter": ";;"}, "delimiter must be one"),
    ],
)
def test_what_cannot_work_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        S3File(**arguments).check()


def test_templates_wait_and_assets_are_single_objects() -> None:
    S3File(["{{ params.url }}", "s3://b/{{ ds }}/"], compression="{{ params.how }}").check()
    source = S3File(["s3://b/{{ ds }}.csv", "s3://b/*.csv", "s3://b/wh?t[1].csv"])

    assert source.assets() == ["s3://b/wh?t[1].csv"]
    assert S3File("s3://b/wh?t.csv", wildcard_match=True).assets() == []
    assert S3File("s3://b/*.csv", wildcard_match=False).assets() == ["s3://b/*.csv"]
    assert S3File("s3://b/a/k").openlineage_dataset() == ("s3://b", "a/k")
    assert S3File(["s3://b/a", "s3://b/c"]).describe() == "s3://b/a and 1 more"


# as a source


@pytest.mark.parametrize("key", ODD)
def test_an_odd_key_is_one_file(s3_hook: S3Hook, bucket: str, key: str) -> None:
    copy(MemoryFiles(PLAIN), S3File(f"s3://{bucket}/{key}"))

    assert drain(S3File(f"s3://{bucket}/{key}")) == PLAIN
    assert [found.key for found in s3_hook.list_objects(bucket)] == [key]


def test_a_pattern_is_a_star_or_a_word(s3_hook: S3Hook, bucket: str, url: str) -> None:
    for key in ("in/a1.csv", "in/a2.csv", "in/a[1].csv", "in/a?.csv", "in/b.csv", "in/sub/", "in/sub/c.csv"):
        s3_hook.put(bucket, key, PLAIN if not key.endswith("/") else b"")

    assert names(S3File(f"{url}in/*")) == ["a1.csv", "a2.csv", "a?.csv", "a[1].csv", "b.csv", "c.csv"]
    assert names(S3File(f"{url}in/a[1].csv")) == ["a[1].csv"]
    assert names(S3File(f"{url}in/a[1].csv", wildcard_match=True)) == ["a1.csv"]
    assert names(S3File(f"{url}in/a?.csv")) == ["a?.csv"]
    assert names(S3File(f"{url}in/a?.csv", wildcard_match=True)) == ["a1.csv", "a2.csv", "a?.csv"]
    with pytest.raises(NotFound, match=r"in/\*.csv"):
        names(S3File(f"{url}in/*.csv", wildcard_match=False))


def test_files_come_once_and_in_the_order_of_their_keys(s3_hook: S3Hook, bucket: str, url: str) -> None:
    for key in ("b.csv", "a.csv", "c.csv"):
        s3_hook.put(bucket, key, PLAIN)

    assert names(S3File([f"{url}b.csv", f"{url}*.csv", f"{url}a.csv"])) == ["a.csv", "b.csv", "c.csv"]


def test_an_empty_match_is_an_error_unless_it_is_allowed(s3_hook: S3Hook, bucket: str, url: str) -> None:
    s3_hook.put(bucket, "in/", b"")

    with pytest.raises(NotFound, match=r"no object matches .*in/\*: wait for it with S3KeySensor, or set allow_empty"):
        names(S3File(f"{url}in/*"))
    assert names(S3File(f"{url}in/*", allow_empty=True)) == []
    with pytest.raises(NotFound, match=f"head {url}missing.csv"):
        names(S3File(f"{url}missing.csv", allow_empty=True))


def test_a_file_costs_a_head_and_a_get_a_pattern_a_list_and_a_get_each(
    s3_hook: S3Hook, bucket: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.client import BaseClient

    for key in ("in/a.csv", "in/b.csv", "other.csv"):
        s3_hook.put(bucket, key, PLAIN)
    seen: Counter[str] = Counter()
    real: Any = BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(self: Any, name: str, arguments: dict[str, Any]) -> Any:
        seen[name] += 1
        return real(self, name, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    assert drain(S3File(f"{url}in/a.csv")) == PLAIN
    assert seen == {"HeadObject": 1, "GetObject": 1}
    seen.clear()
    assert drain(S3File(f"{url}in/*.csv")) == PLAIN * 2
    assert seen == {"ListObjectsV2": 1, "GetObject": 2}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_each_compression_is_known_by_its_ending_or_by_name(
    s3_hook: S3Hook, bucket: str, url: str, compression: str
) -> None:
    key = f"a.CSV{ENDINGS[compression].upper()}"
    copy(MemoryFiles(PLAIN), S3File(url + key))
    copy(MemoryFiles(PLAIN), S3File(f"{url}plain", compression=compression))

    stored = b"".join(part for part in [drain(S3File(url + key, compression=None))])
    assert stored != PLAIN
    assert drain(S3File(f"{url}plain", compression=None)) == stored
    assert drain(S3File(url + key)) == PLAIN
    assert drain(S3File(f"{url}plain", compression=compression)) == PLAIN


def test_a_change_after_the_look_is_told(s3_hook: S3Hook, bucket: str, url: str) -> None:
    s3_hook.put(bucket, "k.csv", PLAIN)
    with S3File(f"{url}k.csv").open(WORK) as reading:
        s3_hook.put(bucket, "k.csv", PLAIN + b"3,c\n")
        with next(iter(reading.parts())).open() as stream, pytest.raises(SourceChanged):  # type: ignore[attr-defined]
            stream.read()


def test_the_fingerprint_is_the_input_s(s3_hook: S3Hook, bucket: str, url: str) -> None:
    def fingerprint(**how: Any) -> str:
        with S3File(f"{url}k.csv", **how).open(WORK) as reading:
            assert reading.total_bytes == s3_hook.head(bucket, "k.csv").size
            assert list(reading.files) == [f"{url}k.csv"]
            return reading.fingerprint

    s3_hook.put(bucket, "k.csv", PLAIN)
    first, again, other = fingerprint(), fingerprint(), fingerprint(delimiter=";")
    s3_hook.put(bucket, "k.csv", PLAIN + b"3,c\n")
    assert first == again
    assert len({first, other, fingerprint()}) == 3


# as a target


def test_a_retry_writes_the_same_object(s3_hook: S3Hook, bucket: str, url: str) -> None:
    large = b"id\n" + b"".join(b"%d\n" % number for number in range(1_300_000))
    assert len(large) > PART
    for key, data in {"small.csv": PLAIN, "small.csv.gz": PLAIN, "large.csv": large}.items():
        written = []
        for _ in range(2):
            copy(MemoryFiles(data), S3File(url + key))
            written.append(s3_hook.head(bucket, key))
        assert written[0].etag == written[1].etag
        assert written[0].metadata[TOKEN] == written[1].metadata[TOKEN]


def test_a_target_is_one_file(url: str) -> None:
    for target, words in (
        (S3File([f"{url}a", f"{url}b"]), "a target is one file, not 2"),
        (S3File(f"{url}*.csv"), "is a pattern: a target is one file"),
        (S3File(f"{url}a.csv", wildcard_match=True), "is a pattern: a target is one file"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            copy(MemoryFiles(PLAIN), target)
        with pytest.raises(InvalidArgument, match=words):  # when the DAG is parsed
            CopyOperator(task_id="copy", source=MemoryFiles(PLAIN), target=target)


def test_no_rows_are_a_file_too(s3_hook: S3Hook, bucket: str, url: str) -> None:
    copy(S3File(f"{url}none/*", allow_empty=True), S3File(f"{url}out.csv"))
    assert s3_hook.head(bucket, "out.csv").size == 0


def test_a_failure_leaves_the_old_object(s3_hook: S3Hook, bucket: str, url: str) -> None:
    s3_hook.put(bucket, "out.csv", "old")
    with pytest.raises(DataError, match="other columns"):
        copy(MemoryFiles(PLAIN, b"id,other\n1,x\n"), S3File(f"{url}out.csv"))

    assert text(s3_hook, bucket, "out.csv") == "old"
    assert uploads(s3_hook, bucket) == []


def test_a_sink_appears_at_its_commit(s3_hook: S3Hook, bucket: str, url: str) -> None:
    target = S3File(f"{url}rejects/2026-01-02.csv.gz")
    kept, dropped = target.open_sink(WORK), target.open_sink(WORK, "-2")
    for sink in (kept, dropped):
        sink.write(b"bad,line\n")
    assert list(s3_hook.list_objects(bucket)) == []
    dropped.abort()
    kept.commit()

    assert [found.key for found in s3_hook.list_objects(bucket)] == ["rejects/2026-01-02.csv.gz"]
    assert text(s3_hook, bucket, "rejects/2026-01-02.csv.gz") == "bad,line\n"
    target.open_sink(WORK, "-errors").commit()
    assert s3_hook.exists(bucket, "rejects/2026-01-02-errors.csv.gz")


def test_a_write_that_is_cancelled_leaves_nothing(s3_hook: S3Hook, bucket: str, url: str) -> None:
    target = S3File(f"{url}k.csv")
    target.cancel()
    sink = target.open_sink(WORK)
    sink.write(bytes(PART + 1))
    target.cancel()

    assert uploads(s3_hook, bucket) == []
    with pytest.raises(TransientError, match=r"k\.csv was aborted: nothing of it is written"):
        sink.write(b"more")
    assert not s3_hook.exists(bucket, "k.csv")


# joining


@pytest.mark.parametrize(
    ("parts", "columns", "header", "joined"),
    [
        ((PLAIN, b"id,name\n3,c\n"), None, True, PLAIN + b"3,c\n"),
        ((b"id,name\n1,a", b"id,name\n2,b"), None, True, b"id,name\n1,a\n2,b"),
        ((PLAIN, b"", b"id,name\n"), None, True, PLAIN),
        ((b"\xef\xbb\xbfid,name\r\n1,a\r\n", b"id,name\r\n2,b\r\n"), None, True, b"id,name\r\n1,a\r\n2,b\r\n"),
        ((b'"id","na\nme"\n1,a\n', b'id,"na\nme"\n2,b\n'), None, True, b'"id","na\nme"\n1,a\n2,b\n'),
        ((b"1,a\n", b"2,b\n"), ("id", "name"), True, b"id,name\n1,a\n2,b\n"),
        ((b"1,a", b"2,b"), ("id", "name"), False, b"1,a\n2,b"),
        ((PLAIN,), None, False, b"1,a\n2,b\n"),
    ],
    ids=["header once", "no last line end", "empty parts", "bom and crlf", "quoted", "columns", "no header", "cut off"],
)
def test_parts_are_joined(
    s3_hook: S3Hook,
    bucket: str,
    url: str,
    parts: tuple[bytes, ...],
    columns: tuple[str, ...] | None,
    header: bool,
    joined: bytes,
) -> None:
    for number, data in enumerate(parts):
        s3_hook.put(bucket, f"in/{number}.csv", data)
    copy(S3File(f"{url}in/*.csv", columns=columns), S3File(f"{url}out.csv", header=header))

    assert drain(S3File(f"{url}out.csv")) == joined


def test_other_columns_or_another_order_are_refused(url: str) -> None:
    with pytest.raises(DataError, match=r"memory/2.csv has other columns than memory/1.csv: name, id, not id, name"):
        copy(MemoryFiles(PLAIN, b"name,id\na,1\n"), S3File(f"{url}out.csv"))


def test_another_dialect_is_refused(url: str) -> None:
    for dialect, words in (
        (CsvDialect(delimiter=";"), "has delimiter ';', the file shall have ','"),
        (CsvDialect(null="NULL"), "has null 'NULL', the file shall have ''"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            copy(MemoryFiles(PLAIN, dialect=dialect), S3File(f"{url}out.csv"))
    with pytest.raises(InvalidArgument, match="has no header, the file shall have one"):
        copy(MemoryFiles(b"1,a\n", dialect=CsvDialect(header=False)), S3File(f"{url}out.csv"))


# from file to file


def test_s3_copies_what_stays_as_it_is(s3_hook: S3Hook, bucket: str, url: str) -> None:
    s3_hook.put(bucket, "a.csv", PLAIN, metadata={"owner": "me"}, content_type="text/csv")
    for source in ("a.csv", "a*.csv"):
        result = copy(S3File(url + source), S3File(f"{url}b.csv"))
        found = s3_hook.head(bucket, "b.csv")

        assert result.plan == f"copied within S3 to {url}b.csv"
        assert (result.bytes, result.counted) == (len(PLAIN), False)
        assert text(s3_hook, bucket, "b.csv").encode() == PLAIN
        assert found.metadata.pop(TOKEN)  # type: ignore[attr-defined]
        assert (found.metadata, found.raw["ContentType"]) == ({"owner": "me"}, "text/csv")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({}, {"region_name": "us-west-2"}),
        ({"conn_id": "faraway"}, {}),
        ({"compression": "gzip"}, {"compression": "gzip", "header": False}),
        ({"columns": ["x", "y"], "header": True}, {}),
    ],
    ids=["another region", "another connection", "another header", "other names"],
)
def test_bytes_stream_where_something_differs(
    s3_hook: S3Hook,
    bucket: str,
    url: str,
    s3_endpoint: str,
    connection: Callable[..., str],
    source: dict[str, Any],
    target: dict[str, Any],
) -> None:
    extra = {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}
    connection("faraway", {"conn_type": "aws", "login": "test", "password": "test", "extra": extra})
    copy(MemoryFiles(PLAIN), S3File(f"{url}a.csv", compression=source.get("compression")))
    result = copy(S3File(f"{url}a.csv", **source), S3File(f"{url}b.csv", **target))

    assert result.plan == f"streamed to {url}b.csv"
    expected = PLAIN
    if target.get("header") is False:
        expected = b"1,a\n2,b\n"
    if "columns" in source:
        expected = PLAIN.replace(b"id,name", b"x,y")
    assert drain(S3File(f"{url}b.csv", compression=target.get("compression"))) == expected


def test_a_file_is_compressed_anew(s3_hook: S3Hook, bucket: str, url: str) -> None:
    copy(MemoryFiles(PLAIN), S3File(f"{url}a.csv.gz"))
    for source, target in (("a.csv.gz", "b.csv"), ("b.csv", "c.csv.zst"), ("c.csv.zst", "d.csv.xz")):
        result = copy(S3File(url + source), S3File(url + target))
        assert result.plan == f"streamed to {url}{target}"
        assert not result.counted
        assert drain(S3File(url + target)) == PLAIN


def test_a_source_that_changed_is_not_copied(s3_hook: S3Hook, bucket: str, url: str, monkeypatch: Any) -> None:
    s3_hook.put(bucket, "a.csv", PLAIN)
    target = S3File(f"{url}b.csv")
    source = S3File(f"{url}a.csv")
    hook = source._hook()
    monkeypatch.setattr(source, "_hook", lambda: hook)
    # moto does not look at the condition, S3 answers so.
    hook.client().meta.events.register_first("before-call.s3.CopyObject", refusing("PreconditionFailed", 412))

    with pytest.raises(SourceChanged, match=f"{url}a.csv changed before it was copied"):
        copy(source, target)


def test_the_log_tells_no_rows_where_nobody_counted(
    s3_hook: S3Hook, bucket: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_hook.put(bucket, "a.csv", PLAIN)
    lines: list[str] = []
    log = SimpleNamespace(info=lambda message, *args: lines.append(message % args))
    monkeypatch.setattr(CopyOperator, "log", log)
    for name, target in {"within": "b.csv", "streamed": "b.csv.gz"}.items():
        task = CopyOperator(task_id=name, source=S3File(f"{url}a.csv"), target=S3File(url + target))
        task._tell(copy(task.source, task.target))
    task._tell(CopyResult(rows=0, bytes=5))

    assert [line.rpartition(" in ")[0] for line in lines] == [
        f"{url}a.csv -> {url}b.csv: 0.0 kB",
        f"{url}a.csv -> {url}b.csv.gz: 0.0 kB",
        f"{url}a.csv -> {url}b.csv.gz: 0 rows, 0.0 kB",
    ]
