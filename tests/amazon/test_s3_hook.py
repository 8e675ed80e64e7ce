"""S3Hook on a real server: odd keys, patterns and what they cost, copies, deletes, conditional puts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tradewind.amazon.errors import PreconditionFailed
from tradewind.amazon.s3 import hooks
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.amazon.s3.locations import S3Location, is_pattern, literal_prefix, matcher, parse_s3_url
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    DataError,
    InvalidArgument,
    NotFound,
    Throttled,
    TradewindError,
)

ODD = [
    "wh?t.csv",
    "a#b.csv",
    "2026-01-02T12:30:00+00:00.csv",
    "a+b c.csv",
    "100%.csv",
    "%41%2F.csv",
    "größe/数据/😀.csv",
    "a//b.csv",
    "dots/a.b./c..",
    "dots/..",
    "a/./b/../c.csv",
    "/lead.csv",
    "a[1].csv",
    "x&y=z;$,@!'()~.csv",
    "back\\slash.csv",
    'quote"<>|^`{}.csv',
    " blank at both ends ",
]


@pytest.mark.parametrize("key", ODD)
def test_a_key_is_taken_as_it_is(s3_hook: S3Hook, bucket: str, key: str) -> None:
    data = key.encode() * 3
    with s3_hook.write(bucket, key, token="t") as sink:
        sink.write(data)

    assert s3_hook.head(bucket, key).size == len(data)
    assert [found.key for found in s3_hook.list_objects(bucket)] == [key]
    assert [found.key for found in s3_hook.list_objects(bucket, key)] == [key]
    with s3_hook.read(bucket, key) as stream:
        assert stream.read() == data
    assert s3_hook.read_key(f"s3://{bucket}/{key}") == data.decode()
    s3_hook.copy(S3Location(bucket, key), bucket, f"{key}.copy")
    assert s3_hook.check_for_key(f"{key}.copy", bucket)
    with urlopen(s3_hook.presign(bucket, key), timeout=10) as answer:
        assert answer.read() == data
    assert s3_hook.delete(bucket, key) == 1
    assert not s3_hook.exists(bucket, key)
    assert s3_hook.exists(bucket, f"{key}.copy")


@pytest.mark.parametrize(
    ("url", "bucket", "key"),
    [
        ("s3://b/k", "b", "k"),
        ("s3a://b/dir/wh?t#x", "b", "dir/wh?t#x"),
        ("s3n://b//k", "b", "/k"),
        ("s3://b/user@host.csv", "b", "user@host.csv"),
        ("s3://b", "b", ""),
        ("s3://arn:aws:s3:eu-west-1:1:accesspoint/p/a/b", "arn:aws:s3:eu-west-1:1:accesspoint/p", "a/b"),
    ],
)
def test_urls_are_taken_apart(url: str, bucket: str, key: str) -> None:
    assert parse_s3_url(url) == (bucket, key)


@pytest.mark.parametrize("url", ["b/k", "http://b/k", "s3:/b/k", "s3://", "s3:///k", None, 5])
def test_what_is_no_url_is_refused(url: Any) -> None:
    with pytest.raises(InvalidArgument, match="write s3://bucket/key"):
        parse_s3_url(url)


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidArgument, match="put them into a connection") as caught:
        parse_s3_url("s3://AKID:secret@b/k")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "word", "pattern"),
    [
        ("a*.csv", None, True),
        ("wh?t.csv", None, False),
        ("a[1].csv", None, False),
        ("a[1].csv", True, True),
        ("plain.csv", True, True),
        ("a*.csv", False, False),
    ],
)
def test_a_star_alone_makes_a_pattern(key: str, word: bool | None, pattern: bool) -> None:
    assert is_pattern(key, word) is pattern


@pytest.mark.parametrize(
    ("pattern", "prefix", "yes", "no"),
    [
        ("in/*.csv", "in/", ["in/a.csv", "in/b/c.csv", "in/.csv"], ["in/a.csv.gz", "out/a.csv", "in/A.CSV"]),
        ("in/a?*", "in/a", ["in/ab", "in/a/"], ["in/a"]),
        ("in/[ab]*.csv", "in/", ["in/a1.csv"], ["in/c1.csv"]),
        ("in/[!ab]*", "in/", ["in/c"], ["in/a"]),
        ("in/[*]*", "in/", ["in/*x"], ["in/x"]),
        ("*", "", ["", "a", "a\nb"], []),
    ],
)
def test_patterns(pattern: str, prefix: str, yes: list[str], no: list[str]) -> None:
    matches = matcher(pattern)

    assert literal_prefix(pattern) == prefix
    assert [key for key in yes + no if matches(key)] == yes


def test_a_pattern_costs_one_list_of_what_begins_as_it_does(s3_hook: S3Hook, bucket: str, calls: Counter[str]) -> None:
    for key in ("in/1.csv", "in/2.csv", "in/x.txt", "other/3.csv"):
        s3_hook.put(bucket, key, b"x")
    prefixes: list[str] = []
    s3_hook.client().meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: prefixes.append(params["Prefix"])
    )
    calls.clear()

    assert [found.key for found in s3_hook.match(bucket, "in/*.csv")] == ["in/1.csv", "in/2.csv"]
    assert calls == {"ListObjectsV2": 1}
    assert prefixes == ["in/"]


def test_a_listing_costs_one_call_a_page_and_none_that_nobody_asks_for(
    s3_hook: S3Hook, bucket: str, calls: Counter[str]
) -> None:
    for number in range(7):
        s3_hook.put(bucket, f"k{number}", b"x")
    calls.clear()

    assert len(list(s3_hook.list_objects(bucket, page_size=3))) == 7
    assert calls == {"ListObjectsV2": 3}
    calls.clear()
    next(s3_hook.list_objects(bucket, page_size=3))
    assert calls == {"ListObjectsV2": 1}
    assert [found.key for found in s3_hook.list_objects(bucket, start_after="k4")] == ["k5", "k6"]


def test_a_page_is_a_thousand_keys(s3_hook: S3Hook, bucket: str) -> None:
    asked: list[int] = []
    s3_hook.client().meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: asked.append(params["MaxKeys"])
    )
    assert list(s3_hook.list_objects(bucket)) == []
    assert asked == [1000]


def test_what_is_missing_is_named(s3_hook: S3Hook, bucket: str) -> None:
    with pytest.raises(NotFound, match=f"head s3://{bucket}/none"):
        s3_hook.head(bucket, "none")
    with pytest.raises(NotFound, match="no such bucket"):
        list(s3_hook.list_objects("no-such-bucket-here"))
    with s3_hook.read(bucket, "none") as stream, pytest.raises(NotFound, match=f"read s3://{bucket}/none: no such key"):
        stream.read()
    with pytest.raises(NotFound, match="no such bucket"):
        s3_hook.write("no-such-bucket-here", "k")
    with pytest.raises(InvalidArgument, match="has no key"):
        s3_hook.write(bucket, "")


def test_a_conditional_put(s3_hook: S3Hook, bucket: str) -> None:
    first = s3_hook.put(bucket, "k", "one", if_none_match=True, metadata={"a": "b"}, content_type="text/plain")

    with pytest.raises(PreconditionFailed, match=f"put s3://{bucket}/k"):
        s3_hook.put(bucket, "k", "two", if_none_match=True)
    found = s3_hook.head(bucket, "k")
    assert (found.etag, found.metadata, found.raw["ContentType"]) == (first, {"a": "b"}, "text/plain")


def test_a_put_over_one_version_alone(s3_hook: S3Hook, bucket: str) -> None:
    first = s3_hook.put(bucket, "k", "one")
    if "IfMatch" not in s3_hook.client().meta.service_model.operation_model("PutObject").input_shape.members:
        with pytest.raises(InvalidArgument, match="if_match needs boto3"):
            s3_hook.put(bucket, "k", "two", if_match=first)
        return
    s3_hook.put(bucket, "k", "two", if_match=first)

    with pytest.raises(PreconditionFailed):
        s3_hook.put(bucket, "k", "three", if_match=first)
    assert s3_hook.read_key("k", bucket) == "two"


def test_texts_and_local_files(s3_hook: S3Hook, bucket: str, tmp_path: Path) -> None:
    s3_hook.load_string("größe", f"s3://{bucket}/t")
    (tmp_path / "up").write_bytes(b"local" * 1000)
    s3_hook.upload_file(str(tmp_path / "up"), bucket, "up")
    s3_hook.download_file(bucket, "up", str(tmp_path / "down"))
    with s3_hook.write(bucket, "t.gz", compression="infer") as sink:
        sink.write(b"plain")
    s3_hook.put(bucket, "binary", b"ok\xff")

    assert s3_hook.read_key("t", bucket) == "größe"
    assert s3_hook.read_key(f"s3://{bucket}/t.gz") == "plain"
    assert (tmp_path / "down").read_bytes() == b"local" * 1000
    with pytest.raises(DataError, match="is not UTF-8: byte 0xff at offset 2"):
        s3_hook.read_key("binary", bucket)


DESCRIBED: dict[str, Any] = {
    "ContentType": "text/csv",
    "ContentDisposition": "attachment",
    "CacheControl": "no-store",
    "Metadata": {"owner": "me"},
    "Tagging": "team=a%20b&x=1%2B1",
}


@pytest.mark.parametrize("large", [False, True], ids=["at once", "by parts"])
@pytest.mark.parametrize("metadata", [None, {"new": "one"}], ids=["as it is", "other metadata"])
def test_a_copy_is_described_as_its_source(
    s3_hook: S3Hook,
    bucket: str,
    calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    large: bool,
    metadata: dict[str, str] | None,
) -> None:
    data = bytes(range(256)) * (24 * 1024 if large else 1)
    s3_hook.client().put_object(Bucket=bucket, Key="a", Body=data, **DESCRIBED)
    monkeypatch.setattr(hooks, "COPY_LIMIT", 1000)
    monkeypatch.setattr(hooks, "COPY_PART", 5 * 1024**2)
    calls.clear()

    s3_hook.copy(S3Location(bucket, "a"), bucket, "b+ c", metadata=metadata)

    by_parts = {"GetObjectTagging": 1, "CreateMultipartUpload": 1, "UploadPartCopy": 2, "CompleteMultipartUpload": 1}
    assert calls == {"HeadObject": 1, **(by_parts if large else {"CopyObject": 1})}
    found = s3_hook.head(bucket, "b+ c")
    assert found.metadata == (metadata or DESCRIBED["Metadata"])
    for name in ("ContentType", "ContentDisposition", "CacheControl"):
        assert found.raw[name] == DESCRIBED[name]
    tags = s3_hook.client().get_object_tagging(Bucket=bucket, Key="b+ c")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "a b", "x": "1+1"}
    with s3_hook.read(bucket, "b+ c") as stream:
        assert stream.read() == data


def test_a_copy_sends_no_acl_and_asks_for_the_object_that_was_seen(s3_hook: S3Hook, bucket: str) -> None:
    s3_hook.put(bucket, "a", b"x")
    sent: list[dict[str, Any]] = []
    s3_hook.client().meta.events.register(
        "provide-client-params.s3.CopyObject", lambda params, **_: sent.append(dict(params))
    )
    seen = next(s3_hook.list_objects(bucket))
    s3_hook.copy(seen, bucket, "b")

    assert sent[0].keys() == {"Bucket", "Key", "CopySource", "CopySourceIfMatch"}
    assert sent[0]["CopySourceIfMatch"] == seen.etag


def test_a_copy_that_fails_leaves_no_part(s3_hook: S3Hook, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.amazon.test_s3_streams import uploads

    monkeypatch.setattr(hooks, "COPY_LIMIT", 10)
    s3_hook.put(bucket, "a", b"x" * 100)

    def fail(params: dict[str, Any], **_: Any) -> None:
        params["CopySource"] = {"Bucket": bucket, "Key": "not there"}

    s3_hook.client().meta.events.register_first("provide-client-params.s3.UploadPartCopy", fail)
    with pytest.raises(NotFound, match=f"copy s3://{bucket}/a to s3://{bucket}/b"):
        s3_hook.copy(S3Location(bucket, "a"), bucket, "b")
    assert uploads(s3_hook, bucket) == []
    assert not s3_hook.exists(bucket, "b")


def test_tags_that_nobody_may_read_are_told(
    s3_hook: S3Hook, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(s3_hook, "_log", logging.getLogger("tests.s3_hook"))  # Airflow's own does not propagate
    monkeypatch.setattr(hooks, "COPY_LIMIT", 10)
    s3_hook.put(bucket, "a", b"x" * 100)
    s3_hook.client().meta.events.register_first("before-call.s3.GetObjectTagging", refusing("AccessDenied", 403))

    with caplog.at_level("WARNING"):
        s3_hook.copy(S3Location(bucket, "a"), bucket, "b")
    assert "the copy has no tags" in caplog.text
    assert s3_hook.exists(bucket, "b")


def refusing(code: str, status: int) -> Callable[..., Any]:
    """Answer in the server's place, with what moto never says."""
    from types import SimpleNamespace

    answer = {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return lambda **_: (SimpleNamespace(status_code=status, headers={}), answer)


def test_many_keys_are_deleted_a_thousand_at_a_time(s3_hook: S3Hook, bucket: str, calls: Counter[str]) -> None:
    s3_hook.put(bucket, "k1", b"x")
    s3_hook.put(bucket, "stays", b"x")
    calls.clear()

    assert s3_hook.delete(bucket, (f"k{number}" for number in range(2001))) == 2001
    assert calls == {"DeleteObjects": 3}
    assert [found.key for found in s3_hook.list_objects(bucket)] == ["stays"]
    calls.clear()
    assert s3_hook.delete(bucket, []) == 0
    assert calls == {}


def test_a_prefix_is_deleted_and_an_empty_one_needs_a_word(s3_hook: S3Hook, bucket: str) -> None:
    for key in ("in/1", "in/2", "out/1"):
        s3_hook.put(bucket, key, b"x")

    with pytest.raises(InvalidArgument, match=f"an empty prefix deletes all of s3://{bucket}"):
        s3_hook.delete_prefix(bucket, "")
    assert len(list(s3_hook.list_objects(bucket))) == 3
    assert s3_hook.delete_prefix(bucket, "in/") == 2
    assert s3_hook.delete_prefix(bucket, "", everything=True) == 1
    assert list(s3_hook.list_objects(bucket)) == []


@pytest.mark.parametrize(
    ("code", "kind"), [("AccessDenied", AccessDenied), ("InternalError", ConnectionFailed), ("SlowDown", Throttled)]
)
def test_a_key_that_cannot_be_deleted_is_named(
    s3_hook: S3Hook, bucket: str, code: str, kind: type[TradewindError]
) -> None:
    from types import SimpleNamespace

    errors = [{"Key": "b", "Code": code, "Message": "No"}]
    answer = {"Errors": errors, "ResponseMetadata": {"HTTPStatusCode": 200}}
    s3_hook.client().meta.events.register_first(
        "before-call.s3.DeleteObjects", lambda **_: (SimpleNamespace(status_code=200, headers={}), answer)
    )
    with pytest.raises(kind, match=rf"delete s3://{bucket}/b, one of 1 that failed of 2 keys: .*\({code}\)"):
        s3_hook.delete(bucket, ["a", "b"])


def test_reading_a_small_object_costs_one_get(s3_hook: S3Hook, bucket: str, calls: Counter[str]) -> None:
    s3_hook.put(bucket, "k", b"x")
    calls.clear()

    assert s3_hook.read_key("k", bucket) == "x"
    assert calls == {"GetObject": 1}


def test_a_bucket_in_another_region(s3_hook: S3Hook, bucket: str) -> None:
    other = S3Hook(region_name="eu-west-1")
    other.create_bucket(f"{bucket}-eu", versioned=True)

    assert other.client().get_bucket_location(Bucket=f"{bucket}-eu")["LocationConstraint"] == "eu-west-1"
    assert other.client().get_bucket_versioning(Bucket=f"{bucket}-eu")["Status"] == "Enabled"
    other.put(f"{bucket}-eu", "k", b"x")
    assert other.head(f"{bucket}-eu", "k").version_id
