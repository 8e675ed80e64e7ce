"""Names and texts in Snowflake's SQL: parsed, then quoted, never pasted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tradewind.hooks.errors import InvalidArgument

_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([A-Za-z_][\w$]*))\s*(\.|$)', re.ASCII)
_LONGEST = 255


@dataclass(frozen=True)
class TableName:
    """The name of a table, a stage or another thing of a schema.

    :param table: the table
    :param schema: its schema, None where the session decides
    :param database: its database, None where the session decides
    """

    table: str
    schema: str | None = None
    database: str | None = None

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read a name as SQL does: unquoted parts become upper case, quoted ones stay.

        :param text: ``flights``, ``staging.flights``, ``"Sales".staging."Flights 2013"``
        :raises InvalidArgument: where it is no such name
        """
        parts: list[str] = []
        position = 0
        while match := _PART.match(text, position):
            quoted, plain, end = match.groups()
            parts.append(quoted.replace('""', '"') if quoted is not None else plain.upper())
            position = match.end()
            if not end:
                break
        wrong = not parts or position < len(text) or text.rstrip().endswith(".") or len(parts) > 3 or "\0" in text
        if wrong or any(len(part) > _LONGEST for part in parts):
            raise InvalidArgument(
                f"{text!r} is not the name of a table: write table, schema.table or database.schema.table, "
                "or quote what is no plain word, as 'staging.\"Flights 2013\"'"
            )
        return cls(*reversed(parts))

    @property
    def sql(self) -> str:
        """The name, quoted."""
        return ".".join(quoted(part) for part in (self.database, self.schema, self.table) if part is not None)

    def beside(self, name: str) -> TableName:
        """Return another name in the same schema."""
        return TableName(name, self.schema, self.database)

    def __str__(self) -> str:
        return ".".join(part for part in (self.database, self.schema, self.table) if part is not None)


def quoted(name: str) -> str:
    """Quote an identifier.

    :param name: any text without NUL
    """
    return '"' + name.replace('"', '""') + '"'


def listed(names: Sequence[str], prefix: str = "") -> str:
    """Quote identifiers and set commas between them.

    :param names: the identifiers
    :param prefix: what stands before each, as ``s.``
    """
    return ", ".join(prefix + quoted(name) for name in names)


def literal(text: str) -> str:
    """Quote a text.

    :param text: any text without NUL
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
