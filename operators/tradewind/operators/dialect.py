"""The dialects of CSV."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.hooks.errors import InvalidArgument


@dataclass(frozen=True, kw_only=True)
class CsvDialect:
    """How a CSV file is written (RFC 4180 by default).

    :param delimiter: one character between fields
    :param quote: one character around fields
    :param escape: the character that escapes a quote within quotes; the quote itself by default
    :param null: the unquoted text that stands for NULL
    :param header: whether the first record names the columns
    :param encoding: a Python codec's name; a byte order mark, where there is one, wins
    :raises InvalidArgument: where a character cannot serve
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None
    null: str = ""
    header: bool = True
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote", "escape"):
            value = getattr(self, name)
            if value is None and name == "escape":
                continue
            if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise InvalidArgument(f"{name} must be one ASCII character and no line end, not {value!r}")
        if self.delimiter == self.quote:
            raise InvalidArgument(f"delimiter and quote must differ, both are {self.quote!r}")
        if self.delimiter in self.null or "\n" in self.null or "\r" in self.null or self.quote in self.null:
            raise InvalidArgument(f"null must hold no delimiter, quote or line end, not {self.null!r}")
        try:
            "".encode(self.encoding)  # a codec that is none of text, as base64, refuses too
        except LookupError:
            raise InvalidArgument(f"unknown encoding {self.encoding!r}: use a Python codec's name, as utf-8") from None

    @property
    def escape_char(self) -> str:
        """The escape character, whether given or implied."""
        return self.escape or self.quote
