# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Reading tables and queries as streams of CSV."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.libpq.errors import translated
from tradewind.hooks.libpq.names import listed, literal, quoted
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.projection import Output, Projection
from tradewind.operators.tables.unloads import CopyStream, RowsReading, Sessions
from tradewind.operators.types import Arrays, spelling
from tradewind.postgres.column_types import result_types
from tradewind.postgres.fields import type_sql

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession, Parameters
    from tradewind.hooks.work import Work
    from tradewind.postgres.hooks import PostgresHook

# Python codec -> the server's name: https://www.postgresql.org/docs/current/multibyte.html
_ENCODINGS = {
    "utf-8": "UTF8",
    "ascii": "UTF8",
    "iso8859-1": "LATIN1",
    "iso8859-2": "LATIN2",
    "iso8859-15": "LATIN9",
    "cp1250": "WIN1250",
    "cp1251": "WIN1251",
    "cp1252": "WIN1252",
    "koi8-r": "KOI8R",
    "euc_jp": "EUC_JP",
    "shift_jis": "SJIS",
    "gbk": "GBK",
    "big5": "BIG5",
}

# Whatever the server, the database or the role has set: the same bytes for the same rows.
_SETTINGS = {
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "timezone": "UTC",
    "xmloption": "content",
}

# COPY's text format: :mod:`tradewind.operators.formats.escaped`. What a bare field is made by.
_ESCAPED = "FORMAT text, ENCODING 'UTF8'"
_BARE = {"timestamptz": "{} AT TIME ZONE 'UTC'", "boolean": "{}::int"}


class PostgresReading(RowsReading):
    """The rows of a query, as CSV.

    :param hook: the connection
    :param work: whose work it is
    :param name: what is read, for messages
    :param sql: the query
    :param parameters: values to bind
    :param isolation: the transaction's isolation level
    :param projection: which columns are wanted, and what becomes of them
    :param estimate: how many rows there are, about, None where nobody knows
    :param sessions: gives the sessions, None for new ones
    """

    def __init__(
        self,
        hook: PostgresHook,
        work: Work,
        name: str,
        sql: str,
        parameters: Parameters = None,
        isolation: str = "REPEATABLE READ",
        projection: Projection | None = None,
        estimate: int | None = None,
        sessions: Sessions[LibpqSession] | None = None,
    ) -> None:
        self._hook = hook
        self._sessions = sessions or Sessions(lambda: hook.session(work))
        self._name = name
        self._sql = sql
        self._parameters = parameters
        self._isolation = isolation
        self._projection = projection
        self.estimate = estimate

    @property
    def fingerprint(self) -> str:
        """The text of the query and its parameters: the rows cannot be known before they are read."""
        what = [self._name, self._sql, self._parameters]
        return json.dumps([*what, repr(self._projection)] if self._projection else what, default=str)

    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        """Yield the one part that a query has."""
        asked = dialect or CsvDialect()
        if codecs.lookup(asked.encoding).name not in _ENCODINGS:
            raise InvalidArgument(f"PostgreSQL cannot write {asked.encoding}: use {', '.join(sorted(_ENCODINGS))}")
        with self._sessions.short() as session:
            query = self._begin(session)
            with session.conn.cursor() as cur, translated(self._name):
                cur.execute(f"SELECT * FROM (\n{query}\n) AS q LIMIT 0")
                description = cur.description or ()
            types = result_types(session, description)
        columns = tuple(column.name for column in description)
        made = tuple(
            "to_json({})" if kind.kind == "array" and spelling(arrays, name) == "json" else None
            for name, kind in zip(columns, types, strict=True)
        )

        def open_escaped(bare: frozenset[int]) -> CopyStream:
            both = (_BARE.get(kind.kind) if at in bare else made[at] for at, kind in enumerate(types))
            return self._open(columns, tuple(both), _ESCAPED)

        options = csv_options(asked)
        yield Part(
            self._name,
            lambda: self._open(columns, made, options),
            asked,
            columns,
            types=types,
            open_escaped=open_escaped,
        )

    def cancel(self) -> None:
        """Stop the query in the server."""
        self._hook.cancel()

    def _begin(self, session: LibpqSession) -> str:
        """Begin the transaction; return the query with its values in it, for COPY binds none."""
        session.execute(f"SET TRANSACTION ISOLATION LEVEL {self._isolation} READ ONLY")
        settings = ", ".join(f"set_config({literal(name)}, {literal(to)}, true)" for name, to in _SETTINGS.items())
        session.execute(f"SELECT {settings}")
        text = self._sql
        if self._parameters:
            with session.conn.cursor() as cur, translated(self._name):
                text = cur.mogrify(self._sql, self._parameters).decode(_python_encoding(session))
        return text if self._projection is None else self._projected(session, text, self._projection)

    def _projected(self, session: LibpqSession, query: str, projection: Projection) -> str:
        """Return a query that gives the columns that are wanted; the order of the rows stays."""
        with session.conn.cursor() as cur, translated(self._name):
            cur.execute(f"SELECT * FROM (\n{query}\n) AS q LIMIT 0")
            columns = tuple(column.name for column in cur.description or ())
        outputs = projection.resolve(columns, self._name)
        shown = ", ".join(f"{_column(output)} AS {quoted(output.name)}" for output in outputs)
        aliases = listed([f"c{number}" for number in range(1, len(columns) + 1)])  # two columns may have one name
        return f"SELECT {shown} FROM (\n{query}\n) AS q ({aliases})"

    def _open(self, columns: tuple[str, ...], made: tuple[str | None, ...], options: str) -> CopyStream:
        stack, session = self._sessions.take()
        try:
            query = self._begin(session)
        except BaseException:
            session.close()
            raise
        # The query may end in a line comment.
        statement = f"COPY (\n{with_made(query, columns, made)}\n) TO STDOUT WITH ({options})"

        self.stream = CopyStream(
            lambda file: session.copy_out(statement, file), session.cancel, lambda: _end(session, stack), self._name
        )
        return self.stream


def _end(session: LibpqSession, stack: ExitStack) -> None:
    # Nothing was written: closing is enough, and a connection in any state can be closed.
    session.close()
    stack.pop_all()


def _python_encoding(session: LibpqSession) -> str:
    from psycopg2.extensions import encodings

    return str(encodings[session.conn.encoding])


def _column(output: Output) -> str:
    if output.field is None:
        return "NULL::text" if output.value is None else f"{literal(output.value)}::text"
    name = quoted(f"c{output.index + 1}")
    return name if output.cast is None else f"{name}::{type_sql(output.cast)}"


def clean_query(sql: str) -> str:
    """Take the semicolon and blanks off the end of a query.

    :param sql: one SELECT, VALUES or WITH
    """
    return sql.strip().rstrip(";").rstrip()


def with_made(query: str, columns: tuple[str, ...], made: tuple[str | None, ...]) -> str:
    """Return a query that gives some columns written in another way.

    :param query: the query, its values in it
    :param columns: the names of its columns
    :param made: what becomes of each, as ``to_json({})``, None where it stays
    """
    if not any(made):
        return query
    aliases = [quoted(f"c{number}") for number in range(len(columns))]  # two columns may have one name
    shown = [
        f"{converted.format(alias) if converted else alias} AS {quoted(name)}"
        for alias, converted, name in zip(aliases, made, columns, strict=True)
    ]
    return f"SELECT {', '.join(shown)} FROM (\n{query}\n) AS q ({', '.join(aliases)})"


def csv_options(dialect: CsvDialect) -> str:
    """Write the options of a COPY that gives rows in a dialect.

    :param dialect: how to write the records
    """
    options = [
        "FORMAT csv",
        f"HEADER {str(dialect.header).lower()}",
        f"DELIMITER {literal(dialect.delimiter)}",
        f"QUOTE {literal(dialect.quote)}",
        f"ESCAPE {literal(dialect.escape_char)}",
        f"NULL {literal(dialect.null)}",
        f"ENCODING {literal(_ENCODINGS[codecs.lookup(dialect.encoding).name])}",
    ]
    return ", ".join(options)
