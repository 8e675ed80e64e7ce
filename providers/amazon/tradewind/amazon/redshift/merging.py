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
from tradewind.operators.names import shown
from tradewind.operators.tables.load import Merged

if TYPE_CHECKING:
    from tradewind.amazon.redshift.sessions import Session

STAGE = '"tradewind_stage"'


def stage_statement(table: Table, columns: Sequence[str]) -> str:
    """Write what makes the temporary table: the input's columns, with the target's types.

    :param table: the target
    :param columns: the columns of the input
    """
    return f"CREATE TEMPORARY TABLE {STAGE} AS SELECT {listed(list(columns))} FROM {table.name.sql} WHERE FALSE"


def append_statement(table: Table, columns: Sequence[str]) -> str:
    """Write what appends the staged rows.

    :param table: the target
    :param columns: the columns of the input
    """
    names = listed(list(columns))
    return f"INSERT INTO {table.name.sql} ({names}) SELECT {names} FROM {STAGE}"


def merge_statements(table: Table, columns: Sequence[str], key: Sequence[str]) -> list[str]:
    """Write what merges the staged rows: equal ones leave the stage, then changed ones, the rest is inserted.

    :param table: the target
    :param columns: the columns of the input
    :param key: those that identify a row
    """
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
    session: Session, table: Table, columns: Sequence[str], key: Sequence[str], look: Callable[[], None]
) -> Merged:
    """Merge the staged rows.

    :param session: the load's transaction
    :param table: the target
    :param columns: the columns of the input
    :param key: those that identify a row
    :param look: called when nothing is written yet
    :raises DataError: where a key is NULL or stands twice, in the input or in the table
    """
    _refuse_nulls(session, key)
    _refuse_twice(session, f"SELECT {listed(list(key))} FROM {STAGE}", key, "in the input")
    own = listed(list(key), f"{quoted(table.name.table)}.")
    matched = f"SELECT {own} FROM {table.name.sql} JOIN {STAGE} ON {_same_key(table, key)}"
    _refuse_twice(session, matched, key, f"in table {table.name}, which does not enforce it")
    look()
    statements = merge_statements(table, columns, key)
    unchanged = session.execute(statements[0])
    updated = session.execute(statements[1]) if len(statements) > 2 else 0
    if len(statements) > 2:
        session.execute(statements[2])
    return Merged(session.execute(statements[-1]), updated, unchanged)


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
