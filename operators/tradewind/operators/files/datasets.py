"""Sets of files that a service writes to their last place, and the manifest that makes a set visible at once.

Each try writes into a folder of its own. When the rows are counted the manifest is put in place: who reads by it sees
the old set or the new one, whole. The sets before are deleted then.
"""

from __future__ import annotations

import glob
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tradewind.hooks.errors import DataError, Superseded, TradewindError
from tradewind.operators.files.manifests import Manifest, Member, read_manifest
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.plan import FILES_TOLD

log = logging.getLogger(__name__)

_TOKEN = 16
_OWN = re.compile(rf"[0-9a-f]{{{_TOKEN}}}-\d+-[0-9a-f]{{8}}/")


class OwnFolder:
    """The folder of one try, beside those of other tries and of other work.

    :param storage: where it is
    :param folder: the author's folder, ending with ``/``
    :param token: the name of the work
    :param number: which try it is
    """

    def __init__(self, storage: Storage, folder: str, token: str, number: int) -> None:
        self._storage = storage
        self._folder = folder
        self.url = f"{folder}{token[:_TOKEN]}-{number}-{secrets.token_hex(4)}/"

    def files(self) -> list[StoredFile]:
        """Return what is in it."""
        return list(self._storage.match(f"{glob.escape(self.url)}*"))

    def remove(self) -> None:
        """Delete what is in it; never raises."""
        try:
            self._storage.delete([file.url for file in self.files()])
        except TradewindError as error:
            log.warning("files are left in %s, the next set deletes them: %s", self.url, error)

    def remove_others(self) -> None:
        """Delete what is in the folders of other tries; never raises."""
        try:
            found = [
                file.url
                for file in self._storage.match(f"{glob.escape(self._folder)}*")
                if _OWN.match(file.url[len(self._folder) :]) and not file.url.startswith(self.url)
            ]
            self._storage.delete(found)
        except TradewindError as error:
            log.warning("files of earlier sets are left in %s: %s", self._folder, error)
            return
        if found:
            log.info("deleted %s files of earlier sets in %s", f"{len(found):,}", self._folder)


@dataclass(frozen=True)
class Written:
    """A file, as the service says that it wrote it.

    :param name: its name, or the end of it
    :param rows: its rows
    :param size: its bytes
    """

    name: str
    rows: int
    size: int


class ServiceSet:
    """The place of a set, of which a manifest is read by ``manifest=True``.

    :param storage: where it is
    :param manifest: the manifest's URL
    :param token: the name of the work
    :param number: which try it is
    """

    def __init__(self, storage: Storage, manifest: str, token: str, number: int) -> None:
        self._storage = storage
        self._token = token
        self._published = False
        self.manifest = manifest
        self.own = OwnFolder(storage, f"{manifest.rpartition('/')[0]}/", token, number)

    def done(self) -> Manifest | None:
        """Return what an earlier try of the same work has finished, None where none has."""
        found = read_manifest(self._storage, self.manifest)
        return found if found is not None and found.token == self._token else None

    def finish(self, told: Sequence[Written], columns: tuple[str, ...], how: Mapping[str, Any]) -> Manifest:
        """Count what was written, make it visible, and delete the sets before.

        :param told: what the service says that it wrote
        :param columns: the names of the columns
        :param how: how the files are written
        :raises Superseded: where files are gone: a newer try has taken over
        :raises DataError: where what is there is not what the service says
        """
        there = {file.url: file for file in self.own.files()}
        members: list[Member] = []
        for each in told:
            url = next((url for url in there if url.endswith(f"/{each.name.lstrip('/')}")), None)
            if url is None:
                raise Superseded(f"{each.name} in {self.own.url} is gone: another try of the same work has taken over")
            file = there.pop(url)
            if file.size != each.size:
                raise DataError(f"{url} has {file.size:,} bytes, and not {each.size:,} as the service says")
            members.append(Member(url, each.rows, file.size, file.size, file.version))
        if there:
            raise DataError(f"{min(there)} is there, which the service does not say it wrote")
        members.sort(key=lambda member: member.url)
        made = Manifest(self.own.url, self._token, columns, how, tuple(members))
        self._published = True  # from here on it may be seen, whatever becomes of the answer
        with self._storage.write(self.manifest, token=self._token) as sink:
            sink.write(made.dumps())
        self.own.remove_others()
        return made

    def abandon(self) -> None:
        """Delete what this try has written, unless it may be seen; never raises."""
        if not self._published:
            self.own.remove()


def told(found: Manifest, manifest: str) -> dict[str, Any]:
    """Return what a task tells of a set.

    :param found: the set
    :param manifest: the URL of its manifest
    """
    return {
        "manifest": manifest,
        "folder": found.target,
        "rows": sum(file.rows for file in found.files),
        "bytes": sum(file.size for file in found.files),
        "file_count": len(found.files),
        "files": [file.url for file in found.files[:FILES_TOLD]],
    }
