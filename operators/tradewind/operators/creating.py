"""What a table is made from: the columns of an input and their kinds."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.csv_records import delimiter_hint, open_csv
from tradewind.operators.ends import Part
from tradewind.operators.inference import SAMPLE_BYTES, Kind, infer, joined
from tradewind.operators.names import shown


def column_kinds(parts: Sequence[Part], table: str) -> dict[str, Kind | None]:
    """Tell the kind of each column from the first records of all parts.

    :param parts: the input
    :param table: the table to be made, for messages
    :return: a kind for each column, None where all values are NULL
    :raises DataError: where the input names no columns
    """
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
    if not kinds:
        raise DataError(f"create=True: no part of the input has a header, so table {table} cannot be made from it")
    return kinds


def key_columns(key: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the key's columns as the input spells them.

    :param key: the key, as the author wrote it
    :param columns: the columns of the input
    :raises InvalidArgument: where the input lacks one
    """
    by_fold = {column.casefold(): column for column in columns}
    missing = [column for column in key if column not in columns and column.casefold() not in by_fold]
    if missing:
        raise InvalidArgument(f"key: the input has no column {missing[0]!r}: it has {shown(columns)}")
    return [column if column in columns else by_fold[column.casefold()] for column in key]
