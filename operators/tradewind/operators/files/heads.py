"""What the heads of a source's files say: enough to know whether a service can read the files by itself.

Where it can, no byte of them passes through the worker.
"""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tradewind.hooks.errors import NotFound, SourceChanged
from tradewind.operators.ends import Part, Reading
from tradewind.operators.files.reading import FileReading
from tradewind.operators.files.storage import Storage, StoredFile
from tradewind.operators.formats.csv import CsvFormat
from tradewind.operators.formats.csv.records import CsvInput, open_csv
from tradewind.operators.formats.csv.transcoding import Pushback

_UTF_8 = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Unfit(Exception):
    """Why a service cannot read the files of a source as they are: its text is for the log."""


@dataclass(frozen=True)
class FileHead:
    """A file of which no more than its head was read.

    :param file: the file, as it was found
    :param source: what its head says; nothing more is read of it
    :param part: the file as a part of the source
    :param layout: csv or parquet
    :param compression: how it is compressed, None for not at all and for Parquet
    """

    file: StoredFile
    source: CsvInput
    part: Part
    layout: str
    compression: str | None = None


def file_heads(
    reading: Reading, compressions: Collection[str | None], parts: Sequence[Part] | None = None
) -> list[FileHead]:
    """Look at the heads of a source's objects in S3.

    :param reading: the source
    :param compressions: how CSV may be compressed for the service
    :param parts: the source's parts, where they are known already
    :return: the objects
    :raises Unfit: where they are no objects of CSV or Parquet that could be loaded as they are
    """
    if not isinstance(reading, FileReading) or not all(file.url.startswith("s3://") for file in reading.found):
        raise Unfit("the source is no object of S3")
    if reading.projection is not None:
        raise Unfit("columns= or constants= ask for other columns than those of the objects")
    found = []
    for file, part in zip(reading.found, reading.parts() if parts is None else parts, strict=True):
        layout, compression = reading.layout(file.url), reading.compression_of(file)
        if isinstance(layout, CsvFormat):
            if compression not in compressions:
                raise Unfit(f"{file.url} is compressed by {compression or 'nothing'}")
            found.append(FileHead(file, _csv_head(part), part, "csv", compression))
        elif layout.name == "parquet" and part.columns is not None and part.types is not None:
            source = CsvInput(file.url, io.BytesIO(), part.dialect, names=part.columns, types=part.types)
            found.append(FileHead(file, source, part, "parquet"))
        else:
            raise Unfit(f"{file.url} is neither CSV nor Parquet")
    return found


def _csv_head(part: Part) -> CsvInput:
    dialect = part.dialect
    if dialect.escape_char != dialect.quote:
        raise Unfit(f"{part.name}: quotes are escaped by {dialect.escape_char!r}")
    if codecs.lookup(dialect.encoding).name not in ("utf-8", "ascii"):
        raise Unfit(f"{part.name} is encoded as {dialect.encoding}")
    stream = part.open()
    with contextlib.closing(stream):
        start = stream.read(3)
        if start[:2] in _UTF_16 or (start == _UTF_8 and not dialect.header):
            raise Unfit(f"{part.name} begins with a byte order mark")
        with contextlib.closing(open_csv(replace(part, open=lambda: Pushback(stream, start)), rewrite=False)) as source:
            if source.line_end != b"\n":
                raise Unfit(f"{part.name}: lines end with CR alone")
            return source


def refuse_changed(storage: Storage, files: Sequence[StoredFile]) -> None:
    """Look at files again.

    :param storage: where they are
    :param files: as they were found
    :raises SourceChanged: where one is another one by now
    """
    for file in files:
        try:
            now = storage.find(file.url)
        except NotFound as error:
            raise SourceChanged(
                f"{file.url} went away while it was loaded: the next try finds what is there"
            ) from error
        if now.version != file.version:
            raise SourceChanged(f"{file.url} changed while it was loaded: the next try loads it anew")
