# ruff: noqa: S608 (names are parsed and quoted, values are bound)
"""The ledger in MySQL: a load writes its row in the transaction that holds its rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradewind.hooks.errors import AccessDenied, DataError, NotFound
from tradewind.mysql.catalog import refuse_engine
from tradewind.mysql.errors import number_of
from tradewind.mysql.locks import lock, try_lock
from tradewind.mysql.names import TableName
from tradewind.mysql.rights import holds
from tradewind.operators.ends import CopyRequest, CopyResult
from tradewind.operators.tables.ledger import (
    LEDGER_COLUMNS,
    PRUNED_AT_ONCE,
    is_pruner,
    recalled,
    recorded,
    refuse_shape,
)

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

log = logging.getLogger(__name__)

_COLUMNS = """(
    token char(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    dag_id varchar(250) NOT NULL,
    run_id varchar(250) NOT NULL,
    task_id varchar(250) NOT NULL,
    map_index int NOT NULL,
    try int NOT NULL,
    target varchar(200) NOT NULL,
    source mediumtext NOT NULL,
    mode varchar(10) NOT NULL,
    `rows` bigint,
    bytes bigint,
    files int,
    loaded_at datetime(6) NOT NULL,
    result longtext,
    KEY (loaded_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""
_DUPLICATE = 1062
_ENGINE = """
SELECT t.engine, e.transactions
FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine
WHERE t.table_schema = %s AND t.table_name = %s
"""

_LOADED_AT = "DATE_FORMAT(loaded_at, '%%Y-%%m-%%dT%%H:%%i:%%s.%%f+00:00')"
_SHAPE = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
_UNIQUE = """
SELECT MIN(column_name) FROM information_schema.statistics
WHERE table_schema = %s AND table_name = %s AND non_unique = 0
GROUP BY index_name HAVING COUNT(*) = 1 AND MAX(sub_part) IS NULL
"""


@dataclass(frozen=True)
class Ledger:
    """The ledger of one load.

    :param session: the load's connection
    :param name: the ledger's table, with its database
    :param days: how long entries are kept
    """

    session: MySqlSession
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
        """Create the table where it is not there, before the transaction: it would commit it.

        :raises AccessDenied: where the user must not, with the statement to run
        :raises InvalidArgument: where the table there cannot roll back
        """
        found = self._engine()
        if not found:
            self._create()
            found = self._engine()
        for engine, transactions in found:
            refuse_engine(self.name, engine, transactions)
        self.check_shape()

    def is_there(self) -> bool:
        """Say whether the table is there, as far as this user sees it."""
        return bool(self._engine())

    def check_shape(self) -> None:
        """Refuse a table that is no ledger.

        :raises InvalidArgument: with what it lacks
        """
        place = [self.name.schema, self.name.table]
        columns = [row[0] for row in self.session.query(_SHAPE, place)]
        unique = [row[0].lower() for row in self.session.query(_UNIQUE, place)]
        if columns:  # else this user has no right to it, which the server says in its own words
            refuse_shape(self.name, columns, "token" in unique, self.ddl)

    def holds(self, right: str) -> bool:
        """Say whether this user has a right to the table."""
        return holds(self.session, self.name, right, LEDGER_COLUMNS)

    def loaded_at(self, token: str) -> str | None:
        """Return when a piece of work was done (ISO 8601), None where it was not."""
        rows = self.session.query(f"SELECT {_LOADED_AT} FROM {self._table} WHERE token = %s", [token])
        return str(rows[0][0]) if rows else None

    def _create(self) -> None:
        try:
            self.session.execute(self.ddl)
        except NotFound as error:
            raise NotFound(f"{self.session.describe}: there is no database {self.name.schema}: create it") from error
        except AccessDenied as error:
            raise AccessDenied(
                f"the ledger {self.name} is not there, or not shown to this user, who may not create it ({error}): "
                f"have somebody run "
                f"{' '.join(self.ddl.split())} and grant SELECT, INSERT, UPDATE, DELETE on it, "
                "or name another one by ledger="
            ) from error

    def _engine(self) -> list[tuple[str, str]]:
        return self.session.query(_ENGINE, [self.name.schema, self.name.table])

    def claim(self, token: str, request: CopyRequest, target: str, source: str) -> CopyResult | None:
        """Claim a piece of work, first thing in the transaction; wait while another try holds it.

        :param token: the work's name
        :param request: what is to be done
        :param target: the target, for people
        :param source: the source, for people
        :return: None where it is ours, else what the try that did it recorded
        """
        # Two that wait for one row of an index end in a deadlock when its transaction is rolled back: they queue here.
        # Where the lock is not seen (another node of a cluster), the row still decides.
        if not try_lock(self.session, token):
            log.info("another try of %s is loading %s right now: waiting for its end", request.work, target)
            lock(self.session, token)
        wait = self.session.query("SELECT @@innodb_lock_wait_timeout")[0][0]
        self.session.execute("SET SESSION innodb_lock_wait_timeout = 86400")
        before = None
        try:
            self._insert(token, request, target, source)
        except DataError as error:
            if number_of(error.__cause__ or error) != _DUPLICATE:
                raise
            before = self._recall(token, target)
        self.session.execute(f"SET SESSION innodb_lock_wait_timeout = {wait}")
        return before

    def _insert(self, token: str, request: CopyRequest, target: str, source: str, more: str = "") -> None:
        work = request.work
        values = [token, work.dag_id, work.run_id, work.task_id, work.map_index, work.try_number]
        self.session.execute(
            f"INSERT INTO {self._table} "
            "(token, dag_id, run_id, task_id, map_index, try, target, source, mode, loaded_at) "
            f"VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(6)){more}",
            [*values, target, source, request.mode],
        )

    def _recall(self, token: str, target: str) -> CopyResult:
        rows = self.session.query(f"SELECT result, {_LOADED_AT}, try FROM {self._table} WHERE token = %s", [token])
        result, loaded_at, number = rows[0]
        log.info("%s holds this input since %s (loaded by try %s): nothing is loaded", target, loaded_at, number)
        return recalled(result, loaded_at)

    def overwrite(self, token: str, request: CopyRequest, target: str, source: str) -> None:
        """Take over the entry of a work that is done anew; wait while another try holds it.

        :param token: the work's name
        """
        self._insert(token, request, target, source, " ON DUPLICATE KEY UPDATE try = VALUES(try)")

    def finish(self, tokens: list[str], result: CopyResult) -> None:
        """Record what was done, last thing in the transaction.

        :param tokens: the work's names
        :param result: what was done
        """
        self.session.execute(
            f"UPDATE {self._table} SET `rows` = %s, bytes = %s, files = %s, loaded_at = UTC_TIMESTAMP(6), "
            "result = %s WHERE token IN %s",
            [result.rows, result.bytes, len(result.files), recorded(result), tokens],
        )
        if is_pruner(tokens[0]):
            self.prune()

    def prune(self) -> int:
        """Delete some entries that are older than they are kept, unless another load is at it.

        :return: how many
        """
        if not try_lock(self.session, f"prune {self.name}"):
            return 0
        return self.session.execute(
            f"DELETE FROM {self._table} WHERE loaded_at < UTC_TIMESTAMP(6) - INTERVAL %s DAY "
            "ORDER BY loaded_at LIMIT %s",
            [self.days, PRUNED_AT_ONCE],
        )


def ledger_ddl(name: TableName) -> str:
    """Write the statement that makes a ledger.

    :param name: its table
    """
    return f"CREATE TABLE IF NOT EXISTS {name.sql} {_COLUMNS}"
