"""Tables on which a load could not keep its promises: refused by name, before anything is written."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.hooks.libpq.names import TableName
from tradewind.operators.ends import Mode
from tradewind.postgres.catalog import Table

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession

log = logging.getLogger(__name__)

_NO_TABLES = {
    "v": "a view: load the table behind it",
    "m": "a materialized view: load the table behind it, and refresh it",
    "f": "a foreign table: its own server would keep the rows and commit them apart: load the table there",
    "S": "a sequence",
}
# A partitioned table is as good as its partitions. The deltypes are CASCADE, SET NULL and SET DEFAULT.
_FACTS = """
WITH RECURSIVE parts AS (
    SELECT to_regclass(%(table)s)::oid AS oid
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN parts p ON p.oid = i.inhparent
)
SELECT row_security_active(c.oid), c.relpersistence, l.relpersistence,
       (SELECT min(f.oid::regclass::text) FROM parts JOIN pg_class f USING (oid) WHERE f.relkind = 'f'),
       (SELECT min(r.rulename) FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled <> 'D'),
       (SELECT min(k.conrelid::regclass::text) FROM pg_constraint k
        WHERE k.confrelid = c.oid AND k.conrelid <> c.oid AND k.contype = 'f' AND k.confdeltype IN ('c', 'n', 'd'))
FROM pg_class c LEFT JOIN pg_class l ON l.oid = to_regclass(%(ledger)s)
WHERE c.oid = to_regclass(%(table)s)
"""


def admit(session: LibpqSession, table: Table, ledger: TableName, mode: Mode) -> None:
    """Refuse a table that a load could not write whole, once, or without a loss elsewhere.

    :param session: the load's transaction
    :param table: the target
    :param ledger: the ledger's table
    :param mode: what the load does
    :raises InvalidArgument: with what is in the way, and what to do instead
    """
    if table.kind in _NO_TABLES:
        raise InvalidArgument(f"{table.name} is {_NO_TABLES[table.kind]}")
    rows = session.query(_FACTS, {"table": table.name.sql, "ledger": ledger.sql})
    hidden, persistence, of_ledger, foreign, rule, child = rows[0]
    if foreign:
        raise InvalidArgument(f"{table.name} has the partition {foreign}, which is {_NO_TABLES['f']}")
    if rule:
        raise InvalidArgument(
            f"table {table.name} has the rule {rule!r}, which COPY passes by and a DELETE may not: make it a trigger"
        )
    if hidden:
        raise InvalidArgument(
            f"row security hides rows of table {table.name} from this role, and COPY does not know it: load as a role "
            "that sees all rows, as one with BYPASSRLS"
        )
    if child and mode == "replace":
        raise InvalidArgument(
            f"table {child} references {table.name} with ON DELETE: a replace, which deletes the rows before it loads, "
            f'would delete or change rows of {child}; use mode "merge"'
        )
    if persistence == "u" and of_ledger == "p":
        log.warning(
            "table %s is UNLOGGED: a crash of the server empties it, and the ledger %s still says what was loaded; "
            "give it a ledger that is UNLOGGED too, by ledger=, or ALTER TABLE ... SET LOGGED",
            table.name,
            ledger,
        )


def refuse_rest(session: LibpqSession, table: Table) -> None:
    """Refuse a replace of rows that a DELETE did not delete: a trigger may keep them.

    :param session: the load's transaction, after the DELETE
    :param table: the target
    :raises InvalidArgument: where rows are left
    """
    guarded = session.query(
        "SELECT min(tgname) FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal "
        "AND tgenabled <> 'D' AND tgtype & 11 = 11",  # FOR EACH ROW, BEFORE, DELETE: it may say no
        [table.name.sql],
    )[0][0]
    if guarded and session.query(f"SELECT EXISTS (SELECT FROM {table.name.sql})")[0][0]:  # noqa: S608 (quoted)
        raise InvalidArgument(
            f"table {table.name} has the trigger {guarded!r}, which keeps rows from being deleted: a replace would add "
            'to them; use mode "merge" or "append"'
        )


def referenced(error: DataError, table: Table) -> DataError:
    """Return an error of a DELETE with what can be done about it.

    :param error: what the server said
    :param table: the target
    """
    made = DataError(
        f'{error}: a replace deletes the rows of {table.name} before it loads; use mode "merge", or make the foreign '
        "key DEFERRABLE INITIALLY DEFERRED",
        column=error.column,
        value=error.value,
    )
    made.__cause__ = error
    return made
