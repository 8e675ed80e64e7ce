# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Merging staged rows into a table: new keys are inserted, changed rows are updated, equal ones are left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.mysql.catalog import Column, Table
from tradewind.mysql.names import listed, quoted
from tradewind.operators.ends import Duplicates
from tradewind.operators.names import shown
from tradewind.operators.tables.columns import ordinal_column
from tradewind.operators.tables.load import Merged

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

STAGE = "`tradewind_stage`"
_KEPT = "`tradewind_kept`"
# Characters of a long text that the stage's index holds: 3,072 bytes are all that InnoDB takes.
_PREFIX = 64


def stage_statement(table: Table, columns: tuple[str, ...], key: tuple[str, ...], *, numbered: bool = False) -> str:
    """Write what makes the temporary table for the input; it has the target's types and NOT NULLs.

    It is one statement: CREATE TEMPORARY TABLE alone does not commit the transaction, ALTER TABLE would. The table goes
    with its connection.

    :param table: the target
    :param columns: the columns of the input
    :param key: those that identify a row, none for rows that are appended
    :param numbered: whether the records are numbered as they come
    """
    ordinal = f"{quoted(ordinal_column(table))} bigint NOT NULL AUTO_INCREMENT UNIQUE, " if numbered else ""
    indexed = ", ".join(_indexed(table.column(name)) for name in key)
    made = f"({ordinal}KEY tradewind_key ({indexed})) " if key else ""
    return (
        f"CREATE TEMPORARY TABLE {STAGE} {made}ENGINE=InnoDB "
        f"AS SELECT {listed(columns)} FROM {table.name.sql} WHERE FALSE"
    )


def _indexed(column: Column) -> str:
    return quoted(column.name) + (f"({_PREFIX})" if column.long else "")


def merge_statements(
    table: Table, columns: tuple[str, ...], key: tuple[str, ...], duplicates: Duplicates = "error"
) -> list[str]:
    """Write what merges the staged rows.

    :param table: the target
    :param columns: the columns of the input
    :param key: those that identify a row
    :param duplicates: which record of a key counts
    """
    first = [] if duplicates == "error" else _drop_statements(key, ordinal_column(table), duplicates)
    update = _update_statement(table, columns, key)
    rest = [_known_statement(table, key), append_statement(table, columns)]
    return [*first, *([update] if update else []), *rest]


def merge(
    session: MySqlSession,
    table: Table,
    columns: tuple[str, ...],
    key: tuple[str, ...],
    duplicates: Duplicates = "error",
    look: Callable[[], None] = lambda: None,
) -> Merged:
    """Merge the staged rows.

    :param session: the load's transaction
    :param table: the target
    :param columns: the columns of the input
    :param key: those that identify a row
    :param duplicates: which record of a key counts; the stage must be numbered for the last or the first
    :param look: called when the stage holds the records that count, and nothing is written yet
    :raises DataError: where a key is NULL or stands twice, in the input or in the table
    """
    _refuse_nulls(session, key)
    dropped = 0
    if duplicates == "error":
        _refuse_duplicates(session, key)
    else:
        kept, drop = _drop_statements(key, ordinal_column(table), duplicates)
        session.execute(kept)
        dropped = session.execute(drop)
    look()
    if not any(index <= frozenset(key) for index in table.unique):
        _refuse_ambiguous(session, table, key)
    update = _update_statement(table, columns, key)
    updated = session.execute(update) if update else 0
    known = session.execute(_known_statement(table, key))
    return Merged(session.execute(append_statement(table, columns)), updated, known - updated, dropped)


def _same(key: tuple[str, ...]) -> str:
    return " AND ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in key)


def _drop_statements(key: tuple[str, ...], ordinal: str, which: Duplicates) -> list[str]:
    """Leave one record of each key; a statement can name a temporary table once, so what is kept stands in another."""
    kept = f"{'MAX' if which == 'last' else 'MIN'}({quoted(ordinal)})"
    twice = f"SELECT {listed(key)}, {kept} AS {quoted(ordinal)} FROM {STAGE} GROUP BY {listed(key)} HAVING COUNT(*) > 1"
    same = " AND ".join(f"s.{quoted(name)} = k.{quoted(name)}" for name in key)
    differs = f"s.{quoted(ordinal)} <> k.{quoted(ordinal)}"
    return [
        f"CREATE TEMPORARY TABLE {_KEPT} ENGINE=InnoDB AS {twice}",
        f"DELETE s FROM {_KEPT} k JOIN {STAGE} s ON {same} WHERE {differs}",
    ]


def _update_statement(table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> str | None:
    changing = [name for name in columns if name not in key]
    if not changing:
        return None
    sets = ", ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in changing)
    differs = " OR ".join(_differs(table.column(name)) for name in changing)
    return f"UPDATE {table.name.sql} t JOIN {STAGE} s ON {_same(key)} SET {sets} WHERE {differs}"


def _known_statement(table: Table, key: tuple[str, ...]) -> str:
    return f"DELETE s FROM {STAGE} s JOIN {table.name.sql} t ON {_same(key)}"


def append_statement(table: Table, columns: tuple[str, ...]) -> str:
    """Write what appends the staged rows.

    :param table: the target
    :param columns: the columns of the input
    """
    return f"INSERT INTO {table.name.sql} ({listed(columns)}) SELECT {listed(columns)} FROM {STAGE}"


def _differs(column: Column) -> str:
    one, other = f"t.{quoted(column.name)}", f"s.{quoted(column.name)}"
    if column.text:  # a collation may find texts equal that are not
        return f"NOT (CAST({one} AS BINARY) <=> CAST({other} AS BINARY))"
    return f"NOT ({one} <=> {other})"


def _refuse_nulls(session: MySqlSession, key: tuple[str, ...]) -> None:
    counts = ", ".join(f"COUNT(*) - COUNT({quoted(name)})" for name in key)
    for name, count in zip(key, session.query(f"SELECT {counts} FROM {STAGE}")[0], strict=True):
        if count:
            raise DataError(f"key: column {name!r} is NULL in {count:,} records of the input", column=name)


def _refuse_duplicates(session: MySqlSession, key: tuple[str, ...]) -> None:
    twice = f"SELECT {listed(key)}, COUNT(*) FROM {STAGE} GROUP BY {listed(key)} HAVING COUNT(*) > 1"
    rows = session.query(f"{twice} LIMIT 3")
    if rows:
        [(keys,)] = session.query(f"SELECT COUNT(*) FROM ({twice}) AS twice")
        examples = "; ".join(f"({shown([str(v) for v in row[:-1]])}) {row[-1]} times" for row in rows)
        raise DataError(
            f"key ({shown(key)}) is not unique in the input: {keys:,} keys stand more than once: {examples}",
            column=key[0],
            value=", ".join(str(value) for value in rows[0][:-1])[:200],
        )


def _refuse_ambiguous(session: MySqlSession, table: Table, key: tuple[str, ...]) -> None:
    keys = ", ".join(f"s.{quoted(name)}" for name in key)
    rows = session.query(
        f"SELECT {keys}, COUNT(*) FROM {STAGE} s JOIN {table.name.sql} t ON {_same(key)} "
        f"GROUP BY {keys} HAVING COUNT(*) > 1 LIMIT 1"
    )
    if rows:
        value = ", ".join(str(value) for value in rows[0][:-1])
        raise DataError(
            f"key ({shown(key)}) is not unique in table {table.name}: ({value}) stands there {rows[0][-1]} times",
            column=key[0],
            value=value[:200],
        )
