"""From the bucket into Airflow's folder, as MWAA's containers take it: whole files, and what is gone goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tradewind.local.archive import unpack
from tradewind.local.state import State

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def listing(client: S3Client, bucket: str, prefix: str = "") -> dict[str, str]:
    """Return the ETag of each object by its key."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"]: entry["ETag"].strip('"') for page in pages for entry in page.get("Contents", [])}


class Pull:
    """Brings Airflow's folder up to date with a bucket.

    :param state: whose Airflow folder it is
    :param client: for the S3 server
    :param bucket: the bucket's name
    :param tell: called with one line for each thing worth telling
    """

    def __init__(self, state: State, client: S3Client, bucket: str, tell: Callable[[str], None]) -> None:
        self.state = state
        self.client = client
        self.bucket = bucket
        self.tell = tell
        self._pulled: dict[str, str] = {}  # key -> ETag of what lies in Airflow's folder
        self._refused: set[str] = set()

    def prepare(self, found: dict[str, str], versions: Mapping[str, str] | None = None) -> None:
        """Lay out everything: the DAGs, and what Airflow reads at its start alone.

        :param found: ETag by key of all objects
        :param versions: version by key of what Airflow reads at its start; the newest of what was found when None
        """
        self.pull(found)
        self.lay_out(dict.fromkeys(found) if versions is None else versions)
        _drop_unknown(self.state.dags, {self._place(key) for key in self._pulled})

    def pull(self, found: dict[str, str]) -> None:
        """Bring the folder of the DAGs up to date: each file whole or not at all.

        :param found: ETag by key of all objects
        """
        wanted = {key: etag for key, etag in found.items() if key.startswith("dags/") and not key.endswith("/")}
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

    def _fetch(self, key: str, path: Path, version: str | None = None) -> None:
        new = self.state.airflow / "incoming"
        with new.open("wb") as file:
            self.client.download_fileobj(self.bucket, key, file, ExtraArgs={"VersionId": version} if version else None)
        path.parent.mkdir(parents=True, exist_ok=True)
        new.replace(path)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.state.dags or set(os.listdir(folder)) - {"__pycache__"}:
                return
            shutil.rmtree(folder)

    def lay_out(self, versions: Mapping[str, str | None]) -> None:
        """Put into Airflow's folder what it reads at its start; what the bucket has no more, goes.

        :param versions: version by key of what is there, None for the newest
        """
        _clear(self.state.plugins)
        for key, path in (("requirements.txt", self.state.requirements), ("startup.sh", self.state.startup)):
            path.unlink(missing_ok=True)
            if key in versions:
                self._fetch(key, path, versions[key])
        if "plugins.zip" in versions:
            packed = self.state.airflow / "plugins.zip"
            self._fetch("plugins.zip", packed, versions["plugins.zip"])
            unpack(packed.read_bytes(), self.state.plugins)
            packed.unlink()


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
