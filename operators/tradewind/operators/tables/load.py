"""A load of a source into a table, in one transaction with its ledger entry, whatever the service."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from tradewind.hooks.errors import DataError, NotFound
from tradewind.operators.ends import CopyRequest, CopyResult, Part, Reading
from tradewind.operators.expecting import CheckedTable, Expectation, verify
from tradewind.operators.formats.csv.records import CsvInput, open_csv
from tradewind.operators.progress import Progress
from tradewind.operators.tables.columns import Table, check_key, in_order_of_fields, match_columns
from tradewind.operators.tables.ledger import Ledger, copy_token, reload_token
from tradewind.operators.tables.rejects import Rejects
from tradewind.operators.types import Arrays

if TYPE_CHECKING:
    from tradewind.operators.plan import Plan, Right
    from tradewind.operators.tables.checked import LoadedTable

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Table)


class Merged(NamedTuple):
    """What a merge did, in rows."""

    inserted: int
    updated: int
    unchanged: int
    duplicates: int = 0


class Transaction(Protocol):
    """The connection of one load."""

    def commit(self) -> Any:
        """Commit."""

    def rollback(self) -> Any:
        """Roll back."""


class TableLoad(ABC, Generic[T]):
    """A load of all parts of a source into a table, once for each token.

    :param session: a connection of its own
    :param ledger: the ledger, on the same connection
    :param reading: the input
    :param request: what is to be done with it
    :param progress: is told rows and bytes
    """

    statement: str
    """What brings the rows, for the plan: ``COPY``."""
    stage: str
    """The temporary table, quoted."""

    def __init__(
        self, session: Transaction, ledger: Ledger, reading: Reading, request: CopyRequest, progress: Progress
    ) -> None:
        self._transaction = session
        self._ledger = ledger
        self._reading = reading
        self._request = request
        self._progress = progress
        self._rejects = Rejects(request.open_rejects, request.max_errors)
        self._bytes = 0

    def run(self) -> CopyResult:
        """Load, and commit; or find that it was loaded before.

        :raises DataError: where a record does not fit; the table is then as it was
        :raises NotFound: where the table that was loaded before is not there any more
        """
        self._ledger.ensure()
        self.begin()
        tokens, before = self._claim()
        if before is not None:
            self._refuse_gone(before)
            self._transaction.rollback()
            return before
        try:
            result = self._write()
            self._ledger.finish(tokens, result)
            self._rejects.commit()
            self._transaction.commit()
        except BaseException:
            self._rejects.abort()
            raise
        return result

    def _refuse_gone(self, before: CopyResult) -> None:
        if self.is_gone(before):
            raise NotFound(
                f"the ledger says that {self.full_name()} got this input at {before.loaded_before}, but the table is "
                "not there any more: reload=True loads it again"
            )

    @abstractmethod
    def is_gone(self, before: CopyResult) -> bool:
        """Say whether the table that was loaded before is not there any more.

        :param before: what the ledger says of that load
        """

    def plan(self) -> Plan:
        """Say what :meth:`run` would do, and write nothing.

        :raises TradewindError: what it would raise before its first row
        """
        from tradewind.operators.tables.load_plan import LoadPlan

        self.begin_plan()
        try:
            return LoadPlan(self, self._ledger, self._reading, self._request).made()
        finally:
            self._transaction.rollback()

    def way(self, name: object) -> str:
        """Say in a line which way the rows go.

        :param name: the table
        """
        staged = f"{self.statement} into a temporary table, INSERT into {name}"
        ways = {
            "append": staged if self._request.staged else f"{self.statement} into {name}",
            "replace": f"DELETE and {self.statement} into {name}, readers undisturbed",
            "merge": f"{self.statement} into a temporary table, merge into {name}",
        }
        return ways[self._request.mode]

    @abstractmethod
    def begin_plan(self) -> None:
        """Begin a transaction that writes nothing."""

    @abstractmethod
    def find(self) -> T | None:
        """Return the table, None where the load would make it.

        :raises NotFound: where it is not there and would not be made
        """

    @abstractmethod
    def planned_table(self, parts: list[Part]) -> tuple[str, T]:
        """Return the statement that would make the table, and the table."""

    @abstractmethod
    def load_statements(self, source: CsvInput, table: T, columns: tuple[str, ...]) -> list[str]:
        """Return what brings one file into the table or into the stage."""

    @abstractmethod
    def empty_statements(self, table: T) -> list[str]:
        """Return what empties the table for a replace."""

    @abstractmethod
    def stage_statements(self, table: T, columns: tuple[str, ...]) -> list[str]:
        """Return what makes the temporary table."""

    @abstractmethod
    def merge_statements(self, table: T, columns: tuple[str, ...], key: tuple[str, ...]) -> list[str]:
        """Return what merges the staged rows into the table."""

    @abstractmethod
    def insert_statement(self, table: T, columns: tuple[str, ...]) -> str:
        """Return what appends the staged rows to the table."""

    @abstractmethod
    def rights(self, table: T | None, columns: list[str]) -> list[Right]:
        """Return the rights that the load needs, beside those to the ledger.

        :param table: the table, None where the load would make it
        :param columns: the columns of the input
        """

    @abstractmethod
    def right_to_create(self, name: str, statement: str) -> Right:
        """Say whether a table may be made.

        :param name: the table
        :param statement: what makes it
        """

    @abstractmethod
    def begin(self) -> None:
        """Begin the transaction."""

    @abstractmethod
    def full_name(self) -> str:
        """Return the target's name with its schema: part of the token."""

    def arrays(self) -> Arrays:
        """Say how the server reads arrays."""
        return "braces"

    def escaped_part(self, part: Part) -> CsvInput | None:
        """Describe a part that is to come with escapes in place of quotes, None where the load wants CSV.

        :param part: what is to be loaded; nothing of it is opened
        """
        return None

    @abstractmethod
    def open_table(self, parts: list[Part]) -> T:
        """Return the table, made from the input where that is asked for."""

    @abstractmethod
    def admit(self, table: T) -> None:
        """Refuse a table on which the load could not keep its promises.

        :raises InvalidArgument: with what is in the way, and what to do instead
        """

    @abstractmethod
    def empty_table(self, table: T) -> int:
        """Delete the rows that the input replaces, and keep other writers out; return how many."""

    @abstractmethod
    def make_stage(self, table: T, columns: tuple[str, ...]) -> None:
        """Make the temporary table that takes the input."""

    @abstractmethod
    def append_stage(self, table: T, columns: tuple[str, ...]) -> int:
        """Append the staged rows to the table; return how many."""

    @abstractmethod
    def merge_stage(self, table: T, columns: tuple[str, ...], key: tuple[str, ...], look: Callable[[], None]) -> Merged:
        """Merge the staged rows into the table.

        :param look: looks at the stage, once it holds exactly the records that count
        """

    @abstractmethod
    def checked(self, table: T) -> LoadedTable[T]:
        """Return the table as expectations look at it."""

    @abstractmethod
    def load_part(self, part: Part, source: CsvInput, table: T, columns: tuple[str, ...], *, staged: bool) -> int:
        """Load one file, into the table or into the stage; return the rows."""

    def _claim(self) -> tuple[list[str], CopyResult | None]:
        request, target = self._request, self.full_name()
        token = copy_token(request, self._reading, target)
        source = request.description.partition(" -> ")[0] or ", ".join(self._reading.files[:3])
        if not request.reload:
            return [token], self._ledger.claim(token, request, target, source)
        again = reload_token(request, self._reading, target)
        before = self._ledger.claim(again, request, target, source)
        if before is None:
            self._ledger.overwrite(token, request, target, source)
        return [again, token], before

    def _write(self) -> CopyResult:
        parts = list(self._reading.parts(arrays=self.arrays()))
        table = self.open_table(parts)
        self.admit(table)
        checked = self._prepared(table)
        log.info("plan: %s", self.way(table.name))
        write: Callable[[T, list[Part]], CopyResult] = {
            "append": self._append,
            "replace": self._replace,
            "merge": self._merge,
        }[self._request.mode]
        result = write(table, parts)
        result.bytes = self._bytes
        result.rejected = self._rejects.count
        result.files = list(self._reading.files)
        if checked is not None:
            expect = [each for each in self._request.expect if not self._looks_at_stage(each)]
            verify(expect, result.rows, checked, str(table.name))
            log.info("%s: what is expected holds: %s", table.name, ", ".join(map(repr, self._request.expect)))
        return result

    def _prepared(self, table: T) -> CheckedTable | None:
        """Find what the expectations name, before the load has taken its time."""
        if not self._request.expect:
            return None
        for expectation in self._request.expect:
            self.prepare(expectation, table)
        return self.checked(table)

    def prepare(self, expectation: Expectation, table: T) -> None:
        """Find what an expectation names.

        :param expectation: what must hold
        :param table: the table
        :raises TradewindError: where something is not there
        """
        checked = self.checked(table)
        expectation.prepare(checked.staged(self.stage, None) if self._looks_at_stage(expectation) else checked)

    def _looks_at_stage(self, expectation: Expectation) -> bool:
        return expectation.of_load and self._request.staged

    def _look(self, table: T, columns: tuple[str, ...] | None) -> None:
        """Look at the rows of this load before they are written, while they stand alone.

        :param table: the table
        :param columns: those of the stage, None where the input is empty and there is none
        """
        expect = [each for each in self._request.expect if self._looks_at_stage(each)]
        if not expect:
            return
        rows = self.checked(table).staged(self.stage, columns)
        verify(expect, 0, rows, str(table.name), looked_at=f"the rows that are loaded into {table.name}")

    def _append(self, table: T, parts: list[Part]) -> CopyResult:
        rows, columns = self._load_parts(table, parts, staged=self._request.staged)
        if self._request.staged:
            self._look(table, columns)
            rows = 0 if columns is None else self.append_stage(table, columns)
        return CopyResult(rows=rows, inserted=rows, plan=self.way(table.name))

    def _replace(self, table: T, parts: list[Part]) -> CopyResult:
        gone = self.empty_table(table)
        rows, _ = self._load_parts(table, parts)
        log.info("%s: %s rows are replaced by %s", table.name, f"{gone:,}", f"{rows:,}")
        return CopyResult(rows=rows, inserted=rows, plan=self.way(table.name))

    def _merge(self, table: T, parts: list[Part]) -> CopyResult:
        check_key(self._request.key, tuple(column.name for column in table.columns), table, "the table")
        rows, columns = self._load_parts(table, parts, staged=True)
        if columns is None:
            self._look(table, None)
            return CopyResult(plan=f"merge into {table.name}: the input is empty")
        key = check_key(self._request.key, columns, table, "the input")
        done = self.merge_stage(table, columns, key, lambda: self._look(table, columns))
        if done.duplicates:
            kept = self._request.duplicates
            log.info("%s: %s records have a key of which the %s one counts", table.name, f"{done.duplicates:,}", kept)
        return CopyResult(
            rows=rows - done.duplicates,
            duplicates=done.duplicates,
            inserted=done.inserted,
            updated=done.updated,
            unchanged=done.unchanged,
            plan=self.way(table.name),
        )

    def _load_parts(self, table: T, parts: list[Part], *, staged: bool = False) -> tuple[int, tuple[str, ...] | None]:
        """Load part after part; return the rows, and the columns they have, None where no part has any."""
        rows, columns = 0, None
        for part in parts:
            source = self.escaped_part(part) or open_csv(part, rewrite=False)
            with contextlib.closing(source):
                if source.empty:
                    continue
                found = in_order_of_fields(source, match_columns(source, table))
                if staged:
                    is_first = columns is None
                    columns = self.staged_columns(columns, found, source, table)
                    if is_first:
                        self.make_stage(table, found)
                else:
                    columns = found
                try:
                    rows += self.load_part(part, source, table, found, staged=staged)
                except DataError as error:
                    from tradewind.operators.formats.csv.places import in_column, in_records

                    raise in_records(in_column(error, part), part) from error.__cause__
        return rows, columns

    def staged_columns(
        self, before: tuple[str, ...] | None, found: tuple[str, ...], source: CsvInput, table: T
    ) -> tuple[str, ...]:
        """Return the columns of the stage: those of the first file, which all the others must have too.

        :param before: the columns of the files before, None for the first one
        :param found: the columns of this file
        :raises DataError: where they differ
        """
        if before is None:
            check_key(self._request.key, found, table, source.name)
            return found
        if set(before) != set(found):
            raise DataError(
                f"{source.name} has other columns than the files before it, which one temporary table cannot take: "
                f"{', '.join(sorted(set(before) ^ set(found)))}",
                source=source.name,
                line=1,
            )
        return before

    def _count(self, data: int, rows: int) -> None:
        self._bytes += data
        self._progress.add(data, rows=rows)
