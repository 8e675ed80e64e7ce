"""The plan of a load into a table: what it would run, and what it needs for it."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Generic, TypeVar

from tradewind.operators.ends import CopyRequest, Part, Reading
from tradewind.operators.formats.csv.records import CsvInput, open_csv, unread
from tradewind.operators.plan import Plan, Right
from tradewind.operators.tables.columns import Table, check_key, in_order_of_fields, match_columns
from tradewind.operators.tables.ledger import Ledger, copy_token

if TYPE_CHECKING:
    from tradewind.operators.tables.load import TableLoad

T = TypeVar("T", bound=Table)

_LEDGER_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


class LoadPlan(Generic[T]):
    """Looks at everything that a load looks at before its first row, and writes nothing.

    :param load: the load, whose transaction was not begun
    :param ledger: its ledger
    :param reading: the input
    :param request: what is to be done with it
    """

    def __init__(self, load: TableLoad[T], ledger: Ledger, reading: Reading, request: CopyRequest) -> None:
        self._load = load
        self._ledger = ledger
        self._reading = reading
        self._request = request
        self._used: set[str] = set()

    def made(self) -> Plan:
        """Make the plan.

        :raises TradewindError: what the load itself would raise before its first row
        """
        parts = list(self._reading.parts(arrays=self._load.arrays()))
        table = self._load.find()
        is_new, made = table is None, []
        if table is None:
            statement, table = self._load.planned_table(parts)
            made.append(statement)
        else:
            self._load.admit(table)
        files = [(part.name, part.size) for part in parts]
        plan = Plan(self._load.way(self._load.full_name()), files=files, statements=made)
        for expectation in self._request.expect:
            if not is_new:
                self._load.prepare(expectation, table)
            plan.notes.append(f"before the commit {expectation!r} must hold")
        self._add_statements(plan, parts, table)
        plan.rights += self._load.rights(None if is_new else table, sorted(self._used))
        self._add_ledger(plan)
        return plan

    def _add_statements(self, plan: Plan, parts: list[Part], table: T) -> None:
        request, staged = self._request, self._request.staged
        loads: list[str] = []
        columns: tuple[str, ...] | None = None
        for part in parts:
            with contextlib.closing(self._load.escaped_part(part) or _opened(part)) as source:
                if source.empty:
                    plan.notes.append(f"{part.name} is empty")
                    continue
                found = in_order_of_fields(source, match_columns(source, table))
                columns = self._load.staged_columns(columns, found, source, table) if staged else found
                plan.columns[part.name] = dict(zip(source.names or found, found, strict=True))
                self._used.update(found)
                loads += [text for text in self._load.load_statements(source, table, found) if text not in loads]
        if request.mode == "replace":
            plan.statements += self._load.empty_statements(table)
        if staged and columns is not None:
            key = check_key(request.key, columns, table, "the input")
            loads = [*self._load.stage_statements(table, columns), *loads]
            merge = request.mode == "merge"
            loads += (
                self._load.merge_statements(table, columns, key)
                if merge
                else [self._load.insert_statement(table, columns)]
            )
        plan.statements += loads

    def _add_ledger(self, plan: Plan) -> None:
        ledger, name = self._ledger, str(self._ledger.name)
        if not ledger.is_there():
            plan.rights.append(self._load.right_to_create(name, ledger.ddl))
            plan.notes.append(f"the ledger {name} is not there, this creates it: {' '.join(ledger.ddl.split())}")
            return
        held = [ledger.holds(what) for what in _LEDGER_RIGHTS]
        plan.rights += [Right(what, name, have) for what, have in zip(_LEDGER_RIGHTS, held, strict=True)]
        if held[0]:
            ledger.check_shape()
            plan.loaded_before = ledger.loaded_at(copy_token(self._request, self._reading, self._load.full_name()))
        if plan.loaded_before:
            again = "reload=True loads it again" if not self._request.reload else "it is loaded again"
            plan.notes.append(f"the ledger {name} holds this input: {again}")


def _opened(part: Part) -> CsvInput:
    """Open a part for its header; where the names are known nothing is read, for a query would begin to run."""
    if part.projection is None and (part.columns is not None or not part.dialect.header):
        return unread(part, io.BytesIO())
    return open_csv(part, rewrite=False)
