# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""The ledger in PostgreSQL: a load writes its row in the transaction that holds its rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradewind.hooks.errors import AccessDenied, NotFound
from tradewind.hooks.libpq.names import TableName
from tradewind.operators.ends import CopyRequest, CopyResult
from tradewind.operators.tables.ledger import PRUNED_AT_ONCE, is_pruner, recalled, recorded, refuse_shape
from tradewind.postgres.rights import holds

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession

log = logging.getLogger(__name__)

_COLUMNS = """(
    token text PRIMARY KEY,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    task_id text NOT NULL,
    map_index integer NOT NULL,
    try integer NOT NULL,
    target text NOT NULL,
    source text NOT NULL,
    mode text NOT NULL,
    rows bigint,
    bytes bigint,
    files integer,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    result jsonb
)"""

_LOADED_AT = "to_char(loaded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')"
_SHAPE = """
SELECT c.relkind,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
       EXISTS (
           SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
           WHERE i.indrelid = c.oid AND a.attname = 'token' AND i.indnkeyatts = 1
             AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
       )
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""


@dataclass(frozen=True)
class Ledger:
    """The ledger of one load.

    :param session: the load's connection
    :param name: the ledger's table
    :param days: how long entries are kept
    """

    session: LibpqSession
    name: TableName
    days: int

    @property
    def ddl(self) -> str:
        """The statement that creates the table."""
        return ledger_ddl(self.name)

    @property
    def _table(self) -> str:
        return self.name.sql.replace("%", "%%")  # beside bound values a percent sign is doubled

    def ensure(self) -> None:
        """Create the table where it is not there, in a transaction of its own.

        :raises AccessDenied: where the role must not, with the statement to run
        """
        if self._is_ledger():
            return
        try:
            # Without the lock, two first users at once would fail in the catalog, IF NOT EXISTS or not.
            self.session.execute("SELECT pg_advisory_xact_lock(hashtext(%s), 7216)", [self.name.sql])
            self.session.execute(self.ddl)
            self.session.commit()
        except (AccessDenied, NotFound) as error:
            self.session.rollback()
            if self.is_there():
                return
            if isinstance(error, NotFound):
                raise NotFound(f"{self.session.describe}: there is no schema {self.name.schema}: create it") from error
            raise AccessDenied(
                f"the ledger {self.name} is not there and this role may not create it ({error}): have somebody run "
                f"{' '.join(self.ddl.split())} and grant SELECT, INSERT, UPDATE, DELETE on it, "
                "or name another one by ledger="
            ) from error

    def is_there(self) -> bool:
        """Say whether the table is there."""
        return bool(self.session.query("SELECT to_regclass(%s) IS NOT NULL", [self.name.sql])[0][0])

    def check_shape(self) -> None:
        """Refuse a table that is no ledger.

        :raises InvalidArgument: with what it lacks
        """
        self._is_ledger()

    def _is_ledger(self) -> bool:
        """Say whether there is a table, and refuse one that is no ledger."""
        for kind, columns, unique in self.session.query(_SHAPE, [self.name.sql]):
            refuse_shape(self.name, columns, unique and kind in ("r", "p"), self.ddl)
            return True
        return False

    def holds(self, right: str) -> bool:
        """Say whether this role has a right to the table."""
        return holds(self.session, self.name, right)

    def loaded_at(self, token: str) -> str | None:
        """Return when a piece of work was done (ISO 8601), None where it was not."""
        rows = self.session.query(f"SELECT {_LOADED_AT} FROM {self._table} WHERE token = %s", [token])
        return str(rows[0][0]) if rows else None

    def claim(self, token: str, request: CopyRequest, target: str, source: str) -> CopyResult | None:
        """Claim a piece of work, first thing in the transaction; wait while another try holds it.

        :param token: the work's name
        :param request: what is to be done
        :param target: the target, for people
        :param source: the source, for people
        :return: None where it is ours, else what the try that did it recorded
        """
        if not self.session.query("SELECT pg_try_advisory_xact_lock(%s)", [_lock_key(token)])[0][0]:
            log.info("another try of %s is loading %s right now: waiting for its end", request.work, target)
        work = request.work
        values = [token, work.dag_id, work.run_id, work.task_id, work.map_index, work.try_number]
        ours = self.session.execute(
            f"INSERT INTO {self._table} (token, dag_id, run_id, task_id, map_index, try, target, source, mode) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (token) DO NOTHING",
            [*values, target, source, request.mode],
        )
        return None if ours else self._recall(token, target)

    def _recall(self, token: str, target: str) -> CopyResult:
        rows = self.session.query(f"SELECT result, {_LOADED_AT}, try FROM {self._table} WHERE token = %s", [token])
        result, loaded_at, number = rows[0]
        log.info("%s holds this input since %s (loaded by try %s): nothing is loaded", target, loaded_at, number)
        return recalled(result, loaded_at)

    def overwrite(self, token: str, request: CopyRequest, target: str, source: str) -> None:
        """Take over the entry of a work that is done anew; wait while another try holds it.

        :param token: the work's name
        """
        work = request.work
        values = [token, work.dag_id, work.run_id, work.task_id, work.map_index, work.try_number]
        self.session.execute(
            f"INSERT INTO {self._table} (token, dag_id, run_id, task_id, map_index, try, target, source, mode) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (token) DO UPDATE SET try = excluded.try",
            [*values, target, source, request.mode],
        )

    def finish(self, tokens: list[str], result: CopyResult) -> None:
        """Record what was done, last thing in the transaction.

        :param tokens: the work's names
        :param result: what was done
        """
        self.session.execute(
            f"UPDATE {self._table} SET rows = %s, bytes = %s, files = %s, loaded_at = clock_timestamp(), "
            "result = %s::jsonb WHERE token = ANY (%s)",
            [result.rows, result.bytes, len(result.files), recorded(result), tokens],
        )
        if is_pruner(tokens[0]):
            self.prune()

    def prune(self) -> int:
        """Delete some entries that are older than they are kept.

        :return: how many
        """
        return self.session.execute(
            f"DELETE FROM {self._table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {self._table} "
            "WHERE loaded_at < now() - make_interval(days => %s) LIMIT %s FOR UPDATE SKIP LOCKED))",
            [self.days, PRUNED_AT_ONCE],
        )


def ledger_ddl(name: TableName) -> str:
    """Write the statement that makes a ledger.

    :param name: its table
    """
    return f"CREATE TABLE IF NOT EXISTS {name.sql} {_COLUMNS}"


def _lock_key(token: str) -> int:
    return int(token[:16], 16) - (1 << 63)
