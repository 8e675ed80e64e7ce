"""Which column of a table each field of an input goes to, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.hooks.nearest import nearest
from tradewind.operators.formats.csv.records import CsvInput, delimiter_hint
from tradewind.operators.names import shown


class Column(Protocol):
    """A column of a table."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def generated(self) -> bool:
        """Whether it is computed from others."""


class Table(Protocol):
    """A table that is there."""

    @property
    def name(self) -> object:
        """Its name, whose text is for messages."""

    @property
    def columns(self) -> Sequence[Column]:
        """Its columns in order."""

    @property
    def unique(self) -> frozenset[frozenset[str]]:
        """The column sets of its unique indexes."""


def match_columns(source: CsvInput, table: Table) -> tuple[str, ...]:
    """Find the table's column for each field of the input, by name: exactly, else whatever the case.

    :param source: the input, its header read
    :param table: the table
    :return: the table's columns in the order of the fields
    :raises DataError: where a field has no column
    """
    writable = [column.name for column in table.columns if not column.generated]
    if source.names is None:
        return tuple(writable)
    folded: dict[str, list[str]] = {}
    for column in writable:
        folded.setdefault(column.casefold(), []).append(column)
    found: dict[str, str] = {}
    for name in source.names:
        column = name if name in writable else _folded(name, folded, source, table)
        if column in found:
            raise _mismatch(source, name, f"{found[column]!r} and {name!r} are both the column {column!r} of the table")
        found[column] = name
    return tuple(found)


def in_order_of_fields(source: CsvInput, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns in the order of the fields where that is all that has to become of the records.

    :param source: the input, which then needs nothing else
    :param columns: the table's columns, in the order of what the source gives
    """
    outputs = source.outputs
    if outputs is None or any(output.cast for output in outputs):
        return columns
    found = {output.index: column for output, column in zip(outputs, columns, strict=True)}
    if len(found) < len(columns) or sorted(found) != list(range(len(source.fields or ()))):
        return columns
    order = sorted(range(len(outputs)), key=lambda at: outputs[at].index)
    source.outputs, source.names = None, tuple(outputs[at].name for at in order)
    source.types = source.types and tuple(source.types[at] for at in order)
    return tuple(found[index] for index in sorted(found))


def _folded(name: str, folded: dict[str, list[str]], source: CsvInput, table: Table) -> str:
    candidates = folded.get(name.strip().casefold(), [])
    if len(candidates) == 1:
        return candidates[0]
    if len(candidates) > 1:
        raise _mismatch(source, name, f"{name!r} may be any of the table's columns {', '.join(candidates)}")
    if any(column.generated and column.name == name for column in table.columns):
        raise _mismatch(source, name, f"column {name!r} of {table.name} is generated: leave it out of the input")
    hint = delimiter_hint(source.names or (), source.dialect)
    if not hint:
        columns = [column.name for column in table.columns if not column.generated]
        near = nearest(name.strip().casefold(), [text.casefold() for text in columns])
        meant = next((column for column in columns if near and column.casefold() == near[0]), None)
        hint = f"did you mean {meant!r}?" if meant else f"it has {shown(columns)}"
        hint += f" (columns of the input: {shown(source.names or ())})"
    if "\n" in name or "\r" in name:
        hint = f"it goes over a line end: is a quote ({source.dialect.quote}) left open in the header?"
    raise _mismatch(source, name, f"table {table.name} has no column {name!r}: {hint}")


def _mismatch(source: CsvInput, column: str, text: str) -> DataError:
    return DataError(f"{source.name}: {text}", source=source.name, line=1, column=column)


def check_key(key: tuple[str, ...], columns: tuple[str, ...], table: Table, source: str) -> tuple[str, ...]:
    """Return the key's columns as the table spells them.

    :param key: the key, as the author wrote it
    :param columns: the columns of the input
    :param table: the table
    :param source: the input, for messages
    :raises InvalidArgument: where the table or the input lacks one
    """
    found = []
    for name in key:
        try:
            column = find_column(name, table)
        except InvalidArgument as error:
            raise InvalidArgument(f"key: {error}") from None
        if column not in columns:
            raise InvalidArgument(f"key: {source} has no column {column!r}: it has {shown(columns)}")
        found.append(column)
    if len(set(found)) < len(found):
        raise InvalidArgument(f"key names a column twice: {shown(found)}")
    return tuple(found)


def find_column(name: str, table: Table) -> str:
    """Return a column's name as the table spells it: exactly, else whatever the case.

    :param name: the name, as the author wrote it
    :param table: the table
    :raises InvalidArgument: where it has none of that name
    """
    names = {column.name.casefold(): column.name for column in table.columns}
    names |= {column.name: column.name for column in table.columns}
    column = names.get(name) or names.get(name.casefold())
    if column is None:
        near = nearest(name, list(names.values()))
        hint = f": did you mean {near[0]!r}?" if near else f": it has {shown(list(names.values()))}"
        raise InvalidArgument(f"table {table.name} has no column {name!r}{hint}")
    return column


def ordinal_column(table: Table) -> str:
    """Return a name for the column that numbers the records of a merge, which the table itself does not have.

    :param table: the target
    """
    name = "tradewind_ordinal"
    while any(column.name.casefold() == name for column in table.columns):
        name += "_"
    return name
