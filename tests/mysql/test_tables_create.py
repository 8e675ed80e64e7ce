"""Tables made from their first input, and what an end refuses when a DAG is parsed."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy
from tests.fix_mysql import MySqlDatabase
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.dialect import CsvDialect

pytestmark = pytest.mark.anywhere


def types(database: MySqlDatabase, table: str) -> dict[str, str]:
    return dict(
        database.query(
            "SELECT column_name, column_type FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position",
            [table],
        )
    )


def test_types_are_told_from_the_whole_sample(mysql_database: MySqlDatabase, caplog: pytest.LogCaptureFixture) -> None:
    data = (
        b"yes,int,big,dec,dbl,day,at,atz,id,zip,tel,na,none,mixed,q\n"
        b"t,1,9223372036854775808,1,1e5,2013-02-03,2013-02-03,2013-02-03T04:05:06Z,"
        b'00000000-0000-4000-8000-00000000000a,01234,+49,NA,,1,"1"\n'
        b'FALSE,-20,-1,1.50,2,2000-02-29,2013-02-03 04:05,2013-02-03 04:05:06.5+02,,1,1,2,,x,""\n'
    )
    target = MySqlTable("made", conn_id=mysql_database.conn_id)
    with caplog.at_level(logging.INFO):
        assert copy(MemoryFiles(data), target, create=True).rows == 2
    assert types(mysql_database, "made") == {
        "yes": "tinyint(1)", "int": "bigint(20)", "big": "decimal(65,30)", "dec": "decimal(65,30)", "dbl": "double",
        "day": "date", "at": "datetime(6)", "atz": "datetime(6)", "id": "char(36)", "zip": "longtext",
        "tel": "longtext", "na": "longtext", "none": "longtext", "mixed": "longtext", "q": "bigint(20)",
    }  # fmt: skip
    assert f"CREATE TABLE `{mysql_database.name}`.`made` (`yes` boolean" in caplog.text
    assert copy(MemoryFiles(data), target, replace(WORK, run_id="2"), create=True).rows == 2


def test_all_files_are_looked_at(mysql_database: MySqlDatabase) -> None:
    dialect = CsvDialect(null="NA")
    target = MySqlTable("made", conn_id=mysql_database.conn_id)
    copy(MemoryFiles(b"", b"a,b\n1,NA\n", b"b,c\n2,x\nNA,y", dialect=dialect), target, create=True)
    assert types(mysql_database, "made") == {"a": "bigint(20)", "b": "bigint(20)", "c": "longtext"}


def test_the_key_of_a_merge_becomes_the_primary_key(mysql_database: MySqlDatabase) -> None:
    target = MySqlTable("made", conn_id=mysql_database.conn_id)
    data = MemoryFiles(b"a,B\n1,x\n2,y\n")
    assert copy(data, target, mode="merge", key=("b", "a"), create=True).inserted == 2
    assert copy(data, target, replace(WORK, max_tries=9), mode="merge", key=("b", "a"), create=True).unchanged == 2
    with pytest.raises(DataError, match="Duplicate entry"):
        copy(MemoryFiles(b"a,B\n1,x\n"), target)


def test_a_failed_load_leaves_no_table(mysql_database: MySqlDatabase) -> None:
    target = MySqlTable("made", conn_id=mysql_database.conn_id)
    with pytest.raises(DataError, match="line 3: the record doesn't contain data"):
        copy(MemoryFiles(b"a,b\n1,x\n2\n"), target, create=True)
    with pytest.raises(DataError, match="invalid byte sequence"):
        copy(MemoryFiles(b"a,b\n1,x\n2,\xff\n"), target, create=True)
    with pytest.raises(DataError, match="delimiter=';'"):
        copy(MemoryFiles(b"a;b\n1;x\n"), target, create=True)
    with pytest.raises(DataError, match="no part of the input has a header"):
        copy(MemoryFiles(b""), target, create=True)
    with pytest.raises(InvalidArgument, match="the input has no column 'c'"):
        copy(MemoryFiles(b"a,b\n1,x\n"), target, mode="merge", key=("c",), create=True)
    with pytest.raises(DataError, match="longer than the 64 characters"):
        copy(MemoryFiles(b"a" * 65 + b"\n1\n"), target, create=True)
    assert mysql_database.tables() == ["tradewind_ledger"]
    with pytest.raises(NotFound, match="no database nope: create it"):
        copy(MemoryFiles(b"a\n1\n"), MySqlTable("nope.made", conn_id=mysql_database.conn_id), create=True)


def test_two_first_loads_at_the_same_time_make_one_table(mysql_database: MySqlDatabase) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(
                lambda number: copy(
                    MemoryFiles(b"a\n1\n"),
                    MySqlTable("made", conn_id=mysql_database.conn_id),
                    replace(WORK, run_id=str(number)),
                    create=True,
                ),
                range(4),
            )
        )
    assert [result.rows for result in results] == [1] * 4
    assert mysql_database.query("SELECT count(*) FROM made") == [(4,)]


def test_a_failed_load_leaves_what_another_one_put_into_its_table(mysql_database: MySqlDatabase) -> None:
    from tradewind.mysql import creating
    from tradewind.mysql.hooks import MySqlHook
    from tradewind.mysql.names import TableName

    mysql_database.query("CREATE TABLE made (a int); INSERT INTO made VALUES (1)")
    with MySqlHook(mysql_database.conn_id).session() as session:
        creating.drop_if_empty(session, TableName("made", mysql_database.name))
    assert mysql_database.query("SELECT * FROM made") == [(1,)]
    mysql_database.query("DELETE FROM made")
    with MySqlHook(mysql_database.conn_id).session() as session:
        creating.drop_if_empty(session, TableName("made", mysql_database.name))
    assert mysql_database.tables() == []


@pytest.mark.parametrize(
    "end",
    [
        lambda: MySqlTable(None),  # type: ignore[arg-type]
        lambda: MySqlTable("a", conn_id=""),
        lambda: MySqlTable("a", ledger="b c"),
        lambda: MySqlTable("a", ledger_days=0),
    ],
)
def test_arguments_that_cannot_work_are_refused(end: Any) -> None:
    with pytest.raises(InvalidArgument):
        end().check()


def test_templates_wait_for_their_values() -> None:
    MySqlTable("{{ schema }}.flights_{{ ds_nodash }}", ledger="{{ ledger }}").check()


def test_ends_name_themselves(mysql_database: MySqlDatabase) -> None:
    table = MySqlTable("flights", conn_id=mysql_database.conn_id)
    assert table.describe() == f"flights on {mysql_database.conn_id}"
    place = f"mysql://{mysql_database.address.host}:{mysql_database.address.port}"
    assert table.openlineage_dataset() == (place, f"{mysql_database.name}.flights")
    assert MySqlTable("staging.a", conn_id=mysql_database.conn_id).openlineage_dataset() == (place, "staging.a")
    assert MySqlTable("a", conn_id="nowhere").openlineage_dataset() is None
    assert table.assets() == []
