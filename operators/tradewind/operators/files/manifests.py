"""Sets of files that are written together: how they are named, and the manifest that is written last.

Who reads a set reads its manifest: it is there only while the set is whole. While a set is written another file lies
beside it, named as the manifest with ``.writing`` behind: it names every part that may be there, before the part is,
so that the next try can take away what it does not write anew, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, SourceChanged
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.files.storage import Storage, StoredFile

NUMBER = "{n}"
NAME = "_manifest.json"
WRITING = ".writing"

_KIND = "tradewind manifest"
_VERSION = 1
_NUMBER = re.compile(r"(?<!\{)\{n\}(?!\})")
_DIGITS = 5


def is_numbered(url: str) -> bool:
    """Say whether a URL has a place for a part's number.

    :param url: a URL, its templates rendered or not
    """
    return _NUMBER.search(url) is not None


@dataclass(frozen=True)
class PartNames:
    """How the files of a set are named.

    :param target: their URL, with ``{n}`` where the number stands
    :param manifest: the URL of the manifest
    """

    target: str
    manifest: str

    @classmethod
    def of(cls, target: str, manifest: str | None = None) -> PartNames:
        """Name the files of a set.

        :param target: their URL, with one ``{n}`` in the file's name
        :param manifest: the manifest's URL, :data:`NAME` beside the parts by default
        :raises InvalidArgument: where the number stands elsewhere
        """
        folder, _, name = target.rpartition("/")
        if len(_NUMBER.findall(name)) != 1 or is_numbered(folder):
            raise InvalidArgument(f"{target!r}: {NUMBER} must stand once, in the name of the file")
        return cls(target, manifest or f"{folder}/{NAME}")

    def url(self, number: int) -> str:
        """Return the URL of a part, counted from 0."""
        return _NUMBER.sub(f"{number:0{_DIGITS}}", self.target)

    def owns(self, url: str) -> bool:
        """Say whether a URL is one of a part of this set."""
        before, after = _NUMBER.split(self.target)
        return re.fullmatch(rf"{re.escape(before)}\d{{{_DIGITS},}}{re.escape(after)}", url) is not None


@dataclass(frozen=True)
class Member:
    """A file of a set.

    :param url: where it is
    :param rows: its records
    :param bytes: its size before compression
    :param size: its size as it is stored
    :param version: its ETag, or what the store has in its place
    """

    url: str
    rows: int
    bytes: int
    size: int
    version: str


@dataclass(frozen=True)
class Manifest:
    """What a set consists of.

    :param target: the URL of its files, with ``{n}``
    :param token: the name of the work that wrote it
    :param columns: the names of the columns, None where no header names them
    :param written: how the files are written
    :param files: the files, in order
    """

    target: str
    token: str
    columns: tuple[str, ...] | None
    written: Mapping[str, Any]
    files: tuple[Member, ...]

    def refuse_other(self, dialect: CsvDialect, url: str) -> None:
        """Refuse to read the files in another dialect than they are written in.

        :param dialect: how they would be read
        :param url: where the manifest is, for messages
        :raises InvalidArgument: with what differs
        """
        for name, value in asdict(dialect).items():
            if name in self.written and self.written[name] != value:
                raise InvalidArgument(f"{url}: the set has {name} {self.written[name]!r}, not {value!r}: say so")

    def dumps(self) -> bytes:
        """Write it as JSON."""
        files = [
            {"url": file.url, "rows": file.rows, "bytes": file.bytes, "size": file.size, "etag": file.version}
            for file in self.files
        ]
        what = {
            "kind": _KIND,
            "version": _VERSION,
            "target": self.target,
            "token": self.token,
            "columns": self.columns,
            "written": dict(self.written),
            "rows": sum(file.rows for file in self.files),
            "bytes": sum(file.bytes for file in self.files),
            "files": files,
        }
        return json.dumps(what, indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def loads(cls, data: bytes, url: str) -> Manifest:
        """Read one.

        :param data: JSON, as :meth:`dumps` writes it
        :param url: where it is, for messages
        :raises DataError: where it is none
        """
        try:
            found = json.loads(data)
            if found["kind"] != _KIND or found["version"] != _VERSION:
                raise ValueError(f"kind {found['kind']!r}, version {found['version']!r}")
            files = tuple(
                Member(each["url"], int(each["rows"]), int(each["bytes"]), int(each["size"]), each["etag"])
                for each in found["files"]
            )
            columns = None if found["columns"] is None else tuple(found["columns"])
            return cls(found["target"], found["token"], columns, dict(found["written"]), files)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{url} is no manifest of a set of files: {error}", source=url) from error


def read_manifest(storage: Storage, url: str) -> Manifest | None:
    """Read a manifest, None where there is none.

    :param storage: where it is
    :param url: its URL
    :raises DataError: where something else is there
    """
    try:
        with closing(storage.read(storage.find(url))) as stream:
            data = stream.read()
    except NotFound:  # maybe only since it was found: another try of the same work deletes it first
        return None
    return Manifest.loads(data, url)


def members(storage: Storage, manifest: Manifest, url: str) -> list[StoredFile]:
    """Find the files of a set, as they were when it was written.

    :param storage: where they are
    :param manifest: the manifest
    :param url: its URL, for messages
    :raises SourceChanged: where one is another one by now, or gone: the set is being written anew
    """
    found = []
    for member in manifest.files:
        try:
            file = storage.find(member.url)
        except NotFound as error:
            raise SourceChanged(f"{member.url}, which {url} names, is not there: is the set being written?") from error
        if (file.size, file.version) != (member.size, member.version):
            raise SourceChanged(f"{member.url} is not as {url} says: is the set being written?")
        found.append(file)
    return found


class Journal:
    """Names the parts that may be there, from before the first is written until the manifest is.

    :param storage: where the set is
    :param names: how its files are named
    :param token: the name of the work
    """

    def __init__(self, storage: Storage, names: PartNames, token: str) -> None:
        self._storage = storage
        self._names = names
        self._token = token
        self._url = names.manifest + WRITING
        self._known: list[str] = []

    def begin(self) -> None:
        """Find what earlier tries left, of the same work or of other input; from now on there is no manifest.

        :raises InvalidArgument: where the manifest is one of another set
        """
        whole, broken = self._read(self._names.manifest), self._read(self._url)
        self._known = list(dict.fromkeys(url for found in (whole, broken) if found for url in self._parts(found)))
        if broken is not None:
            self._storage.sweep(self._parts(broken), token=broken.token)
        if whole is not None:
            self._write()
            self._storage.delete([self._names.manifest])

    def part(self, url: str) -> None:
        """Note a part that is about to be written."""
        if url not in self._known:
            self._known.append(url)
            self._write()

    def finish(self, manifest: Manifest) -> int:
        """Delete the parts that are no more, and write the manifest; return how many are deleted."""
        stale = sorted(set(self._known) - {file.url for file in manifest.files})
        self._storage.delete(stale)
        self._put(self._names.manifest, manifest.dumps())
        self._storage.delete([self._url])
        return len(stale)

    def _read(self, url: str) -> Manifest | None:
        try:
            found = read_manifest(self._storage, url)
        except DataError as error:
            raise InvalidArgument(f"{error}: give manifest= another name") from error
        if found is None:
            return None
        if found.target != self._names.target:
            raise InvalidArgument(
                f"{url} is the manifest of {found.target}: delete that set first, or give manifest= another name"
            )
        return found

    def _parts(self, found: Manifest) -> list[str]:
        return [file.url for file in found.files if self._names.owns(file.url)]

    def _write(self) -> None:
        files = tuple(Member(url, 0, 0, 0, "") for url in self._known)
        self._put(self._url, Manifest(self._names.target, self._token, None, {}, files).dumps())

    def _put(self, url: str, data: bytes) -> None:
        with self._storage.write(url, token=self._token) as sink:
            sink.write(data)
