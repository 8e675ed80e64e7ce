"""What a table is made from: the columns of an input and their types."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.inference import SAMPLE_BYTES, infer
from tradewind.operators.formats.csv.records import delimiter_hint, open_csv, projected_types
from tradewind.operators.names import shown
from tradewind.operators.types import ColumnType, common


def column_types(parts: Sequence[Part], what: str) -> dict[str, ColumnType | None]:
    """Tell the type of each column: from the parts where they know it, else from the first records of all parts.

    :param parts: the input
    :param what: what is to be made from it, for messages
    :return: a type for each column, None where all values are NULL
    :raises DataError: where the input names no columns
    """
    found: dict[str, list[ColumnType | None]] = {}
    for part in parts:
        known = _known(part)
        for column, kind in (known or _inferred(part, max(SAMPLE_BYTES // len(parts), 1 << 18))).items():
            found.setdefault(column, []).append(kind)
    if not found:
        empty = all(part.unit == "record" for part in parts)
        lacks = "the input has no records to name its columns (name them: columns=[...])" if empty else None
        raise DataError(f"{lacks or 'no part of the input has a header'}, so {what} cannot be made from it")
    return {column: common(types) for column, types in found.items()}


def _known(part: Part) -> dict[str, ColumnType | None] | None:
    if part.types is None or part.columns is None:
        return None
    if part.projection is None:
        return dict(zip(part.columns, part.types, strict=True))
    outputs = part.projection.resolve(part.columns, part.name)
    types = projected_types(outputs, part.types)
    return {output.name: found for output, found in zip(outputs, types, strict=True)}


def _inferred(part: Part, limit: int) -> dict[str, ColumnType | None]:
    with contextlib.closing(open_csv(part)) as source:
        if source.names is None:
            return {}
        hint = delimiter_hint(source.names, source.dialect)
        if hint:
            raise DataError(f"{source.name}: {hint}", source=source.name, line=1)
        known = source.types or (None,) * len(source.names)
        kinds = [kind and ColumnType(kind) for kind in infer(source, limit)]
        return {name: one or other for name, one, other in zip(source.names, known, kinds, strict=True)}


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
