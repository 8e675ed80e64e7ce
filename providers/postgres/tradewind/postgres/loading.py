# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""One load: in one transaction with its ledger entry."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.operators.csv_records import CsvInput, Pushback, open_csv
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest, CopyResult, Part, Reading
from tradewind.operators.ledger import copy_token, reload_token
from tradewind.operators.progress import Progress
from tradewind.postgres.catalog import Table, check_key, existing_table, match_columns
from tradewind.postgres.creating import ensure_table
from tradewind.postgres.ledger import Ledger
from tradewind.postgres.lines import Position, line_in_file
from tradewind.postgres.merging import STAGE, merge, stage_table
from tradewind.postgres.messages import located
from tradewind.postgres.names import TableName, listed, literal
from tradewind.postgres.plain import PlainHead, suits
from tradewind.postgres.rejects import Rejects, TolerantLoad
from tradewind.postgres.streams import Counted

if TYPE_CHECKING:
    from tradewind.postgres.session import PostgresSession

log = logging.getLogger(__name__)

TEXT_WITH_HEADER = 150000
"""The first server whose text format knows a header (PostgreSQL 15's release notes)."""

_BEGIN = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE"


class Load:
    """A load of all parts of a source into a table, once for each token.

    :param session: a connection of its own
    :param name: the table
    :param ledger: the ledger's table
    :param ledger_days: how long its entries are kept
    :param reading: the input
    :param request: what is to be done with it
    :param progress: is told rows and bytes
    """

    def __init__(
        self,
        session: PostgresSession,
        name: TableName,
        ledger: TableName,
        ledger_days: int,
        reading: Reading,
        request: CopyRequest,
        progress: Progress,
    ) -> None:
        self._session = session
        self._name = name
        self._ledger = Ledger(session, ledger, ledger_days)
        self._reading = reading
        self._request = request
        self._progress = progress
        self._rejects = Rejects(request.open_rejects, request.max_errors)
        self._bytes = 0

    def run(self) -> CopyResult:
        """Load, and commit; or find that it was loaded before.

        :raises DataError: where a record does not fit; the table is then as it was
        """
        self._ledger.ensure()
        self._session.execute(_BEGIN)
        tokens, before = self._claim()
        if before is not None:
            self._session.rollback()
            return before
        try:
            result = self._write()
            self._ledger.finish(tokens, result)
            self._rejects.commit()
            self._session.commit()
        except BaseException:
            self._rejects.abort()
            raise
        return result

    def _claim(self) -> tuple[list[str], CopyResult | None]:
        request, target = self._request, self._full_name()
        token = copy_token(request, self._reading, target)
        source = request.description.partition(" -> ")[0] or ", ".join(self._reading.files[:3])
        if not request.reload:
            return [token], self._ledger.claim(token, request, target, source)
        again = reload_token(request, self._reading, target)
        before = self._ledger.claim(again, request, target, source)
        if before is None:
            self._ledger.overwrite(token, request, target, source)
        return [again, token], before

    def _full_name(self) -> str:
        schema = self._name.schema or self._session.query("SELECT current_schema()")[0][0]
        return str(TableName(self._name.table, schema))

    def _write(self) -> CopyResult:
        parts = list(self._reading.parts())
        if self._request.create:
            table = ensure_table(self._session, self._name, parts, self._request.key)
        else:
            table = existing_table(self._session, self._name)
        write: Callable[[Table, list[Part]], CopyResult] = {
            "append": self._append,
            "replace": self._replace,
            "merge": self._merge,
        }[self._request.mode]
        result = write(table, parts)
        result.bytes = self._bytes
        result.rejected = self._rejects.count
        result.files = list(self._reading.files)
        return result

    def _append(self, table: Table, parts: list[Part]) -> CopyResult:
        rows, _ = self._copy_parts(table, table.name.sql, parts)
        return CopyResult(rows=rows, inserted=rows, plan=f"COPY into {table.name}")

    def _replace(self, table: Table, parts: list[Part]) -> CopyResult:
        # Readers see the old rows until the commit; TRUNCATE would lock them out, and is not MVCC-safe.
        self._session.execute(f"LOCK TABLE {table.name.sql} IN SHARE ROW EXCLUSIVE MODE")
        gone = self._session.execute(f"DELETE FROM {table.name.sql}")
        rows, _ = self._copy_parts(table, table.name.sql, parts)
        log.info("%s: %s rows are replaced by %s", table.name, f"{gone:,}", f"{rows:,}")
        return CopyResult(rows=rows, inserted=rows, plan=f"DELETE and COPY into {table.name}, readers undisturbed")

    def _merge(self, table: Table, parts: list[Part]) -> CopyResult:
        check_key(self._request.key, tuple(column.name for column in table.columns), table, "the table")
        rows, columns = self._copy_parts(table, STAGE, parts)
        if columns is None:
            return CopyResult(plan=f"merge into {table.name}: the input is empty")
        key = check_key(self._request.key, columns, table, "the input")
        done = merge(self._session, table, columns, key)
        return CopyResult(
            rows=rows,
            inserted=done.inserted,
            updated=done.updated,
            unchanged=done.unchanged,
            plan=f"COPY into a temporary table, merge into {table.name}",
        )

    def _copy_parts(self, table: Table, into: str, parts: list[Part]) -> tuple[int, tuple[str, ...] | None]:
        """Copy part after part; return the rows, and the columns they have, None where no part has any."""
        rows, columns = 0, None
        if self._request.max_errors:
            self._session.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for part in parts:
            source = open_csv(part)
            with contextlib.closing(source):
                if source.empty:
                    continue
                found = match_columns(source, table)
                columns = self._same(columns, found, source, table, into)
                rows += self._copy_part(part, source, table, found, into)
        return rows, columns

    def _same(
        self, before: tuple[str, ...] | None, found: tuple[str, ...], source: CsvInput, table: Table, into: str
    ) -> tuple[str, ...]:
        if into != STAGE:
            return found
        if before is None:
            check_key(self._request.key, found, table, source.name)
            stage_table(self._session, table, found)
            return found
        if set(before) != set(found):
            raise DataError(
                f"{source.name} has other columns than the files before it, which a merge cannot take: "
                f"{', '.join(sorted(set(before) ^ set(found)))}",
                source=source.name,
                line=1,
            )
        return before

    def _copy_part(self, part: Part, source: CsvInput, table: Table, columns: tuple[str, ...], into: str) -> int:
        version = self._session.conn.server_version
        guard_end = version < 180000
        if self._request.max_errors:
            source.stream = Counted(source.stream, _Silent(self._progress), part, guard_end=guard_end)
            statement = copy_statement(into, columns, table, source.dialect, header=False)
            return TolerantLoad(self._session, source, statement, self._rejects, self._count).run()
        self._count(len(source.header), 0)
        rows, start = 0, Position(line=source.header_lines)
        if version >= TEXT_WITH_HEADER and suits(source.dialect):
            head = PlainHead(source)
            if not head.empty:
                text = text_statement(into, columns, source.dialect)
                plain = Counted(head, self._progress, part, guard_end=False)
                rows = self._copy_stream(text, plain, source, lambda line: start.line + line - 1)
                if head.rest is None:
                    return rows
            source.stream = head.rest or source.stream
            start = Position(start.line + head.lines, head.bytes)
        statement = copy_statement(into, columns, table, source.dialect, header=True)
        stream = Counted(source.stream, self._progress, part, guard_end=guard_end)
        return rows + self._copy_stream(statement, stream, source, lambda line: line_in_file(part, line, start))

    def _copy_stream(self, statement: str, stream: Counted, source: CsvInput, line_of: Callable[[int], int]) -> int:
        # The server learns from a first line what ends a line; a record might show it something else.
        whole = Pushback(stream, b"records follow\r\n" if source.crlf else b"records follow" + source.line_end)
        try:
            rows = self._session.copy_in(statement, whole)
        except DataError as error:
            if error.source:
                raise
            raise located(error, source.name, error.line and line_of(error.line)) from error
        self._progress.add(rows=rows)
        self._bytes += stream.bytes
        return rows

    def _count(self, data: int, rows: int) -> None:
        self._bytes += data
        self._progress.add(data, rows=rows)


class _Silent(Progress):
    """Counts nothing: the blocks are counted when they are loaded."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress._log, progress.what)

    def add(self, data: int = 0, *, rows: int = 0) -> None:
        """Take no notice."""


def copy_statement(into: str, columns: tuple[str, ...], table: Table, dialect: CsvDialect, *, header: bool) -> str:
    """Write the COPY that takes records of CSV in UTF-8.

    :param into: the table, quoted
    :param columns: its columns in the order of the fields
    :param table: what the catalog says about the target
    :param dialect: how the records are written
    :param header: whether a line comes first that is no record
    """
    options = [
        "FORMAT csv",
        f"HEADER {str(header).lower()}",
        f"DELIMITER {literal(dialect.delimiter)}",
        f"QUOTE {literal(dialect.quote)}",
        f"ESCAPE {literal(dialect.escape_char)}",
        f"NULL {literal(dialect.null)}",
        "ENCODING 'UTF8'",
    ]
    # Files that quote every field write NULL as "": for numbers and times that can mean nothing else.
    forced = [name for name in columns if table.column(name).never_empty]
    if dialect.null == "" and forced:
        options.append(f"FORCE_NULL ({listed(forced)})")
    return f"COPY {into} ({listed(columns)}) FROM STDIN WITH ({', '.join(options)})"


def text_statement(into: str, columns: tuple[str, ...], dialect: CsvDialect) -> str:
    """Write the COPY that takes a line that is no record, then plain records (see ``tradewind.postgres.plain``).

    :param into: the table, quoted
    :param columns: its columns in the order of the fields
    :param dialect: how the records are written
    """
    options = f"DELIMITER {literal(dialect.delimiter)}, NULL {literal(dialect.null)}, ENCODING 'UTF8'"
    return f"COPY {into} ({listed(columns)}) FROM STDIN WITH (FORMAT text, HEADER true, {options})"
