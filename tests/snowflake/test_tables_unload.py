"""Reading tables and queries of Snowflake, into files and into other tables."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.operators.copy import CopyOperator
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.parquet.arrow import pyarrow
from tradewind.operators.formats.parquet.rendering import CsvWriter
from tradewind.operators.local_files import LocalFile
from tradewind.operators.projection import Field
from tradewind.operators.types import ColumnType
from tradewind.snowflake.queries import SnowflakeQuery
from tradewind.snowflake.tables import SnowflakeTable
from tradewind.snowflake.unloading import ResultColumns, _as_declared, _schema

pytestmark = pytest.mark.anywhere

Unload = Callable[..., Path]


@pytest.fixture
def unload(snowflake_database: SnowflakeDatabase, tmp_path: Path, context: Callable[..., Any]) -> Unload:
    """Return what copies a source into a file."""

    def run(source: Any, name: str = "out.csv", **arguments: Any) -> Path:
        path = tmp_path / name
        operator = CopyOperator(task_id="unload", source=source, target=LocalFile(str(path)), **arguments)
        operator.execute(context(operator))
        return path

    return run


@pytest.fixture
def kinds(snowflake_database: SnowflakeDatabase) -> None:
    """Make a table of each type, with a row of values and one of NULLs."""
    snowflake_database.query(
        "CREATE TABLE kinds (id NUMBER(19,0), small NUMBER(4,0), exact NUMBER(38,10), ratio FLOAT, name VARCHAR, "
        "yes BOOLEAN, day DATE, clock TIME, local_ TIMESTAMP_NTZ, moment TIMESTAMP_TZ, raw BINARY, doc VARIANT)"
    )
    snowflake_database.query(
        "INSERT INTO kinds SELECT 1, 2, 1234567890123456789012345678.0123456789, 0.1, 'a,\"b', TRUE, '2013-02-03', "
        "'04:05:06.789', '2013-02-03 04:05:06.789', '2013-02-03 04:05:06.789+00'::TIMESTAMP_TZ, "
        "TO_BINARY('DEAD', 'HEX'), PARSE_JSON('{\"a\": [1, null]}')"
    )
    snowflake_database.query("INSERT INTO kinds (id) VALUES (2)")


@pytest.mark.usefixtures("kinds")
def test_every_type_in_csv(unload: Unload) -> None:
    head, first, second = csv.reader(unload(SnowflakeTable("kinds")).read_text().splitlines())
    assert head == ["ID", "SMALL", "EXACT", "RATIO", "NAME", "YES", "DAY", "CLOCK", "LOCAL_", "MOMENT", "RAW", "DOC"]
    assert first == [
        "1", "2", "1234567890123456789012345678.0123456789", "0.1", 'a,"b', "true", "2013-02-03", "04:05:06.789000",
        "2013-02-03 04:05:06.789000", "2013-02-03 04:05:06.789000+00", "\\xdead", '{"a":[1,null]}',
    ]  # fmt: skip
    assert second == ["2", *[""] * 11]


@pytest.mark.usefixtures("kinds")
def test_every_type_in_parquet(unload: Unload) -> None:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(unload(SnowflakeTable("kinds"), "out.parquet"))
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "ID": "decimal128(19, 0)", "SMALL": "int16", "EXACT": "decimal128(38, 10)", "RATIO": "double", "NAME": "string",
        "YES": "bool", "DAY": "date32[day]", "CLOCK": "time64[us]", "LOCAL_": "timestamp[us]",
        "MOMENT": "timestamp[us, tz=UTC]", "RAW": "binary", "DOC": types["DOC"],
    }  # fmt: skip
    assert table.num_rows == 2


def test_a_query_with_values_keeps_its_order(unload: Unload, snowflake_database: SnowflakeDatabase) -> None:
    snowflake_database.query("CREATE TABLE t AS SELECT 1 AS id UNION ALL SELECT 3 UNION ALL SELECT 2")
    query = SnowflakeQuery(
        "SELECT id, '100%%' AS share FROM t WHERE id >= %s ORDER BY id DESC; ",
        [2],
        columns={"ID": "key", "SHARE": Field("share", "text")},
        constants={"day": "2013-02-03"},
    )
    assert unload(query).read_text().split() == ["key,share,day", "3,100%,2013-02-03", "2,100%,2013-02-03"]


def test_many_rows_pass_in_pieces(unload: Unload, snowflake_database: SnowflakeDatabase) -> None:
    snowflake_database.query(
        "CREATE TABLE t AS SELECT SEQ4() AS id, 'name ' || SEQ4() AS name FROM TABLE(GENERATOR(ROWCOUNT => 20000))"
    )
    assert len(unload(SnowflakeTable("t", columns=["name"])).read_text().splitlines()) == 20_001


def test_what_cannot_be_read_is_named(unload: Unload, snowflake_database: SnowflakeDatabase) -> None:
    with pytest.raises(NotFound, match="there is no table"):
        unload(SnowflakeTable("nothing"))
    with pytest.raises(InvalidArgument, match="two columns have one name"):
        unload(SnowflakeQuery("SELECT 1 AS a, 2 AS a"))
    with pytest.raises(InvalidArgument, match="sql must be a query"):
        CopyOperator(task_id="t", source=SnowflakeQuery(" ; "), target=LocalFile("/tmp/x.csv"))


def test_a_moment_of_nanoseconds_is_refused_by_its_record() -> None:
    pa = pyarrow()
    names, types = ("at",), (ColumnType("timestamp"),)
    columns = ResultColumns("query on snow", names, types, _schema(names, types))
    write = CsvWriter(columns, CsvDialect(header=False), "json")
    values = pa.array([1_000, 1_001], pa.timestamp("ns"))

    with pytest.raises(DataError, match="query on snow, record 2, column at"):
        write(_as_declared(pa.record_batch([values], names=["at"]), columns, 0))


def test_numbers_come_in_any_width_and_are_written_alike() -> None:
    pa = pyarrow()
    names, types = ("n",), (ColumnType("decimal", 20, 0),)
    columns = ResultColumns("t", names, types, _schema(names, types))
    write = CsvWriter(columns, CsvDialect(header=False), "json")
    written = [
        write(_as_declared(pa.record_batch([pa.array([7, None], kind)], names=["n"]), columns, 0))
        for kind in (pa.int8(), pa.int64(), pa.decimal128(38, 0))
    ]
    assert written == [b'"7"\n\n'] * 3
