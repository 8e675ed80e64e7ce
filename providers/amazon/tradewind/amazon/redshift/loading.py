# ruff: noqa: S608 (names are parsed and quoted)
"""One load into a table of Redshift: in one transaction with its ledger entry."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from tradewind.amazon.redshift.catalog import Table, admit, existing_table, find_table, full_name, holds, may_create
from tradewind.amazon.redshift.column_types import REFUSED
from tradewind.amazon.redshift.copying import Batch, Head, copy_statement, csv_options
from tradewind.amazon.redshift.ledger import Ledger
from tradewind.amazon.redshift.load_errors import LONGEST_URL, last_error
from tradewind.amazon.redshift.merging import STAGE, append_statement, merge, merge_statements, stage_statement
from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest, CopyResult, Mode, Part, Reading
from tradewind.operators.formats.csv.records import CsvInput
from tradewind.operators.plan import Right
from tradewind.operators.progress import Progress
from tradewind.operators.tables.columns import match_columns, ordinal_column
from tradewind.operators.tables.ledger import copy_token
from tradewind.operators.tables.load import Merged, TableLoad
from tradewind.operators.types import Arrays

if TYPE_CHECKING:
    from tradewind.amazon.redshift.checking import Loaded
    from tradewind.amazon.redshift.sessions import Session
    from tradewind.amazon.redshift.staging import Staging
    from tradewind.hooks.libpq.names import TableName
    from tradewind.operators.files.manifests import Manifest

log = logging.getLogger(__name__)

_NEEDED: dict[Mode, tuple[str, ...]] = {
    "append": ("INSERT",),
    "replace": ("INSERT", "DELETE"),
    "merge": ("SELECT", "INSERT", "UPDATE"),
}


class Loader(NamedTuple):
    """How a table is loaded.

    :param staging: where objects lie for the time of the load
    :param iam_role: ``default``, or the ARNs of the roles by which the warehouse reads them
    :param region: where the objects are, empty for the warehouse's own region
    :param open_session: opens a session beside that of the load
    """

    staging: Staging
    iam_role: str
    region: str
    open_session: Callable[[], AbstractContextManager[Session]]


class Load(TableLoad[Table]):
    """A load of all parts of a source into a table, once for each token.

    :param session: a connection of its own
    :param name: the table
    :param ledger: the ledger's table
    :param ledger_days: how long its entries are kept
    :param loader: how the table is loaded
    :param reading: the input
    :param request: what is to be done with it
    :param progress: is told rows and bytes
    """

    statement = "COPY"
    stage = STAGE

    def __init__(
        self,
        session: Session,
        name: TableName,
        ledger: TableName,
        ledger_days: int,
        loader: Loader,
        reading: Reading,
        request: CopyRequest,
        progress: Progress,
    ) -> None:
        self._name = full_name(session, name)
        self._book = Ledger(session, full_name(session, ledger), ledger_days)
        super().__init__(session, self._book, reading, request, progress)
        self._session = session
        self._loader = loader
        self._heads: list[Head] = []
        self._staged: Manifest | None = None
        self._numbered = request.duplicates != "error"
        if self._by_worker:
            self.statement = "rows staged in S3, COPY"

    @property
    def _by_worker(self) -> str:
        """Why the rows must pass through the worker, whatever they are; empty where they need not.

        COPY loads objects in parallel and tells neither the order of their records nor how many there were.
        """
        why = ["duplicates= asks for their order"] * self._numbered
        why += ["max_errors= asks how many there are"] * bool(self._request.max_errors)
        return ", ".join(why)

    # before the transaction: what takes long needs no lock

    def run(self) -> CopyResult:
        """Load, and commit; or find that it was loaded before."""
        with self._loader.staging.removed(), self._loader.staging.taken_over():
            self._book.ensure()
            token = copy_token(self._request, self._reading, self.full_name())
            done = None if self._request.reload else self._book.loaded_at(token)
            table = find_table(self._session, self._name)
            self._session.rollback()
            if done is None:
                self._find_objects(table)
            return super().run()

    def _find_objects(self, table: Table | None) -> None:
        """Find the objects that COPY will load: those of the source where it can, else staged ones."""
        from tradewind.amazon.redshift.heads import heads, staged_heads

        if self._by_worker:
            log.info("the rows pass through the worker: %s", self._by_worker)
        elif (found := heads(self._reading, table)) is not None:
            self._heads = found
            return
        dialect = self._dialect()
        staging = self._loader.staging
        if self._request.max_errors:
            staging.check_length(LONGEST_URL)
        self._staged = staging.write(self._reading, self._request, self._progress, dialect, numbered=self._numbered)
        self._heads = staged_heads(self._staged, dialect, numbered=self._numbered)

    def _dialect(self) -> CsvDialect:
        """Return how rows are staged: NULL is a text that no value is, for COPY tells it by its text alone."""
        from tradewind.amazon.redshift.marking import staged_dialect

        mark = hashlib.sha256(self._loader.staging.url.encode()).hexdigest()[:16]
        return staged_dialect(self._reading, f"@null-{mark}@")

    def begin(self) -> None:
        """Begin the transaction by the lock, before anything takes its snapshot."""
        self._session.rollback()
        self._book.lock()
        self._loader.staging.sweep()

    def begin_plan(self) -> None:
        """Begin a transaction that writes nothing."""
        self._session.rollback()

    def full_name(self) -> str:
        """Return the target's name with its schema."""
        return str(self._name)

    def arrays(self) -> Arrays:
        """Ask for JSON: Redshift has no arrays, SUPER reads JSON."""
        return "json"

    # the table

    def find(self) -> Table | None:
        """Return the table, None where the load would make it."""
        found = find_table(self._session, self._name)
        return found if found or self._request.create else existing_table(self._session, self._name)

    def is_gone(self, before: CopyResult) -> bool:
        """Say whether the table that was loaded before is not there any more."""
        return find_table(self._session, self._name) is None

    def open_table(self, parts: list[Part]) -> Table:
        """Return the table, made from the input where that is asked for."""
        from tradewind.amazon.redshift.creating import make_table

        found = find_table(self._session, self._name)
        if found is None and self._request.create:
            return make_table(self._session, self._name, parts, self._request.key)
        return found or existing_table(self._session, self._name)

    def planned_table(self, parts: list[Part]) -> tuple[str, Table]:
        """Return the statement that would make the table, and the table."""
        from tradewind.amazon.redshift.creating import planned_table

        return planned_table(self._name, parts, self._request.key)

    def admit(self, table: Table) -> None:
        """Refuse a table on which the load could not keep its promises."""
        admit(table)

    def empty_statements(self, table: Table) -> list[str]:
        """Return what empties the table; TRUNCATE would commit at once."""
        return [f"DELETE FROM {table.name.sql}"]

    def empty_table(self, table: Table) -> int:
        """Delete all rows; return how many."""
        return self._session.execute(self.empty_statements(table)[0])

    # the rows

    def _load_parts(
        self, table: Table, parts: list[Part], *, staged: bool = False
    ) -> tuple[int, tuple[str, ...] | None]:
        """Load all objects, those of the same columns and options by one COPY."""
        batches, columns = self._batches(table, staged)
        if staged and columns is not None:
            self.make_stage(table, columns)
        rows = sum(
            self._copy(number, batch, STAGE if staged else table.name.sql) for number, batch in enumerate(batches, 1)
        )
        self._refuse_miscount(rows)
        return rows, columns

    def _batches(self, table: Table, staged: bool) -> tuple[list[Batch], tuple[str, ...] | None]:
        groups: dict[tuple[tuple[str, ...], str], list[Head]] = {}
        columns: tuple[str, ...] | None = None
        for head in self._heads:
            if head.source.empty:
                continue
            found = match_columns(head.source, table)
            self._refuse_types(table, found)
            columns = self.staged_columns(columns, found, head.source, table) if staged else found
            ordinal = (ordinal_column(table),) if self._numbered else ()
            listed = () if head.whole and not staged else (*ordinal, *found)
            groups.setdefault((listed, head.options), []).append(head)
        batches = [
            Batch(tuple(head.file for head in group), names, options) for (names, options), group in groups.items()
        ]
        return batches, columns

    def _refuse_types(self, table: Table, columns: Sequence[str]) -> None:
        for name in columns if self._staged is not None else ():
            base = table.column(name).base
            if base in REFUSED:
                raise DataError(
                    f"column {name!r} of {table.name} is {base}, which is loaded from no rows of another service: "
                    "leave it out",
                    column=name,
                )

    def _copy(self, number: int, batch: Batch, into: str) -> int:
        manifest = self._loader.staging.put(f"copy-{number}.manifest", batch.manifest())
        size = sum(file.size for file in batch.files)
        log.info("COPY of %s objects, listed in %s", f"{len(batch.files):,}", manifest)
        try:
            self._session.execute(self._statement(into, batch.columns, manifest, batch.options))
        except DataError as error:
            self._session.rollback()
            raise self._told(error) from error
        rows = int(self._session.query("SELECT pg_last_copy_count()")[0][0])
        if self._staged is None:
            from tradewind.operators.files.heads import refuse_changed
            from tradewind.operators.files.reading import FileReading

            assert isinstance(self._reading, FileReading)  # noqa: S101 (told to mypy)
            refuse_changed(self._reading.storage, batch.files)
            self._count(size, rows)
        else:
            self._progress.add(rows=rows)
        return rows

    def _statement(self, into: str, columns: Sequence[str], manifest: str, options: str) -> str:
        loader, most = self._loader, self._request.max_errors
        tolerant = f"{options} MAXERROR {most + 1}" if most else options  # it fails at this number
        return copy_statement(into, columns, manifest, tolerant, loader.iam_role, loader.region)

    def _told(self, error: DataError) -> DataError:
        """Return the service's own error of a record, or the one that came where it tells none."""
        found = last_error(self._session)
        if found is None:
            return error
        if self._staged is None or found.url not in {member.url for member in self._staged.files}:
            return found.told()
        from tradewind.amazon.redshift.rejecting import too_many
        from tradewind.amazon.redshift.tracing import traced

        told = traced(found, self._staged, self._loader.staging.storage(), self._reading)
        most = self._request.max_errors
        return too_many(self._session, self._loader.staging.url, most, told) if most else told

    def _refuse_miscount(self, rows: int) -> None:
        if self._staged is None:
            return
        self._bytes += sum(member.bytes for member in self._staged.files)
        written = sum(member.rows for member in self._staged.files)
        if rows < written <= rows + self._request.max_errors:
            from tradewind.amazon.redshift.rejecting import SettingAside

            aside = SettingAside(self._session, self._loader, self._staged, self._reading, numbered=self._numbered)
            aside.run(self._rejects, written - rows)
        elif rows != written:
            raise DataError(f"COPY loaded {rows:,} rows of {written:,} that were staged: nothing is committed")

    def load_part(self, part: Part, source: CsvInput, table: Table, columns: tuple[str, ...], *, staged: bool) -> int:
        """Load nothing: all objects are loaded together, by :meth:`_load_parts`."""
        raise NotImplementedError("objects are loaded together")

    # merging and appending by the stage

    def make_stage(self, table: Table, columns: tuple[str, ...]) -> None:
        """Make the temporary table that takes the input."""
        self._session.execute(stage_statement(table, columns, numbered=self._numbered))

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
        from tradewind.amazon.redshift.checking import Loaded

        return Loaded(self._session, table, self._request.key)

    # the plan

    def load_statements(self, source: CsvInput, table: Table, columns: tuple[str, ...]) -> list[str]:
        """Return what brings the objects into the table or into the stage."""
        from tradewind.amazon.redshift.heads import heads

        into = STAGE if self._request.staged else table.name.sql
        manifest = f"{self._loader.staging.of_work}.../copy-1.manifest"
        dialect = CsvDialect(null="@null-...@")
        staged = CsvInput(source.name, source.stream, dialect, header=b"staged\n", names=source.names)
        direct = None if self._by_worker else heads(self._reading, table)
        options = direct[0].options if direct else csv_options(staged, "gzip")
        numbered = (ordinal_column(table), *columns) if self._numbered else columns
        return [self._statement(into, numbered, manifest, options)]

    def stage_statements(self, table: Table, columns: tuple[str, ...]) -> list[str]:
        """Return what makes the temporary table."""
        return [stage_statement(table, columns, numbered=self._numbered)]

    def merge_statements(self, table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> list[str]:
        """Return what merges the staged rows into the table."""
        return merge_statements(table, columns, key, self._request.duplicates)

    def insert_statement(self, table: Table, columns: tuple[str, ...]) -> str:
        """Return what appends the staged rows to the table."""
        return append_statement(table, columns)

    def rights(self, table: Table | None, columns: list[str]) -> list[Right]:
        """Return the rights that the load needs, beside those to the ledger."""
        staging = self._loader.staging
        found = staging.storage().rights(f"{staging.of_work}*")
        if table is None:
            return [may_create(self._session, self._name), *found]
        needed = list(_NEEDED[self._request.mode])
        if any(expectation.needs_table for expectation in self._request.expect) and "SELECT" not in needed:
            needed.append("SELECT")
        held = [Right(what, str(table.name), holds(self._session, table.name, what)) for what in needed]
        if self._request.staged:
            query = "SELECT current_database(), has_database_privilege(current_database(), 'TEMPORARY')"
            [(database, may)] = self._session.query(query)
            held.append(Right("TEMPORARY", f"database {database}", bool(may)))
        return [*held, *found]

    def right_to_create(self, name: str, statement: str) -> Right:
        """Say whether the ledger may be made."""
        return may_create(self._session, self._book.name)
