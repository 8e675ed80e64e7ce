# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Merging staged rows into a table: new keys are inserted, changed rows are updated, equal ones are left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.hooks.libpq.names import listed, quoted
from tradewind.operators.ends import Duplicates
from tradewind.operators.names import shown
from tradewind.operators.tables.columns import ordinal_column
from tradewind.operators.tables.load import Merged
from tradewind.postgres.catalog import Table

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession

STAGE = '"tradewind_stage"'


def stage_statements(table: Table, columns: tuple[str, ...], *, numbered: bool = False) -> list[str]:
    """Write what makes the temporary table for the input; it has the target's types, checks and NOT NULLs.

    The table goes with the transaction.

    :param table: the target
    :param columns: the columns of the input: only they must have values
    :param numbered: whether the records are numbered as they come
    """
    generated = " INCLUDING GENERATED" if any(column.generated for column in table.columns) else ""
    ordinal = f", {quoted(ordinal_column(table))} bigserial" if numbered else ""
    others = [column.name for column in table.columns if column.name not in columns and not column.generated]
    free = (f"ALTER {quoted(name)} DROP NOT NULL, ALTER {quoted(name)} DROP DEFAULT" for name in others)
    return [
        f"CREATE TEMPORARY TABLE {STAGE} "
        f"(LIKE {table.name.sql} INCLUDING DEFAULTS INCLUDING CONSTRAINTS{generated}{ordinal}) ON COMMIT DROP",
        *(f"ALTER TABLE {STAGE} {change}" for change in free),
    ]


def merge_statements(
    table: Table, columns: tuple[str, ...], key: tuple[str, ...], duplicates: Duplicates = "error"
) -> list[str]:
    """Write what merges the staged rows.

    :param table: the target
    :param columns: the columns of the input
    :param key: those that identify a row
    :param duplicates: which record of a key counts
    """
    first = [] if duplicates == "error" else [_drop_statement(key, ordinal_column(table), duplicates)]
    if _has_index(table, key):
        return [*first, _upsert_statement(table, columns, key)]
    update = _update_statement(table, columns, key)
    return [*first, lock_statement(table), *([update] if update else []), _insert_statement(table, columns, key)]


def lock_statement(table: Table) -> str:
    """Write what keeps other writers out and lets readers pass.

    :param table: the target
    """
    return f"LOCK TABLE {table.name.sql} IN SHARE ROW EXCLUSIVE MODE"


def merge(
    session: LibpqSession,
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
    session.execute(f"ANALYZE {STAGE}")
    staged = _count_with_keys(session, key)
    dropped = 0
    if duplicates == "error":
        _refuse_duplicates(session, key)
    else:
        dropped = session.execute(_drop_statement(key, ordinal_column(table), duplicates))
    look()
    if _has_index(table, key):
        inserted, updated = session.query(_upsert_statement(table, columns, key))[0]
    else:
        inserted, updated = _under_lock(session, table, columns, key)
    return Merged(inserted, updated, staged - dropped - inserted - updated, dropped)


def append_statement(table: Table, columns: tuple[str, ...]) -> str:
    """Write what appends the staged rows.

    :param table: the target
    :param columns: the columns of the input
    """
    return (
        f"INSERT INTO {table.name.sql} ({listed(columns)}) {overriding(table, columns)}"
        f"SELECT {listed(columns)} FROM {STAGE}"
    )


def _count_with_keys(session: LibpqSession, key: tuple[str, ...]) -> int:
    """Count the staged rows, and refuse a key that is NULL in one of them."""
    counts = ", ".join(f"count(*) FILTER (WHERE {quoted(name)} IS NULL)" for name in key)
    staged, *nulls = session.query(f"SELECT count(*), {counts} FROM {STAGE}")[0]
    for name, count in zip(key, nulls, strict=True):
        if count:
            raise DataError(f"key: column {name!r} is NULL in {count:,} records of the input", column=name)
    return int(staged)


def _refuse_duplicates(session: LibpqSession, key: tuple[str, ...]) -> None:
    texts = ", ".join(f"{quoted(name)}::text" for name in key)
    rows = session.query(
        f"SELECT {texts}, count(*), count(*) OVER () FROM {STAGE} GROUP BY {listed(key)} HAVING count(*) > 1 LIMIT 3"
    )
    if rows:
        examples = "; ".join(f"({shown([str(v) for v in row[:-2]])}) {row[-2]} times" for row in rows)
        raise DataError(
            f"key ({shown(key)}) is not unique in the input: {rows[0][-1]:,} keys stand more than once: {examples}",
            column=key[0],
            value=", ".join(str(value) for value in rows[0][:-2])[:200],
        )


def _has_index(table: Table, key: tuple[str, ...]) -> bool:
    return frozenset(key) in table.unique and table.kind == "r"


def _drop_statement(key: tuple[str, ...], ordinal: str, which: Duplicates) -> str:
    kept = f"{'max' if which == 'last' else 'min'}({quoted(ordinal)})"
    same = " AND ".join(f"s.{quoted(name)} = k.{quoted(name)}" for name in key)
    return (
        f"DELETE FROM {STAGE} AS s USING (SELECT {listed(key)}, {kept} AS kept FROM {STAGE} GROUP BY {listed(key)} "
        f"HAVING count(*) > 1) AS k WHERE {same} AND s.{quoted(ordinal)} <> k.kept"
    )


def _upsert_statement(table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> str:
    changing = _changing(table, columns, key)
    action = "NOTHING"
    if changing:
        sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in changing)
        action = f"UPDATE SET {sets} WHERE {_differs(table, changing, 't', 'excluded')}"
    # A row that was just inserted has no xmax; one that ON CONFLICT updated was locked first, which sets it.
    return (
        f"WITH written AS (INSERT INTO {table.name.sql} AS t ({listed(columns)}) {overriding(table, columns)}"
        f"SELECT {listed(columns)} FROM {STAGE} ON CONFLICT ({listed(key)}) DO {action} "
        "RETURNING (xmax = 0) AS inserted) "
        "SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM written"
    )


def _under_lock(session: LibpqSession, table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> tuple[int, int]:
    """Merge without an index that ON CONFLICT could use: nobody else may write meanwhile."""
    session.execute(lock_statement(table))
    _refuse_ambiguous(session, table, key, _same(key))
    update = _update_statement(table, columns, key)
    updated = session.execute(update) if update else 0
    return session.execute(_insert_statement(table, columns, key)), updated


def _same(key: tuple[str, ...]) -> str:
    return " AND ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in key)


def _update_statement(table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> str | None:
    changing = _changing(table, columns, key)
    if not changing:
        return None
    sets = ", ".join(f"{quoted(name)} = s.{quoted(name)}" for name in changing)
    return (
        f"UPDATE {table.name.sql} AS t SET {sets} FROM {STAGE} AS s "
        f"WHERE {_same(key)} AND ({_differs(table, changing, 't', 's')})"
    )


def _insert_statement(table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> str:
    return (
        f"INSERT INTO {table.name.sql} ({listed(columns)}) {overriding(table, columns)}"
        f"SELECT {listed(columns, 's.')} FROM {STAGE} AS s "
        f"WHERE NOT EXISTS (SELECT FROM {table.name.sql} AS t WHERE {_same(key)})"
    )


def _refuse_ambiguous(session: LibpqSession, table: Table, key: tuple[str, ...], same: str) -> None:
    texts = ", ".join(f"s.{quoted(name)}::text" for name in key)
    rows = session.query(
        f"SELECT {texts}, count(*) FROM {STAGE} AS s JOIN {table.name.sql} AS t ON {same} "
        f"GROUP BY {listed(key, 's.')} HAVING count(*) > 1 LIMIT 1"
    )
    if rows:
        value = ", ".join(str(value) for value in rows[0][:-1])
        raise DataError(
            f"key ({shown(key)}) is not unique in table {table.name}: ({value}) stands there {rows[0][-1]} times",
            column=key[0],
            value=value[:200],
        )


def _changing(table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> list[str]:
    return [name for name in columns if name not in key and table.column(name).identity != "a"]


def _differs(table: Table, columns: list[str], one: str, other: str) -> str:
    def term(name: str) -> str:
        cast = "" if table.column(name).comparable else "::text"
        return f"{one}.{quoted(name)}{cast} IS DISTINCT FROM {other}.{quoted(name)}{cast}"

    return " OR ".join(term(name) for name in columns)


def overriding(table: Table, columns: tuple[str, ...]) -> str:
    """Write what an INSERT needs to write identity columns as COPY does, else nothing.

    :param table: what is written to
    :param columns: its columns that get values
    """
    always = any(table.column(name).identity == "a" for name in columns)
    return "OVERRIDING SYSTEM VALUE " if always else ""
