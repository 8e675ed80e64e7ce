"""Writing a set of files: parts of bounded size, and a manifest that is written last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from tradewind.operators.ends import CopyRequest, CopyResult, Sink
from tradewind.operators.expecting import verify
from tradewind.operators.files.manifests import Journal, Manifest, Member, PartNames
from tradewind.operators.files.storage import Storage
from tradewind.operators.formats.csv.cutting import CsvCutter
from tradewind.operators.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bounds:
    """How large a part may get; a record that is larger has a part of its own.

    :param bytes: bytes before compression, the header's among them, None for any number
    :param rows: records, None for any number
    """

    bytes: int | None
    rows: int | None


class PartitionedWrite:
    """One copy into a set of files.

    :param storage: where they go
    :param names: how they are named
    :param bounds: how large each may get
    :param cutter: cuts the records
    :param token: the name of the work
    :param open_sink: opens a part for writing
    """

    def __init__(
        self,
        storage: Storage,
        names: PartNames,
        bounds: Bounds,
        cutter: CsvCutter,
        token: str,
        open_sink: Callable[[Storage, str, str], Sink],
    ) -> None:
        self._storage = storage
        self._names = names
        self._bounds = bounds
        self._cutter = cutter
        self._token = token
        self._open_sink = open_sink
        self._journal = Journal(storage, names, token)
        self._members: list[Member] = []
        self._sink: Sink | None = None
        self._bytes = self._rows = 0

    def run(
        self,
        written: Iterator[tuple[bytes, int | None]],
        how: dict[str, object],
        request: CopyRequest,
        progress: Progress,
    ) -> CopyResult:
        """Write all parts, then the manifest.

        :param written: the bytes of all of it, as one file
        :param how: how the files are written, for the manifest
        :param request: what is asked for
        :param progress: is told bytes and rows
        """
        self._journal.begin()
        try:
            for data, _ in written:
                progress.add(len(data), rows=self._add(self._cutter.feed(data)))
            progress.add(rows=self._add(self._cutter.feed(b"", at_end=True)))
            if not self._members and self._sink is None:
                self._begin()  # no rows are a file too
            self._end()
        except BaseException:
            if self._sink is not None:
                self._sink.abort()
            raise
        rows, size = sum(member.rows for member in self._members), sum(member.bytes for member in self._members)
        verify(request.expect, rows, None, self._names.target)
        columns = self._cutter.columns
        stale = self._journal.finish(Manifest(self._names.target, self._token, columns, how, tuple(self._members)))
        if stale:
            log.info("%s: deleted %s parts of an earlier, larger set", self._names.target, stale)
        plan = f"streamed to {len(self._members)} files {self._names.target}, listed in {self._names.manifest}"
        files = [member.url for member in self._members]
        return CopyResult(rows=rows, inserted=rows, bytes=size, files=files, plan=plan)

    def _add(self, data: bytes) -> int:
        """Write whole records; return how many they are."""
        rows = 0
        while data:
            if self._sink is None:
                self._begin()
            end = self._fitting(data)
            if end:
                count = self._cutter.count(data[:end])
                self._write(data[:end], count)
                rows += count
                data = data[end:]
            if data:
                self._end()
        return rows

    def _fitting(self, data: bytes) -> int:
        room = None if self._bounds.bytes is None else self._bounds.bytes - self._bytes
        rows = None if self._bounds.rows is None else self._bounds.rows - self._rows
        end = self._cutter.fitting(data, room, rows)
        return end if end or self._rows else self._cutter.first(data)

    def _begin(self) -> None:
        url = self._names.url(len(self._members))
        self._journal.part(url)
        self._sink = self._open_sink(self._storage, url, self._token)
        self._bytes = self._rows = 0
        self._write(self._cutter.whole_header(), 0)

    def _write(self, data: bytes, rows: int) -> None:
        assert self._sink is not None  # noqa: S101 (told to mypy)
        self._sink.write(data)
        self._bytes += len(data)
        self._rows += rows

    def _end(self) -> None:
        if self._sink is None:
            return
        url = self._names.url(len(self._members))
        self._sink.commit()
        self._sink = None
        found = self._storage.find(url)
        self._members.append(Member(url, self._rows, self._bytes, found.size, found.version))


def how_written(name: str, dialect: object, compression: str | None) -> dict[str, object]:
    """Say how the files of a set are written, for the manifest.

    :param name: the format
    :param dialect: the dialect of CSV, a dataclass
    :param compression: what they are compressed with
    """
    return {"format": name, "compression": compression, **(asdict(dialect) if name == "csv" else {})}  # type: ignore[call-overload]
