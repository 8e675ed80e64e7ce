"""The statements that bring records into a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from tradewind.mysql.catalog import Column
from tradewind.mysql.names import quoted
from tradewind.mysql.values import literal
from tradewind.operators.types import ColumnType, TypeKind

if TYPE_CHECKING:
    from tradewind.operators.casts import Cast
    from tradewind.operators.formats.csv.records import CsvInput
    from tradewind.operators.projection import Output

# What such a field holds has no zone for sure: nothing is looked for in it, which takes the server as long as the load.
_WITHOUT_ZONE = frozenset(("timestamp", "date"))
_DIGITS = frozenset(("smallint", "integer", "bigint"))
# What a field that comes bare holds, by what it held.
_BARE: Mapping[TypeKind, ColumnType] = {"timestamptz": ColumnType("timestamp"), "boolean": ColumnType("smallint")}
_TYPES = {"date": "DATE", "time": "TIME(6)", "timestamp": "DATETIME(6)"}


def expression(column: Column, value: str, *, forced: bool, kind: ColumnType | None = None) -> str | None:
    """Write what a field becomes where the server would not read it as other databases write it, else nothing.

    :param column: where it goes
    :param value: the field in SQL, a text or NULL
    :param forced: whether an empty text is NULL in a column of numbers or times
    :param kind: what the field holds, None where nobody knows: a text is never guessed to be bytes
    """
    if column.bytes and kind is not None and kind.kind == "bytes":
        return f"UNHEX(SUBSTR({value}, 3))"
    text = f"NULLIF({value}, '')" if forced and _forces(column, kind) else value
    if column.boolean and (kind is None or kind.kind not in _DIGITS):
        return _truth(value, text)
    if column.moment and (kind is None or kind.kind not in _WITHOUT_ZONE):
        return _moment(value, text)
    return None if text == value else text


def _forces(column: Column, kind: ColumnType | None) -> bool:
    """Say whether an empty text may come that the column cannot hold."""
    return column.never_empty and (kind is None or kind.kind == "text")


def _truth(value: str, otherwise: str) -> str:
    """Write the words for true and false as numbers."""
    true, false = "('t', 'true', 'y', 'yes', 'on')", "('f', 'false', 'n', 'no', 'off')"
    return f"CASE WHEN LOWER({value}) IN {true} THEN '1' WHEN LOWER({value}) IN {false} THEN '0' ELSE {otherwise} END"


def _moment(value: str, text: str) -> str:
    """Write a time with a zone as UTC, the session's: MySQL knows no Z, and MariaDB no offset.

    CONVERT_TZ leaves times outside 1970 to 2038 as they are; subtraction does not.
    """
    return _zoned(value, text, "DATE_SUB({time}, INTERVAL {offset} {unit})")


def _wall_clock(value: str, text: str) -> str:
    """Write a time as it is told, without its zone, as PostgreSQL casts it."""
    return _zoned(value, text, "{time}")


def _zoned(value: str, otherwise: str, made: str) -> str:
    """Write what becomes of a time with a zone.

    :param value: a text in SQL
    :param otherwise: what stands for one without
    :param made: what stands for one with an offset, in SQL, of ``time``, ``offset`` and its ``unit``
    """
    length = f"CHAR_LENGTH({value})"
    cases = [
        f"WHEN RIGHT({value}, 1) = 'Z' THEN LEFT({value}, {length} - 1)",
        f"WHEN RIGHT({value}, 3) = '+00' AND {length} > 13 THEN LEFT({value}, {length} - 3)",  # the same, but soon told
    ]
    for size, shortest, unit, digits in ((6, 16, "HOUR_MINUTE", "[0-9]{2}:[0-9]{2}"), (3, 13, "HOUR", "[0-9]{2}")):
        offset = f"RIGHT({value}, {size})"
        cases.append(
            f"WHEN SUBSTR({value}, -{size}, 1) IN ('+', '-') AND {length} > {shortest} "
            f"AND {offset} REGEXP '^[-+]{digits}$' "
            f"THEN {made.format(time=f'LEFT({value}, {length} - {size})', offset=offset, unit=unit)}"
        )
    return f"CASE {' '.join(cases)} ELSE {otherwise} END"


class Value(NamedTuple):
    """What goes into a column.

    :param column: the column
    :param field: which field it is made from, counted from 0, None for a constant
    :param made: what becomes of it, None where the field goes in as it is
    """

    column: Column
    field: int | None
    made: str | None

    def sql(self, names: Sequence[str]) -> str:
        """Write it.

        :param names: what SQL calls the fields of a record
        """
        return names[self.field] if self.made is None and self.field is not None else self.made or "NULL"


@dataclass(frozen=True)
class Into:
    """Where records go.

    :param table: the table, quoted
    :param columns: its columns in the order of the fields, or of the outputs
    :param delimiter: what stands between the fields
    :param outputs: what the columns are made from, None where each field is one
    :param width: how many fields a record has
    :param types: what the columns are given, each None where nobody knows
    """

    table: str
    columns: tuple[Column, ...]
    delimiter: str
    outputs: tuple[Output, ...] | None = None
    width: int = 0
    types: tuple[ColumnType | None, ...] = ()

    @classmethod
    def of(cls, source: CsvInput, table: str, columns: tuple[Column, ...]) -> Into:
        """Say where the records of an input go.

        :param source: the input, its header read
        :param table: the table, quoted
        :param columns: its columns, in the order of what the source gives
        """
        width = len(columns) if source.outputs is None else len(source.fields or ())
        return cls(table, columns, "", source.outputs, width, source.types or (None,) * len(columns))

    @property
    def forces(self) -> bool:
        """Whether a column has no empty text, so that one in quotes stands for NULL."""
        casts = any(output.cast and output.cast.never_empty for output in self.outputs or ())
        return casts or any(map(_forces, self.columns, self.types))

    def bare(self) -> tuple[frozenset[int], Into]:
        """Say which fields are best asked for bare, by their numbers from 0, and where the records go then."""
        outputs = self.outputs or (None,) * len(self.columns)
        fields: dict[int, bool] = {}
        for at, (output, column, kind) in enumerate(zip(outputs, self.columns, self.types, strict=True)):
            field = at if output is None else output.index
            fits = kind is not None and (column.moment, column.boolean)[kind.kind == "boolean"] and kind.kind in _BARE
            fields[field] = fields.get(field, True) and bool(fits) and not (output and output.cast)
        wanted = frozenset(field for field, fits in fields.items() if fits and field >= 0)
        types = tuple(
            _BARE[kind.kind] if kind and (at if output is None else output.index) in wanted else kind
            for at, (output, kind) in enumerate(zip(outputs, self.types, strict=True))
        )
        return wanted, replace(self, types=types)

    def values(self, names: Sequence[str], *, forced: bool) -> list[Value]:
        """Say what goes into each column.

        :param names: what SQL calls the fields of a record
        :param forced: whether empty texts are NULL where they can be nothing else
        """
        if self.outputs is None:
            return [
                Value(column, field, expression(column, name, forced=forced, kind=kind))
                for field, (column, name, kind) in enumerate(zip(self.columns, names, self.types, strict=True))
            ]
        return [
            _value(output, column, names, kind, forced=forced)
            for output, column, kind in zip(self.outputs, self.columns, self.types, strict=True)
        ]

    def load(self, *, forced: bool) -> str:
        """Write the LOAD DATA that takes text as :mod:`tradewind.mysql.text_format` writes it.

        :param forced: whether empty texts are NULL where they can be nothing else
        """
        fields = [f"@c{number}" for number in range(1, self.width + 1)]
        sets = []
        for value in self.values(tuple(fields), forced=forced):
            if value.made is None and value.field is not None:
                fields[value.field] = quoted(value.column.name)
            else:
                sets.append(f"{quoted(value.column.name)} = {value.made}")
        return (
            f"LOAD DATA LOCAL INFILE 'stream' INTO TABLE {self.table} CHARACTER SET utf8mb4 "
            f"FIELDS TERMINATED BY {literal(self.delimiter)} ENCLOSED BY '' ESCAPED BY '\\\\' "
            f"LINES TERMINATED BY '\\n' ({', '.join(fields)}){' SET ' if sets else ''}{', '.join(sets)}"
        )


def _value(output: Output, column: Column, names: Sequence[str], kind: ColumnType | None, *, forced: bool) -> Value:
    if output.field is None:
        text = literal(output.value)
        return Value(column, None, expression(column, text, forced=True) or text)
    name = names[output.index]
    if output.cast is None or output.cast.kind == "text":
        return Value(column, output.index, expression(column, name, forced=forced, kind=kind))
    return Value(column, output.index, cast_value(name, output.cast, forced=forced))


def cast_value(value: str, cast: Cast, *, forced: bool) -> str:
    """Write a cast; what is no value of the type is warned of, which a load takes for an error.

    :param value: a text in SQL
    :param cast: the type
    :param forced: whether an empty text is NULL
    """
    text = f"NULLIF({value}, '')" if forced and cast.never_empty else value
    if cast.kind == "boolean":
        return _truth(value, f"CAST({text} AS SIGNED)")
    if cast.kind in ("integer", "bigint"):
        return f"CAST({text} AS SIGNED)"
    if cast.kind == "decimal" and cast.precision is not None:
        return f"CAST({text} AS DECIMAL({cast.precision}, {cast.scale}))"
    if cast.kind == "double":
        return f"{text} + 0e0"
    if cast.kind == "timestamptz":
        return f"CAST({_moment(value, text)} AS DATETIME(6))"
    if cast.kind in _TYPES:
        return f"CAST({_wall_clock(value, text)} AS {_TYPES[cast.kind]})"
    if cast.kind == "bytes":
        written = f"LEFT({value}, 2) = '\\\\x' AND SUBSTR({value}, 3) REGEXP '^([0-9A-Fa-f]{{2}})*$'"
        return f"CASE WHEN {written} THEN UNHEX(SUBSTR({value}, 3)) ELSE CAST({value} AS BINARY) END"
    return text
