"""Writing a set of files: parts of bounded size, and a manifest that is written last."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tradewind.operators.ends import CopyRequest, CopyResult, Sink
from tradewind.operators.expecting import verify
from tradewind.operators.files.manifests import Journal, Manifest, Member, PartNames
from tradewind.operators.files.storage import Storage
from tradewind.operators.formats.pieces import Pieces
from tradewind.operators.progress import Progress

log = logging.getLogger(__name__)


class PartitionedWrite:
    """One copy into a set of files.

    :param storage: where they go
    :param names: how they are named
    :param token: the name of the work
    :param open_sink: opens a part for writing
    """

    def __init__(
        self,
        storage: Storage,
        names: PartNames,
        token: str,
        open_sink: Callable[[Storage, str, str], Sink],
    ) -> None:
        self._storage = storage
        self._names = names
        self._token = token
        self._open_sink = open_sink
        self._journal = Journal(storage, names, token)
        self._members: list[Member] = []
        self._sink: Sink | None = None
        self._bytes = self._rows = 0

    def run(self, pieces: Pieces, how: dict[str, object], request: CopyRequest, progress: Progress) -> CopyResult:
        """Write all parts, then the manifest.

        :param pieces: the bytes of all of them
        :param how: how the files are written, for the manifest
        :param request: what is asked for
        :param progress: is told bytes and rows
        """
        self._journal.begin()
        try:
            for piece in pieces:
                if self._sink is not None and piece.file > len(self._members):
                    self._end()
                if self._sink is None:
                    self._begin()
                self._write(piece.data, piece.rows)
                progress.add(len(piece.data), rows=piece.rows)
            self._end()
        except BaseException:
            if self._sink is not None:
                self._sink.abort()
            raise
        rows, size = sum(member.rows for member in self._members), sum(member.bytes for member in self._members)
        verify(request.expect, rows, None, self._names.target)
        manifest = Manifest(self._names.target, self._token, pieces.columns, how, tuple(self._members))
        stale = self._journal.finish(manifest)
        if stale:
            log.info("%s: deleted %s parts of an earlier, larger set", self._names.target, stale)
        plan = f"streamed to {len(self._members)} files {self._names.target}, listed in {self._names.manifest}"
        files = [member.url for member in self._members]
        return CopyResult(rows=rows, inserted=rows, bytes=size, files=files, plan=plan)

    def _begin(self) -> None:
        url = self._names.url(len(self._members))
        self._journal.part(url)
        self._sink = self._open_sink(self._storage, url, self._token)
        self._bytes = self._rows = 0

    def _write(self, data: bytes, rows: int) -> None:
        assert self._sink is not None  # noqa: S101 (told to mypy)
        self._sink.write(data)
        self._bytes += len(data)
        self._rows += rows

    def _end(self) -> None:
        assert self._sink is not None  # noqa: S101 (told to mypy)
        url = self._names.url(len(self._members))
        self._sink.commit()
        self._sink = None
        found = self._storage.find(url)
        self._members.append(Member(url, self._rows, self._bytes, found.size, found.version))
