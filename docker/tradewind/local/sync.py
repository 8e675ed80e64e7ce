"""The way of a file: the user's folder -> the bucket -> Airflow's folder.

The first leg takes what the user saves, the second what is in the bucket, whoever put it there. Nothing is written
into the user's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.local.archive import unpack
from tradewind.local.errors import InvalidInput
from tradewind.local.project import Project, Stamp, stamp
from tradewind.local.state import State, write_private

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

INTERVAL = 1.0
"""Seconds between two looks at the folder and at the bucket."""

RESTART = {"plugins.zip": "plugins", "requirements.txt": "requirements.txt", "startup.sh": "startup.sh"}
"""Keys that Airflow reads at its start alone, and what people call them."""


class Sync:
    """Keep a project, its bucket and Airflow's folder the same.

    :param project: the user's folder
    :param state: the environment's state folder
    :param client: for the local S3 server
    :param bucket: the bucket's name
    :param tell: called with one line for each thing worth telling
    """

    def __init__(
        self, project: Project, state: State, client: S3Client, bucket: str, tell: Callable[[str], None]
    ) -> None:
        self.project = project
        self.state = state
        self.client = client
        self.bucket = bucket
        self.tell = tell
        self._memory = state.folder / "sync.json"
        self._uploaded: dict[str, str] = self._remembered()  # key -> ETag of what we put there
        self._stamps: dict[str, Stamp | None] = {}
        self._plugins: object = None
        self._pulled: dict[str, str] = {}  # key -> ETag of what lies in Airflow's folder
        self._restart: dict[str, str | None] = {}
        self._refused: set[str] = set()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = ""

    def prepare(self) -> None:
        """Make the bucket as MWAA wants it, bring both legs up to date, and lay out what is read at the start."""
        if self.bucket not in (entry["Name"] for entry in self.client.list_buckets()["Buckets"]):
            self.client.create_bucket(Bucket=self.bucket)
        self.client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        there = self._listing("")
        self._uploaded = {key: etag for key, etag in self._uploaded.items() if key in there}
        self.push()
        listing = self._listing("")
        self.pull(listing)
        self._restart = {key: listing.get(key) for key in RESTART}
        self._lay_out(listing)

    def start(self) -> None:
        """Look again and again, in a thread."""
        self._thread = threading.Thread(target=self._loop, name="tradewind-sync", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(30)

    def _loop(self) -> None:
        while not self._stopping.wait(INTERVAL):
            try:
                self.push()
                listing = self._listing("")
                self.pull(listing)
                self._notice(listing)
                self._trouble = ""
            except Exception as error:  # the loop outlives a full disk or a server that is just ending
                if not self._stopping.is_set() and str(error) != self._trouble:
                    self._trouble = str(error)
                    self.tell(f"sync: {error}")

    def push(self) -> None:
        """Bring the bucket up to date with the user's folder; what others put there stays until the user saves."""
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
        if self._listing(key).get(key) == digest:
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def pull(self, listing: dict[str, str]) -> None:
        """Bring Airflow's folder up to date with the bucket: each file whole or not at all.

        :param listing: ETag by key of all objects
        """
        wanted = {key: etag for key, etag in listing.items() if key.startswith("dags/") and not key.endswith("/")}
        for key in [key for key in self._pulled if key not in wanted]:
            self._remove(self._place(key))
            del self._pulled[key]
        for key, etag in wanted.items():
            if self._pulled.get(key) != etag and self._allowed(key):
                self._take(key, etag)

    def _take(self, key: str, etag: str) -> None:
        try:
            self._fetch(key, self._place(key))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            self._refuse(key, "a file and a folder cannot have the same name")
        else:
            self._pulled[key] = etag

    def _allowed(self, key: str) -> bool:
        parts = key.split("/")[1:]
        if all(part not in ("", ".", "..") and "\0" not in part for part in parts):
            return True
        self._refuse(key, "its name is not a path")
        return False

    def _refuse(self, key: str, reason: str) -> None:
        if key not in self._refused:
            self._refused.add(key)
            self.tell(f"sync: s3://{self.bucket}/{key} is left out: {reason}")

    def _place(self, key: str) -> Path:
        return self.state.airflow / key

    def _fetch(self, key: str, path: Path) -> None:
        new = self.state.airflow / "incoming"
        with new.open("wb") as file:
            self.client.download_fileobj(self.bucket, key, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        new.replace(path)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.state.dags or set(os.listdir(folder)) - {"__pycache__"}:
                return
            shutil.rmtree(folder)

    def _lay_out(self, listing: dict[str, str]) -> None:
        """Put into Airflow's folder what it reads at its start; what the bucket has no more, goes."""
        _clear(self.state.plugins)
        for key, path in (("requirements.txt", self.state.requirements), ("startup.sh", self.state.startup)):
            path.unlink(missing_ok=True)
            if key in listing:
                self._fetch(key, path)
        if "plugins.zip" in listing:
            unpack(self.client.get_object(Bucket=self.bucket, Key="plugins.zip")["Body"].read(), self.state.plugins)
        _drop_unknown(self.state.dags, {self._place(key) for key in self._pulled})

    def _notice(self, listing: dict[str, str]) -> None:
        for key, name in RESTART.items():
            if listing.get(key) != self._restart.get(key):
                self._restart[key] = listing.get(key)
                self.tell(f"{name} changed: stop and start the environment to use it, as an update does on MWAA")

    def _listing(self, prefix: str) -> dict[str, str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {entry["Key"]: entry["ETag"].strip('"') for page in pages for entry in page.get("Contents", [])}

    def _remembered(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._memory.read_text()))
        except (OSError, ValueError):
            return {}


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def _drop_unknown(folder: Path, known: set[Path]) -> None:
    """Remove files that an earlier run left and the bucket does not have."""
    for top, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(top, name)
            if path not in known:
                path.unlink()
        if Path(top) != folder and not os.listdir(top):
            os.rmdir(top)
