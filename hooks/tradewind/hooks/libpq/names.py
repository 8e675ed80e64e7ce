"""Names and texts in SQL: parsed, then quoted, never pasted."""

from __future__ import annotations

import re
from typing import NamedTuple

from tradewind.hooks.errors import InvalidArgument

_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\W\d][\w$]*))\s*(\.|$)')


class TableName(NamedTuple):
    """The name of a table.

    :param table: the table
    :param schema: its schema, None where the search path decides
    """

    table: str
    schema: str | None = None

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read a name as SQL does: unquoted parts become lower case, quoted ones stay.

        :param text: ``flights``, ``staging.flights`` or ``"Staging"."Flights 2013"``
        :raises InvalidArgument: where it is no such name
        """
        parts: list[str] = []
        position = 0
        while match := _PART.match(text, position):
            quoted, plain, end = match.groups()
            parts.append(quoted.replace('""', '"') if quoted is not None else plain.lower())
            position = match.end()
            if not end:
                break
        if not parts or position < len(text) or text.rstrip().endswith(".") or len(parts) > 2 or "\0" in text:
            raise InvalidArgument(
                f"{text!r} is not the name of a table: write table, schema.table, "
                "or quote what is no plain word, as 'staging.\"Flights 2013\"'"
            )
        return cls(parts[-1], parts[0] if len(parts) == 2 else None)

    @property
    def sql(self) -> str:
        """The name, quoted."""
        return quoted(self.table) if self.schema is None else f"{quoted(self.schema)}.{quoted(self.table)}"

    def __str__(self) -> str:
        return self.table if self.schema is None else f"{self.schema}.{self.table}"


def quoted(name: str) -> str:
    """Quote an identifier.

    :param name: any text without NUL
    """
    return '"' + name.replace('"', '""') + '"'


def listed(names: tuple[str, ...] | list[str], prefix: str = "") -> str:
    """Quote identifiers and set commas between them.

    :param names: the identifiers
    :param prefix: what stands before each, as ``excluded.``
    """
    return ", ".join(prefix + quoted(name) for name in names)


def literal(text: str) -> str:
    """Quote a text, whatever ``standard_conforming_strings`` is.

    :param text: any text without NUL
    """
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in doubled else f"'{doubled}'"
