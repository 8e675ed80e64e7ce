# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Reading tables and queries: Arrow's batches as they come from the service, written as records of CSV.

What comes out, whatever the account and the connection are set to: numbers with all their digits, moments with a zone
in UTC, BINARY as ``\\x`` and hex digits, VARIANT, OBJECT and ARRAY as JSON. A moment with nanoseconds that are not zero
is an error that names its record, as one of Parquet is.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import DataError, InvalidArgument, SourceChanged
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.projection import Projection
from tradewind.operators.tables.unloads import CopyStream, RowsReading, Sessions
from tradewind.operators.types import Arrays, ColumnType
from tradewind.snowflake.catalog import Table, existing_table, full_name
from tradewind.snowflake.column_types import result_type
from tradewind.snowflake.names import TableName, quoted

if TYPE_CHECKING:
    from tradewind.snowflake.hooks import SnowflakeHook
    from tradewind.snowflake.session import Parameters, SnowflakeSession

_SETTINGS = "ALTER SESSION SET TIMEZONE = 'UTC'"
_ROWS = 4096
"""Rows that are written at once."""


@dataclass(frozen=True)
class ResultColumns:
    """The columns of a result, as :class:`tradewind.operators.formats.parquet.rendering.ArrowColumns` has them.

    :param name: what is read, for messages
    :param columns: their names
    :param types: their types between the ends
    :param schema: what they are in pyarrow
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[ColumnType, ...]
    schema: Any


class SnowflakeReading(RowsReading):
    """The rows of a query, as CSV.

    :param hook: the connection
    :param name: what is read, for messages
    :param sql: the query
    :param parameters: values to bind
    :param projection: what becomes of the columns once they are read
    :param json: columns that hold JSON as a text
    :param sessions: gives the sessions
    """

    def __init__(
        self,
        hook: SnowflakeHook,
        name: str,
        sql: str,
        parameters: Parameters = None,
        *,
        sessions: Sessions[SnowflakeSession],
        projection: Projection | None = None,
        json: frozenset[str] = frozenset(),
    ) -> None:
        self._hook = hook
        self._sessions = sessions
        self._name = name
        self._sql = sql
        self._parameters = parameters
        self._projection = projection
        self._json = json

    @property
    def fingerprint(self) -> str:
        """The text of the query and its parameters: the rows cannot be known before they are read."""
        what = [self._name, self._sql, self._parameters]
        return json.dumps([*what, repr(self._projection)] if self._projection else what, default=str)

    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        """Yield the one part that a query has."""
        made = CsvDialect(header=False, delimiter=dialect.delimiter if dialect else ",")
        with self._sessions.short() as session:
            session.execute(_SETTINGS)
            names, types = self._columns(session)
        yield Part(
            self._name,
            partial(self._open, names, types, made, arrays),
            made,
            names,
            projection=self._projection,
            types=types,
            unit="record",
        )

    def cancel(self) -> None:
        """Stop the query in the service."""
        self._hook.cancel()

    def _columns(self, session: SnowflakeSession) -> tuple[tuple[str, ...], tuple[ColumnType, ...]]:
        """Ask for the columns of the result; nothing is run for it."""
        names, types = result_columns(session, self._name, self._sql, self._parameters)
        types = tuple(
            ColumnType("json") if name in self._json else kind for name, kind in zip(names, types, strict=True)
        )
        return names, types

    def _open(
        self, names: tuple[str, ...], types: tuple[ColumnType, ...], dialect: CsvDialect, arrays: Arrays
    ) -> CopyStream:
        stack, session = self._sessions.take()
        try:
            session.execute(_SETTINGS)
        except BaseException:
            session.close()
            raise
        columns = ResultColumns(self._name, names, types, _schema(names, types))

        def run(file: io.BufferedWriter) -> int:
            return self._write(session, columns, dialect, arrays, file)

        self.stream = CopyStream(run, session.cancel, lambda: _end(session, stack), self._name)
        return self.stream

    def _write(
        self,
        session: SnowflakeSession,
        columns: ResultColumns,
        dialect: CsvDialect,
        arrays: Arrays,
        file: io.BufferedWriter,
    ) -> int:
        """Write the rows of the query; return their number."""
        from tradewind.operators.formats.parquet.rendering import CsvWriter

        write, count = CsvWriter(columns, dialect, arrays), 0
        for table in session.arrow(self._sql, self._parameters):
            self.estimate = max(session.rowcount, 0) or None
            if tuple(table.schema.names) != columns.columns:
                raise SourceChanged(f"{self._name}: its columns changed before it was read")
            for batch in table.to_batches(max_chunksize=_ROWS):
                file.write(write(_as_declared(batch, columns, count)))
                count += batch.num_rows
        return count


def result_columns(
    session: SnowflakeSession, name: str, sql: str, parameters: Parameters
) -> tuple[tuple[str, ...], tuple[ColumnType, ...]]:
    """Ask which columns a query gives, and of which types; it is not run.

    :param session: the connection
    :param name: what is read, for messages
    :param sql: the query
    :param parameters: values to bind
    :raises InvalidArgument: where two have one name, or one is of a type that does not travel
    """
    described = session.columns(sql, parameters)
    names = tuple(str(column[0]) for column in described)
    if len(set(names)) < len(names):
        raise InvalidArgument(f"{name}: two columns have one name: {', '.join(names)}")
    return names, tuple(result_type(column, name) for column in described)


def table_reading(
    hook: SnowflakeHook,
    name: str,
    table: TableName,
    projection: Projection | None,
    sessions: Sessions[SnowflakeSession],
) -> SnowflakeReading:
    """Read a table.

    :param hook: the connection
    :param name: what is read, for messages
    :param table: the table
    :param projection: which columns are wanted: the others are not read
    :param sessions: gives the sessions
    :raises NotFound: where it is not there
    """
    with sessions.short() as session:
        found = existing_table(session, full_name(session, table))
    every = tuple(column.name for column in found.columns)
    wanted = (projection and projection.wanted(every)) or every
    shown = ", ".join(_selected(found, column) for column in wanted)
    made = frozenset(column for column in wanted if found.column(column).semi_structured)
    sql = f"SELECT {shown} FROM {found.name.sql}"
    return SnowflakeReading(hook, name, sql, sessions=sessions, projection=projection, json=made)


def _selected(table: Table, column: str) -> str:
    """Select a column; the service writes JSON over many lines unless it is asked for a text."""
    of = quoted(column)
    return f"TO_JSON({of}) AS {of}" if table.column(column).semi_structured else of


def clean_query(sql: str) -> str:
    """Take the semicolon and blanks off the end of a query.

    :param sql: one SELECT or WITH
    """
    return sql.strip().rstrip(";").rstrip()


def _schema(names: tuple[str, ...], types: tuple[ColumnType, ...]) -> Any:
    """Return the columns in pyarrow, as all batches are made to have them."""
    from tradewind.operators.formats.parquet.arrow import pyarrow

    pa = pyarrow()
    kinds = {
        "smallint": pa.int64(),
        "integer": pa.int64(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "date": pa.date32(),
        "time": pa.time64("ns"),
        "timestamp": pa.timestamp("ns"),
        "timestamptz": pa.timestamp("ns", "UTC"),
        "bytes": pa.binary(),
        "boolean": pa.bool_(),
    }
    made = [
        pa.decimal128(kind.precision or 38, kind.scale or 0)
        if kind.kind == "decimal"
        else kinds.get(kind.kind, pa.string())
        for kind in types
    ]
    return pa.schema(list(zip(names, made, strict=True)))


def _as_declared(batch: Any, columns: ResultColumns, before: int) -> Any:
    """Return a batch in which each column has its declared type: the service sends numbers as small as they are.

    :raises DataError: where a value does not fit, which would be the service's fault
    """
    from tradewind.operators.formats.parquet.arrow import pyarrow

    pa = pyarrow()
    arrays = []
    for column, wanted in zip(batch.columns, columns.schema, strict=True):
        # Moments beyond the years 1677 to 2262 come in microseconds; they stay what they are.
        if column.type != wanted.type and not pa.types.is_timestamp(column.type):
            try:
                column = column.cast(wanted.type)
            except pa.ArrowException as error:
                raise DataError(
                    f"{columns.name}, after record {before:,}, column {wanted.name}: {error}",
                    source=columns.name,
                    column=wanted.name,
                ) from error
        arrays.append(column)
    return pa.record_batch(arrays, names=list(columns.columns))


def _end(session: SnowflakeSession, stack: ExitStack) -> None:
    # Nothing was written: closing is enough, and a connection in any state can be closed.
    session.close()
    stack.pop_all()
