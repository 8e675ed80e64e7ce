"""Files as the ends of a copy, wherever they are stored."""

from __future__ import annotations

import contextlib
import logging
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest, CopyResult, FileTarget, Mode, Reading, Sink, Source
from tradewind.operators.expecting import verify
from tradewind.operators.files.compression import INFER
from tradewind.operators.files.numbered import NumberedFiles
from tradewind.operators.files.reading import FileReading
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.formats import FileFormat
from tradewind.operators.formats.choosing import check_stored, choose, make_format, stored_compression
from tradewind.operators.formats.csv import CsvFormat
from tradewind.operators.formats.csv.counting import RecordCounter
from tradewind.operators.formats.csv.joining import columns_joined
from tradewind.operators.formats.csv.places import in_one_of
from tradewind.operators.plan import Plan
from tradewind.operators.progress import Progress
from tradewind.operators.projection import Columns, Constant, Projecting
from tradewind.operators.templates import templated

if TYPE_CHECKING:
    from tradewind.hooks.work import Work

log = logging.getLogger(__name__)


class FileOptions(TypedDict, total=False):
    """What every file's declaration takes, whatever its store; see :class:`FileEnd`."""

    format: str
    compression: str | None
    dialect: CsvDialect | None
    delimiter: str | None
    quote: str | None
    escape: str | None
    null: str | None
    header: bool | None
    encoding: str | None
    columns: Columns | None
    constants: Mapping[str, Constant] | None
    allow_empty: bool
    max_bytes: int | None
    max_rows: int | None
    manifest: str | bool | None
    wildcard_match: bool | None


class FileEnd(NumberedFiles, Projecting, Source, FileTarget):
    """Files of a store: one, several, or all that match a wildcard.

    As a target it is one file, which is always written whole: ``append`` and ``replace`` mean the same to it, and a
    retry writes the same bytes again. With ``{n}`` in its name it is a set of files: numbered parts of bounded size,
    each a whole file of its format, and a manifest that is written last and is there only while the set is whole. As
    a source such a set is read by its manifest.

    :param format: csv, jsonl, parquet, or ``infer`` from the name's ending: ``.jsonl``, ``.ndjson``, ``.json``,
        ``.parquet``, ``.pq``, and CSV for all others; the ending of a compression may follow
    :param compression: gzip, zstd, bz2, xz, None, or ``infer`` from the name's ending; of Parquet that of its pages:
        zstd, snappy, gzip or None
    :param dialect: how the CSV is written; or by the single arguments that follow
    :param delimiter: one character between fields
    :param quote: one character around fields
    :param escape: the character that escapes a quote within quotes; the quote itself by default
    :param null: the unquoted text that stands for NULL
    :param header: whether the first record names the columns; by default it does unless ``columns`` is a list
    :param encoding: a Python codec's name
    :param columns: of a source, a list: the names of the fields in order, which win over a header (of JSON lines and
        Parquet: the fields that are wanted); or a dict: the
        fields that are wanted and how the target calls them, as ``{"dep_time": "departure"}``, or what it makes of
        them, as ``{"dep_time": Field("departure", type="timestamp")}``
    :param constants: of a source: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``, or the file's
        URL: ``{"file": FILE_NAME}`` (``Field`` and ``FILE_NAME`` are in :mod:`tradewind.operators.projection`)
    :param allow_empty: whether a pattern that matches nothing is zero rows instead of an error
    :param max_bytes: how large a part of a set may get, in bytes before compression; a longer record stays whole. Of
        Parquet in bytes as they are stored: a part ends with the last row group that it has room for
    :param max_rows: how many records a part of a set may have
    :param manifest: of a set, the manifest's place, ``_manifest.json`` beside the parts by default; True says that the
        files that are named are manifests themselves, of sets to be read
    :param wildcard_match: True takes every name for a pattern, False none; None those that hold a ``*``
    """

    template_fields: ClassVar[Sequence[str]] = ("format", "compression", "columns", "constants", "manifest")
    lists_choose = False
    has_files = True
    modes: ClassVar[frozenset[Mode]] = frozenset(("append", "replace"))
    store: ClassVar[str] = "the store"
    """The store's name, for the plan."""
    noun: ClassVar[str] = "file"
    """What the store calls a file."""
    waiting: ClassVar[str] = ""
    """How to wait for a file, for the message that there is none."""

    def __init__(
        self,
        *,
        format: str = INFER,
        compression: str | None = INFER,
        dialect: CsvDialect | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        null: str | None = None,
        header: bool | None = None,
        encoding: str | None = None,
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
        allow_empty: bool = False,
        max_bytes: int | None = None,
        max_rows: int | None = None,
        manifest: str | bool | None = None,
        wildcard_match: bool | None = None,
    ) -> None:
        self.format = format
        self.compression = compression
        self.columns = columns
        self.constants = constants
        self.allow_empty = allow_empty
        self.max_bytes = max_bytes
        self.max_rows = max_rows
        self.manifest = manifest
        self.wildcard_match = wildcard_match
        if header is None and dialect is None:
            header = columns is None or isinstance(columns, Mapping)
        single = {
            "delimiter": delimiter,
            "quote": quote,
            "escape": escape,
            "null": null,
            "header": header,
            "encoding": encoding,
        }
        self._dialect_arguments = ["dialect"] * (dialect is not None)
        self._dialect_arguments += [
            name for name in ("delimiter", "quote", "escape", "null") if single[name] is not None
        ]
        given: dict[str, Any] = {name: value for name, value in single.items() if value is not None}
        self.dialect = replace(dialect, **given) if dialect else CsvDialect(**given)
        self._sink: Sink | None = None

    # what a store adds

    @abstractmethod
    def storage(self) -> Storage:
        """Connect to the store."""

    @abstractmethod
    def parse_url(self, text: str) -> str:
        """Return a file's URL, or a pattern's, in the one way in which the store writes it.

        :raises InvalidArgument: where it is none
        """

    @abstractmethod
    def is_pattern(self, url: str) -> bool:
        """Say whether a URL is a pattern."""

    # the declaration

    def describe(self) -> str:
        """Name the file, or the first of several."""
        urls = self.urls()
        return urls[0] if len(urls) == 1 else f"{urls[0] if urls else 'no file'} and {len(urls) - 1} more"

    def check(self) -> None:
        """Refuse what cannot work.

        :raises InvalidArgument: with what, which and what instead
        """
        given = getattr(self, self.place)
        if not isinstance(given, str | Sequence):
            return  # the output of another task: it is known when the task runs
        if not self.urls():
            raise InvalidArgument(f"{self.place} is an empty list: name a file at least")
        for url in self.urls():
            if not isinstance(url, str):
                raise InvalidArgument(f"{self.place} must be a string or a list of strings, not {url!r}")
            if not templated(url):
                self.parse_url(url)
        if not templated(self.format):
            files = [] if self.manifest is True else self.urls()  # manifests themselves are named
            check_stored(self.format, self.compression, files, self._dialect_arguments)
        self.check_projection()
        self.check_set()

    def assets(self) -> list[str]:
        """Return the files' URIs; templates and patterns are left out."""
        urls = [url for url in self.urls() if not templated(url)]
        if self.is_set:
            return [self.part_names(url).manifest for url in urls if not templated(self.manifest)]
        return [url for url in urls if not self.is_pattern(self.parse_url(url))]

    def urls(self) -> list[str]:
        """Return what was given, as a list."""
        given = getattr(self, self.place)
        if isinstance(given, str):
            return [given]
        return list(given) if isinstance(given, Sequence) else [str(given)]

    def file_format(self, url: str) -> FileFormat:
        """Return how the rows lie in a file.

        :param url: the file
        """
        named = None if self.columns is None or isinstance(self.columns, Mapping) else tuple(self.columns)
        return make_format(choose(self.format, url), self.dialect, named, self.compression)

    # as a source

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Find the files.

        :raises NotFound: where one is not there, or a pattern matches nothing
        """
        self.check()
        storage = self.storage()
        found = self.read_sets(storage) if self.is_set or self.manifest is True else self.find(storage)
        reading = FileReading(storage, found, self.file_format, self.compression, self.projection())
        with contextlib.closing(reading):
            yield reading

    def find(self, storage: Storage) -> list[StoredFile]:
        """Find the files that are named, in the order of their URLs."""
        found: dict[str, StoredFile] = {}
        for url in map(self.parse_url, self.urls()):
            if not self.is_pattern(url):
                found[url] = storage.find(url)
                continue
            matches = list(storage.match(url))
            if not matches and not self.allow_empty:
                raise NotFound(f"no {self.noun} matches {url}: {self.waiting}set allow_empty=True")
            found.update({match.url: match for match in matches})
        return [found[url] for url in sorted(found)]

    # as a target

    def write(self, reading: Reading, request: CopyRequest, progress: Progress) -> CopyResult:
        """Write all parts into the file; it appears whole or not at all."""
        token = request.token(reading.fingerprint)
        storage = self.storage()
        if self.is_set:
            return self.write_set(storage, reading, token, request, progress)
        url = self._target()
        same = None if request.expect else self._copied_within(storage, reading, url)  # the store counts no rows
        log.info("plan: %s", self._way(url, same))
        if same is not None and isinstance(reading, FileReading):
            reading.storage.copy(same, url, token=token)
            progress.add(same.size)
            return CopyResult(bytes=same.size, files=[url], plan=self._way(url, same), counted=False)
        return self._stream(storage, reading, url, token, request, progress)

    def plan(self, reading: Reading, request: CopyRequest) -> Plan:
        """Say what :meth:`write` would do; nothing is written."""
        storage = self.storage()
        names = self.part_names(self.urls()[0]) if self.is_set else None
        url = self._target() if names is None else names.target
        layout = self.file_format(url)
        same = None if request.expect or names else self._copied_within(storage, reading, url)
        parts = list(reading.parts(layout.asked(), arrays=layout.arrays))
        way = f"streamed to files {url}, listed in {names.manifest}" if names else self._way(url, same)
        plan = Plan(way, files=[(part.name, part.size) for part in parts], rights=storage.rights(url))
        if same is None and isinstance(layout, CsvFormat):
            renamed = isinstance(reading, FileReading) and reading.renames
            found = columns_joined(parts, layout.dialect, renamed=renamed)
        else:
            found = {part.name: part.columns for part in parts if part.columns is not None}
        plan.columns = {name: dict(zip(columns, columns, strict=True)) for name, columns in found.items()}
        if request.mode == "append":
            plan.notes.append(
                "a file is written whole: append puts it in the place of one of its name, as replace does"
            )
        plan.notes += [f"before it appears {expectation!r} must hold" for expectation in request.expect]
        return plan

    def _way(self, url: str, same: StoredFile | None) -> str:
        return f"streamed to {url}" if same is None else f"copied within {self.store} to {url}"

    def _stream(
        self,
        storage: Storage,
        reading: Reading,
        url: str,
        token: str,
        request: CopyRequest,
        progress: Progress,
    ) -> CopyResult:
        layout = self.file_format(url)
        counter = RecordCounter(layout.dialect) if request.expect and isinstance(layout, CsvFormat) else None
        size, rows = 0, 0
        counted = True
        with self.open_file(storage, url, token) as sink:
            renamed = isinstance(reading, FileReading) and reading.renames
            parts = list(reading.parts(layout.asked(), arrays=layout.arrays))
            try:
                for data, known in layout.written(iter(parts), renamed=renamed):
                    sink.write(data)
                    size += len(data)
                    if counter is not None:
                        counter.add(data)
                    counted = counted and known is not None
                    rows += known or 0
                    progress.add(len(data), rows=known or 0)
            except DataError as error:
                raise in_one_of(error, parts) from error.__cause__
            if counter is not None:
                rows, counted = counter.rows, True
            verify(request.expect, rows, None, url)
        self._sink = None
        rows = rows if counted else 0
        return CopyResult(rows=rows, inserted=rows, bytes=size, files=[url], plan=self._way(url, None), counted=counted)

    def open_sink(self, work: Work, suffix: str = "") -> Sink:
        """Open the file for writing.

        :param suffix: put before the endings of its name
        """
        folder, slash, name = self._target().rpartition("/")
        stem, dot, endings = name.partition(".")
        url = f"{folder}{slash}{stem}{suffix}{dot}{endings}"
        return self.open_file(self.storage(), url, work.token(url))

    def check_rejects(self) -> None:
        """Refuse what takes no bad records, which are CSV."""
        super().check_rejects()
        other = next((url for url in self.urls() if not templated(url) and choose(self.format, url) != "csv"), None)
        if other is not None:
            raise InvalidArgument(f"rejects are written as CSV: give {other} another ending, or set format='csv'")

    def cancel(self) -> None:
        """Abort a file that is being written; called from another thread or a signal handler."""
        sink = self._sink
        if sink is not None:
            # A thread of its own: the interrupted one may hold a lock. What is left, the next try aborts.
            aborting = threading.Thread(target=sink.abort, name="tradewind-abort", daemon=True)
            aborting.start()
            aborting.join(10)

    def open_file(self, storage: Storage, url: str, token: str) -> Sink:
        """Open one file for writing, so that it can be cancelled."""
        stored = stored_compression(choose(self.format, url), self.compression, url)
        self._sink = storage.write(url, token=token, compression=stored)
        return self._sink

    def check_target(self) -> None:
        """Refuse what names no single file, nor a single set.

        :raises InvalidArgument: with what, which and what instead
        """
        urls = self.urls()
        if len(urls) != 1:
            raise InvalidArgument(f"a target is one file, not {len(urls)}: give one {self.place}")
        super().check_target()
        known = isinstance(getattr(self, self.place), str) and not templated(urls[0])
        if known and self.is_pattern(self.parse_url(urls[0])):
            raise InvalidArgument(f"{urls[0]} is a pattern: a target is one file, or set wildcard_match=False")

    def _target(self) -> str:
        self.check_target()
        super().check_rejects()
        return self.parse_url(self.urls()[0])

    def _copied_within(self, storage: Storage, reading: Reading, url: str) -> StoredFile | None:
        """Return the one file that the store itself can copy, since nothing about it has to change."""
        if not isinstance(reading, FileReading) or len(reading.found) != 1 or reading.renames or reading.projection:
            return None
        file = reading.found[0]
        stored = stored_compression(choose(self.format, url), self.compression, url)
        if (
            stored != reading.compression_of(file)
            or file.url == url
            or reading.layout(file.url) != self.file_format(url)
        ):
            return None
        return file if reading.storage.reaches(storage) else None
