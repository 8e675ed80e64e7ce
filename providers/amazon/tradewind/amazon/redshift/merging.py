# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Merging staged rows into a table: new keys are inserted, changed rows are updated, equal ones are left alone.

Redshift enforces no key. That one stands twice in the table is looked for, and refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tradewind.amazon.redshift.catalog import Table
from tradewind.hooks.errors import DataError
from tradewind.hooks.libpq.names import listed, quoted
from tradewind.operators.ends import Duplicates
from tradewind.operators.names import shown
from tradewind.operators.tables.columns import ordinal_column
from tradewind.operators.tables.load import Merged

if TYPE_CHECKING:
    from tradewind.amazon.redshift.sessions import Session

STAGE = '"tradewind_stage"'
_KEPT = '"tradewind_kept"'


def stage_statement(table: Table, columns: Sequence[str], *, numbered: bool = False) -> str:
    """Write what makes the temporary table: the input's columns, with the target's types.

    :param table: the target
    :param columns: the columns of the input
    :param numbered: whether the records come with a number
    """
    ordinal = f"CAST(0 AS bigint) AS {quoted(ordinal_column(table))}, " if numbered else ""
    names = listed(list(columns))
    return f"CREATE TEMPORARY TABLE {STAGE} AS SELECT {ordinal}{names} FROM {table.name.sql} WHERE FALSE"


def append_statement(table: Table, columns: Sequence[str]) -> str:
    """Write what appends the staged rows.

    :param table: the target
    :param columns: the columns of the input
    """
    names = listed(list(columns))
    return f"INSERT INTO {table.name.sql} ({names}) SELECT {names} FROM {STAGE}"


def drop_statements(table: Table, key: Sequence[str], which: Duplicates) -> list[str]:
    """Write what leaves one record of each key in the stage.

    :param table: the target
    :param key: the columns that identify a row
    :param which: which record of a key counts
    """
    names, ordinal = listed(list(key)), quoted(ordinal_column(table))
    kept = f"{'MAX' if which == 'last' else 'MIN'}({ordinal})"
    same = " AND ".join(f"{STAGE}.{quoted(name)} = {_KEPT}.{quoted(name)}" for name in key)
    return [
        f"CREATE TEMPORARY TABLE {_KEPT} AS SELECT {names}, {kept} AS {ordinal} FROM {STAGE} GROUP BY {names} "
        "HAVING COUNT(*) > 1",
        f"DELETE FROM {STAGE} USING {_KEPT} WHERE {same} AND {STAGE}.{ordinal} <> {_KEPT}.{ordinal}",
    ]


def merge_statements(
    table: Table, columns: Sequence[str], key: Sequence[str], duplicates: Duplicates = "error"
) -> list[str]:
    """Write what merges the staged rows: equal ones leave the stage, then changed ones, the rest is inserted.

    :param table: the target
    :param columns: the columns of the input
    :param key: those that identify a row
    :param duplicates: which record of a key counts
    """
    first = [] if duplicates == "error" else drop_statements(table, key, duplicates)
    return [*first, *_write_statements(table, columns, key)]


def _write_statements(table: Table, columns: Sequence[str], key: Sequence[str]) -> list[str]:
    target, same_key = table.name.sql, _same_key(table, key)
    others = [name for name in columns if name not in key]
    equal = [same_key, *(_equal(table, name) for name in others)]
    statements = [f"DELETE FROM {STAGE} USING {target} WHERE {' AND '.join(equal)}"]
    if others:
        changes = ", ".join(f"{quoted(name)} = {STAGE}.{quoted(name)}" for name in others)
        statements.append(f"UPDATE {target} SET {changes} FROM {STAGE} WHERE {same_key}")
        statements.append(f"DELETE FROM {STAGE} USING {target} WHERE {same_key}")
    return [*statements, append_statement(table, columns)]


def merge(
    session: Session,
    table: Table,
    columns: Sequence[str],
    key: Sequence[str],
    duplicates: Duplicates,
    look: Callable[[], None],
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
        _refuse_twice(session, f"SELECT {listed(list(key))} FROM {STAGE}", key, "in the input")
    else:
        kept, drop = drop_statements(table, key, duplicates)
        session.execute(kept)
        dropped = session.execute(drop)
    own = listed(list(key), f"{quoted(table.name.table)}.")
    matched = f"SELECT {own} FROM {table.name.sql} JOIN {STAGE} ON {_same_key(table, key)}"
    _refuse_twice(session, matched, key, f"in table {table.name}, which does not enforce it")
    look()
    statements = _write_statements(table, columns, key)
    unchanged = session.execute(statements[0])
    updated = session.execute(statements[1]) if len(statements) > 2 else 0
    if len(statements) > 2:
        session.execute(statements[2])
    return Merged(session.execute(statements[-1]), updated, unchanged, dropped)


def _same_key(table: Table, key: Sequence[str]) -> str:
    target = quoted(table.name.table)
    return " AND ".join(f"{target}.{quoted(name)} = {STAGE}.{quoted(name)}" for name in key)


def _equal(table: Table, name: str) -> str:
    if not table.column(name).comparable:
        return "FALSE"
    ours, theirs = f"{quoted(table.name.table)}.{quoted(name)}", f"{STAGE}.{quoted(name)}"
    return f"({ours} = {theirs} OR ({ours} IS NULL AND {theirs} IS NULL))"


def _refuse_nulls(session: Session, key: Sequence[str]) -> None:
    counts = ", ".join(f"count(*) - count({quoted(name)})" for name in key)
    for name, count in zip(key, session.query(f"SELECT {counts} FROM {STAGE}")[0], strict=True):
        if count:
            raise DataError(f"key: column {name!r} is NULL in {count:,} records of the input", column=name)


def _refuse_twice(session: Session, query: str, key: Sequence[str], where: str) -> None:
    names = listed(list(key))
    texts = ", ".join(f"{quoted(name)}::varchar" for name in key)
    rows = session.query(
        f"SELECT {texts}, count(*), count(*) OVER () FROM ({query}) AS k GROUP BY {names} HAVING count(*) > 1 LIMIT 3"
    )
    if rows:
        examples = "; ".join(f"({shown([str(v) for v in row[:-2]])}) {row[-2]} times" for row in rows)
        raise DataError(
            f"key ({shown(list(key))}) is not unique {where}: {rows[0][-1]:,} keys stand more than once: {examples}",
            column=key[0],
            value=", ".join(str(value) for value in rows[0][:-2])[:200],
        )
