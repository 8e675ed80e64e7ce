"""CSV files in S3, as the ends of a copy."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.amazon.errors import PreconditionFailed
from tradewind.amazon.hooks import DEFAULT_CONN_ID
from tradewind.amazon.s3.compression import INFER, check_compression, infer
from tradewind.amazon.s3.locations import S3Location, S3Object, is_pattern, parse_s3_url
from tradewind.hooks.errors import InvalidArgument, NotFound, SourceChanged
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest, CopyResult, FileTarget, Mode, Part, Reading, Sink, Source
from tradewind.operators.progress import Progress

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook
    from tradewind.amazon.s3.writing import S3Writer
    from tradewind.hooks.work import Work


class _Unset:
    def __repr__(self) -> str:
        return repr(DEFAULT_CONN_ID)


_UNSET: Any = _Unset()


class S3File(Source, FileTarget):
    """CSV in S3: one object, several, or all that match a wildcard.

    As a target it is one object, which is always written whole: ``append`` and ``replace`` mean the same to it, and a
    retry writes the same bytes again.

    :param url: ``s3://bucket/key``, or a list of them; a ``*`` in a key makes it a pattern, in which ``?`` (one) and
        ``[..]`` (one of a set) stand for characters too
    :param conn_id: the connection of type ``aws``, ``aws_default`` by default, None for the credentials of the
        environment
    :param compression: gzip, zstd, bz2, xz, None, or ``infer`` from the key's ending
    :param dialect: how the CSV is written; or by the single arguments that follow
    :param delimiter: one character between fields
    :param quote: one character around fields
    :param escape: the character that escapes a quote within quotes; the quote itself by default
    :param null: the unquoted text that stands for NULL
    :param header: whether the first record names the columns; by default it does where ``columns`` is not given
    :param encoding: a Python codec's name
    :param columns: the names of the fields in order; they win over a header
    :param allow_empty: whether a pattern that matches nothing is zero rows instead of an error
    :param wildcard_match: True takes every key for a pattern, False none; None those that hold a ``*``
    :param region_name: the region, instead of the connection's
    :param aws_conn_id: another name of ``conn_id``; give one of the two
    """

    template_fields: ClassVar[Sequence[str]] = ("url", "conn_id", "compression", "columns", "region_name")
    modes: ClassVar[frozenset[Mode]] = frozenset(("append", "replace"))

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        conn_id: str | None = _UNSET,
        compression: str | None = INFER,
        dialect: CsvDialect | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        null: str | None = None,
        header: bool | None = None,
        encoding: str | None = None,
        columns: Sequence[str] | None = None,
        allow_empty: bool = False,
        wildcard_match: bool | None = None,
        region_name: str | None = None,
        aws_conn_id: str | None = _UNSET,
    ) -> None:
        self.url = url
        self.conn_id = _conn_id(conn_id, aws_conn_id)
        self.compression = compression
        self.columns = columns
        self.allow_empty = allow_empty
        self.wildcard_match = wildcard_match
        self.region_name = region_name
        if header is None and dialect is None:
            header = columns is None
        single = {
            "delimiter": delimiter,
            "quote": quote,
            "escape": escape,
            "null": null,
            "header": header,
            "encoding": encoding,
        }
        given: dict[str, Any] = {name: value for name, value in single.items() if value is not None}
        self.dialect = replace(dialect, **given) if dialect else CsvDialect(**given)
        self._writer: S3Writer | None = None

    def describe(self) -> str:
        """Name the object, or the first of several."""
        urls = self._urls()
        return urls[0] if len(urls) == 1 else f"{urls[0] if urls else 'no file'} and {len(urls) - 1} more"

    def check(self) -> None:
        """Refuse what cannot work.

        :raises InvalidArgument: with what, which and what instead
        """
        if not isinstance(self.url, str) and not isinstance(self.url, Sequence):
            return  # the output of another task: it is known when the task runs
        if not self._urls():
            raise InvalidArgument("url is an empty list: name a file at least")
        for url in self._urls():
            if not isinstance(url, str):
                raise InvalidArgument(f"url must be a string or a list of strings, not {url!r}")
            if not _templated(url):
                _location(url)
        if self.compression is None or not _templated(self.compression):
            check_compression(self.compression)
        if isinstance(self.columns, str) and not _templated(self.columns):
            raise InvalidArgument(f"columns must be a list of names, not the text {self.columns!r}")

    def assets(self) -> list[str]:
        """Return the objects' URIs; templates and patterns are left out."""
        return [url for url in self._urls() if not _templated(url) and not self._is_pattern(_location(url).key)]

    def openlineage_dataset(self) -> tuple[str, str] | None:
        """Return OpenLineage's namespace and name: the bucket and the key (of several files, the first)."""
        urls = self._urls()
        if not urls:
            return None
        location = parse_s3_url(urls[0])
        return f"s3://{location.bucket}", location.key

    @contextmanager
    def open(self, work: Work) -> Iterator[Reading]:
        """Find the objects.

        :raises NotFound: where one is not there, or a pattern matches nothing
        """
        self.check()
        hook = self._hook()
        yield S3Reading(hook, self._find(hook), self.dialect, self.compression, self.columns, self.describe())

    def write(self, reading: Reading, request: CopyRequest, progress: Progress) -> CopyResult:
        """Write all parts into the object; it appears whole or not at all."""
        from tradewind.amazon.s3.joining import joined

        location = self._target()
        name = location.url
        token = request.token(reading.fingerprint)
        if isinstance(reading, S3Reading) and (same := self._copied_by_s3(reading)) is not None:
            from tradewind.amazon.s3.writing import TOKEN

            try:
                reading.hook.copy(same, *location, metadata={**same.metadata, TOKEN: token})
            except PreconditionFailed as error:
                raise SourceChanged(f"{same.url} changed before it was copied: the next try copies it anew") from error
            progress.add(same.size)
            return CopyResult(bytes=same.size, files=[name], plan=f"copied within S3 to {name}", counted=False)
        rows: int | None = 0
        with self._open_writer(location, token) as writer:
            renamed = isinstance(reading, S3Reading) and reading.columns is not None
            for data, counted in joined(reading.parts(self.dialect), self.dialect, renamed=renamed):
                writer.write(data)
                rows = None if rows is None or counted is None else rows + counted
                progress.add(len(data), rows=counted or 0)
        self._writer = None
        result = CopyResult(bytes=writer.bytes, files=[name], plan=f"streamed to {name}", counted=rows is not None)
        result.rows = result.inserted = rows or 0
        return result

    def open_sink(self, work: Work, suffix: str = "") -> Sink:
        """Open the object for writing.

        :param suffix: put before the endings of its name
        """
        bucket, key = self._target()
        folder, slash, name = key.rpartition("/")
        stem, dot, endings = name.partition(".")
        location = S3Location(bucket, f"{folder}{slash}{stem}{suffix}{dot}{endings}")
        return self._open_writer(location, work.token(location.url))

    def cancel(self) -> None:
        """Abort an object that is being written; called from another thread or a signal handler."""
        writer = self._writer
        if writer is not None:
            # A thread of its own: the interrupted one may hold a lock. What is left, the next try aborts.
            aborting = threading.Thread(target=writer.abort, name="s3-abort", daemon=True)
            aborting.start()
            aborting.join(10)

    def _open_writer(self, location: S3Location, token: str) -> S3Writer:
        self._writer = self._hook().write(*location, token=token, compression=self.compression)
        return self._writer

    def _hook(self) -> S3Hook:
        # The hook imports botocore when it connects: an author's DAG does not pay for it.
        from tradewind.amazon.s3.hooks import S3Hook

        return S3Hook(self.conn_id, region_name=self.region_name)

    def _urls(self) -> list[str]:
        if isinstance(self.url, str):
            return [self.url]
        return list(self.url) if isinstance(self.url, Sequence) else [str(self.url)]

    def _is_pattern(self, key: str) -> bool:
        return is_pattern(key, self.wildcard_match)

    def _target(self) -> S3Location:
        urls = self._urls()
        if len(urls) != 1:
            raise InvalidArgument(f"a target is one file, not {len(urls)}: give one url")
        location = _location(urls[0])
        if self._is_pattern(location.key):
            raise InvalidArgument(f"{urls[0]} is a pattern: a target is one file, or set wildcard_match=False")
        return location

    def _find(self, hook: S3Hook) -> list[S3Object]:
        found: dict[S3Location, S3Object] = {}
        for url in self._urls():
            bucket, key = _location(url)
            if not self._is_pattern(key):
                found[S3Location(bucket, key)] = hook.head(bucket, key)
                continue
            matches = [match for match in hook.match(bucket, key) if not match.key.endswith("/")]
            if not matches and not self.allow_empty:
                raise NotFound(f"no object matches {url}: wait for it with S3KeySensor, or set allow_empty=True")
            found.update({S3Location(bucket, match.key): match for match in matches})
        return [found[location] for location in sorted(found)]

    def _copied_by_s3(self, reading: S3Reading) -> S3Object | None:
        """Return the one object that S3 itself can copy, since nothing about it has to change."""
        if len(reading.objects) != 1 or reading.columns is not None or not reading.hook.reaches_as(self._hook()):
            return None
        source = reading.objects[0]
        target = self._target()
        same_bytes = reading.compression_of(source.key) == infer(self.compression, target.key)
        elsewhere = (source.bucket, source.key) != tuple(target)
        if not (same_bytes and elsewhere and reading.dialect == self.dialect):
            return None
        # A listing does not tell the metadata, which a copy keeps.
        return source if source.raw.get("Metadata") is not None else reading.hook.head(source.bucket, source.key)


class S3Reading(Reading):
    """Objects that were found, each of a size and an ETag.

    :param objects: in the order in which they are read
    """

    def __init__(
        self,
        hook: S3Hook,
        objects: Sequence[S3Object],
        dialect: CsvDialect,
        compression: str | None,
        columns: Sequence[str] | None,
        name: str,
    ) -> None:
        self.hook = hook
        self.objects = objects
        self.dialect = dialect
        self.columns = None if columns is None else tuple(columns)
        self._compression = compression
        self._name = name
        self._read_bytes = 0

    @property
    def fingerprint(self) -> str:
        """Identify the objects by key, ETag and size, and how they are read."""
        files = [(found.bucket, found.key, found.etag, found.size) for found in self.objects]
        how = [repr(self.dialect), self.columns, self._compression]
        return hashlib.sha256(json.dumps([files, how]).encode()).hexdigest()

    @property
    def total_bytes(self) -> int:
        """How many bytes the objects have."""
        return sum(found.size for found in self.objects)

    @property
    def read_bytes(self) -> int:
        """How many of them are read so far."""
        return self._read_bytes

    @property
    def files(self) -> Sequence[str]:
        """The objects' URLs."""
        return [found.url for found in self.objects]

    def compression_of(self, key: str) -> str | None:
        """Return how an object is compressed."""
        return infer(self._compression, key)

    def parts(self, dialect: CsvDialect | None = None) -> Iterator[Part]:
        """Yield the objects; their bytes come as they are, in the dialect they are in."""
        for found in self.objects:
            opened = partial(
                self.hook.read,
                found.bucket,
                found.key,
                etag=found.etag,
                compression=self.compression_of(found.key),
                on_bytes=self._count,
            )
            yield Part(found.url, opened, self.dialect, self.columns, found.size)

    def _count(self, wire: int, plain: int) -> None:
        self._read_bytes += wire


def _location(url: str) -> S3Location:
    location = parse_s3_url(url)
    if not location.key or location.key.endswith("/"):
        raise InvalidArgument(f"{url!r} names no file: write s3://bucket/key, or a pattern as s3://bucket/folder/*.csv")
    return location


def _conn_id(conn_id: str | None, aws_conn_id: str | None) -> str | None:
    given = [value for value in (conn_id, aws_conn_id) if value is not _UNSET]
    if len(given) > 1:
        raise InvalidArgument(f"conn_id {conn_id!r} and aws_conn_id {aws_conn_id!r} are the same: give one of them")
    return given[0] if given else DEFAULT_CONN_ID


def _templated(text: object) -> bool:
    return isinstance(text, str) and ("{{" in text or "{%" in text)
