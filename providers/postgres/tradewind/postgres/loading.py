# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""One load: in one transaction with its ledger entry."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.hooks.libpq.names import TableName, listed, literal
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest, CopyResult, Part, Reading
from tradewind.operators.formats.csv.places import numbered
from tradewind.operators.formats.csv.records import CsvInput, open_csv
from tradewind.operators.formats.csv.transcoding import Pushback
from tradewind.operators.plan import Right
from tradewind.operators.progress import Progress
from tradewind.operators.tables.load import Merged, TableLoad
from tradewind.operators.tables.rejects import Rejects, TolerantLoad
from tradewind.operators.types import Arrays
from tradewind.postgres.admission import admit, referenced, refuse_rest
from tradewind.postgres.catalog import Table, existing_table, find_table
from tradewind.postgres.fields import Fields
from tradewind.postgres.ledger import Ledger
from tradewind.postgres.lines import Position, line_in_file
from tradewind.postgres.merging import (
    STAGE,
    append_statement,
    lock_statement,
    merge,
    merge_statements,
    stage_statements,
)
from tradewind.postgres.messages import located
from tradewind.postgres.plain import PlainHead, suits
from tradewind.postgres.rejects import CopiedBlocks
from tradewind.postgres.rights import may_create, table_rights
from tradewind.postgres.streams import Counted

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession
    from tradewind.postgres.binary import BinaryWriter
    from tradewind.postgres.checking import Loaded

log = logging.getLogger(__name__)

TEXT_WITH_HEADER = 150000
"""The first server whose text format knows a header (PostgreSQL 15's release notes)."""

_BEGIN = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE"
_BEGIN_PLAN = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY"


class Load(TableLoad[Table]):
    """A load of all parts of a source into a table, once for each token.

    :param session: a connection of its own
    :param name: the table
    :param ledger: the ledger's table
    :param ledger_days: how long its entries are kept
    :param reading: the input
    :param request: what is to be done with it
    :param progress: is told rows and bytes
    """

    statement = "COPY"
    stage = STAGE

    def __init__(
        self,
        session: LibpqSession,
        name: TableName,
        ledger: TableName,
        ledger_days: int,
        reading: Reading,
        request: CopyRequest,
        progress: Progress,
    ) -> None:
        super().__init__(session, Ledger(session, ledger, ledger_days), reading, request, progress)
        self._session = session
        self._name = name
        self._ledger_name = ledger
        self._found: Table | None = None

    def begin(self) -> None:
        """Begin the transaction."""
        self._session.execute(_BEGIN)

    def begin_plan(self) -> None:
        """Begin a transaction that writes nothing."""
        self._session.execute(_BEGIN_PLAN)

    def full_name(self) -> str:
        """Return the target's name with its schema."""
        schema = self._name.schema or self._session.query("SELECT current_schema()")[0][0]
        return str(TableName(self._name.table, schema))

    def arrays(self) -> Arrays:
        """Ask for the server's own arrays, but for the columns of the table that are none."""
        self._found = find_table(self._session, self._name)
        if self._found is None:
            return "braces"
        columns = self._found.columns
        return {column.name.casefold(): "braces" if column.category == "A" else "json" for column in columns}

    def open_table(self, parts: list[Part]) -> Table:
        """Return the table, made from the input where that is asked for."""
        if any(part.types for part in parts):
            self._session.execute("SET LOCAL timezone = 'UTC'")  # typed times without an offset are in UTC
        if self._request.create:
            from tradewind.postgres.creating import ensure_table

            table = ensure_table(self._session, self._name, parts, self._request.key)
        else:
            table = self._found or existing_table(self._session, self._name)
        if self._request.max_errors:
            self._session.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return table

    def find(self) -> Table | None:
        """Return the table, None where the load would make it."""
        found = find_table(self._session, self._name)
        return found if found or self._request.create else existing_table(self._session, self._name)

    def is_gone(self, before: CopyResult) -> bool:
        """Say whether the table that was loaded before is not there any more."""
        return find_table(self._session, self._name) is None

    def planned_table(self, parts: list[Part]) -> tuple[str, Table]:
        """Return the statement that would make the table, and the table."""
        from tradewind.postgres.creating import planned_table

        return planned_table(self._name, parts, self._request.key)

    def empty_statements(self, table: Table) -> list[str]:
        """Return what empties the table, under a lock that lets readers pass."""
        # Readers see the old rows until the commit; TRUNCATE would lock them out, and is not MVCC-safe.
        return [lock_statement(table), f"DELETE FROM {table.name.sql}"]

    def empty_table(self, table: Table) -> int:
        """Delete all rows; return how many."""
        lock, delete = self.empty_statements(table)
        self._session.execute(lock)
        try:
            gone = self._session.execute(delete)
        except DataError as error:
            raise referenced(error, table) from error
        refuse_rest(self._session, table)
        return gone

    def admit(self, table: Table) -> None:
        """Refuse a table on which the load could not keep its promises."""
        admit(self._session, table, self._ledger_name, self._request.mode)

    def stage_statements(self, table: Table, columns: tuple[str, ...]) -> list[str]:
        """Return what makes the temporary table."""
        return stage_statements(table, columns, numbered=self._request.duplicates != "error")

    def merge_statements(self, table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> list[str]:
        """Return what merges the staged rows into the table."""
        return merge_statements(table, columns, key, self._request.duplicates)

    def load_statements(self, source: CsvInput, table: Table, columns: tuple[str, ...]) -> list[str]:
        """Return what brings one file into the table or into the stage."""
        into = STAGE if self._request.staged else table.name.sql
        if source.outputs is None:
            destination = self._destination(into, table, columns)
            if self._writer(source, table, columns) is not None:
                return [binary_statement(destination)]
            return self._copy_statements(destination, source.dialect)
        fields = self._fields(into, table, columns, source)
        first, last = fields.statements
        return [first, *self._copy_statements(Destination(fields.sql, fields.names), source.dialect), last]

    def _copy_statements(self, into: Destination, dialect: CsvDialect) -> list[str]:
        if self._request.max_errors:
            return [copy_statement(into, dialect, header=False)]
        found = [copy_statement(into, dialect, header=True)]
        if self._session.conn.server_version >= TEXT_WITH_HEADER and suits(dialect):
            found.insert(0, text_statement(into, dialect))
        return found

    def _destination(self, into: str, table: Table, columns: tuple[str, ...]) -> Destination:
        return Destination(into, columns, tuple(name for name in columns if table.column(name).never_empty))

    def _fields(self, into: str, table: Table, columns: tuple[str, ...], source: CsvInput) -> Fields:
        width = len(source.fields or ())
        return Fields(self._session, into, table, columns, source.outputs or (), width, source.dialect)

    def rights(self, table: Table | None, columns: list[str]) -> list[Right]:
        """Return the rights that the load needs, beside those to the ledger."""
        if table is None:
            return [may_create(self._session, self._name)]
        return table_rights(self._session, table, columns, self._request)

    def right_to_create(self, name: str, statement: str) -> Right:
        """Say whether the ledger may be made."""
        return may_create(self._session, self._ledger_name)

    def make_stage(self, table: Table, columns: tuple[str, ...]) -> None:
        """Make the temporary table that takes the input."""
        for statement in self.stage_statements(table, columns):
            self._session.execute(statement)

    def insert_statement(self, table: Table, columns: tuple[str, ...]) -> str:
        """Return what appends the staged rows to the table."""
        return append_statement(table, columns)

    def append_stage(self, table: Table, columns: tuple[str, ...]) -> int:
        """Append the staged rows to the table; return how many."""
        return self._session.execute(append_statement(table, columns))

    def merge_stage(
        self, table: Table, columns: tuple[str, ...], key: tuple[str, ...], look: Callable[[], None]
    ) -> Merged:
        """Merge the staged rows into the table."""
        return merge(self._session, table, columns, key, self._request.duplicates, look)

    def checked(self, table: Table) -> Loaded:
        """Return the table as expectations look at it."""
        from tradewind.postgres.checking import Loaded

        return Loaded(self._session, table, self._request.key)

    def load_part(self, part: Part, source: CsvInput, table: Table, columns: tuple[str, ...], *, staged: bool) -> int:
        """Load one file, into the table or into the stage; return the rows."""
        into = STAGE if staged else table.name.sql
        if source.outputs is None:
            destination = self._destination(into, table, columns)
            rows = self._load_batches(part, source, destination, self._writer(source, table, columns))
            return self._load_records(part, source, destination) if rows is None else rows
        fields = self._fields(into, table, columns, source)
        fields.make()
        return self._load_fields(part, source, fields)

    def _writer(self, source: CsvInput, table: Table, columns: tuple[str, ...]) -> BinaryWriter | None:
        """Return what writes a source's batches, None where its records go as texts."""
        if source.batches is None or self._request.max_errors:
            return None
        from tradewind.postgres.binary import binary_writer

        return binary_writer(source.batches, source.types, [table.column(name) for name in columns])

    def _load_batches(self, part: Part, source: CsvInput, into: Destination, writer: BinaryWriter | None) -> int | None:
        """Load the records in the binary format; None where they have to go as texts, which then say what is wrong."""
        if writer is None or source.batches is None:
            return None
        from tradewind.postgres.binary import HEAD, Unfit

        self._session.execute("SAVEPOINT tradewind_part")
        with contextlib.closing(source.batches.stream(writer)) as batches:
            stream = Counted(Pushback(batches, HEAD), self._progress, part, guard_end=False)
            try:
                rows = self._session.copy_in(binary_statement(into), stream)
            except (Unfit, DataError) as error:
                if isinstance(error, DataError) and not _about_value(error):
                    raise self._told(error, source) from error.__cause__
                log.info("%s: not in binary, for %s", part.name, error)
                self._session.execute("ROLLBACK TO SAVEPOINT tradewind_part")
                self._progress.add(-stream.bytes)
                return None
        self._session.execute("RELEASE SAVEPOINT tradewind_part")
        self._progress.add(rows=rows)
        self._bytes += stream.bytes
        return rows

    @staticmethod
    def _told(error: DataError, source: CsvInput) -> DataError:
        """Name the record, which the server counted as a line."""
        if error.source or error.line is None:
            return error if error.source else located(error, source.name)
        return numbered(located(error, source.name), error.line)

    def _load_fields(self, part: Part, source: CsvInput, fields: Fields) -> int:
        """Load the records as texts; the server makes columns of them."""
        destination = Destination(fields.sql, fields.names)
        if self._request.max_errors:
            return self._load_records(part, source, destination, fields.move)
        self._session.execute("SAVEPOINT tradewind_part")
        rows = self._load_records(part, source, destination)
        try:
            fields.move()
        except DataError as error:
            self._session.execute("ROLLBACK TO SAVEPOINT tradewind_part")
            raise self._searched(part, destination, fields) or located(error, part.name) from error
        self._session.execute("RELEASE SAVEPOINT tradewind_part")
        return rows

    def _searched(self, part: Part, destination: Destination, fields: Fields) -> DataError | None:
        """Load the file again, to find the record that the server did not name."""
        with contextlib.closing(open_csv(part, rewrite=False)) as source:
            try:
                statement = copy_statement(destination, source.dialect, header=False)
                server = CopiedBlocks(self._session, source, statement, fields.move)
                TolerantLoad(server, source, Rejects(None, 0), lambda data, rows: None).run()
            except DataError as error:
                return error.__cause__ if isinstance(error.__cause__, DataError) else error
        return None

    def _load_records(
        self, part: Part, source: CsvInput, into: Destination, move: Callable[[], None] | None = None
    ) -> int:
        version = self._session.conn.server_version
        guard_end = version < 180000
        if self._request.max_errors:
            source.stream = Counted(source.stream, _Silent(self._progress), part, guard_end=guard_end)
            server = CopiedBlocks(self._session, source, copy_statement(into, source.dialect, header=False), move)
            return TolerantLoad(server, source, self._rejects, self._count, unit=part.unit).run()
        self._count(len(source.header), 0)
        rows, start = 0, Position(line=source.header_lines)
        if version >= TEXT_WITH_HEADER and suits(source.dialect):
            head = PlainHead(source)
            if not head.empty:
                text = text_statement(into, source.dialect)
                plain = Counted(head, self._progress, part, guard_end=False)
                rows = self._copy_stream(text, plain, source, lambda line: start.line + line - 1)
                if head.rest is None:
                    return rows
            source.stream = head.rest or source.stream
            start = Position(start.line + head.lines, head.bytes)
        statement = copy_statement(into, source.dialect, header=True)
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


def _about_value(error: DataError) -> bool:
    """Say whether the server found fault with a value, which it shows when it gets it as a text."""
    return error.source is None and error.line is not None and error.column is not None


class _Silent(Progress):
    """Counts nothing: the blocks are counted when they are loaded."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress._log, progress.what)

    def add(self, data: int = 0, *, rows: int = 0) -> None:
        """Take no notice."""


@dataclass(frozen=True)
class Destination:
    """Where a COPY goes.

    :param table: the table, quoted
    :param columns: its columns in the order of the fields
    :param forced: those of them of which an empty text is no value
    """

    table: str
    columns: tuple[str, ...]
    forced: tuple[str, ...] = ()


def copy_statement(into: Destination, dialect: CsvDialect, *, header: bool) -> str:
    """Write the COPY that takes records of CSV in UTF-8.

    :param into: where they go
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
    if dialect.null == "" and into.forced:
        options.append(f"FORCE_NULL ({listed(into.forced)})")
    return f"COPY {into.table} ({listed(into.columns)}) FROM STDIN WITH ({', '.join(options)})"


def binary_statement(into: Destination) -> str:
    """Write the COPY that takes records in the binary format (see ``tradewind.postgres.binary``).

    :param into: where they go
    """
    return f"COPY {into.table} ({listed(into.columns)}) FROM STDIN WITH (FORMAT binary)"


def text_statement(into: Destination, dialect: CsvDialect) -> str:
    """Write the COPY that takes a line that is no record, then plain records (see ``tradewind.postgres.plain``).

    :param into: where they go
    :param dialect: how the records are written
    """
    options = f"DELIMITER {literal(dialect.delimiter)}, NULL {literal(dialect.null)}, ENCODING 'UTF8'"
    return f"COPY {into.table} ({listed(into.columns)}) FROM STDIN WITH (FORMAT text, HEADER true, {options})"
