# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""The ledger in Snowflake: a load finishes its row in the transaction that holds its rows.

Snowflake keeps no key unique, so no INSERT can fail because another try was first. What it has is locks: an UPDATE of a
row holds it until the transaction ends, and another one that wants it waits. So a try first writes its row, without a
time, and commits that; from then on each try of the same work sees the row of the other. When a try has its rows in the
table, in an open transaction, it updates all rows of its work. Of two tries one comes first; the other waits for its
end, looks again (READ COMMITTED: each statement sees what was committed before it began), finds the time, and rolls
back.

The lock is held for three short statements, for the ledger is small: the service locks it nearly whole. A worker that
was killed while it held one has left its transaction open in the service: the entries of older tries name their
sessions, and a retry ends what is open there. An older try that lives yet finds that its transaction is not the one
that it began, and commits nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import AccessDenied, NotFound, Superseded, TradewindError, TransientError
from tradewind.operators.ends import CopyRequest, CopyResult
from tradewind.operators.tables.ledger import is_pruner, recalled, recorded, refuse_shape
from tradewind.snowflake.catalog import find_table
from tradewind.snowflake.names import TableName

if TYPE_CHECKING:
    from tradewind.snowflake.session import SnowflakeSession

log = logging.getLogger(__name__)

_COLUMNS = """(
    "TOKEN" VARCHAR(64) NOT NULL,
    "DAG_ID" VARCHAR,
    "RUN_ID" VARCHAR,
    "TASK_ID" VARCHAR,
    "MAP_INDEX" NUMBER(10,0),
    "TRY" NUMBER(10,0),
    "TARGET" VARCHAR,
    "SOURCE" VARCHAR,
    "MODE" VARCHAR(10),
    "ROWS" NUMBER(19,0),
    "BYTES" NUMBER(19,0),
    "FILES" NUMBER(10,0),
    "LOADED_AT" TIMESTAMP_NTZ(9),
    "RESULT" VARCHAR,
    "CLAIMED_AT" TIMESTAMP_NTZ(9) NOT NULL,
    "SESSION_ID" NUMBER(38,0)
)"""


class LoadedMeanwhile(Exception):
    """Another try of the same work has committed its rows while this one loaded.

    :param result: what it recorded
    """

    def __init__(self, result: CopyResult) -> None:
        super().__init__("loaded meanwhile")
        self.result = result


@dataclass
class Ledger:
    """The ledger of one load.

    :param session: the load's session
    :param name: the ledger's table, with its schema and database
    :param days: how long entries are kept
    """

    session: SnowflakeSession
    name: TableName
    days: int
    _began: str | None = field(default=None, init=False)

    @property
    def ddl(self) -> str:
        """The statement that creates the table."""
        return ledger_ddl(self.name)

    @property
    def _table(self) -> str:
        return self.name.sql.replace("%", "%%")  # beside bound values a percent sign is doubled

    def ensure(self) -> None:
        """Create the table where it is not there; that commits, and nothing is begun yet.

        :raises AccessDenied: where the role must not, with the statement to run
        """
        if self._is_ledger():
            return
        try:
            self.session.execute(self.ddl)
        except (AccessDenied, NotFound) as error:
            if self.is_there():
                return
            raise AccessDenied(
                f"the ledger {self.name} is not there and this role may not create it ({error}): have somebody run "
                f"{' '.join(self.ddl.split())} and grant SELECT, INSERT, UPDATE, DELETE on it, "
                "or name another one by ledger="
            ) from error

    def is_there(self) -> bool:
        """Say whether the table is there, and this role sees it."""
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
        # What keeps the work from happening twice are locks, and no key.
        refuse_shape(self.name, [column.name for column in table.columns], True, self.ddl)
        return True

    def holds(self, right: str) -> bool | None:
        """Say whether this role has a right to the table; of what writes only the work itself can tell."""
        if right != "SELECT":
            return None
        try:
            self.session.query(f"SELECT 1 FROM {self.name.sql} LIMIT 0")
        except (AccessDenied, NotFound):
            return False
        return True

    def loaded_at(self, token: str) -> str | None:
        """Return when a piece of work was done (ISO 8601), None where it was not."""
        found = self._recall(token)
        return None if found is None else found[1]

    def claim(self, token: str, request: CopyRequest, target: str, source: str) -> CopyResult | None:
        """Say that a piece of work is begun, in a transaction of its own; nothing waits yet.

        :param token: the work's name
        :param request: what is to be done
        :param target: the target, for people
        :param source: the source, for people
        :return: None where it is not done yet, else what the try that did it recorded
        """
        found = self._recall(token)
        if found is not None:
            log.info("%s holds this input since %s (loaded by try %s): nothing is loaded", target, found[1], found[2])
            return recalled(found[0], found[1])
        self._announce(token, request, target, source)
        self._take_over(token, request.work.try_number)
        return None

    def overwrite(self, token: str, request: CopyRequest, target: str, source: str) -> None:
        """Say that a work is done anew.

        :param token: the work's name
        """
        self._announce(token, request, target, source)

    def keep_out(self, request: CopyRequest, target: str) -> None:
        """Keep other loads of ours from merging into a table or replacing it until this transaction ends.

        :param request: what is to be done
        :param target: the table's full name
        """
        self._announce(lock_token(target), request, target, "a lock")
        self._lock([lock_token(target)])
        self.begun()

    @property
    def has_begun(self) -> bool:
        """Whether it is known which transaction the rows are in."""
        return self._began is not None

    def begun(self) -> None:
        """Remember which transaction the rows are in."""
        self._began = self._transaction()
        if self._began is None:
            raise self._superseded()

    def finish(self, tokens: list[str], result: CopyResult) -> None:
        """Record what was done, last thing in the transaction; wait while another try does.

        :param tokens: the work's names, the first one says whether it was done before
        :param result: what was done
        :raises LoadedMeanwhile: where another try was first: roll back
        :raises Superseded: where a newer try has ended this one's transaction
        """
        self._lock(tokens)
        found = self._recall(tokens[0])
        if found is not None:
            log.info("another try (%s) has loaded this input at %s: this one's rows are rolled back", *found[2:0:-1])
            raise LoadedMeanwhile(recalled(found[0], found[1]))
        self.session.execute(
            f'UPDATE {self._table} SET "ROWS" = %s, "BYTES" = %s, "FILES" = %s, "LOADED_AT" = SYSDATE(), "RESULT" = %s '
            f'WHERE "TOKEN" IN ({", ".join(["%s"] * len(tokens))}) AND "SESSION_ID" = %s',
            [result.rows, result.bytes, len(result.files), recorded(result), *tokens, self.session.id],
        )
        if is_pruner(tokens[0]):
            self.prune()
        if self._began is not None and self._transaction() != self._began:
            raise self._superseded()

    def prune(self) -> int:
        """Delete entries that are older than they are kept.

        :return: how many
        """
        return self.session.execute(
            f'DELETE FROM {self._table} WHERE "CLAIMED_AT" < DATEADD(DAY, %s, SYSDATE())', [-self.days]
        )

    def _announce(self, token: str, request: CopyRequest, target: str, source: str) -> None:
        work = request.work
        values = [token, work.dag_id, work.run_id, work.task_id, work.map_index, work.try_number]
        # Each try has one of its own; they are locked together.
        self.session.execute(
            f'INSERT INTO {self._table} ("TOKEN", "DAG_ID", "RUN_ID", "TASK_ID", "MAP_INDEX", "TRY", "TARGET", '
            '"SOURCE", "MODE", "SESSION_ID", "CLAIMED_AT") SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, SYSDATE() '
            f'WHERE NOT EXISTS (SELECT 1 FROM {self._table} WHERE "TOKEN" = %s AND "SESSION_ID" = %s)',
            [*values, target, source, request.mode, self.session.id, token, self.session.id],
        )
        self.session.commit()

    def _take_over(self, token: str, number: int) -> None:
        """End the transactions that older tries of this work have left open: their workers may be gone."""
        rows = self.session.query(
            f'SELECT DISTINCT "SESSION_ID" FROM {self._table} '
            'WHERE "TOKEN" = %s AND "TRY" < %s AND "LOADED_AT" IS NULL',
            [token, number],
        )
        older = {int(row[0]) for row in rows if row[0] is not None} - {self.session.id}
        if not older:
            return
        try:
            for transaction, session in self.session.run("SHOW TRANSACTIONS", None, _open_transactions):
                if session in older:
                    [(said,)] = self.session.query(f"SELECT SYSTEM$ABORT_TRANSACTION({transaction:d})")
                    log.warning("an older try of this load has left a transaction open: %s", said)
        except TradewindError as error:
            log.warning("could not end what older tries have left open: %s", error)

    def _transaction(self) -> str | None:
        [(found,)] = self.session.query("SELECT CURRENT_TRANSACTION()")
        return None if found is None else str(found)

    def _superseded(self) -> Superseded:
        return Superseded(f"{self.session.describe}: another try of this load has ended this one's transaction")

    def _lock(self, tokens: list[str]) -> None:
        found = self.session.execute(
            f'UPDATE {self._table} SET "CLAIMED_AT" = SYSDATE() WHERE "TOKEN" IN ({", ".join(["%s"] * len(tokens))})',
            tokens,
        )
        if found < len(tokens):
            raise TransientError(f"the ledger {self.name} has lost the entry of this load: somebody deleted it")

    def _recall(self, token: str) -> tuple[Any, str, Any] | None:
        rows = self.session.query(
            f'SELECT "RESULT", "LOADED_AT", "TRY" FROM {self._table} WHERE "TOKEN" = %s AND "LOADED_AT" IS NOT NULL '
            'ORDER BY "LOADED_AT" DESC LIMIT 1',
            [token],
        )
        return (rows[0][0], _iso(rows[0][1]), rows[0][2]) if rows else None


def _open_transactions(cursor: Any) -> list[tuple[int, int]]:
    """Read which transactions are open in which sessions."""
    names = [column[0].lower() for column in cursor.description]
    rows = (dict(zip(names, row, strict=True)) for row in cursor.fetchall())
    return [(int(row["id"]), int(row["session"])) for row in rows]


def lock_token(target: str) -> str:
    """Name the entry that is locked to keep other loads out of a table.

    :param target: the table's full name
    """
    return sha256(f"lock {target}".encode()).hexdigest()


def ledger_ddl(name: TableName) -> str:
    """Write the statement that makes a ledger.

    :param name: its table
    """
    return f"CREATE TABLE IF NOT EXISTS {name.sql} {_COLUMNS}"


def _iso(moment: dt.datetime) -> str:
    return moment.replace(tzinfo=dt.UTC).isoformat(timespec="microseconds")
