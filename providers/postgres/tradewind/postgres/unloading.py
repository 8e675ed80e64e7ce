# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""Reading tables and queries as streams of CSV."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part, Reading
from tradewind.operators.unloads import CopyStream
from tradewind.postgres.errors import translated
from tradewind.postgres.names import literal

if TYPE_CHECKING:
    from tradewind.hooks.work import Work
    from tradewind.postgres.hooks import PostgresHook
    from tradewind.postgres.session import Parameters, PostgresSession

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


class PostgresReading(Reading):
    """The rows of a query, as CSV.

    :param hook: the connection
    :param work: whose work it is
    :param name: what is read, for messages
    :param sql: the query
    :param parameters: values to bind
    :param isolation: the transaction's isolation level
    """

    def __init__(
        self,
        hook: PostgresHook,
        work: Work,
        name: str,
        sql: str,
        parameters: Parameters = None,
        isolation: str = "REPEATABLE READ",
    ) -> None:
        self._hook = hook
        self._work = work
        self._name = name
        self._sql = sql
        self._parameters = parameters
        self._isolation = isolation

    @property
    def fingerprint(self) -> str:
        """The text of the query and its parameters: the rows cannot be known before they are read."""
        return json.dumps([self._name, self._sql, self._parameters], default=str)

    def parts(self, dialect: CsvDialect | None = None) -> Iterator[Part]:
        """Yield the one part that a query has."""
        asked = dialect or CsvDialect()
        if codecs.lookup(asked.encoding).name not in _ENCODINGS:
            raise InvalidArgument(f"PostgreSQL cannot write {asked.encoding}: use {', '.join(sorted(_ENCODINGS))}")
        with self._hook.session(self._work) as session:
            query = self._begin(session)
            with session.conn.cursor() as cur, translated(self._name):
                cur.execute(f"SELECT * FROM (\n{query}\n) AS q LIMIT 0")
                columns = tuple(column.name for column in cur.description or ())
            session.rollback()
        yield Part(self._name, lambda: self._open(asked), asked, columns)

    def cancel(self) -> None:
        """Stop the query in the server."""
        self._hook.cancel()

    def _begin(self, session: PostgresSession) -> str:
        """Begin the transaction; return the query with its values in it, for COPY binds none."""
        session.execute(f"SET TRANSACTION ISOLATION LEVEL {self._isolation} READ ONLY")
        settings = ", ".join(f"set_config({literal(name)}, {literal(to)}, true)" for name, to in _SETTINGS.items())
        session.execute(f"SELECT {settings}")
        if not self._parameters:
            return self._sql
        with session.conn.cursor() as cur, translated(self._name):
            text: str = cur.mogrify(self._sql, self._parameters).decode(_python_encoding(session))
        return text

    def _open(self, dialect: CsvDialect) -> CopyStream:
        stack = ExitStack()
        session = stack.enter_context(self._hook.session(self._work))
        try:
            query = self._begin(session)
        except BaseException:
            session.close()
            raise
        statement = copy_out_statement(query, dialect)

        return CopyStream(
            lambda file: session.copy_out(statement, file), session.cancel, lambda: _end(session, stack), self._name
        )


def _end(session: PostgresSession, stack: ExitStack) -> None:
    # Nothing was written: closing is enough, and a connection in any state can be closed.
    session.close()
    stack.pop_all()


def _python_encoding(session: PostgresSession) -> str:
    from psycopg2.extensions import encodings

    return str(encodings[session.conn.encoding])


def clean_query(sql: str) -> str:
    """Take the semicolon and blanks off the end of a query.

    :param sql: one SELECT, VALUES or WITH
    """
    return sql.strip().rstrip(";").rstrip()


def copy_out_statement(query: str, dialect: CsvDialect) -> str:
    """Write the COPY that gives a query's rows in a dialect.

    :param query: the query, its values in it
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
    # The query may end in a line comment.
    return f"COPY (\n{query}\n) TO STDOUT WITH ({', '.join(options)})"
