"""What the server's catalog says about a table."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.operators.csv_records import CsvInput, delimiter_hint
from tradewind.postgres.names import TableName, shown

if TYPE_CHECKING:
    from tradewind.postgres.session import PostgresSession

# Types that have no equality: they are compared as text.
_UNEQUAL = frozenset({"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"})


@dataclass(frozen=True)
class Column:
    """A column of a table.

    :param name: its name
    :param type: its type, as SQL writes it
    :param category: the type's category (pg_type.typcategory)
    :param generated: whether it is computed from others
    :param identity: ``a`` for GENERATED ALWAYS AS IDENTITY, ``d`` for BY DEFAULT, else nothing
    """

    name: str
    type: str
    category: str
    generated: bool = False
    identity: str = ""

    @property
    def comparable(self) -> bool:
        """Whether the type has an equality."""
        return self.type not in _UNEQUAL

    @property
    def never_empty(self) -> bool:
        """Whether an empty text is no value of this type: a quoted empty field then stands for NULL."""
        return self.category in "BDNT" or self.type == "uuid"


@dataclass(frozen=True)
class Table:
    """A table that is there.

    :param name: its name, with its schema
    :param kind: pg_class.relkind
    :param columns: its columns in order
    :param unique: the column sets of its unique indexes that ON CONFLICT can use
    """

    name: TableName
    kind: str
    columns: tuple[Column, ...]
    unique: frozenset[frozenset[str]] = frozenset()

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


# to_jsonb: servers before 10 and 12 lack attidentity and attgenerated.
_COLUMNS = """
SELECT n.nspname, c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), t.typcategory,
       coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '', coalesce(to_jsonb(a) ->> 'attidentity', '')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid = to_regclass(%s)
ORDER BY a.attnum
"""

_UNIQUE = """
SELECT array_agg(a.attname::text)
FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0 : i.indnkeyatts - 1])
WHERE i.indrelid = to_regclass(%s)
  AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid
"""


def find_table(session: PostgresSession, name: TableName) -> Table | None:
    """Read a table's columns and unique indexes; None where there is no such table.

    :param session: the connection
    :param name: the table
    """
    rows = session.query(_COLUMNS, [name.sql])
    if not rows:
        return None
    columns = tuple(Column(row[3], row[4], row[5], row[6], row[7]) for row in rows)
    unique = frozenset(frozenset(row[0]) for row in session.query(_UNIQUE, [name.sql]))
    return Table(TableName(rows[0][1], rows[0][0]), rows[0][2], columns, unique)


def existing_table(session: PostgresSession, name: TableName) -> Table:
    """Read a table's columns and unique indexes.

    :param session: the connection
    :param name: the table
    :raises NotFound: where it is not there, with the names that come near
    """
    table = find_table(session, name)
    if table is None:
        raise NotFound(f"{session.describe}: there is no table {name}{_near(session, name)}")
    return table


def _near(session: PostgresSession, name: TableName) -> str:
    if name.schema and not session.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name.schema]):
        return f": there is no schema {name.schema}"
    rows = session.query(
        "SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname = coalesce(%s, current_schema()) LIMIT 10000",
        [name.schema],
    )
    near = difflib.get_close_matches(name.table, [row[0] for row in rows], n=1)
    return f": did you mean {near[0]!r}?" if near else "; create=True makes it from the input"


def match_columns(source: CsvInput, table: Table) -> tuple[str, ...]:
    """Find the table's column for each field of the input, by name: exactly, else whatever the case.

    :param source: the input, its header read
    :param table: the table
    :return: the table's columns in the order of the fields
    :raises DataError: where a field has no column
    """
    writable = [column.name for column in table.columns if not column.generated]
    if source.names is None:
        return tuple(writable)
    folded: dict[str, list[str]] = {}
    for column in writable:
        folded.setdefault(column.casefold(), []).append(column)
    found: dict[str, str] = {}
    for name in source.names:
        column = name if name in writable else _folded(name, folded, source, table)
        if column in found:
            raise _mismatch(source, name, f"{found[column]!r} and {name!r} are both the column {column!r} of the table")
        found[column] = name
    return tuple(found)


def _folded(name: str, folded: dict[str, list[str]], source: CsvInput, table: Table) -> str:
    candidates = folded.get(name.strip().casefold(), [])
    if len(candidates) == 1:
        return candidates[0]
    if len(candidates) > 1:
        raise _mismatch(source, name, f"{name!r} may be any of the table's columns {', '.join(candidates)}")
    if any(column.generated and column.name == name for column in table.columns):
        raise _mismatch(source, name, f"column {name!r} of {table.name} is generated: leave it out of the input")
    hint = delimiter_hint(source.names or (), source.dialect)
    if not hint:
        columns = [column.name for column in table.columns if not column.generated]
        near = difflib.get_close_matches(name.strip().casefold(), [text.casefold() for text in columns], n=1)
        meant = next((column for column in columns if near and column.casefold() == near[0]), None)
        hint = f"did you mean {meant!r}?" if meant else f"it has {shown(columns)}"
        hint += f" (columns of the input: {shown(source.names or ())})"
    if "\n" in name or "\r" in name:
        hint = f"it goes over a line end: is a quote ({source.dialect.quote}) left open in the header?"
    raise _mismatch(source, name, f"table {table.name} has no column {name!r}: {hint}")


def _mismatch(source: CsvInput, column: str, text: str) -> DataError:
    return DataError(f"{source.name}: {text}", source=source.name, line=1, column=column)


def check_key(key: tuple[str, ...], columns: tuple[str, ...], table: Table, source: str) -> tuple[str, ...]:
    """Return the key's columns as the table spells them.

    :param key: the key, as the author wrote it
    :param columns: the columns of the input
    :param table: the table
    :param source: the input, for messages
    :raises InvalidArgument: where the table or the input lacks one
    """
    names = {column.name.casefold(): column.name for column in table.columns}
    names |= {column.name: column.name for column in table.columns}
    found = []
    for name in key:
        column = names.get(name) or names.get(name.casefold())
        if column is None:
            near = difflib.get_close_matches(name, list(names.values()), n=1)
            hint = f": did you mean {near[0]!r}?" if near else f": it has {shown(list(names.values()))}"
            raise InvalidArgument(f"key: table {table.name} has no column {name!r}{hint}")
        if column not in columns:
            raise InvalidArgument(f"key: {source} has no column {column!r}: it has {shown(columns)}")
        found.append(column)
    if len(set(found)) < len(found):
        raise InvalidArgument(f"key names a column twice: {shown(found)}")
    return tuple(found)
