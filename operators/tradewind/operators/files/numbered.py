"""A set of numbered files as the end of a copy: what its declaration may say, and how it is written and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest, CopyResult, Reading, Sink
from tradewind.operators.files.manifests import NUMBER, PartNames, is_numbered, members, read_manifest
from tradewind.operators.files.partitioning import PartitionedWrite
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.formats import FileFormat
from tradewind.operators.formats.csv.places import in_one_of
from tradewind.operators.formats.pieces import Bounds
from tradewind.operators.progress import Progress
from tradewind.operators.templates import templated


class NumberedFiles(ABC):
    """The part of a file end that knows sets: files with ``{n}`` in their name, and a manifest."""

    max_bytes: int | None
    max_rows: int | None
    manifest: str | bool | None
    compression: str | None
    dialect: CsvDialect
    place: ClassVar[str] = "url"
    """The argument that says where the files are."""

    @abstractmethod
    def urls(self) -> list[str]:
        """Return what was given, as a list."""

    @abstractmethod
    def parse_url(self, text: str) -> str:
        """Return a file's URL, or a pattern's, in the one way in which the store writes it.

        :raises InvalidArgument: where it is none
        """

    @abstractmethod
    def file_format(self, url: str) -> FileFormat:
        """Return how the rows lie in a file.

        :param url: the file
        """

    @abstractmethod
    def find(self, storage: Storage) -> list[StoredFile]:
        """Find the files that are named, in the order of their URLs."""

    @abstractmethod
    def open_file(self, storage: Storage, url: str, token: str) -> Sink:
        """Open one file for writing, so that it can be cancelled."""

    @property
    def bounded(self) -> bool:
        """Whether the parts of a set have a bound."""
        return self.max_bytes is not None or self.max_rows is not None

    @property
    def is_set(self) -> bool:
        """Whether the file is a set of numbered parts."""
        return (self.bounded or isinstance(self.manifest, str)) and any(map(is_numbered, self.urls()))

    def check_set(self) -> None:
        """Refuse what says too little, or too much, of a set.

        :raises InvalidArgument: with what, which and what instead
        """
        for name, bound in (("max_bytes", self.max_bytes), ("max_rows", self.max_rows)):
            if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool) or bound < 1):
                raise InvalidArgument(f"{name} must be a whole number from 1 on, not {bound!r}")
        says = self.bounded or isinstance(self.manifest, str)
        numbered = next((url for url in self.urls() if is_numbered(url)), None)
        if says and numbered is None and not any(map(templated, self.urls())):
            raise InvalidArgument(
                f"max_bytes=, max_rows= and manifest= are for a set of files: write {NUMBER} where the number of a "
                f"part stands in {self.place}, as part-{NUMBER}.csv"
            )
        if says and numbered is not None:
            if self.manifest is True:
                raise InvalidArgument(f"{numbered!r} is a set, which is read by its manifest: no manifest=True")
            if len(self.urls()) > 1:
                raise InvalidArgument(f"{numbered!r} is a set of files: it must stand alone in {self.place}")
            self.part_names(numbered)

    def check_target(self) -> None:
        """Refuse a set without bounds, which could be read only.

        :raises InvalidArgument: with what, which and what instead
        """
        if self.manifest is True:
            raise InvalidArgument("manifest=True says that manifests are read: leave it out of a target")
        numbered = next((url for url in self.urls() if is_numbered(url)), None)
        if numbered is not None and not self.bounded:
            raise InvalidArgument(f"{numbered!r} is a set of files: bound its parts by max_bytes= or max_rows=")

    def check_rejects(self) -> None:
        """Refuse a set, for bad records go into one file."""
        if self.is_set:
            raise InvalidArgument(f"rejects must be one file, not the set {self.urls()[0]!r}")

    def part_names(self, url: str) -> PartNames:
        """Return how the files of a set are named.

        :param url: their URL; where a template is left in it, only the place of the number is looked at
        """
        manifest = self.manifest if isinstance(self.manifest, str) else None
        if templated(url) or templated(manifest):
            return PartNames.of(url)
        return PartNames.of(self.parse_url(url), manifest and self.parse_url(manifest))

    def read_sets(self, storage: Storage) -> list[StoredFile]:
        """Find the files that manifests name, as they were when they were written.

        :param storage: where they are
        :raises NotFound: where there is no manifest, since no set or no whole one is there
        """
        listed = self.manifest is True
        places = [file.url for file in self.find(storage)] if listed else [self.part_names(self.urls()[0]).manifest]
        found: list[StoredFile] = []
        for place in places:
            manifest = read_manifest(storage, place)
            if manifest is None:
                raise NotFound(f"there is no manifest {place}: the set is not written, or not to its end")
            manifest.refuse_other(self.dialect, place)
            found += members(storage, manifest, place)
        return found

    def write_set(
        self, storage: Storage, reading: Reading, token: str, request: CopyRequest, progress: Progress
    ) -> CopyResult:
        """Write all parts of a reading into numbered files; the manifest appears when all of them are there.

        :param storage: where they go
        :param reading: the input
        :param token: the name of the work
        :param request: what is asked for
        :param progress: is told bytes and rows
        """
        names = self.part_names(self.urls()[0])
        layout = self.file_format(names.target)
        renamed = bool(getattr(reading, "renames", False))
        parts = list(reading.parts(layout.asked(), arrays=layout.arrays))
        pieces = layout.pieces(iter(parts), Bounds(self.max_bytes, self.max_rows), names.target, renamed=renamed)
        write = PartitionedWrite(storage, names, token, self.open_file)
        try:
            return write.run(pieces, layout.how(self.compression, names.target), request, progress)
        except DataError as error:
            raise in_one_of(error, parts) from error.__cause__
