"""One load: in one transaction with its ledger entry."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.mysql.admission import admit, referenced
from tradewind.mysql.bulk import Bulk, bulk
from tradewind.mysql.catalog import Table, existing_table, find_table, full_name
from tradewind.mysql.escaped_text import EscapedText
from tradewind.mysql.faults import located
from tradewind.mysql.ledger import Ledger
from tradewind.mysql.locks import lock
from tradewind.mysql.merging import STAGE, append_statement, merge, merge_statements, stage_statement
from tradewind.mysql.names import TableName, quoted
from tradewind.mysql.rejects import LoadedBlocks
from tradewind.mysql.rights import may_create, table_rights
from tradewind.mysql.statements import Into
from tradewind.mysql.text_format import Rendered, TextFormat, line_of
from tradewind.operators.ends import CopyRequest, CopyResult, Part, Readable, Reading
from tradewind.operators.formats.csv.records import Block, CsvInput, open_csv
from tradewind.operators.formats.escaped import DELIMITER, escaped_input
from tradewind.operators.plan import Right
from tradewind.operators.progress import Progress
from tradewind.operators.tables.columns import check_key
from tradewind.operators.tables.load import Merged, TableLoad
from tradewind.operators.tables.rejects import Rejects, TolerantLoad
from tradewind.operators.types import Arrays

if TYPE_CHECKING:
    from tradewind.mysql.checking import Loaded
    from tradewind.mysql.session import MySqlSession

# Notes would fill the list of warnings, and a replace deletes without WHERE. A 0 is a 0, and not the next number;
# backslashes in texts are escapes.
_SETTINGS = (
    "SET SESSION sql_notes = 0, SESSION sql_safe_updates = 0, SESSION sql_mode = "
    "CONCAT_WS(',', REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', ''), 'NO_AUTO_VALUE_ON_ZERO')"
)


class _Records(io.BytesIO):
    """Text whose records are counted beforehand."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self._count = text.count(b"\n")

    @property
    def records(self) -> int:
        """How many records were read."""
        return self._count if self.tell() else 0


class Load(TableLoad[Table]):
    """A load of all parts of a source into a table, once for each token.

    :param session: a connection of its own
    :param name: the table
    :param ledger: the ledger's table, None for ``tradewind_ledger`` in the table's database
    :param ledger_days: how long its entries are kept
    :param reading: the input
    :param request: what is to be done with it
    :param progress: is told rows and bytes
    """

    stage = STAGE

    def __init__(
        self,
        session: MySqlSession,
        name: TableName,
        ledger: TableName,
        ledger_days: int,
        reading: Reading,
        request: CopyRequest,
        progress: Progress,
    ) -> None:
        self.name = full_name(session, name)
        self._ledger_name = full_name(session, ledger)
        super().__init__(session, Ledger(session, self._ledger_name, ledger_days), reading, request, progress)
        self._session = session
        self._bulk: Bulk = bulk(session)
        self.statement = self._bulk.verb
        self.created = False

    def begin(self) -> None:
        """Make the table if that is asked for, which would commit a transaction; then begin one."""
        self.begin_plan()
        if self._request.create:
            from tradewind.mysql.creating import ensure_table

            parts = list(self._reading.parts(arrays=self.arrays()))
            self.created = ensure_table(self._session, self.name, parts, self._request.key)
        self._session.commit()
        self._session.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self._session.execute("START TRANSACTION READ WRITE")

    def begin_plan(self) -> None:
        """Set the session up; MySQL has no transaction in which EXPLAIN may look at what writes, and nothing may."""
        self._session.execute(_SETTINGS)
        self._session.execute(f"USE {quoted(self.name.schema or '')}")  # temporary tables are made there

    def arrays(self) -> Arrays:
        """Ask for JSON: MySQL has no arrays."""
        return "json"

    def full_name(self) -> str:
        """Return the target's name with its database."""
        return str(self.name)

    def open_table(self, parts: list[Part]) -> Table:
        """Return the table."""
        return existing_table(self._session, self.name)

    def find(self) -> Table | None:
        """Return the table, None where the load would make it."""
        found = find_table(self._session, self.name)
        return found if found or self._request.create else existing_table(self._session, self.name)

    def is_gone(self, before: CopyResult) -> bool:
        """Say whether the table that was loaded before is not there any more: this load may just have made it anew."""
        if find_table(self._session, self.name) is None:
            return True
        made_anew = self.created and before.rows > 0  # else another load filled what this one had made
        return made_anew and not self._session.query(f"SELECT 1 FROM {self.name.sql} LIMIT 1")  # noqa: S608 (quoted)

    def escaped_part(self, part: Part) -> CsvInput | None:
        """Ask for records as LOAD DATA has them; bad ones are set aside as CSV."""
        return None if self._request.max_errors else escaped_input(part)

    def planned_table(self, parts: list[Part]) -> tuple[str, Table]:
        """Return the statement that would make the table, and the table."""
        from tradewind.mysql.creating import planned_table

        return planned_table(self.name, parts, self._request.key)

    def empty_statements(self, table: Table) -> list[str]:
        """Return what empties the table; readers see the rows until the commit."""
        return [f"DELETE FROM {table.name.sql}"]  # noqa: S608 (quoted)

    def empty_table(self, table: Table) -> int:
        """Delete all rows; return how many."""
        self._keep_out(table)
        [delete] = self.empty_statements(table)
        try:
            return self._session.execute(delete)
        except DataError as error:
            raise referenced(error, table) from error

    def admit(self, table: Table) -> None:
        """Refuse a table on which the load could not keep its promises."""
        admit(self._session, table, self._request.mode)

    def stage_statements(self, table: Table, columns: tuple[str, ...]) -> list[str]:
        """Return what makes the temporary table."""
        key = check_key(self._request.key, columns, table, "the input")
        return [stage_statement(table, columns, key, numbered=self._request.duplicates != "error")]

    def merge_statements(self, table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> list[str]:
        """Return what merges the staged rows into the table."""
        return merge_statements(table, columns, key, self._request.duplicates)

    def load_statements(self, source: CsvInput, table: Table, columns: tuple[str, ...]) -> list[str]:
        """Return what brings one file into the table or into the stage."""
        table_sql = STAGE if self._request.staged else table.name.sql
        into = Into.of(source, table_sql, tuple(table.column(name) for name in columns))
        if source.escaped:
            return [self._bulk.statement(replace(into.bare()[1], delimiter=DELIMITER))]
        return [self._bulk.statement(replace(into, delimiter=TextFormat(source).delimiter.decode()))]

    def rights(self, table: Table | None, columns: list[str]) -> list[Right]:
        """Return the rights that the load needs, beside those to the ledger."""
        if table is None:
            return [may_create(self._session, self.name, f"CREATE TABLE {self.name.sql} (id int)")]
        return table_rights(self._session, table, columns, self._request)

    def right_to_create(self, name: str, statement: str) -> Right:
        """Say whether the ledger may be made."""
        return may_create(self._session, self._ledger_name, statement)

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
        self._keep_out(table)
        return merge(self._session, table, columns, key, self._request.duplicates, look)

    def _keep_out(self, table: Table) -> None:
        # Two merges of one new key, or two replaces, would each miss the other's rows. LOCK TABLES would commit.
        lock(self._session, f"write {table.name}")

    def checked(self, table: Table) -> Loaded:
        """Return the table as expectations look at it."""
        from tradewind.mysql.checking import Loaded

        return Loaded(self._session, table, self._request.key)

    def load_part(self, part: Part, source: CsvInput, table: Table, columns: tuple[str, ...], *, staged: bool) -> int:
        """Load one file, into the table or into the stage; return the rows."""
        into = Into.of(source, STAGE if staged else table.name.sql, tuple(table.column(name) for name in columns))
        if self._request.max_errors:
            server = self._server(source, into)
            return TolerantLoad(server, source, self._rejects, self._count, unit=part.unit).run()
        self._session.execute("SAVEPOINT tradewind_part")
        if source.escaped and part.open_escaped:
            return self._load_escaped(part.open_escaped, part, source, into)
        text = Rendered(source, lambda data: self._count(data, 0))
        into = replace(into, delimiter=text.text.delimiter.decode())
        rows = 0
        self._count(len(source.header), 0)
        try:
            # Fields that are empty and quoted cost the server a fifth more: the records before the first are spared.
            if text.begin(stops=into.forces):
                rows = self._bulk.load(into, text, forced=False)
            if text.begin(stops=False):
                rows += self._bulk.load(into, text, forced=True)
        except DataError as error:
            if error.source:
                raise
            raise self._named(error, rows, part, into) from error
        self._progress.add(rows=rows)
        return rows

    def _load_escaped(
        self, open_escaped: Callable[[frozenset[int]], Readable], part: Part, source: CsvInput, into: Into
    ) -> int:
        """Load records that come as LOAD DATA has them: they pass through."""
        bare, asked = into.bare()
        source.stream = open_escaped(bare)
        text = EscapedText(source.stream, lambda data: self._count(data, 0))
        rows = 0
        try:
            if not text.empty:
                rows = self._bulk.load(replace(asked, delimiter=DELIMITER), text, forced=asked.forces)
        except DataError as error:
            if error.source:
                raise
            raise self._named(error, 0, part, into) from error
        self._progress.add(rows=rows)
        return rows

    def _named(self, error: DataError, rows: int, part: Part, into: Into) -> DataError:
        """Return an error with its file and line."""
        if error.line is None:
            return self._searched(part, into) or located(error, part.name, None)
        with contextlib.closing(open_csv(part, rewrite=False)) as source:
            return located(error, part.name, line_of(source, rows + error.line))

    def _searched(self, part: Part, into: Into) -> DataError | None:
        """Load the file again, to find the record that the server did not name."""
        self._session.execute("ROLLBACK TO SAVEPOINT tradewind_part")
        with contextlib.closing(open_csv(part, rewrite=False)) as source:
            try:
                server, none = self._server(source, into), Rejects(None, 0)
                TolerantLoad(server, source, none, lambda data, rows: None, unit=part.unit).run()
            except DataError as error:
                return error.__cause__ if isinstance(error.__cause__, DataError) else error
        return None

    def _server(self, source: CsvInput, into: Into) -> LoadedBlocks:
        text = TextFormat(source)
        into = replace(into, delimiter=text.delimiter.decode())

        def load(block: Block) -> int:
            forced = into.forces and text.has_empty_quotes(block)
            return self._bulk.load(into, _Records(text.render(block)), forced=forced)

        return LoadedBlocks(self._session.execute, load, source.name)
