"""What the server's catalog says about a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tradewind.hooks.errors import NotFound
from tradewind.hooks.libpq.names import TableName
from tradewind.hooks.nearest import nearest

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession

# Types that have no equality: they are compared as text.
_UNEQUAL = frozenset({"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"})


class Column(NamedTuple):
    """A column of a table.

    :param name: its name
    :param type: its type, as SQL writes it
    :param category: the type's category (pg_type.typcategory)
    :param generated: whether it is computed from others
    :param identity: ``a`` for GENERATED ALWAYS AS IDENTITY, ``d`` for BY DEFAULT, else nothing
    :param base: its type without a length, which an explicit cast would cut texts and bits to
    """

    name: str
    type: str
    category: str
    generated: bool = False
    identity: str = ""
    base: str = ""

    @property
    def comparable(self) -> bool:
        """Whether the type has an equality."""
        return self.type not in _UNEQUAL

    @property
    def never_empty(self) -> bool:
        """Whether an empty text is no value of this type: a quoted empty field then stands for NULL."""
        return self.category in "BDNT" or self.type == "uuid"


class Table(NamedTuple):
    """A table that is there.

    :param name: its name, with its schema
    :param kind: pg_class.relkind
    :param columns: its columns in order
    :param unique: the column sets of its unique indexes that ON CONFLICT can use
    :param estimate: about how many rows it has, as its last VACUUM or ANALYZE saw it; None where there was none
    """

    name: TableName
    kind: str
    columns: tuple[Column, ...]
    unique: frozenset[frozenset[str]] = frozenset()
    estimate: int | None = None

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


# to_jsonb: servers before 10 and 12 lack attidentity and attgenerated.
_COLUMNS = """
SELECT n.nspname, c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), t.typcategory,
       coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '', coalesce(to_jsonb(a) ->> 'attidentity', ''),
       format_type(a.atttypid, -1), nullif(greatest(c.reltuples::bigint, 0), 0)
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


def find_table(session: LibpqSession, name: TableName) -> Table | None:
    """Read a table's columns and unique indexes; None where there is no such table.

    :param session: the connection
    :param name: the table
    """
    rows = session.query(_COLUMNS, [name.sql])
    if not rows:
        return None
    columns = tuple(Column(*row[3:9]) for row in rows)
    unique = frozenset(frozenset(row[0]) for row in session.query(_UNIQUE, [name.sql]))
    return Table(TableName(rows[0][1], rows[0][0]), rows[0][2], columns, unique, rows[0][9])


def existing_table(session: LibpqSession, name: TableName) -> Table:
    """Read a table's columns and unique indexes.

    :param session: the connection
    :param name: the table
    :raises NotFound: where it is not there, with the names that come near
    """
    table = find_table(session, name)
    if table is None:
        raise NotFound(f"{session.describe}: there is no table {name}{_near(session, name)}")
    return table


def _near(session: LibpqSession, name: TableName) -> str:
    if name.schema and not session.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name.schema]):
        return f": there is no schema {name.schema}"
    rows = session.query(
        "SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname = coalesce(%s, current_schema()) LIMIT 10000",
        [name.schema],
    )
    near = nearest(name.table, [row[0] for row in rows])
    return f": did you mean {near[0]!r}?" if near else "; create=True makes it from the input"
