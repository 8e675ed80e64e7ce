"""What keeps the buckets of the local S3 server over a restart: moto itself forgets all at its exit.

The folder holds ``manifest.json`` and one file an object version under ``objects/``. A version is immutable, so each is
copied once; ETag, version id and date stay what they were, for loads take them as the identity of their input.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

VERSION = 1
IN_MEMORY = 256 * 1024
"""Objects up to this many bytes are held in memory by moto, larger ones in files."""

PLAIN = ("encryption", "kms_key_id", "bucket_key_enabled", "checksum_algorithm", "checksum_value", "checksum_type")
"""Attributes of an object version that are text or None."""


class Store:
    """The saved state of one server.

    :param folder: where it lies
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = folder / "manifest.json"
        self.objects = folder / "objects"
        self.objects.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._saved = ""

    def save(self) -> None:
        """Write what changed since the last time: the manifest last and whole, so that a kill never harms.

        :raises OSError: when the disk is full; what was saved before stays valid
        """
        buckets = [self._bucket(bucket) for bucket in list(_backend().buckets.values())]
        text = json.dumps({"version": VERSION, "buckets": buckets}, indent=1)
        if text == self._saved:
            return
        new = self.manifest.with_suffix(".new")
        new.write_text(text)
        new.replace(self.manifest)
        self._saved = text
        kept = {version["blob"] for bucket in buckets for version in bucket["versions"] if "blob" in version}
        for path in self.objects.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def restore(self) -> None:
        """Bring back what was saved; an object whose file is gone is left out, and said."""
        try:
            self._saved = self.manifest.read_text()
        except FileNotFoundError:
            return
        for saved in json.loads(self._saved)["buckets"]:
            bucket = _backend().create_bucket(saved["name"], saved["region"])
            bucket.versioning_status = saved["versioning"]
            bucket.creation_date = dt.datetime.fromisoformat(saved["created"])
            for version in saved["versions"]:
                self._put(bucket, version)

    def _bucket(self, bucket: Any) -> dict[str, Any]:
        versions = [
            entry
            for _, history in list(bucket.keys._iterlists())
            for version in list(history)
            if (entry := self._version(version)) is not None
        ]
        return {
            "name": bucket.name,
            "region": bucket.region_name,
            "versioning": bucket.versioning_status,
            "created": bucket.creation_date.isoformat(),
            "versions": versions,
        }

    def _version(self, version: Any) -> dict[str, Any] | None:
        entry: dict[str, Any] = {
            "key": version.name,
            "id": version._version_id,
            "modified": version.last_modified.isoformat(),
        }
        if not hasattr(version, "_value_buffer"):
            return {**entry, "deleted": True}
        try:
            blob = self._blob(version)
        except ValueError:  # deleted in the meantime
            return None
        tags = _backend().tagger.get_tag_dict_for_resource(version.arn)
        return {
            **entry,
            "blob": blob,
            "size": version.size,
            "etag": version.etag.strip('"'),
            "versioned": version._is_versioned,
            "storage": version.storage_class,
            "metadata": dict(version.metadata),
            "parts": version.checksum_parts,
            "tags": tags or {},
            **{name: getattr(version, name) for name in PLAIN},
        }

    def _blob(self, version: Any) -> str:
        """Copy the content to a file of its own, once, and return the file's name."""
        name: str | None = getattr(version, "tradewind_blob", None)
        if name is None:
            name = uuid.uuid4().hex
            new = self.objects / f"{name}.new"
            try:
                with version.lock, new.open("wb") as file:
                    version._value_buffer.seek(0)
                    shutil.copyfileobj(version._value_buffer, file, 1 << 20)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
            new.rename(self.objects / name)
            version.tradewind_blob = name
        return name

    def _put(self, bucket: Any, saved: dict[str, Any]) -> None:
        from moto.s3.models import FakeDeleteMarker, FakeKey

        if saved.get("deleted"):
            version = FakeDeleteMarker(key=bucket.keys.get(saved["key"]) or FakeKey(saved["key"], b"", "", "us-east-1"))
            version._version_id = saved["id"]
        else:
            path = self.objects / saved["blob"]
            if not path.is_file() or path.stat().st_size != saved["size"]:
                print(f"lost: s3://{bucket.name}/{saved['key']} has no content in {path}", file=sys.stderr)
                return
            version = self._key(bucket, saved, path)
        version.last_modified = dt.datetime.fromisoformat(saved["modified"])
        bucket.keys[saved["key"]] = version

    def _key(self, bucket: Any, saved: dict[str, Any], path: Path) -> Any:
        from moto.s3.models import FakeKey

        key: Any = FakeKey(
            saved["key"],
            path.read_bytes() if saved["size"] <= IN_MEMORY else b"",
            account_id=bucket.account_id,
            region_name=bucket.region_name,
            storage=saved["storage"],
            etag=saved["etag"],
            is_versioned=saved["versioned"],
            version_id=saved["id"],
            bucket_name=bucket.name,
            checksum_parts=saved["parts"],
        )
        if saved["size"] > IN_MEMORY:  # read where it lies: no copy, no memory
            key._value_buffer.close()
            key._value_buffer = path.open("rb")
            key.contentsize = saved["size"]
        for name in PLAIN:
            setattr(key, name, saved[name])
        key.set_metadata(saved["metadata"], replace=False)
        key.tradewind_blob = path.name
        if saved["tags"]:
            _backend().tagger.tag_resource(key.arn, [{"Key": k, "Value": v} for k, v in saved["tags"].items()])
        return key


def _backend() -> Any:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us: each large object holds one."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def clear_spool(folder: Path) -> Path:
    """Return an empty folder for moto's temporary files.

    :param folder: the server's state folder
    """
    spool = folder / "spool"
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(parents=True)
    os.chmod(spool, 0o700)
    return spool
