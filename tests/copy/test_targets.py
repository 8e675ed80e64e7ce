"""Tables that are no plain ones: each works, or is refused by name, and nothing is lost elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_copies import MemoryFiles, copy
from tests.fix_mysql import MySqlDatabase
from tests.fix_postgres import Database
from tests.fix_tables import Tables
from tradewind.hooks.errors import DataError, InvalidArgument, TradewindError
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.ends import Mode
from tradewind.postgres.tables import PostgresTable

BODY = b"id,name\n1,new\n3,new\n"
MODES: tuple[Mode, ...] = ("append", "replace", "merge")


def load(target: Any, mode: str, body: bytes = BODY) -> Any:
    return copy(MemoryFiles(body), target, mode=mode, key=("id",) if mode == "merge" else ())


@pytest.fixture
def parent(tables: Tables) -> Tables:
    tables.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(9))")
    tables.query("INSERT INTO t VALUES (1, 'old'), (2, 'old')")
    return tables


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_a_replace_does_not_empty_the_tables_that_reference_it(action: str, parent: Tables) -> None:
    parent.query(f"CREATE TABLE child (t int, FOREIGN KEY (t) REFERENCES t (id) ON DELETE {action})")
    parent.query("INSERT INTO child VALUES (1), (2)")
    with pytest.raises(InvalidArgument, match=r"table .*child references .*t with ON DELETE.* use mode .merge."):
        load(parent.table(), "replace")
    assert parent.query("SELECT t FROM child ORDER BY t") == [(1,), (2,)]
    assert load(parent.table(), "merge").updated == 1
    assert parent.query("SELECT t FROM child ORDER BY t") == [(1,), (2,)]


def test_a_replace_of_rows_that_others_need_says_what_to_do(parent: Tables) -> None:
    parent.query("CREATE TABLE child (t int, FOREIGN KEY (t) REFERENCES t (id))")
    assert load(parent.table(), "replace").rows == 2  # nobody needs them yet
    parent.query("INSERT INTO child VALUES (3)")
    with pytest.raises(DataError, match=r"foreign key.*a replace deletes the rows of .*t before it loads; use mode"):
        load(parent.table(), "replace", b"id,name\n3,newer\n")
    assert parent.query("SELECT * FROM t ORDER BY id") == [(1, "new"), (3, "new")]


def test_a_table_that_references_itself_is_replaced(parent: Tables) -> None:
    parent.query(
        "CREATE TABLE tree (id int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE)"
    )
    parent.query("INSERT INTO tree VALUES (1, NULL), (2, 1)")
    assert load(parent.table("tree"), "replace", b"id,up\n5,\n6,5\n").rows == 2
    assert parent.query("SELECT * FROM tree ORDER BY id") == [(5, None), (6, 5)]


def test_a_foreign_key_that_is_checked_at_the_commit_lets_a_replace_pass(database: Database) -> None:
    database.query(
        "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'old');"
        "CREATE TABLE child (t int REFERENCES t DEFERRABLE INITIALLY DEFERRED); INSERT INTO child VALUES (1)"
    )
    target = PostgresTable("t", conn_id=database.conn_id)
    assert load(target, "replace").rows == 2
    with pytest.raises(DataError, match="foreign key"):
        load(target, "replace", b"id\n7\n")
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (3,)]
    assert database.query("SELECT count(*) FROM tradewind_ledger") == [(1,)]


@pytest.mark.parametrize("mode", MODES)
def test_a_partitioned_table_works(mode: Mode, tables: Tables) -> None:
    tables.query(
        tables.pick(
            postgres="CREATE TABLE t (id int PRIMARY KEY, name varchar(9)) PARTITION BY RANGE (id);"
            "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (2); CREATE TABLE t2 PARTITION OF t DEFAULT",
            mysql="CREATE TABLE t (id int PRIMARY KEY, name varchar(9)) PARTITION BY RANGE (id) "
            "(PARTITION a VALUES LESS THAN (2), PARTITION b VALUES LESS THAN MAXVALUE)",
        )
    )
    tables.query("INSERT INTO t VALUES (0, 'old'), (2, 'old')")
    load(tables.table(), mode)
    kept = [] if mode == "replace" else [(0, "old"), (2, "old")]
    assert tables.query("SELECT * FROM t ORDER BY id") == sorted([*kept, (1, "new"), (3, "new")])


@pytest.mark.parametrize("mode", MODES)
def test_a_trigger_runs_in_the_transaction(mode: Mode, parent: Tables) -> None:
    parent.query("CREATE TABLE log (id int)")
    parent.query(
        parent.pick(
            postgres="CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO log VALUES (NEW.id); RETURN NEW; END $$;"
            "CREATE TRIGGER noted AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note()",
            mysql="CREATE TRIGGER noted AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id)",
        )
    )
    if mode == "append":
        parent.query("DELETE FROM t")
    load(parent.table(), mode)
    assert parent.query("SELECT id FROM log ORDER BY id") == ([(3,)] if mode == "merge" else [(1,), (3,)])
    with pytest.raises(TradewindError):
        load(parent.table(), mode, b"id,name\n8,x\n9,much too long a name\n")
    assert parent.query("SELECT count(*) FROM log WHERE id > 3") == [(0,)]


ODD: dict[str, tuple[str, tuple[Mode, ...], str]] = {
    "a view": ("CREATE VIEW odd AS SELECT * FROM t", MODES, "odd is a view: load the table behind it"),
    "a materialized view": ("CREATE MATERIALIZED VIEW odd AS SELECT * FROM t", MODES, "odd is a materialized view"),
    "a foreign table": (
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE FOREIGN TABLE odd (id int, name text) SERVER s",
        MODES,
        "odd is a foreign table: its own server would keep the rows",
    ),
    "a foreign partition": (
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE TABLE odd (id int, name text) PARTITION BY RANGE (id);"
        "CREATE FOREIGN TABLE odd1 PARTITION OF odd DEFAULT SERVER s",
        MODES,
        "odd has the partition odd1, which is a foreign table",
    ),
    "a rule": (
        "CREATE TABLE odd (id int, name text); CREATE RULE keep AS ON DELETE TO odd DO INSTEAD NOTHING",
        MODES,
        "table public.odd has the rule 'keep', which COPY passes by",
    ),
    "a trigger that keeps rows": (
        "CREATE TABLE odd (id int, name text); INSERT INTO odd VALUES (7);"
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER stay BEFORE DELETE ON odd FOR EACH ROW EXECUTE FUNCTION no()",
        ("replace",),
        "the trigger 'stay', which keeps rows from being deleted",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_keep_the_promise_is_refused_by_name(name: str, database: Database) -> None:
    statements, modes, says = ODD[name]
    database.query(f"CREATE TABLE t (id int, name text); INSERT INTO t VALUES (5, 'old'); {statements}")
    target = PostgresTable("odd", conn_id=database.conn_id)
    for mode in modes:
        with pytest.raises(InvalidArgument, match=says):
            load(target, mode)
        assert database.query("SELECT count(*) FROM tradewind_ledger") == [(0,)]


def test_a_role_from_which_rows_are_hidden_is_refused(database: Database, connection: Callable[..., str]) -> None:
    database.query(
        "CREATE TABLE t (id int, name text); INSERT INTO t VALUES (5, 'hidden');"
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id < 5) WITH CHECK (true)"
    )
    tables = Tables("postgres", database.conn_id, database.query, database.connection(), database.name)
    database.query(PostgresTable("t").ledger_ddl())
    rights = "SELECT, INSERT, UPDATE, DELETE ON"
    with tables.role(connection, f"{rights} t", f"{rights} tradewind_ledger") as conn_id:
        for mode in MODES:
            with pytest.raises(InvalidArgument, match=r"row security hides rows of table public.t from this role"):
                load(PostgresTable("t", conn_id=conn_id), mode)
    assert load(PostgresTable("t", conn_id=database.conn_id), "replace").rows == 2


def test_an_unlogged_table_is_told_that_its_ledger_outlives_it(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    database.query("CREATE UNLOGGED TABLE t (id int, name text)")
    target = PostgresTable("t", conn_id=database.conn_id, ledger="books")
    load(target, "append")
    assert "table public.t is UNLOGGED" in caplog.text
    caplog.clear()
    database.query(f"DROP TABLE books; {target.ledger_ddl().replace('CREATE TABLE', 'CREATE UNLOGGED TABLE')}")
    load(target, "append")
    assert "UNLOGGED" not in caplog.text


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("CREATE VIEW odd AS SELECT 1 AS id", "odd is a view"),
        ("CREATE TABLE odd (id int) ENGINE=MyISAM", "MyISAM, which has no transactions"),
        ("CREATE TABLE odd (id int) ENGINE=Aria", "Aria, which has no transactions"),
        ("CREATE TABLE odd (id int) ENGINE=MEMORY", "MEMORY, which has no transactions"),
        ("CREATE SEQUENCE odd", "odd is no table but a sequence"),
    ],
)
def test_what_mysql_cannot_roll_back_is_refused_by_name(
    statement: str, says: str, mysql_database: MySqlDatabase
) -> None:
    mysql_database.query(statement)
    for mode in MODES:
        with pytest.raises(InvalidArgument, match=says):
            load(MySqlTable("odd", conn_id=mysql_database.conn_id), mode, b"id\n1\n")


def test_a_table_in_another_database_than_the_connections(
    mysql_database: MySqlDatabase, connection: Callable[..., str]
) -> None:
    mysql_database.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(9))")
    conn_id = connection("no_database", {**mysql_database.connection(), "schema": ""})
    for mode in MODES:
        load(MySqlTable(f"{mysql_database.name}.t", conn_id=conn_id), mode, b"id,name\n%d,a\n" % len(mode))
    assert mysql_database.query("SELECT count(*) FROM t") == [(2,)]


def test_updates_that_are_kept_safe_do_not_keep_a_replace(
    mysql_database: MySqlDatabase, connection: Callable[..., str]
) -> None:
    mysql_database.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(9)); INSERT INTO t VALUES (1, 'old')")
    extra = {"init_command": "SET SESSION sql_safe_updates = 1"}
    conn_id = connection("safe", {**mysql_database.connection(), "extra": extra})
    for mode in ("replace", "merge"):
        load(MySqlTable("t", conn_id=conn_id), mode)
    assert mysql_database.query("SELECT * FROM t ORDER BY id") == [(1, "new"), (3, "new")]
