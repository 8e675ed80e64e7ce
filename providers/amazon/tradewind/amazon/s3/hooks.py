"""Objects in Amazon S3: found, read and written as streams, copied, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlencode

from tradewind.amazon.hooks import AwsHook
from tradewind.amazon.s3.locations import S3Location, S3Object, literal_prefix, matcher, parse_s3_url
from tradewind.hooks.errors import AccessDenied, DataError, InvalidArgument, NotFound, TradewindError
from tradewind.operators.files.compression import INFER

if TYPE_CHECKING:
    from tradewind.amazon.s3.reading import S3Reader
    from tradewind.amazon.s3.writing import S3Writer

COPY_LIMIT = 5 * 1000**3
"""Bytes above which S3 copies only by parts (CopyObject takes up to 5 GB)."""

COPY_PART = 512 * 1024**2
"""Bytes of one part of such a copy."""

DESCRIPTION = ("ContentType", "ContentEncoding", "ContentLanguage", "ContentDisposition", "CacheControl")
"""The headers that belong to an object."""

DELETE_BATCH = 1000
"""Keys that one DeleteObjects takes."""


class S3Hook(AwsHook):
    """Work with objects in S3; takes the arguments of its base."""

    hook_name = "Amazon S3"
    service = "s3"

    parse_s3_url = staticmethod(parse_s3_url)

    # finding

    def head(self, bucket: str, key: str) -> S3Object:
        """Ask for one object.

        :raises NotFound: where it is not there
        """
        with self.errors(f"head s3://{bucket}/{key}"):
            found = self.client().head_object(Bucket=bucket, Key=key)
        return S3Object(
            bucket=bucket,
            key=key,
            size=found["ContentLength"],
            etag=found["ETag"],
            last_modified=found.get("LastModified"),
            version_id=found.get("VersionId"),
            metadata=found.get("Metadata", {}),
            raw=found,
        )

    def exists(self, bucket: str, key: str) -> bool:
        """Say whether an object is there."""
        try:
            self.head(bucket, key)
        except NotFound:
            return False
        return True

    def list_objects(
        self, bucket: str, prefix: str = "", *, start_after: str = "", page_size: int = 1000
    ) -> Iterator[S3Object]:
        """Yield the objects under a prefix in the order of their keys, a page at a time as they are asked for.

        :param start_after: leave out the keys up to this one
        :param page_size: keys of one call, at most 1000
        :raises NotFound: where the bucket is not there
        """
        more = {"StartAfter": start_after} if start_after else {}
        pages = self.client().get_paginator("list_objects_v2")
        with self.errors(f"list s3://{bucket}/{prefix}"):
            for page in pages.paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": page_size}, **more):
                for found in page.get("Contents", ()):
                    yield S3Object(
                        bucket, found["Key"], found["Size"], found["ETag"], found.get("LastModified"), raw=found
                    )

    def match(self, bucket: str, pattern: str) -> Iterator[S3Object]:
        """Yield the objects whose key matches a pattern; only what begins as the pattern does is listed.

        :param pattern: with ``*`` (any text, slashes too), ``?`` (one character) and ``[..]`` (one of a set)
        """
        matches = matcher(pattern)
        return (found for found in self.list_objects(bucket, literal_prefix(pattern)) if matches(found.key))

    # bytes

    def read(
        self,
        bucket: str,
        key: str,
        *,
        etag: str | None = None,
        compression: str | None = None,
        on_bytes: Callable[[int, int], None] | None = None,
    ) -> S3Reader:
        """Open an object as a stream that survives a broken connection.

        :param etag: the very object that must be read, any by default
        :param compression: gzip, zstd, bz2, xz, or ``infer`` from the key's ending; by default the bytes come as they
            are stored, whatever the key's ending says
        :param on_bytes: called with (bytes on the wire, plain bytes) as they come
        """
        from tradewind.amazon.s3.reading import S3Reader

        return S3Reader(self, bucket, key, etag=etag, compression=compression, on_bytes=on_bytes)

    def read_range(self, bucket: str, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
        """Read bytes from anywhere in an object, going on where a connection breaks; fewer only at its end.

        :param offset: of the first byte, within the object
        :param etag: the very object that must be read, any by default
        """
        from tradewind.amazon.s3.reading import Body

        if length <= 0:
            return b""
        return b"".join(Body(self, bucket, key, etag, start=offset, stop=offset + length).chunks())

    def write(
        self,
        bucket: str,
        key: str,
        *,
        token: str = "",
        compression: str | None = None,
        content_type: str | None = None,
    ) -> S3Writer:
        """Open a new object as a stream; it appears whole at ``commit`` or not at all.

        :param token: the name of the work, kept in the object's metadata
        :param compression: gzip, zstd, bz2, xz, or ``infer`` from the key's ending; by default the bytes are stored as
            they come, whatever the key's ending says
        """
        from tradewind.amazon.s3.writing import S3Writer

        return S3Writer(self, bucket, key, token=token, compression=compression, content_type=content_type)

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes | str | IO[bytes],
        *,
        if_none_match: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> str:
        """Write a small object in one call.

        :param if_none_match: only where no object of this key is there
        :param if_match: only over the object of this ETag
        :return: the new object's ETag
        :raises PreconditionFailed: where the object is not in the state asked for
        """
        client = self.client()
        more: dict[str, Any] = {"Metadata": dict(metadata)} if metadata else {}
        if content_type:
            more["ContentType"] = content_type
        if if_none_match:
            more["IfNoneMatch"] = "*"
        if if_match is not None:
            known = client.meta.service_model.operation_model("PutObject").input_shape.members
            if "IfMatch" not in known:
                raise InvalidArgument("if_match needs boto3 1.35.69 or newer: use if_none_match, or update boto3")
            more["IfMatch"] = if_match
        data = body.encode() if isinstance(body, str) else body
        with self.errors(f"put s3://{bucket}/{key}"):
            etag: str = client.put_object(Bucket=bucket, Key=key, Body=data, **more)["ETag"]
        return etag

    def read_key(self, key: str, bucket_name: str | None = None) -> str:
        """Return a small object as text, which is decompressed where the key's ending says so.

        :raises DataError: where it is not UTF-8
        """
        location = self._location(key, bucket_name)
        with self.read(location.bucket, location.key, compression=INFER) as stream:
            data = stream.read()
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            wrong = f"byte 0x{data[error.start]:02x} at offset {error.start:,}"
            raise DataError(f"{location.url} is not UTF-8: {wrong}", source=location.url) from error

    def load_string(self, string_data: str, key: str, bucket_name: str | None = None) -> None:
        """Write text (UTF-8) to an object."""
        location = self._location(key, bucket_name)
        self.put(location.bucket, location.key, string_data)

    def check_for_key(self, key: str, bucket_name: str | None = None) -> bool:
        """Say whether an object is there."""
        return self.exists(*self._location(key, bucket_name))

    def upload_file(self, filename: str, bucket: str, key: str) -> None:
        """Write a local file to an object."""
        with open(filename, "rb") as source, self.write(bucket, key) as target:
            while data := source.read(1024**2):
                target.write(data)

    def download_file(self, bucket: str, key: str, filename: str) -> None:
        """Read an object into a local file."""
        with self.read(bucket, key) as source, open(filename, "wb") as target:
            while data := source.read(1024**2):
                target.write(data)

    # moving and removing

    def copy(
        self, source: S3Object | S3Location, bucket: str, key: str, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Copy an object within S3, by parts where it is over 5 GB; sends no ACL.

        :param source: what to copy; an :class:`S3Object` is copied only if it did not change since it was seen
        :param metadata: metadata instead of the source's; all else, as the content type and the tags, is kept
        :raises PreconditionFailed: where the source changed since it was seen
        """
        found = source if isinstance(source, S3Object) else self.head(source.bucket, source.key)
        what = f"copy {found.url} to s3://{bucket}/{key}"
        arguments: dict[str, Any] = {"Bucket": bucket, "Key": key}
        origin = {"CopySource": {"Bucket": found.bucket, "Key": found.key}, "CopySourceIfMatch": found.etag}
        with self.errors(what):
            if found.size > COPY_LIMIT:
                self._copy_parts(found, arguments, origin, self._described(found, metadata))
            elif metadata is None:
                self.client().copy_object(**arguments, **origin)
            else:  # REPLACE takes the headers away too, so they are sent
                more = self._described(found, metadata)
                self.client().copy_object(**arguments, **origin, **more, MetadataDirective="REPLACE")

    def _described(self, found: S3Object, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        """Return what a copy must be told so that it is described as its source is."""
        known = found if "Metadata" in found.raw else self.head(found.bucket, found.key)
        headers = {name: known.raw[name] for name in DESCRIPTION if known.raw.get(name)}
        return {**headers, "Metadata": dict(known.metadata if metadata is None else metadata)}

    def _tags(self, found: S3Object) -> str:
        try:
            with self.errors(f"read the tags of {found.url}"):
                tags = self.client().get_object_tagging(Bucket=found.bucket, Key=found.key)["TagSet"]
        except AccessDenied as error:
            self.log.warning("the copy has no tags: %s", error)
            return ""
        return urlencode([(tag["Key"], tag["Value"]) for tag in tags])

    def _copy_parts(
        self, found: S3Object, arguments: dict[str, Any], origin: dict[str, Any], described: dict[str, Any]
    ) -> None:
        client = self.client()
        if tags := self._tags(found):
            described["Tagging"] = tags
        upload = client.create_multipart_upload(**arguments, **described)["UploadId"]
        size = max(COPY_PART, -(-found.size // 10_000))
        parts = []
        try:
            for number, start in enumerate(range(0, found.size, size), 1):
                end = min(start + size, found.size) - 1
                answer = client.upload_part_copy(
                    **arguments, **origin, UploadId=upload, PartNumber=number, CopySourceRange=f"bytes={start}-{end}"
                )
                parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            client.complete_multipart_upload(**arguments, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            self._abort_copy(arguments, upload)
            raise

    def _abort_copy(self, arguments: dict[str, Any], upload: str) -> None:
        """Leave no part behind; the error that led here is the one to be told."""
        try:
            with self.errors("abort the copy"):
                self.client().abort_multipart_upload(**arguments, UploadId=upload)
        except TradewindError as error:
            self.log.warning("the parts of an unfinished copy are left: %s", error)

    def delete(self, bucket: str, keys: str | Iterable[str]) -> int:
        """Delete objects; one that is not there counts as deleted.

        :param keys: a key, or any number of them
        :return: how many keys S3 was asked to delete
        :raises TradewindError: where S3 failed at one, by its reason, with its key
        """
        batch: list[str] = []
        count = 0
        for key in [keys] if isinstance(keys, str) else keys:
            batch.append(key)
            if len(batch) == DELETE_BATCH:
                count += self._delete_batch(bucket, batch)
                batch = []
        return count + (self._delete_batch(bucket, batch) if batch else 0)

    def _delete_batch(self, bucket: str, keys: list[str]) -> int:
        from botocore.exceptions import ClientError

        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        with self.errors(f"delete {len(keys)} objects of s3://{bucket}"):
            failed = self.client().delete_objects(Bucket=bucket, Delete=wanted).get("Errors", [])
        if failed:
            what = f"delete s3://{bucket}/{failed[0].get('Key')}, one of {len(failed)} that failed of {len(keys)} keys"
            with self.errors(what):
                raise ClientError({"Error": failed[0]}, "DeleteObjects")
        return len(keys)

    def delete_prefix(self, bucket: str, prefix: str, *, everything: bool = False) -> int:
        """Delete all objects under a prefix.

        :param everything: allows an empty prefix, which empties the bucket
        :return: how many there were
        :raises InvalidArgument: where the prefix is empty and nobody said everything
        """
        if not prefix and not everything:
            raise InvalidArgument(f"an empty prefix deletes all of s3://{bucket}: give a prefix, or everything=True")
        return self.delete(bucket, (found.key for found in self.list_objects(bucket, prefix)))

    def create_bucket(self, bucket: str, *, versioned: bool = False) -> None:
        """Create a bucket in the hook's region."""
        region = self.region_name
        more = (
            {"CreateBucketConfiguration": {"LocationConstraint": region}} if region not in (None, "us-east-1") else {}
        )
        with self.errors(f"create bucket {bucket}"):
            self.client().create_bucket(Bucket=bucket, **more)
            if versioned:
                self.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def presign(self, bucket: str, key: str, *, expires: int = 3600, method: str = "get_object") -> str:
        """Return a URL that lets its holder read (or ``put_object``: write) an object: treat it as a secret.

        :param expires: seconds for which it works
        """
        with self.errors(f"presign s3://{bucket}/{key}"):
            url: str = self.client().generate_presigned_url(
                method, Params={"Bucket": bucket, "Key": key}, ExpiresIn=expires
            )
        return url

    @staticmethod
    def _location(key: str, bucket_name: str | None) -> S3Location:
        return S3Location(bucket_name, key) if bucket_name else parse_s3_url(key)
