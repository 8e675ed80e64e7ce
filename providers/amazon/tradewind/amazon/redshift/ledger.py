# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""The ledger of loads into one table of Redshift, which enforces no unique key: a lock keeps twins apart.

``LOCK`` is the first statement of a load's transaction, before anything that takes its snapshot ("Serializable
isolation" of the Database Developer Guide: SELECT, COPY, INSERT and the like do, LOCK does not). Whoever waited for it
therefore sees what the holder has committed, under snapshot isolation as under serializable. The lock is held until the
end of the load, and so is each table's ledger its own: loads into other tables do not wait.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tradewind.amazon.redshift.catalog import find_table, holds
from tradewind.hooks.errors import AccessDenied, NotFound, TradewindError
from tradewind.hooks.libpq.names import TableName
from tradewind.operators.ends import CopyRequest, CopyResult
from tradewind.operators.tables.ledger import LEDGER, is_pruner, recalled, recorded, refuse_shape

if TYPE_CHECKING:
    from tradewind.amazon.redshift.sessions import Session

log = logging.getLogger(__name__)

LONGEST_NAME = 127
"""Bytes of a name that Redshift keeps."""

_COLUMNS = """(
    "token" varchar(64) NOT NULL,
    "dag_id" varchar(1000) NOT NULL,
    "run_id" varchar(1000) NOT NULL,
    "task_id" varchar(1000) NOT NULL,
    "map_index" integer NOT NULL,
    "try" integer NOT NULL,
    "target" varchar(300) NOT NULL,
    "source" varchar(65535) NOT NULL,
    "mode" varchar(10) NOT NULL,
    "rows" bigint,
    "bytes" bigint,
    "files" integer,
    "loaded_at" timestamp NOT NULL,
    "result" varchar(65535)
)"""
_LONGEST_TEXT = 65_000


def ledger_of(table: TableName) -> TableName:
    """Name the ledger of a table: a table beside it.

    :param table: the table
    """
    name = f"{LEDGER}_{table.table}"
    if len(name.encode()) > LONGEST_NAME:
        name = f"{LEDGER}_{hashlib.sha256(table.table.encode()).hexdigest()[:32]}"
    return TableName(name, table.schema)


def ledger_ddl(name: TableName) -> str:
    """Write the statement that makes a ledger.

    :param name: its table
    """
    return f"CREATE TABLE IF NOT EXISTS {name.sql} {_COLUMNS}"


@dataclass
class Ledger:
    """The ledger of one load.

    :param session: the load's connection
    :param name: the ledger's table, with its schema
    :param days: how long entries are kept
    """

    session: Session
    name: TableName
    days: int
    _entries: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def ddl(self) -> str:
        """The statement that creates the table."""
        return ledger_ddl(self.name)

    @property
    def _table(self) -> str:
        return self.name.sql.replace("%", "%%")  # beside bound values a percent sign is doubled

    def ensure(self) -> None:
        """Create the table where it is not there, in a transaction of its own.

        :raises AccessDenied: where the user must not, with the statement to run
        """
        if self._is_ledger():
            self.session.rollback()
            return
        self.session.rollback()
        try:
            self.session.execute(self.ddl)
            self.session.commit()
        except TradewindError as error:  # another first load may just have made it
            self.session.rollback()
            there = self.is_there()
            self.session.rollback()
            if there:
                return
            if isinstance(error, AccessDenied | NotFound):
                raise AccessDenied(
                    f"the ledger {self.name} is not there and this user may not create it ({error}): have somebody run "
                    f"{' '.join(self.ddl.split())} and grant SELECT, INSERT, UPDATE, DELETE on it, or name another one "
                    "by ledger="
                ) from error
            raise

    def lock(self) -> None:
        """Keep other loads of the table out until the transaction ends; wait while one is under way."""
        self.session.execute(f"LOCK TABLE {self.name.sql}")

    def is_there(self) -> bool:
        """Say whether the table is there."""
        return find_table(self.session, self.name) is not None

    def check_shape(self) -> None:
        """Refuse a table that is no ledger.

        :raises InvalidArgument: with what it lacks
        """
        self._is_ledger()

    def _is_ledger(self) -> bool:
        table = find_table(self.session, self.name)
        if table is None:
            return False
        refuse_shape(self.name, [column.name for column in table.columns], True, self.ddl)
        return True

    def holds(self, right: str) -> bool:
        """Say whether this user has a right to the table."""
        return holds(self.session, self.name, right)

    def loaded_at(self, token: str) -> str | None:
        """Return when a piece of work was done (ISO 8601), None where it was not."""
        found = self._entry(token)
        return found[1] if found else None

    def claim(self, token: str, request: CopyRequest, target: str, source: str) -> CopyResult | None:
        """Claim a piece of work, under the lock.

        :param token: the work's name
        :param request: what is to be done
        :param target: the target, for people
        :param source: the source, for people
        :return: None where it is ours, else what the try that did it recorded
        """
        found = self._entry(token)
        if found is not None:
            result, loaded_at, number = found
            log.info("%s holds this input since %s (loaded by try %s): nothing is loaded", target, loaded_at, number)
            return recalled(result, loaded_at)
        self.overwrite(token, request, target, source)
        return None

    def overwrite(self, token: str, request: CopyRequest, target: str, source: str) -> None:
        """Note an entry that :meth:`finish` writes, in place of an older one.

        :param token: the work's name
        """
        work = request.work
        names = [work.dag_id, work.run_id, work.task_id, work.map_index, work.try_number]
        self._entries[token] = [*names, target, _cut(source), request.mode]

    def finish(self, tokens: list[str], result: CopyResult) -> None:
        """Record what was done, last thing in the transaction.

        :param tokens: the work's names
        :param result: what was done
        """
        counts = [result.rows, result.bytes, len(result.files)]
        for token in tokens:
            self.session.execute(f'DELETE FROM {self._table} WHERE "token" = %s', [token])
            self.session.execute(
                f'INSERT INTO {self._table} ("token", "dag_id", "run_id", "task_id", "map_index", "try", "target", '
                '"source", "mode", "rows", "bytes", "files", "result", "loaded_at") '
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, getdate())",
                [token, *self._entries[token], *counts, _short(result)],
            )
        if is_pruner(tokens[0]):
            self.prune()

    def prune(self) -> int:
        """Delete entries that are older than they are kept.

        :return: how many
        """
        return self.session.execute(
            f"DELETE FROM {self._table} WHERE \"loaded_at\" < getdate() - INTERVAL '{self.days} days'"
        )

    def _entry(self, token: str) -> tuple[str, str, int] | None:
        rows = self.session.query(
            f'SELECT "result", to_char("loaded_at", \'YYYY-MM-DD HH24:MI:SS\'), "try" FROM {self._table} '
            'WHERE "token" = %s',
            [token],
        )
        return (str(rows[0][0]), f"{rows[0][1].replace(' ', 'T')}+00:00", int(rows[0][2])) if rows else None


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST_TEXT].decode(errors="ignore")


def _short(result: CopyResult) -> str:
    """Write the result so that it has room in its column: names of files go first."""
    text = recorded(result)
    while len(text.encode()) > _LONGEST_TEXT:
        result = CopyResult(**{**result.__dict__, "file_count": result.file_count or len(result.files)})
        result.files = result.files[: len(result.files) // 2]
        text = recorded(result)
    return text
