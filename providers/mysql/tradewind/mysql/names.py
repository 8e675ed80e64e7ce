"""Names in SQL: parsed, then quoted, never pasted."""

from __future__ import annotations

import re
from typing import NamedTuple

from tradewind.hooks.errors import InvalidArgument

_PART = re.compile(r"\s*(?:`((?:[^`]|``)+)`|([^\W\d][\w$]*))\s*(\.|$)")
# https://dev.mysql.com/doc/refman/8.4/en/identifier-length.html
_MOST = 64


class TableName(NamedTuple):
    """The name of a table.

    :param table: the table
    :param schema: its database, None for the connection's
    """

    table: str
    schema: str | None = None

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read a name as MySQL does: letters keep their case, for the server decides what it means.

        :param text: ``flights``, ``staging.flights`` or ```Staging`.`Flights 2013```
        :raises InvalidArgument: where it is no such name
        """
        parts: list[str] = []
        position = 0
        while match := _PART.match(text, position):
            quoted, plain, end = match.groups()
            parts.append(quoted.replace("``", "`") if quoted is not None else plain)
            position = match.end()
            if not end:
                break
        if not parts or position < len(text) or text.rstrip().endswith(".") or len(parts) > 2 or not _allowed(parts):
            raise InvalidArgument(
                f"{text!r} is not the name of a table: write table, database.table, "
                "or quote what is no plain word, as 'staging.`Flights 2013`'"
            )
        return cls(parts[-1], parts[0] if len(parts) == 2 else None)

    @property
    def sql(self) -> str:
        """The name, quoted."""
        return quoted(self.table) if self.schema is None else f"{quoted(self.schema)}.{quoted(self.table)}"

    def __str__(self) -> str:
        return self.table if self.schema is None else f"{self.schema}.{self.table}"


def quoted(name: str) -> str:
    """Quote an identifier, whatever ``sql_mode`` is.

    :param name: any text without NUL
    """
    return "`" + name.replace("`", "``") + "`"


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Quote identifiers and set commas between them.

    :param names: the identifiers
    """
    return ", ".join(quoted(name) for name in names)


def _allowed(parts: list[str]) -> bool:
    # A name of MySQL has no NUL, nothing outside the basic plane, and no space at its end.
    return all(
        len(part) <= _MOST and part == part.rstrip() and all("\0" < char <= "\uffff" for char in part) for part in parts
    )
