"""An S3 server that keeps objects as files and costs next to nothing.

The real S3 takes no CPU from the worker that talks to it; an emulator on the same two cores takes as much as the
contender that is measured (see docs/benchmarks.md for how much). This one moves bytes between sockets and files,
holds no object in memory and checks no signature: it is for benchmarks alone.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import socket
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"
MODIFIED_ISO = "2026-01-01T00:00:00.000Z"
CHUNK = 1 << 18


@dataclass
class Blob:
    """Bytes in one or more files, one after the other."""

    etag: str
    files: list[tuple[Path, int]]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)

    def drop(self) -> None:
        for path, _ in self.files:
            path.unlink(missing_ok=True)


@dataclass
class Upload:
    """A multipart upload that has begun."""

    bucket: str
    key: str
    parts: dict[int, Blob] = field(default_factory=dict)


@dataclass
class Store:
    """All objects and uploads, their bytes in files below one folder."""

    folder: Path
    buckets: dict[str, dict[str, Blob]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, bucket: str, key: str, blob: Blob) -> None:
        with self.lock:
            old = self.buckets[bucket].get(key)
            self.buckets[bucket][key] = blob
        if old:
            old.drop()

    def complete(self, number: str, wanted: list[int]) -> Blob:
        with self.lock:
            upload = self.uploads.pop(number)
        files = [entry for part in wanted for entry in upload.parts[part].files]
        blob = Blob(f'"{next(self.numbers):032x}-{len(wanted)}"', files)
        self.put(upload.bucket, upload.key, blob)
        return blob


class Handler(BaseHTTPRequestHandler):
    """Answer one connection's requests."""

    protocol_version = "HTTP/1.1"
    wbufsize = 0
    store: ClassVar[Store]

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the log is not what is measured."""

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        url = urlsplit(self.path)
        self.bucket, _, key = url.path.lstrip("/").partition("/")
        self.key = unquote(key)
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        return True

    # Answers

    def answer(self, status: int = 200, body: bytes = b"", **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def xml(self, root: str, inner: str) -> None:
        self.answer(200, f"<{root} {XMLNS}>{inner}</{root}>".encode(), Content_Type="application/xml")

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    # Requests

    def do_PUT(self) -> None:
        if not self.key:
            self.body()
            self.store.buckets.setdefault(self.bucket, {})
            return self.answer()
        blob = self._receive()
        upload = self.store.uploads.get(self.query.get("uploadId", ""))
        if upload:
            upload.parts[int(self.query["partNumber"])] = blob
        elif "uploadId" in self.query:
            blob.drop()
            return self.refuse(404, "NoSuchUpload")
        else:
            self.store.put(self.bucket, self.key, blob)
        return self.answer(ETag=blob.etag)

    def do_POST(self) -> None:
        body = self.body()
        if "uploads" in self.query:
            number = f"{next(self.store.numbers):032x}"
            self.store.uploads[number] = Upload(self.bucket, self.key)
            where = f"<Bucket>{self.bucket}</Bucket><Key>{escape(self.key)}</Key><UploadId>{number}</UploadId>"
            return self.xml("InitiateMultipartUploadResult", where)
        if "uploadId" in self.query:
            if self.query["uploadId"] not in self.store.uploads:
                return self.refuse(404, "NoSuchUpload")
            parts = [int(text) for text in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
            blob = self.store.complete(self.query["uploadId"], parts)
            return self.xml("CompleteMultipartUploadResult", f"<ETag>{escape(blob.etag)}</ETag>")
        if "delete" in self.query:
            for node in ET.fromstring(body).iter():
                if node.tag.endswith("Key"):
                    self._drop(node.text or "")
            return self.xml("DeleteResult", "")
        return self.refuse(501, "NotImplemented")

    def do_DELETE(self) -> None:
        upload = self.store.uploads.pop(self.query.get("uploadId", ""), None)
        if upload:
            for blob in upload.parts.values():
                blob.drop()
        elif self.key:
            self._drop(self.key)
        self.answer(204)

    def do_HEAD(self) -> None:
        if not self.key:
            return self.answer(200 if self.bucket in self.store.buckets else 404)
        blob = self._find()
        if not blob:
            return self.answer(404)
        self.send_response(200)
        for name, value in self._describe(blob, blob.size).items():
            self.send_header(name, value)
        return self.end_headers()

    def do_GET(self) -> None:
        if not self.key:
            return self._list_uploads() if "uploads" in self.query else self._list()
        blob = self._find()
        if not blob:
            return self.refuse(404, "NoSuchKey")
        if self.headers.get("If-Match", blob.etag) != blob.etag:
            return self.refuse(412, "PreconditionFailed")
        return self._send(blob)

    # Parts of them

    def _find(self) -> Blob | None:
        return self.store.buckets.get(self.bucket, {}).get(self.key)

    def _drop(self, key: str) -> None:
        blob = self.store.buckets.get(self.bucket, {}).pop(key, None)
        if blob:
            blob.drop()

    def _describe(self, blob: Blob, length: int) -> dict[str, str]:
        return {
            "ETag": blob.etag,
            "Last-Modified": MODIFIED,
            "Accept-Ranges": "bytes",
            "Content-Type": "binary/octet-stream",
            "Content-Length": str(length),
        }

    def _send(self, blob: Blob) -> None:
        first, last = 0, blob.size - 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        self.send_response(206 if asked else 200)
        for name, value in self._describe(blob, last - first + 1).items():
            self.send_header(name, value)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{blob.size}")
        self.end_headers()
        begin = 0
        for path, size in blob.files:
            start, stop = max(first - begin, 0), min(last + 1 - begin, size)
            if start < stop:
                with path.open("rb") as file:
                    self.connection.sendfile(file, start, stop - start)
            begin += size

    def _receive(self) -> Blob:
        number = next(self.store.numbers)
        path = self.store.folder / f"{number:08d}"
        with path.open("wb", buffering=0) as file:
            if "aws-chunked" in self.headers.get("Content-Encoding", ""):
                self._receive_chunked(file.write)
            else:
                self._receive_bytes(int(self.headers.get("Content-Length") or 0), file.write)
        return Blob(f'"{number:032x}"', [(path, path.stat().st_size)])

    def _receive_bytes(self, left: int, write: Callable[[bytes | memoryview], Any]) -> None:
        buffer = memoryview(bytearray(CHUNK))
        while left:
            count = self.rfile.readinto(buffer[: min(left, CHUNK)])
            if not count:
                raise ConnectionError("the client went away")
            write(buffer[:count])
            left -= count

    def _receive_chunked(self, write: Callable[[bytes | memoryview], Any]) -> None:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            self._receive_bytes(size, write)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # the trailing checksum

    def _list(self) -> None:
        objects = self.store.buckets.get(self.bucket)
        if objects is None:
            return self.refuse(404, "NoSuchBucket")
        prefix = self.query.get("prefix", "")
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{MODIFIED_ISO}</LastModified>"
            f"<ETag>{escape(blob.etag)}</ETag><Size>{blob.size}</Size></Contents>"
            for key, blob in sorted(objects.items())
            if key.startswith(prefix)
        )
        count = rows.count("<Contents>")
        head = f"<Name>{self.bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{count}</KeyCount>"
        return self.xml("ListBucketResult", f"{head}<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{rows}")

    def _list_uploads(self) -> None:
        prefix = self.query.get("prefix", "")
        rows = "".join(
            f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{number}</UploadId>"
            f"<Initiated>{MODIFIED_ISO}</Initiated></Upload>"
            for number, upload in list(self.store.uploads.items())
            if upload.bucket == self.bucket and upload.key.startswith(prefix)
        )
        self.xml("ListMultipartUploadsResult", f"<Bucket>{self.bucket}</Bucket><IsTruncated>false</IsTruncated>{rows}")


class Server(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 64


def main(folder: str) -> None:
    """Serve until killed; the first line of output is the port.

    :param folder: where the objects' bytes go; it is emptied
    """
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    Handler.store = Store(Path(folder))
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
