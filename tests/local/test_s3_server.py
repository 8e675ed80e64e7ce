"""The local S3 server: what it holds is there again, byte for byte and ETag for ETag."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tradewind.local.errors import StartFailed
from tradewind.local.s3 import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def versions(server: S3Server) -> list[tuple[object, ...]]:
    found = server.client().list_object_versions(Bucket="landing")
    return [
        (entry["Key"], entry["VersionId"], entry["ETag"], entry["IsLatest"], entry["Size"], entry["LastModified"])
        for entry in found.get("Versions", [])
    ] + [(entry["Key"], entry["VersionId"], entry["IsLatest"]) for entry in found.get("DeleteMarkers", [])]


def fill(server: S3Server, big: bytes) -> None:
    client = server.client()
    client.create_bucket(Bucket="landing")
    client.put_bucket_versioning(Bucket="landing", VersioningConfiguration={"Status": "Enabled"})
    for text in (b"one", b"two"):
        client.put_object(
            Bucket="landing", Key="a b/ü.csv", Body=text, Metadata={"who": "me"}, ContentType="text/csv", Tagging="k=v"
        )
    client.put_object(Bucket="landing", Key="gone", Body=b"x")
    client.delete_object(Bucket="landing", Key="gone")
    client.upload_fileobj(io.BytesIO(big), "landing", "big")


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    big = os.urandom(17 << 20)
    with S3Server(tmp_path) as server:
        fill(server, big)
        before = versions(server)

    with S3Server(tmp_path) as server:
        client = server.client()
        assert versions(server) == before
        assert any(etag.endswith('-3"') for _, _, etag, *_ in before[:4] if isinstance(etag, str))
        head = client.get_object(Bucket="landing", Key="a b/ü.csv")
        assert (head["Body"].read(), head["Metadata"], head["ContentType"]) == (b"two", {"who": "me"}, "text/csv")
        assert client.get_object_tagging(Bucket="landing", Key="a b/ü.csv")["TagSet"] == [{"Key": "k", "Value": "v"}]
        assert client.get_object(Bucket="landing", Key="big")["Body"].read() == big
        assert client.get_object(Bucket="landing", Key="big", Range="bytes=5-9")["Body"].read() == big[5:10]
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="landing", Key="gone")


def test_a_deleted_object_stays_deleted_and_its_file_goes(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        client = server.client()
        client.create_bucket(Bucket="plain")
        client.put_object(Bucket="plain", Key="a", Body=b"a")
        client.put_object(Bucket="plain", Key="b", Body=b"b")
    assert len(list((tmp_path / "objects").iterdir())) == 2
    with S3Server(tmp_path) as server:
        server.client().delete_object(Bucket="plain", Key="a")
    assert len(list((tmp_path / "objects").iterdir())) == 1
    with S3Server(tmp_path) as server:
        listed = server.client().list_objects_v2(Bucket="plain")["Contents"]
        assert [entry["Key"] for entry in listed] == ["b"]


def test_a_kill_costs_seconds_at_most(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        server.client().create_bucket(Bucket="plain")
        server.client().put_object(Bucket="plain", Key="a", Body=b"a")
        deadline = time.monotonic() + 30
        while not (tmp_path / "manifest.json").exists():
            assert time.monotonic() < deadline, "nothing was saved by itself"
            time.sleep(0.05)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
    with S3Server(tmp_path) as server:
        assert server.client().get_object(Bucket="plain", Key="a")["Body"].read() == b"a"


def test_an_object_whose_file_is_gone_is_left_out_and_said(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        server.client().create_bucket(Bucket="plain")
        for key in ("kept", "lost"):
            server.client().put_object(Bucket="plain", Key=key, Body=key.encode())
    saved = json.loads((tmp_path / "manifest.json").read_text())
    lost = next(entry for entry in saved["buckets"][0]["versions"] if entry["key"] == "lost")
    (tmp_path / "objects" / lost["blob"]).unlink()

    with S3Server(tmp_path) as server:
        listed = server.client().list_objects_v2(Bucket="plain")["Contents"]
        assert [entry["Key"] for entry in listed] == ["kept"]
        assert "lost: s3://plain/lost" in server.log.read_text()


def test_what_was_answered_while_it_ended_is_there_again(tmp_path: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    answered: list[str] = []

    def put(client: S3Client, name: str) -> None:
        with contextlib.suppress(BotoCoreError, ClientError):  # the server has ended
            for number in itertools.count():
                client.put_object(Bucket="plain", Key=f"{name}-{number}", Body=b"x" * 1000)
                answered.append(f"{name}-{number}")

    with S3Server(tmp_path) as server:
        client = server.client()
        client.create_bucket(Bucket="plain")
        threads = [threading.Thread(target=put, args=(client, f"writer-{number}")) for number in range(4)]
        for thread in threads:
            thread.start()
        while len(answered) < 100:
            time.sleep(0.01)
    for thread in threads:
        thread.join()

    with S3Server(tmp_path) as server:
        pages = server.client().get_paginator("list_objects_v2").paginate(Bucket="plain")
        kept = {entry["Key"] for page in pages for entry in page["Contents"]}
    assert set(answered) <= kept


def test_content_lies_in_files_not_in_memory(tmp_path: Path) -> None:
    part = os.urandom(8 << 20)
    with S3Server(tmp_path) as server:
        client = server.client()
        client.create_bucket(Bucket="plain")
        for number in range(10):  # what the first requests import and keep
            client.put_object(Bucket="plain", Key=f"first-{number}", Body=part)
        before = resident(server)
        for number in range(40):
            client.put_object(Bucket="plain", Key=f"part-{number}", Body=part)

        assert resident(server) - before < 80 << 20, "320 MB of objects are held in memory"
        body = client.get_object(Bucket="plain", Key="part-39")["Body"].read()
        assert hashlib.sha256(body).digest() == hashlib.sha256(part).digest()


def resident(server: S3Server) -> int:
    import psutil

    return int(psutil.Process(server.pid).memory_info().rss)


def test_a_damaged_manifest_is_told_with_the_log(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")

    with pytest.raises(StartFailed, match="JSONDecodeError"):
        S3Server(tmp_path).start()


def test_nothing_answers_after_the_stop(tmp_path: Path) -> None:
    from botocore.exceptions import EndpointConnectionError

    with S3Server(tmp_path) as server:
        client = server.client()
    with pytest.raises(EndpointConnectionError):
        client.list_buckets()
