# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Merging staged rows into a table: new keys are inserted, changed rows are updated, equal ones are left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.operators.ends import Duplicates
from tradewind.operators.names import shown
from tradewind.operators.tables.load import Merged
from tradewind.snowflake.catalog import Table
from tradewind.snowflake.copying import FILE_ORDINAL, ROW_ORDINAL
from tradewind.snowflake.names import TableName, listed, quoted

if TYPE_CHECKING:
    from tradewind.snowflake.session import SnowflakeSession


def stage_statement(table: Table, stage: TableName, columns: tuple[str, ...], *, numbered: bool) -> str:
    """Write what makes the temporary table for the input: the target's types, and any value may be missing.

    :param table: the target
    :param stage: the temporary table
    :param columns: the columns of the input
    :param numbered: whether the records are numbered as they come
    """
    texts = [f"{quoted(name)} {table.column(name).whole_type}" for name in columns]
    texts += [f"{quoted(FILE_ORDINAL)} VARCHAR", f"{quoted(ROW_ORDINAL)} NUMBER(19,0)"] if numbered else []
    return f"CREATE TEMPORARY TABLE {stage.sql} ({', '.join(texts)})"


def append_statement(table: Table, stage: TableName, columns: tuple[str, ...]) -> str:
    """Write what appends the staged rows.

    :param table: the target
    :param stage: the temporary table
    :param columns: the columns of the input
    """
    return f"INSERT INTO {table.name.sql} ({listed(columns)}) SELECT {listed(columns)} FROM {stage.sql}"


def merge_statements(
    table: Table, stage: TableName, columns: tuple[str, ...], key: tuple[str, ...], duplicates: Duplicates = "error"
) -> list[str]:
    """Write what merges the staged rows.

    :param table: the target
    :param stage: the temporary table
    :param columns: the columns of the input
    :param key: those that identify a row
    :param duplicates: which record of a key counts
    """
    first = [] if duplicates == "error" else [_drop_statement(stage, key, duplicates)]
    changing = [name for name in columns if name not in key]
    update = ""
    if changing:
        differs = " OR ".join(f"t.{quoted(name)} IS DISTINCT FROM s.{quoted(name)}" for name in changing)
        sets = ", ".join(f"{quoted(name)} = s.{quoted(name)}" for name in changing)
        update = f" WHEN MATCHED AND ({differs}) THEN UPDATE SET {sets}"
    return [
        *first,
        f"MERGE INTO {table.name.sql} AS t USING {stage.sql} AS s ON {_same(key)}{update} "
        f"WHEN NOT MATCHED THEN INSERT ({listed(columns)}) VALUES ({listed(columns, 's.')})",
    ]


def merge(
    session: SnowflakeSession,
    table: Table,
    stage: TableName,
    columns: tuple[str, ...],
    key: tuple[str, ...],
    duplicates: Duplicates = "error",
    look: Callable[[], None] = lambda: None,
) -> Merged:
    """Merge the staged rows.

    :param session: the load's transaction
    :param table: the target
    :param stage: the temporary table
    :param columns: the columns of the input
    :param key: those that identify a row
    :param duplicates: which record of a key counts; the stage must be numbered for the last or the first
    :param look: called when the stage holds the records that count, and nothing is written yet
    :raises DataError: where a key is NULL or stands twice, in the input or in the table
    """
    staged = _count_with_keys(session, stage, key)
    dropped = 0
    *drop, statement = merge_statements(table, stage, columns, key, duplicates)
    if drop:
        dropped = session.execute(drop[0])
    else:
        _refuse_duplicates(session, stage, key)
    look()
    _refuse_ambiguous(session, table, stage, key)
    inserted, updated = session.run(statement, None, _counts)
    return Merged(inserted, updated, staged - dropped - inserted - updated, dropped)


def _counts(cursor: object) -> tuple[int, int]:
    """Read what a MERGE did: it names only what it can do."""
    names = [column[0].lower() for column in cursor.description]  # type: ignore[attr-defined]
    found = dict(zip(names, cursor.fetchone(), strict=True))  # type: ignore[attr-defined]
    return int(found.get("number of rows inserted") or 0), int(found.get("number of rows updated") or 0)


def _same(key: tuple[str, ...]) -> str:
    return " AND ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in key)


def _drop_statement(stage: TableName, key: tuple[str, ...], which: Duplicates) -> str:
    down = " DESC" if which == "last" else ""
    order = f"{quoted(FILE_ORDINAL)}{down}, {quoted(ROW_ORDINAL)}{down}"
    number = f"ROW_NUMBER() OVER (PARTITION BY {listed(key)} ORDER BY {order})"
    others = (
        f"SELECT {quoted(FILE_ORDINAL)} AS k_file, {quoted(ROW_ORDINAL)} AS k_row FROM {stage.sql} QUALIFY {number} > 1"
    )
    same = f"{quoted(FILE_ORDINAL)} = k.k_file AND {quoted(ROW_ORDINAL)} = k.k_row"
    return f"DELETE FROM {stage.sql} USING ({others}) AS k WHERE {same}"


def _count_with_keys(session: SnowflakeSession, stage: TableName, key: tuple[str, ...]) -> int:
    """Count the staged rows, and refuse a key that is NULL in one of them."""
    counts = ", ".join(f"COUNT(*) - COUNT({quoted(name)})" for name in key)
    staged, *nulls = session.query(f"SELECT COUNT(*), {counts} FROM {stage.sql}")[0]
    for name, count in zip(key, nulls, strict=True):
        if count:
            raise DataError(f"key: column {name!r} is NULL in {count:,} records of the input", column=name)
    return int(staged)


def _refuse_duplicates(session: SnowflakeSession, stage: TableName, key: tuple[str, ...]) -> None:
    twice = f"SELECT {listed(key)}, COUNT(*) AS n FROM {stage.sql} GROUP BY {listed(key)} HAVING COUNT(*) > 1"
    rows = session.query(f"{twice} LIMIT 3")
    if rows:
        [(keys,)] = session.query(f"SELECT COUNT(*) FROM ({twice}) AS twice")
        examples = "; ".join(f"({shown([str(v) for v in row[:-1]])}) {row[-1]} times" for row in rows)
        raise DataError(
            f"key ({shown(key)}) is not unique in the input: {keys:,} keys stand more than once: {examples}",
            column=key[0],
            value=", ".join(str(value) for value in rows[0][:-1])[:200],
        )


def _refuse_ambiguous(session: SnowflakeSession, table: Table, stage: TableName, key: tuple[str, ...]) -> None:
    keys = listed(key, "s.")
    rows = session.query(
        f"SELECT {keys}, COUNT(*) AS n FROM {stage.sql} AS s JOIN {table.name.sql} AS t ON {_same(key)} "
        f"GROUP BY {keys} HAVING COUNT(*) > 1 LIMIT 1"
    )
    if rows:
        value = ", ".join(str(value) for value in rows[0][:-1])
        raise DataError(
            f"key ({shown(key)}) is not unique in table {table.name}: ({value}) stands there {rows[0][-1]} times",
            column=key[0],
            value=value[:200],
        )
