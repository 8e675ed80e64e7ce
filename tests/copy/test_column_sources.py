"""Columns chosen, renamed and cast where the source is a table or a query, and constants beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fix_copies import WORK, copy
from tests.fix_mysql import MySqlDatabase
from tests.fix_postgres import Database
from tests.fix_tables import Tables, mysql_tables, postgres_tables
from tradewind.hooks.errors import DataError, InvalidArgument, TradewindError
from tradewind.operators.ends import Source
from tradewind.operators.local_files import LocalFile
from tradewind.operators.projection import FILE_NAME, Columns, Field


def fill(tables: Tables) -> None:
    text = tables.pick(postgres="text", mysql="varchar(99)")
    quoted = tables.pick(postgres='"N"', mysql="`N`")
    tables.query(f"CREATE TABLE s (id int PRIMARY KEY, name {text}, {quoted} numeric(9,2), at {text})")
    tables.query("INSERT INTO s VALUES (1, 'a', 1.50, '2026-01-02'), (2, NULL, 2, NULL), (3, 'x,y', 3, '2026-01-04')")


def query(tables: Tables, sql: str, parameters: Any = None, **how: Any) -> Source:
    if tables.service == "postgres":
        from tradewind.postgres.tables import PostgresQuery

        return PostgresQuery(sql, parameters, conn_id=tables.conn_id, **how)
    from tradewind.mysql.queries import MySqlQuery

    return MySqlQuery(sql, parameters, conn_id=tables.conn_id, **how)


def out(source: Source, tmp_path: Path) -> list[str]:
    result = copy(source, LocalFile(tmp_path / "out.csv"))
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert (result.rows, result.counted) == (len(lines) - 1, True)
    return lines


COLUMNS: Columns = {"N": "price", "at": Field("at", type="timestamp"), "id": "key"}


def test_a_table_gives_what_is_asked_for(tables: Tables, tmp_path: Path) -> None:
    fill(tables)
    source = tables.table("s", columns=COLUMNS, constants={"day": "2026-01-05", "nothing": None, "odd": "a\"b\\'"})
    assert sorted(out(source, tmp_path)) == [
        '1.50,2026-01-02 00:00:00,1,2026-01-05,,"a""b\\\'"',
        '2.00,,2,2026-01-05,,"a""b\\\'"',
        '3.00,2026-01-04 00:00:00,3,2026-01-05,,"a""b\\\'"',
        "price,at,key,day,nothing,odd",
    ]
    assert sorted(out(tables.table("s", columns=["name", "id"]), tmp_path)) == ['"x,y",3', ",2", "a,1", "name,id"]
    added = out(tables.table("s", constants={"x": 1}), tmp_path)
    assert (added[0], added[1]) == ("id,name,N,at,x", "1,a,1.50,2026-01-02,1")


def test_a_query_keeps_its_order(tables: Tables, tmp_path: Path) -> None:
    fill(tables)
    sql = "SELECT * FROM s WHERE id <> %s ORDER BY name DESC, id -- the last first"
    source = query(tables, sql, [2], columns={"id": "key", "name": "who"}, constants={"n": 5})
    assert out(source, tmp_path) == ["key,who,n", '3,"x,y",5', "1,a,5"]


def test_a_query_of_postgres_may_have_two_columns_of_one_name(database: Database, tmp_path: Path) -> None:
    sql = "SELECT 1 AS id, 2 AS b, 3 AS name, 4 AS name"
    assert out(query(postgres_tables(database), sql, columns={"b": "b"}), tmp_path) == ["b", "2"]


def test_all_of_it_is_part_of_the_fingerprint(tables: Tables) -> None:
    fill(tables)
    found = set()
    for how in (
        {},
        {"columns": ["id"]},
        {"columns": {"id": "x"}},
        {"constants": {"x": "1"}},
        {"constants": {"x": "2"}},
    ):
        for source in (tables.table("s", **how), query(tables, "SELECT * FROM s", **how)):
            with source.open(WORK) as reading:
                found.add(reading.fingerprint)
    assert len(found) == 10


def test_what_cannot_work_is_refused(tables: Tables, tmp_path: Path) -> None:
    fill(tables)
    with pytest.raises(InvalidArgument, match=r"FILE_NAME is the name of a file, and \w+Table\('s on .*'\) reads none"):
        tables.table("s", constants={"x": FILE_NAME}).check()
    with pytest.raises(InvalidArgument, match="FILE_NAME is the name of a file"):
        query(tables, "SELECT 1", constants={"x": FILE_NAME}).check()
    with pytest.raises(InvalidArgument, match="columns names a column twice: id, id"):
        tables.table("s", columns=["id", "id"]).check()
    with pytest.raises(TradewindError, match="nmae"):
        out(tables.table("s", columns=["nmae"]), tmp_path)
    with pytest.raises(DataError, match="has no column 'nmae': did you mean 'name'"):
        out(query(tables, "SELECT * FROM s", columns={"nmae": "x"}), tmp_path)
    with pytest.raises(DataError, match="has a column 'id', which is a constant too"):
        out(query(tables, "SELECT * FROM s", constants={"ID": "x"}), tmp_path)
    assert not (tmp_path / "out.csv").exists()


def test_a_value_that_cannot_be_cast_is_named(tables: Tables, tmp_path: Path) -> None:
    fill(tables)
    with pytest.raises(DataError, match=r"'a'|\"a\""):
        out(query(tables, "SELECT * FROM s", columns={"name": Field("name", "integer")}), tmp_path)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("way", ["postgres to mysql", "mysql to postgres"])
def test_columns_travel_between_databases(
    database: Database, mysql_database: MySqlDatabase, way: str, tmp_path: Path
) -> None:
    source, target = postgres_tables(database), mysql_tables(mysql_database)
    if way == "mysql to postgres":
        source, target = target, source
    fill(source)
    target.query("CREATE TABLE t (k int PRIMARY KEY, who varchar(9), at timestamp NULL, day date, price numeric(9,1))")
    columns: Columns = {"name": "who", "id": "k", "at": Field("at", "timestamp"), "N": Field("price", "decimal(9,1)")}
    result = copy(source.table("s", columns=columns, constants={"day": "2026-01-05"}), target.table())

    found = target.query(
        "SELECT k, who, cast(at AS char(10)), cast(day AS char(10)), cast(price AS char(4)) FROM t ORDER BY k"
    )
    assert [tuple(value.strip() if isinstance(value, str) else value for value in row) for row in found] == [
        (1, "a", "2026-01-02", "2026-01-05", "1.5"),
        (2, None, None, "2026-01-05", "2.0"),
        (3, "x,y", "2026-01-04", "2026-01-05", "3.0"),
    ]
    assert result.rows == 3
