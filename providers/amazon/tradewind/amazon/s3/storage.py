"""S3 as a store of the files that a copy reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tradewind.amazon.errors import PreconditionFailed
from tradewind.amazon.s3.locations import S3Object, parse_s3_url
from tradewind.hooks.errors import SourceChanged
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.plan import Right

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook
    from tradewind.amazon.s3.reading import S3Reader
    from tradewind.amazon.s3.writing import S3Writer


class S3Storage(Storage):
    """Objects, each known by its ETag.

    :param hook: the connection
    """

    def __init__(self, hook: S3Hook) -> None:
        self.hook = hook

    def find(self, url: str) -> StoredFile:
        """Look for one object by one HEAD."""
        return _stored(self.hook.head(*parse_s3_url(url)))

    def match(self, pattern: str) -> Iterator[StoredFile]:
        """Yield the objects that match; folders that a console made are none."""
        found = self.hook.match(*parse_s3_url(pattern))
        return (_stored(match) for match in found if not match.key.endswith("/"))

    def read(
        self, file: StoredFile, *, compression: str | None = None, on_bytes: Callable[[int, int], None] | None = None
    ) -> S3Reader:
        """Open an object as a stream that survives a broken connection."""
        return self.hook.read(*parse_s3_url(file.url), etag=file.version, compression=compression, on_bytes=on_bytes)

    def read_at(self, file: StoredFile, offset: int, length: int) -> bytes:
        """Read a range of an object by one GET."""
        return self.hook.read_range(*parse_s3_url(file.url), offset, length, etag=file.version)

    def write(self, url: str, *, token: str, compression: str | None = None) -> S3Writer:
        """Open an object for writing; unfinished uploads of its key are aborted."""
        return self.hook.write(*parse_s3_url(url), token=token, compression=compression)

    def rights(self, url: str) -> list[Right]:
        """Return the rights that writing an object needs; only IAM knows which of them are there."""
        bucket, key = parse_s3_url(url)
        on_object = [
            Right(what, f"arn:aws:s3:::{bucket}/{key}") for what in ("s3:PutObject", "s3:AbortMultipartUpload")
        ]
        return [*on_object, Right("s3:ListBucketMultipartUploads", f"arn:aws:s3:::{bucket}")]

    def delete(self, urls: Iterable[str]) -> None:
        """Delete objects, a thousand by a call."""
        for bucket, keys in _by_bucket(urls).items():
            self.hook.delete(bucket, keys)

    def sweep(self, urls: Iterable[str], *, token: str) -> None:
        """Abort the unfinished uploads of objects, whoever began them."""
        from tradewind.amazon.s3.writing import abort_uploads

        for bucket, keys in _by_bucket(urls).items():
            abort_uploads(self.hook, bucket, set(keys))

    def reaches(self, other: Storage) -> bool:
        """Say whether both are the same account's S3."""
        return isinstance(other, S3Storage) and other.hook.reaches_as(self.hook)

    def copy(self, file: StoredFile, url: str, *, token: str) -> None:
        """Copy an object within S3; what describes it is kept."""
        from tradewind.amazon.s3.writing import TOKEN

        found: S3Object = file.raw
        if found.raw.get("Metadata") is None:  # a listing does not tell the metadata, which a copy keeps
            found = self.hook.head(found.bucket, found.key)
        metadata: dict[str, Any] = {**found.metadata, TOKEN: token}
        try:
            self.hook.copy(found, *parse_s3_url(url), metadata=metadata)
        except PreconditionFailed as error:
            raise SourceChanged(f"{file.url} changed before it was copied: the next try copies it anew") from error


def _by_bucket(urls: Iterable[str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for bucket, key in map(parse_s3_url, urls):
        keys.setdefault(bucket, []).append(key)
    return keys


def _stored(found: S3Object) -> StoredFile:
    return StoredFile(found.url, found.size, found.etag, found)
