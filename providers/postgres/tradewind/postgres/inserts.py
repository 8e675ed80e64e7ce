"""Rows of Python into a table, and which way a COPY goes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.libpq.names import TableName, listed
from tradewind.operators.statements import words
from tradewind.postgres.rows import RowReader

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession

_STAGE = "pg_temp.tradewind_rows"


@dataclass(frozen=True)
class InsertPlan:
    """How rows get into a table.

    :param table: the table
    :param columns: the columns the rows hold, none for all
    :param key: the columns of the unique index that tells the rows, none for a plain insert
    """

    table: TableName
    columns: tuple[str, ...] = ()
    key: tuple[str, ...] = ()

    @classmethod
    def make(
        cls, table: str, columns: Sequence[str] | None, replace: bool, key: str | Sequence[str] | None
    ) -> InsertPlan:
        """Check the arguments of ``insert_rows``.

        :raises InvalidArgument: where replace has no columns or no key
        """
        names = (key,) if isinstance(key, str) else tuple(key or ())
        if replace and not (columns and names):
            raise InvalidArgument("replace=True needs target_fields and replace_index, the columns of a unique index")
        if names and not replace:
            raise InvalidArgument("replace_index means nothing without replace=True")
        missing = [name for name in names if name not in (columns or ())]
        if missing:
            raise InvalidArgument(f"replace_index names {missing[0]!r}, which target_fields does not")
        return cls(TableName.parse(table), tuple(columns or ()), names)

    def insert(self, session: LibpqSession, rows: Iterable[Sequence[Any]]) -> int:
        """Insert rows in the session's transaction.

        :return: the rows written
        """
        columns = f" ({listed(self.columns)})" if self.columns else ""
        if not self.key:
            return session.copy_in(f"COPY {self.table.sql}{columns} FROM STDIN", RowReader(rows))
        session.execute(f"DROP TABLE IF EXISTS {_STAGE}")
        source = f"SELECT {listed(self.columns)} FROM {self.table.sql} LIMIT 0"  # noqa: S608
        session.execute(f"CREATE TEMPORARY TABLE tradewind_rows ON COMMIT DROP AS {source}")
        session.copy_in(f"COPY {_STAGE}{columns} FROM STDIN", RowReader(rows))
        return session.execute(self._upsert())

    def _upsert(self) -> str:
        others = [name for name in self.columns if name not in self.key]
        updates = ", ".join(f"{listed([name])} = excluded.{listed([name])}" for name in others)
        columns = listed(self.columns)
        return (
            f"INSERT INTO {self.table.sql} ({columns}) SELECT {columns} FROM {_STAGE} "  # noqa: S608
            f"ON CONFLICT ({listed(self.key)}) DO {f'UPDATE SET {updates}' if updates else 'NOTHING'}"
        )


def chunks(rows: Iterable[Sequence[Any]], size: int) -> Iterator[Iterable[Sequence[Any]]]:
    """Cut rows into chunks.

    :param rows: rows, read once
    :param size: rows to a chunk, 0 for a single chunk
    """
    if not size:
        yield rows
        return
    left = iter(rows)
    while chunk := list(itertools.islice(left, size)):
        yield chunk


def copy_direction(sql: str) -> Literal["in", "out"]:
    """Tell which way a COPY statement goes, by its words: texts, names and comments do not count.

    :param sql: ``COPY ... FROM STDIN ...`` or ``COPY ... TO STDOUT ...``
    :raises InvalidArgument: where it is neither
    """
    lexemes = words(sql)
    if lexemes[:1] == ["COPY"] and ";" not in lexemes[:-1]:
        depth = 0
        for word, following in itertools.pairwise(lexemes):
            depth += (word == "(") - (word == ")")
            if depth == 0 and (word, following) == ("FROM", "STDIN"):
                return "in"
            if depth == 0 and (word, following) == ("TO", "STDOUT"):
                return "out"
    raise InvalidArgument(
        "sql must be one COPY ... FROM STDIN or COPY ... TO STDOUT statement, with no file of the server"
    )
