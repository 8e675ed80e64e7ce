# ruff: noqa: S608 (names are parsed and quoted)
"""One load: files in a temporary stage, or in S3, then one short transaction for the rows and the ledger entry.

What defines something commits, so all of it comes first: the ledger, the table that is made, the temporary stage and
table. The input is read and put into the stage before the transaction begins; the locks that it holds are held for the
time of its own statements alone.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from tradewind.hooks.errors import Superseded
from tradewind.operators.ends import CopyRequest, CopyResult, Part, Reading
from tradewind.operators.formats.csv.records import Block, CsvInput, blocks
from tradewind.operators.formats.csv.rewriting import rewritten
from tradewind.operators.plan import Right
from tradewind.operators.progress import Progress
from tradewind.operators.tables.load import Merged, TableLoad
from tradewind.operators.types import Arrays
from tradewind.snowflake.catalog import Table, existing_table, find_table, full_name
from tradewind.snowflake.copying import Upload, copy_files, copy_statements, transforms
from tradewind.snowflake.ledger import Ledger, LoadedMeanwhile
from tradewind.snowflake.merging import append_statement, merge, merge_statements, stage_statement
from tradewind.snowflake.names import TableName
from tradewind.snowflake.records import Records
from tradewind.snowflake.rights import load_rights
from tradewind.snowflake.stages import ExternalStage
from tradewind.snowflake.staging import BLOCK, Stage, StagedFile

if TYPE_CHECKING:
    from tradewind.operators.files.heads import FileHead
    from tradewind.snowflake.checking import Loaded
    from tradewind.snowflake.external import ExternalLoad
    from tradewind.snowflake.session import SnowflakeSession

log = logging.getLogger(__name__)

# Whatever the account, the user or the connection has set: a text means the same moment, and bytes are hex digits.
SETTINGS = (
    "ALTER SESSION SET TIMEZONE = 'UTC' DATE_INPUT_FORMAT = 'AUTO' TIME_INPUT_FORMAT = 'AUTO' "
    "TIMESTAMP_INPUT_FORMAT = 'AUTO' BINARY_INPUT_FORMAT = 'HEX' BINARY_OUTPUT_FORMAT = 'HEX' "
    "ERROR_ON_NONDETERMINISTIC_MERGE = TRUE"
)


class Load(TableLoad[Table]):
    """A load of all parts of a source into a table, once for each token.

    :param session: a session of its own
    :param name: the table
    :param ledger: the ledger's table
    :param ledger_days: how long its entries are kept
    :param reading: the input
    :param request: what is to be done with it
    :param progress: is told rows and bytes
    :param external: how the service reaches S3 by itself, None where it is not to
    """

    statement = "PUT and COPY"

    def __init__(
        self,
        session: SnowflakeSession,
        name: TableName,
        ledger: TableName,
        ledger_days: int,
        reading: Reading,
        request: CopyRequest,
        progress: Progress,
        external: ExternalStage | None = None,
    ) -> None:
        self.name = full_name(session, name)
        self._entries = Ledger(session, full_name(session, ledger), ledger_days)
        super().__init__(session, self._entries, reading, request, progress)
        self._session = session
        self._files = Stage.beside(session, self.name)
        self._rows = self.name.beside(f"TRADEWIND_ROWS_{secrets.token_hex(8).upper()}")
        self.stage = self._rows.sql
        self._uploads: list[Upload] = []
        self._to_make: str | None = None
        self._copied = 0
        self._parts: list[Part] | None = None
        self._external = external or ExternalStage()
        self._outside: ExternalLoad | None = None
        self._joined: tuple[str, ...] | None = None

    def run(self) -> CopyResult:
        """Load, and commit; or find that it was loaded before, by another try at the very end."""
        try:
            return super().run()
        except LoadedMeanwhile as found:
            self._session.rollback()
            return found.result

    def begin(self) -> None:
        """Set the session up; the transaction begins with the first statement that writes rows."""
        self.begin_plan()

    def begin_plan(self) -> None:
        """Set the session up."""
        self._session.execute(SETTINGS)

    def arrays(self) -> Arrays:
        """Ask for JSON, which an ARRAY is made from."""
        return "json"

    def full_name(self) -> str:
        """Return the target's name with its schema and database."""
        return str(self.name)

    def open_table(self, parts: list[Part]) -> Table:
        """Return the table; one that is to be made is made when all of the input has been read."""
        self._parts = parts
        found = self.find()
        if found is None:
            self._to_make, found = self.planned_table(parts)
        return found

    def find(self) -> Table | None:
        """Return the table, None where the load would make it."""
        found = find_table(self._session, self.name)
        if found is None and not self._request.create:
            found = existing_table(self._session, self.name)
        if found is not None:
            self._look_outside(found)
        return found

    def planned_table(self, parts: list[Part]) -> tuple[str, Table]:
        """Return the statement that would make the table, and the table."""
        from tradewind.snowflake.creating import planned_table

        statement, table = planned_table(self.name, parts, self._request.key)
        self._look_outside(table)
        return statement, table

    def _look_outside(self, table: Table) -> None:
        """See whether the service can read the source's objects by itself."""
        if not self._external:
            return
        from tradewind.operators.files.heads import Unfit
        from tradewind.snowflake.external import ExternalLoad, find_batches

        self._joined = None

        def join(head: FileHead, names: tuple[str, ...]) -> None:
            staged = self._request.staged
            self._joined = self.staged_columns(self._joined, names, head.source, table) if staged else names

        try:
            found = find_batches(self._reading, self._parts, table, numbered=self._numbered, join=join)
            if not found:  # no objects, or all of them empty
                return
            stage = self._external.find(self._session, self.name, self._reading.files)
        except Unfit as why:
            log.info("the bytes pass through the worker: %s", why)
            return
        self._outside = ExternalLoad(self._session, self._reading, stage, found)
        self.statement = f"COPY from {stage.url}"

    def is_gone(self, before: CopyResult) -> bool:
        """Say whether the table that was loaded before is not there any more."""
        return find_table(self._session, self.name) is None

    def admit(self, table: Table) -> None:
        """Refuse nothing: what is no table is refused by the service before its first row."""

    def empty_statements(self, table: Table) -> list[str]:
        """Return what empties the table; readers see the rows until the commit."""
        return [f"DELETE FROM {table.name.sql}"]

    def empty_table(self, table: Table) -> int:
        """Delete all rows; return how many."""
        self._entries.keep_out(self._request, self.full_name())
        [delete] = self.empty_statements(table)
        return max(self._session.execute(delete), 0)

    def stage_statements(self, table: Table, columns: tuple[str, ...]) -> list[str]:
        """Return what makes the temporary table."""
        return [stage_statement(table, self._rows, columns, numbered=self._numbered)]

    def merge_statements(self, table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> list[str]:
        """Return what merges the staged rows into the table."""
        return merge_statements(table, self._rows, columns, key, self._request.duplicates)

    def insert_statement(self, table: Table, columns: tuple[str, ...]) -> str:
        """Return what appends the staged rows to the table."""
        return append_statement(table, self._rows, columns)

    def load_statements(self, source: CsvInput, table: Table, columns: tuple[str, ...]) -> list[str]:
        """Return what brings one file into the table or into the temporary one."""
        into = self._rows if self._request.staged else table.name
        if self._outside is not None:
            return self._outside.statements(into, numbered=self._numbered)
        part = Part(source.name, lambda: source.stream, source.dialect)
        upload = self._upload(part, source, table, columns)
        upload.files = [StagedFile("000001.csv.gz", 1)]
        put = f"PUT file://.../000001.csv.gz @{self._files.name.sql}"
        return [self._files.ddl, put, *copy_statements(upload, self._files, into, numbered=self._numbered)]

    def rights(self, table: Table | None, columns: list[str]) -> list[Right]:
        """Return the rights that the load needs, beside those to the ledger."""
        return load_rights(self.name, self._request, self._external, is_new=table is None)

    def right_to_create(self, name: str, statement: str) -> Right:
        """Say whether the ledger may be made: only the work itself can tell."""
        return Right("CREATE TABLE", f"schema {self._entries.name.database}.{self._entries.name.schema}")

    def make_stage(self, table: Table, columns: tuple[str, ...]) -> None:
        """Make the temporary table that takes the input."""
        for statement in self.stage_statements(table, columns):
            self._session.execute(statement)

    def append_stage(self, table: Table, columns: tuple[str, ...]) -> int:
        """Append the staged rows to the table; return how many."""
        rows = self._session.execute(self.insert_statement(table, columns))
        self._entries.begun()
        self._refuse_lost(rows)
        return rows

    def merge_stage(
        self, table: Table, columns: tuple[str, ...], key: tuple[str, ...], look: Callable[[], None]
    ) -> Merged:
        """Merge the staged rows into the table."""
        self._entries.keep_out(self._request, self.full_name())
        merged = merge(self._session, table, self._rows, columns, key, self._request.duplicates, look)
        self._refuse_lost(merged.inserted + merged.updated + merged.unchanged + merged.duplicates)
        return merged

    def _refuse_lost(self, rows: int) -> None:
        """Refuse to go on where the staged rows went with their transaction, which a newer try has ended."""
        if rows != self._copied:
            raise Superseded(
                f"{self._session.describe}: {rows:,} of {self._copied:,} staged rows are there: another try of this "
                "load has ended this one's transaction"
            )

    def checked(self, table: Table) -> Loaded:
        """Return the table as expectations look at it."""
        from tradewind.snowflake.checking import Loaded

        return Loaded(self._session, table, self._request.key)

    def load_part(self, part: Part, source: CsvInput, table: Table, columns: tuple[str, ...], *, staged: bool) -> int:
        """Put one part into the stage; its rows are counted when they are loaded."""
        upload = self._upload(part, source, table, columns)
        if source.outputs is not None:
            source = rewritten(source, source.outputs, part.unit)
        checked = transforms(upload.columns) and part.types is None
        records = Records(source, upload.columns, checked=checked, unit=part.unit)
        self._count(len(source.header), 0)
        upload.dialect = records.dialect
        floats = any(column.type == "FLOAT" for column in upload.columns)

        def made(block: Block) -> bytes:
            upload.infinite = upload.infinite or (floats and b"nfinity" in block.data)
            return records.made(block)

        upload.files = self._files.put(blocks(source, BLOCK), made, lambda size: self._count(size, 0))
        self._uploads.append(upload)
        return 0

    @property
    def _numbered(self) -> bool:
        return self._request.mode == "merge" and self._request.duplicates != "error"

    def _upload(self, part: Part, source: CsvInput, table: Table, columns: tuple[str, ...]) -> Upload:
        found = tuple(table.column(name) for name in columns)
        return Upload(part, found, source.dialect, source.line_end == b"\r", [])

    def _load_parts(
        self, table: Table, parts: list[Part], *, staged: bool = False
    ) -> tuple[int, tuple[str, ...] | None]:
        """Put all parts into the stage, then load them."""
        columns = self._gather(table, parts, staged=staged)
        return self._copy(self._rows if staged else table.name), columns

    def _gather(self, table: Table, parts: list[Part], *, staged: bool = False) -> tuple[str, ...] | None:
        """Do all that comes before the transaction; return the columns of the input."""
        if self._outside is None:
            _, columns = super()._load_parts(table, parts, staged=staged)
        else:
            columns = self._joined
            if staged and columns is not None:
                self.make_stage(table, columns)
            self._outside.prepare()
        self._make_table()
        return columns

    def _replace(self, table: Table, parts: list[Part]) -> CopyResult:
        """Put all parts into the stage, then delete and load."""
        self._gather(table, parts)
        gone = self.empty_table(table)
        rows = self._copy(table.name)
        log.info("%s: %s rows are replaced by %s", table.name, f"{gone:,}", f"{rows:,}")
        return CopyResult(rows=rows, inserted=rows, plan=self.way(table.name))

    def _make_table(self) -> None:
        if self._to_make is not None:
            self._session.execute(self._to_make)
            log.info("created the table from the input: %s", self._to_make)

    def _copy(self, table: TableName) -> int:
        def begun() -> None:
            if table == self.name and not self._entries.has_begun:
                self._entries.begun()

        rows = 0
        if self._outside is not None:
            rows = self._outside.copy(table, numbered=self._numbered, begun=begun)
            self._count(self._outside.bytes, 0)
        for upload in self._uploads:
            rows += copy_files(self._session, upload, self._files, table, numbered=self._numbered, begun=begun)
        self._progress.add(rows=rows)
        self._copied = rows
        return rows
