# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Columns made in the server from a file's fields: chosen, cast, and constants beside them.

The records go into a temporary table of texts as they are, and from there as values into the target: measured on a
year of flights, the server does so in a fourth of the time that casting them on the way takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradewind.hooks.libpq.names import listed, literal, quoted
from tradewind.operators.casts import Cast
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.projection import Output
from tradewind.postgres.catalog import Column, Table
from tradewind.postgres.merging import overriding

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession

_FIELDS = '"pg_temp"."tradewind_fields"'
_TYPES = {"double": "double precision", "decimal": "numeric", "bytes": "bytea"}


class Fields:
    """The temporary table that takes the records of a file, and what its fields become.

    :param session: the load's transaction
    :param into: the table that the columns go to, quoted
    :param table: what the catalog says about the target
    :param columns: its columns, in the order of the outputs
    :param outputs: what they are made from
    :param width: how many fields a record has
    :param dialect: how the records are written
    """

    def __init__(
        self,
        session: LibpqSession,
        into: str,
        table: Table,
        columns: tuple[str, ...],
        outputs: Sequence[Output],
        width: int,
        dialect: CsvDialect,
    ) -> None:
        self._session = session
        self.sql = _FIELDS
        self.names = tuple(f"f{number}" for number in range(1, width + 1))
        values = [
            _value(output, table.column(name), empty_is_null=dialect.null == "")
            for output, name in zip(outputs, columns, strict=True)
        ]
        self._move = (
            f"INSERT INTO {into} ({listed(columns)}) {overriding(table, columns)}"
            f"SELECT {', '.join(values)} FROM {_FIELDS}"
        )
        texts = ", ".join(f"{quoted(name)} text" for name in self.names)
        self._make = f"CREATE TEMPORARY TABLE tradewind_fields ({texts}) ON COMMIT DROP"

    @property
    def statements(self) -> tuple[str, str]:
        """What runs before the records come, and what runs after them."""
        return self._make, self._move

    def make(self) -> None:
        """Make the table anew."""
        self._session.execute(f"DROP TABLE IF EXISTS {_FIELDS}")
        self._session.execute(self._make)

    def move(self) -> None:
        """Bring the records into the target, in their order, and empty the table.

        :raises DataError: where a field is no value of its type or column; nobody tells in which record
        """
        self._session.execute(self._move)
        self._session.execute(f"TRUNCATE {_FIELDS}")


def _value(output: Output, column: Column, *, empty_is_null: bool) -> str:
    """Write what a column is made from, as COPY itself would read it."""
    if output.field is None:
        value = "NULL" if output.value is None else literal(output.value)
    else:
        value = quoted(f"f{output.index + 1}")
        if empty_is_null and (column.never_empty or (output.cast is not None and output.cast.never_empty)):
            value = f"nullif({value}, '')"
    if output.cast is not None:
        value = cast_value(value, output.cast)
    # Texts are left to the assignment, which refuses what is too long: an explicit cast would cut it.
    return value if column.category == "S" else f"({value})::{column.base}"


def cast_value(value: str, cast: Cast) -> str:
    """Write a cast.

    :param value: a text in SQL
    :param cast: the type
    """
    if cast.kind == "bytes":
        return f"CASE WHEN left({value}, 2) = '\\x' THEN ({value})::bytea ELSE convert_to({value}, 'UTF8') END"
    return f"({value})::{type_sql(cast)}"


def type_sql(cast: Cast) -> str:
    """Write a type.

    :param cast: the type
    """
    digits = "" if cast.precision is None else f"({cast.precision}, {cast.scale})"
    return f"{_TYPES.get(cast.kind, cast.kind)}{digits}"
