"""Making a table from the input of its first load."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.operators.csv_records import delimiter_hint, open_csv
from tradewind.operators.inference import SAMPLE_BYTES, Kind, infer, joined
from tradewind.postgres.catalog import Table, existing_table, find_table
from tradewind.postgres.names import TableName, listed, quoted, shown

if TYPE_CHECKING:
    from tradewind.operators.ends import Part
    from tradewind.postgres.session import PostgresSession

log = logging.getLogger(__name__)

_TYPES: dict[Kind | None, str] = {"double": "double precision", None: "text"}
# NAMEDATALEN - 1: a longer name would be cut without a word.
_NAME_BYTES = 63


def ensure_table(session: PostgresSession, name: TableName, parts: Sequence[Part], key: tuple[str, ...]) -> Table:
    """Return the table, made from the input where it is not there.

    :param session: the load's transaction, in which the table is made
    :param name: the table
    :param parts: the input
    :param key: the columns that become the primary key
    :raises DataError: where the input names no columns
    """
    if table := find_table(session, name):
        return table
    session.execute("SELECT pg_advisory_xact_lock(hashtext(%s), 7217)", [name.sql])
    if table := find_table(session, name):
        return table
    if name.schema and not session.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name.schema]):
        raise NotFound(f"{session.describe}: there is no schema {name.schema}: create it first")
    kinds = _kinds(parts)
    if not kinds:
        raise DataError(f"create=True: no part of the input has a header, so table {name} cannot be made from it")
    statement = _statement(name, kinds, key)
    session.execute(statement)
    log.info("created the table from the input's first records: %s", statement)
    return existing_table(session, name)


def _kinds(parts: Sequence[Part]) -> dict[str, Kind | None]:
    kinds: dict[str, Kind | None] = {}
    for part in parts:
        source = open_csv(part)
        try:
            if source.names is None:
                continue
            hint = delimiter_hint(source.names, source.dialect)
            if hint:
                raise DataError(f"{source.name}: {hint}", source=source.name, line=1)
            for column, kind in zip(source.names, infer(source, max(SAMPLE_BYTES // len(parts), 1 << 18)), strict=True):
                kinds[column] = joined(kinds.get(column), kind)
        finally:
            source.close()
    return kinds


def _statement(name: TableName, kinds: dict[str, Kind | None], key: tuple[str, ...]) -> str:
    by_fold = {column.casefold(): column for column in kinds}
    missing = [column for column in key if column not in kinds and column.casefold() not in by_fold]
    if missing:
        raise InvalidArgument(f"key: the input has no column {missing[0]!r}: it has {shown(tuple(kinds))}")
    long = next((column for column in kinds if len(column.encode()) > _NAME_BYTES), None)
    if long:
        raise DataError(
            f"column name {long!r} is longer than the {_NAME_BYTES} bytes that PostgreSQL keeps", column=long
        )
    columns = [f"{quoted(column)} {_TYPES.get(kind, kind)}" for column, kind in kinds.items()]
    if key:
        columns.append(f"PRIMARY KEY ({listed([c if c in kinds else by_fold[c.casefold()] for c in key])})")
    return f"CREATE TABLE {name.sql} ({', '.join(columns)})"
