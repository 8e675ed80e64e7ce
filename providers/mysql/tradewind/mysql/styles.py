"""How the texts of rows are written: as CSV, or with escapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.escaped import DELIMITER, NULL

# What LOAD DATA and COPY read behind a backslash (LOAD DATA knows no other letters).
_ESCAPES = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r", b"\0": b"\\0"}


@dataclass(frozen=True)
class Style:
    """How texts are written.

    :param delimiter: stands between them
    :param null: stands for NULL
    :param empty: stands for the empty text
    :param marks: the bytes, beside the delimiter, that a text is not written with as it is
    :param kept: writes a text that holds one of them, or the delimiter, or that is what stands for NULL
    """

    delimiter: bytes
    null: bytes
    empty: bytes
    marks: bytes
    kept: Callable[[bytes], bytes]

    @property
    def marks_null(self) -> bool:
        """Whether what stands for NULL holds a mark, so that no text is like it."""
        return any(mark in self.null for mark in self.marks)


def csv_style(dialect: CsvDialect) -> Style:
    """Return how a dialect of CSV writes texts.

    :param dialect: the dialect
    """
    quote, escape, null = (text.encode() for text in (dialect.quote, dialect.escape_char, dialect.null))

    def quoted(text: bytes) -> bytes:
        if escape != quote:
            text = text.replace(escape, escape * 2)
        return quote + text.replace(quote, escape + quote) + quote

    return Style(dialect.delimiter.encode(), null, b"" if null else quote * 2, quote + b"\r\n", quoted)


def _escaped(text: bytes) -> bytes:
    for mark, escape in _ESCAPES.items():  # the backslash is the first
        text = text.replace(mark, escape)
    return text


ESCAPED = Style(DELIMITER.encode(), NULL.encode(), b"", b"".join(_ESCAPES), _escaped)
