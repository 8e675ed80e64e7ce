"""Which format a file has: as its author says, or as its name ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.files.compression import ENDINGS, INFER, check_compression, infer
from tradewind.operators.formats import FileFormat
from tradewind.operators.formats.csv import CsvFormat
from tradewind.operators.templates import templated

Format = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)

_NAMES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
PAGE_CODECS = ("zstd", "snappy", "gzip")
"""How Parquet compresses its pages."""


def check_format(name: str) -> None:
    """Refuse what is no format.

    :raises InvalidArgument: with those that are
    """
    if name not in (INFER, *FORMATS):
        raise InvalidArgument(f"format must be one of {', '.join((INFER, *FORMATS))}, not {name!r}")


def choose(name: str, url: str) -> Format:
    """Decide on the format of a file.

    :param name: what the author said; ``infer`` goes by the ending of the name, one of a compression left out
    :param url: the file
    :return: CSV where neither says anything else
    """
    check_format(name)
    if name != INFER:
        return FORMATS[FORMATS.index(name)]
    ending = url.lower()
    for compressed in ENDINGS:
        ending = ending.removesuffix(compressed)
    return next((found for end, found in _NAMES.items() if ending.endswith(end)), "csv")


def check_stored(name: str, compression: str | None, urls: Sequence[str], dialect: Sequence[str]) -> None:
    """Refuse what a file of a format cannot be.

    :param name: the format, as the author said it
    :param compression: how it is compressed, a template perhaps
    :param urls: the files
    :param dialect: the arguments about CSV that are given
    :raises InvalidArgument: with what, which and what instead
    """
    check_format(name)
    formats = {choose(name, url) for url in urls}
    if not templated(compression):
        if "parquet" in formats:
            _check_page_codec(compression)
        if formats != {"parquet"}:
            check_compression(compression)
    for url in urls:
        packed = next((end for end in ENDINGS if url.lower().endswith(end)), None)
        if packed and choose(name, url) == "parquet":
            raise InvalidArgument(f"{url}: Parquet is compressed within: leave {packed} off its name")
    if dialect and formats and "csv" not in formats:
        raise InvalidArgument(f"{dialect[0]} is about CSV and means nothing to {' and '.join(sorted(formats))}")


def _check_page_codec(compression: str | None) -> None:
    if compression not in (INFER, None, *PAGE_CODECS):
        choices = ", ".join((INFER, *PAGE_CODECS))
        raise InvalidArgument(
            f"compression of Parquet is that of its pages: one of {choices} or None, not {compression!r}"
        )


def stored_compression(chosen: Format, compression: str | None, url: str) -> str | None:
    """Return how the bytes of a file are compressed as a whole.

    :param chosen: its format
    :param compression: what the author said
    :param url: the file
    """
    return None if chosen == "parquet" else infer(compression, url)


def make_format(
    chosen: Format, dialect: CsvDialect, columns: tuple[str, ...] | None, compression: str | None
) -> FileFormat:
    """Return the format of a file.

    :param chosen: which one
    :param dialect: how CSV is written; its encoding counts for JSON lines too
    :param columns: the fields by their names, None for all
    :param compression: what the author said
    """
    if chosen == "jsonl":
        from tradewind.operators.formats.jsonl import JsonLines

        return JsonLines(columns, dialect.encoding)
    if chosen == "parquet":
        from tradewind.operators.formats.parquet import Parquet

        return Parquet(columns, "zstd" if compression == INFER else compression)
    return CsvFormat(dialect, columns)
