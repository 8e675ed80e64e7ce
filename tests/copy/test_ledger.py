"""The ledger as its users meet it: made by somebody else, of a wrong shape, and pruned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.fix_copies import MemoryFiles, copy
from tests.fix_tables import Tables
from tests.fix_up import wait_for
from tradewind.hooks.errors import InvalidArgument, NotFound
from tradewind.operators.tables.ledger import LEDGER_COLUMNS, PRUNED_AT_ONCE

RIGHTS = "SELECT, INSERT, UPDATE, DELETE"


@pytest.fixture
def target(tables: Tables) -> Tables:
    tables.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(9))")
    return tables


@contextmanager
def ledger_of(tables: Tables, days: int) -> Iterator[Any]:
    """Give the ledger on a session of its own, which is committed at the end."""
    if tables.service == "postgres":
        from tradewind.hooks.libpq.names import TableName
        from tradewind.postgres.hooks import PostgresHook
        from tradewind.postgres.ledger import Ledger

        with PostgresHook(tables.conn_id).session() as session:
            yield Ledger(session, TableName("tradewind_ledger"), days)
        return
    from tradewind.mysql.hooks import MySqlHook
    from tradewind.mysql.ledger import Ledger as MySqlLedger
    from tradewind.mysql.names import TableName as MySqlName

    with MySqlHook(tables.conn_id).session() as my_session:
        yield MySqlLedger(my_session, MySqlName("tradewind_ledger", tables.name), days)


def test_a_role_that_may_create_nothing_uses_one_made_beforehand(
    target: Tables, connection: Callable[..., str]
) -> None:
    target.query(target.table().ledger_ddl())
    grants = [f"{RIGHTS} ON t", f"{RIGHTS} ON tradewind_ledger"]
    grants += [] if target.service == "postgres" else [f"CREATE TEMPORARY TABLES ON {target.name}.*"]
    if target.service == "postgres":
        target.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with target.role(connection, *grants) as conn_id:
        for mode, body in (("append", b"id\n1\n"), ("replace", b"id\n2\n"), ("merge", b"id\n2\n3\n")):
            key = ("id",) if mode == "merge" else ()
            for again in (False, True):
                result = copy(MemoryFiles(body), target.table(conn_id=conn_id), mode=mode, key=key)
                assert (result.loaded_before is not None) is again
    assert target.query("SELECT id FROM t ORDER BY id") == [(2,), (3,)]
    # Of its own accord the ledger makes the very same table.
    shape = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'tradewind_ledger'"
    made = target.query(shape)
    target.query("DROP TABLE tradewind_ledger")
    copy(MemoryFiles(b"id\n9\n"), target.table())
    assert sorted(target.query(shape)) == sorted(made)
    assert sorted(name for name, _ in made) == sorted(LEDGER_COLUMNS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER TABLE tradewind_ledger DROP COLUMN result", "has no column 'result'"),
        ("ALTER TABLE tradewind_ledger DROP {key}", "does not keep token unique"),
        ("DROP TABLE tradewind_ledger", None),
        ("ALTER TABLE tradewind_ledger ADD note varchar(9)", None),
    ],
)
def test_a_table_that_is_no_ledger_is_refused(change: str, says: str | None, target: Tables) -> None:
    target.query(target.table().ledger_ddl())
    key = target.pick(postgres="CONSTRAINT tradewind_ledger_pkey", mysql="PRIMARY KEY")
    target.query(change.format(key=key))
    if says is None:
        assert copy(MemoryFiles(b"id\n1\n"), target.table()).rows == 1
        return
    with pytest.raises(InvalidArgument, match=rf"tradewind_ledger is no ledger: it {says}; .* CREATE TABLE IF NOT"):
        copy(MemoryFiles(b"id\n1\n"), target.table())
    assert target.query("SELECT count(*) FROM t") == [(0,)]
    assert copy(MemoryFiles(b"id\n1\n"), target.table(ledger="another")).rows == 1


def test_pruners_spare_young_entries_and_do_not_wait_for_each_other(target: Tables) -> None:
    target.query(target.table().ledger_ddl())
    ages = [*[40] * (PRUNED_AT_ONCE + 500), *[29] * 20, *[0] * 20]
    now = target.pick(postgres="now() - make_interval(days => %s)", mysql="UTC_TIMESTAMP(6) - INTERVAL %s DAY")
    values = ", ".join([f"(%s, 'd', 'r', 't', -1, 1, 'x', 'y', 'append', {now})"] * len(ages))
    target.query(
        "INSERT INTO tradewind_ledger "
        f"(token, dag_id, run_id, task_id, map_index, try, target, source, mode, loaded_at) VALUES {values}",
        [value for number, age in enumerate(ages) for value in (f"{number:064x}", age)],
    )
    wait = target.pick(
        postgres="SET lock_timeout = '3s'", mysql="SET innodb_lock_wait_timeout = 3, lock_wait_timeout = 3"
    )
    with ledger_of(target, 30) as first, ledger_of(target, 30) as second:
        assert first.prune() == PRUNED_AT_ONCE
        second.session.execute(wait)
        # Nothing is committed yet: the second takes what is left, or leaves it to the first.
        assert second.prune() == (500 if target.service == "postgres" else 0)
    if target.service == "mysql":
        # A server lets go of the lock of a session that hung up when it comes to it.
        with ledger_of(target, 30) as third:
            assert wait_for(third.prune, 30, "the end of the first one's lock") == 500
    assert target.query("SELECT count(*) FROM tradewind_ledger") == [(40,)]
    with ledger_of(target, 1) as strict:
        assert wait_for(strict.prune, 30, "the end of the third one's lock") == 20


@pytest.mark.parametrize("create", [False, True])
def test_a_table_that_was_loaded_and_dropped_is_told(create: bool, target: Tables) -> None:
    copy(MemoryFiles(b"id\n1\n"), target.table(), create=create)
    target.query("DROP TABLE t")
    for _ in range(2):
        with pytest.raises(NotFound, match="not there any more: reload=True"):
            copy(MemoryFiles(b"id\n1\n"), target.table(), create=create)
    if create:
        assert copy(MemoryFiles(b"id\n1\n"), target.table(), create=True, reload=True).loaded_before is None
        assert target.query("SELECT count(*) FROM t") == [(1,)]
