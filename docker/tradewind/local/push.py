"""From the user's folder into the bucket; nothing is written into the user's folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tradewind.local.errors import InvalidInput
from tradewind.local.project import Project, Stamp, stamp
from tradewind.local.pull import listing
from tradewind.local.state import write_private

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Push:
    """Brings a bucket up to date with a project; what others put there stays until the user saves.

    :param project: the user's folder
    :param memory: the file in which it remembers what it put there
    :param client: for the S3 server
    :param bucket: the bucket's name
    """

    def __init__(self, project: Project, memory: Path, client: S3Client, bucket: str) -> None:
        self.project = project
        self.client = client
        self.bucket = bucket
        self._memory = memory
        self._uploaded: dict[str, str] = self._remembered()  # key -> ETag of what we put there
        self._stamps: dict[str, Stamp | None] = {}
        self._plugins: object = None

    def prepare(self) -> None:
        """Make the bucket as MWAA wants it and bring it up to date."""
        if self.bucket not in (entry["Name"] for entry in self.client.list_buckets()["Buckets"]):
            self.client.create_bucket(Bucket=self.bucket)
        self.client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        there = listing(self.client, self.bucket)
        self._uploaded = {key: etag for key, etag in self._uploaded.items() if key in there}
        self.push()

    def push(self) -> None:
        """Upload what changed, and take back what the user deleted.

        :raises InvalidInput: while the user's folder is gone
        """
        if not self.project.dags.is_dir():
            raise InvalidInput(f"the folder {self.project.dags} is gone: nothing is taken from there until it is back")
        files = self.project.files()
        changed = False
        for key, path in files.items():
            now = stamp(path)
            if now is not None and now != self._stamps.get(key):
                changed |= self._upload(key, path.read_bytes())
                self._stamps[key] = now
        changed |= self._push_plugins()
        for key in [key for key in self._uploaded if key not in files and key != "plugins.zip"]:
            self._withdraw(key)
            changed = True
        if changed:
            write_private(self._memory, json.dumps(self._uploaded))

    def _push_plugins(self) -> bool:
        now = self.project.plugins_stamp()
        if now == self._plugins:
            return False
        self._plugins = now
        content = self.project.plugins()
        if content is not None:
            return self._upload("plugins.zip", content)
        if "plugins.zip" in self._uploaded:
            self._withdraw("plugins.zip")
            return True
        return False

    def _upload(self, key: str, content: bytes) -> bool:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if self._uploaded.get(key) == digest:
            return False
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)
        self._uploaded[key] = digest
        return True

    def _withdraw(self, key: str) -> None:
        """Delete an object whose file is gone, unless somebody else put another one there."""
        digest = self._uploaded.pop(key)
        self._stamps.pop(key, None)
        if listing(self.client, self.bucket, key).get(key) == digest:
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def _remembered(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._memory.read_text()))
        except (OSError, ValueError):
            return {}
