# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Reading tables and queries as streams of CSV.

What comes out, whatever the server and the connection are set to:

=========================================== ==================================================================
INT, DECIMAL, YEAR                          all digits: ``42``, ``0.10``, ``2013``; with ZEROFILL its zeros
DOUBLE; FLOAT(7,2)                          the fewest digits that give the same number again: ``0.1``, ``1e100``
FLOAT                                       as DOUBLE, exactly: 0.1 is ``0.10000000149011612``; see below
BIT(n)                                      a whole number: b'101' is ``5``
DATE, DATETIME, TIMESTAMP                   ISO 8601, ``2013-02-03 04:05:06.789000``; TIMESTAMP in UTC, no offset
zero dates                                  as they are: ``0000-00-00``, ``2013-00-00 00:00:00``
TIME                                        ``-838:59:59.000000``: hours beyond a day stay
CHAR, TEXT, ENUM, SET, JSON, UUID, INET6    the text; of CHAR without the blanks at its end
BINARY, VARBINARY, BLOB, GEOMETRY, VECTOR   ``\\x`` and hex digits, as PostgreSQL writes bytea: ``\\xdeadbeef``
=========================================== ==================================================================

MySQL writes six digits of a FLOAT. A table's are read as DOUBLE; a query is sent as it stands, for its ORDER BY would
mean nothing within another one, and one with such a column is refused.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import InvalidArgument, SourceChanged
from tradewind.mysql.catalog import estimated_rows
from tradewind.mysql.column_types import result_type
from tradewind.mysql.errors import QueryCancelled
from tradewind.mysql.names import TableName, listed, quoted
from tradewind.mysql.packets import result_columns, row_blocks
from tradewind.mysql.rendering import Renderer
from tradewind.mysql.styles import ESCAPED, csv_style
from tradewind.mysql.values import literal
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.projection import Projection
from tradewind.operators.tables.unloads import CopyStream, RowsReading, Sessions
from tradewind.operators.types import Arrays

if TYPE_CHECKING:
    from tradewind.hooks.work import Work
    from tradewind.mysql.hooks import MySqlHook
    from tradewind.mysql.packets import Column
    from tradewind.mysql.session import MySqlSession, Parameters

# A table is read in one snapshot; so is a query, being one statement.
_TABLE = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
_QUERY = ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION READ ONLY")
_ALL_ROWS = (1 << 64) - 1
_PADDING = "PAD_CHAR_TO_FULL_LENGTH"


class MySqlReading(RowsReading):
    """The rows of a query, as CSV. See :func:`table_reading` for a table's.

    :param hook: the connection
    :param work: whose work it is
    :param name: what is read, for messages
    :param sql: the query
    :param parameters: values to bind
    :param table: the table that the query reads, None for a query of the user's
    :param projection: what becomes of the columns once they are read: MySQL would lose a query's order within another
    :param sessions: gives the sessions, None for new ones
    """

    def __init__(
        self,
        hook: MySqlHook,
        work: Work,
        name: str,
        sql: str,
        parameters: Parameters = None,
        *,
        table: TableName | None = None,
        projection: Projection | None = None,
        sessions: Sessions[MySqlSession] | None = None,
    ) -> None:
        self._hook = hook
        self._sessions = sessions or Sessions(lambda: hook.session(work))
        self._name = name
        self._sql = sql
        self._parameters = parameters
        self._table = table
        self._projection = projection

    @property
    def fingerprint(self) -> str:
        """The text of the query and its parameters: the rows cannot be known before they are read."""
        what = [self._name, self._sql, self._parameters]
        return json.dumps([*what, repr(self._projection)] if self._projection else what, default=str)

    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        """Yield the one part that a query has."""
        asked = dialect or CsvDialect()
        with self._sessions.short() as session:
            self._begin(session)
            columns = session.columns(self._sql, self._parameters)
            self.estimate = estimated_rows(session, self._table) if self._table else None
        sql = self._statement(columns)
        names = tuple(column.name for column in columns)
        types = tuple(map(result_type, columns))
        yield Part(
            self._name,
            partial(self._open, sql, names, asked),
            asked,
            names,
            projection=self._projection,
            types=types,
            open_escaped=lambda bare: self._open(sql, names, None),  # moments have no offset, booleans are numbers here
        )

    def cancel(self) -> None:
        """Stop the query in the server."""
        self._hook.cancel()

    def _begin(self, session: MySqlSession) -> None:
        session.rollback()  # connecting may have begun a transaction
        if session.conn.charset != "utf8mb4":
            session.execute("SET NAMES utf8mb4")
            session.conn.charset, session.conn.encoding = "utf8mb4", "utf8"
        [(modes,)] = session.query("SELECT @@SESSION.sql_mode")
        kept = ",".join(mode for mode in modes.split(",") if mode != _PADDING)
        mode = f", SESSION sql_mode = {literal(kept)}" if kept != modes else ""
        session.execute(f"SET SESSION time_zone = '+00:00', SESSION sql_select_limit = {_ALL_ROWS}{mode}")
        for statement in _TABLE if self._table else _QUERY:
            session.execute(statement)

    def _statement(self, columns: tuple[Column, ...]) -> str:
        """Return the statement that gives the columns with all of their digits."""
        if not columns:
            raise InvalidArgument(f"{self._name}: the statement gives no rows: write one SELECT")
        cut = [column.name for column in columns if column.is_cut]
        if not cut:
            return self._sql
        if self._table is None:
            raise InvalidArgument(
                f"{self._name}: MySQL writes six digits of the FLOAT {cut[0]}: write {quoted(cut[0])} + 0e0 AS "
                f"{quoted(cut[0])}, which is a DOUBLE"
            )
        listed = ", ".join(
            f"{quoted(column.name)} + 0e0 AS {quoted(column.name)}" if column.is_cut else quoted(column.name)
            for column in columns
        )
        return f"SELECT {listed} FROM {self._table.sql}"

    def _open(self, sql: str, names: tuple[str, ...], dialect: CsvDialect | None) -> CopyStream:
        """Run the query.

        :param dialect: how to write its rows, None for escapes
        """
        stack, session = self._sessions.take()
        try:
            self._begin(session)
        except BaseException:
            session.close()
            raise

        def run(file: io.BufferedWriter) -> int:
            count = session.run(sql, self._parameters, lambda cur: self._write(cur, names, dialect, file))
            if session.cancelled:  # SLEEP() that was stopped returns as if nothing were wrong
                raise QueryCancelled(f"{self._name}: cancelled")
            for notice in session.take_notices():
                self._hook.log.info("%s: %s", self._name, notice)
            return count

        self.stream = CopyStream(run, session.cancel, lambda: _end(session, stack), self._name)
        return self.stream

    def _write(self, cur: Any, names: tuple[str, ...], dialect: CsvDialect | None, file: io.BufferedWriter) -> int:
        """Write the rows of a statement that runs; return their number."""
        result = cur._result
        try:
            columns = result_columns(result)
            if tuple(column.name for column in columns) != names:
                raise SourceChanged(f"{self._name}: its columns changed before it was read")
            style, encoding = (csv_style(dialect), dialect.encoding) if dialect else (ESCAPED, "utf-8")
            renderer = Renderer(columns, style, self._name, encoding)
            if dialect and dialect.header:
                file.write(renderer.header())
            count = 0
            for rows in row_blocks(cur.connection, result):
                file.write(renderer.rows(rows))
                count += len(rows)
        except BaseException:
            if result.unbuffered_active:  # in the middle of the rows nobody knows where the next packet begins
                cur.connection._force_close()
            raise
        return count


def table_reading(
    hook: MySqlHook,
    work: Work,
    name: str,
    table: TableName,
    projection: Projection | None = None,
    sessions: Sessions[MySqlSession] | None = None,
) -> MySqlReading:
    """Read a table in one snapshot; a table that is not there is told by ``parts()``.

    :param hook: the connection
    :param work: whose work it is
    :param name: what is read, for messages
    :param table: the table
    :param projection: which columns are wanted: the others are not read
    :param sessions: gives the sessions, None for new ones
    """
    chosen = projection.chosen if projection else None
    columns = "*" if chosen is None else listed([output.field or "" for output in chosen])
    sql = f"SELECT {columns} FROM {table.sql}"
    return MySqlReading(hook, work, name, sql, table=table, projection=projection, sessions=sessions)


def clean_query(sql: str) -> str:
    """Take the semicolon and blanks off the end of a query.

    :param sql: one SELECT, VALUES or WITH
    """
    return sql.strip().rstrip(";").rstrip()


def _end(session: MySqlSession, stack: ExitStack) -> None:
    # Nothing was written: closing is enough, and a connection in any state can be closed.
    session.close()
    stack.pop_all()
