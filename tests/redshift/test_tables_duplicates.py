"""Several records of one key in a merge into Redshift: which of them counts, wherever they come from."""

from __future__ import annotations

import gzip
import itertools
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_copies import MemoryFiles, copy, drain
from tests.redshift.fix_standin import CLUSTER, ROLE, Warehouse
from tests.services import pyarrow
from tradewind.amazon.redshift.marking import numberer
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
from tradewind.amazon.redshift.unloading import ordered
from tradewind.amazon.s3.files import S3File
from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyResult, Source

pytestmark = pytest.mark.anywhere

Merge = Callable[..., CopyResult]


@pytest.fixture(params=["wire", "data api"])
def place(request: pytest.FixtureRequest, warehouse: Warehouse) -> dict[str, Any]:
    """Return where the warehouse is, in each of the two ways to reach it."""
    way: dict[str, Any] = {"conn_id": warehouse.conn_id} if request.param == "wire" else dict(CLUSTER)
    return {"staging": f"s3://{warehouse.bucket}/staging/", "iam_role": ROLE, **way}


@pytest.fixture
def merge(place: dict[str, Any], warehouse: Warehouse) -> Merge:
    """Return a function that merges by ``id`` into a table that is there."""
    warehouse.query("CREATE TABLE t (id int, name varchar(20), n int)")

    def merged(source: Source, which: str = "last", **asked: Any) -> CopyResult:
        return copy(source, RedshiftTable("t", **place), mode="merge", key=("ID",), duplicates=which, **asked)

    return merged


def names(warehouse: Warehouse) -> list[Any]:
    return warehouse.query("SELECT id, name FROM t ORDER BY id")


@pytest.mark.parametrize(("which", "kept"), [("last", ("c", "z", "q")), ("first", ("a", "x", "p"))])
def test_one_record_of_each_key_counts_by_file_and_line(
    which: str, kept: tuple[str, str, str], merge: Merge, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.query("INSERT INTO t VALUES (1, 'old', 1), (2, 'same', 2)")
    files = ["id,name\n1,a\n2,same\n3,x\n1,b\n", "name,id\ny,3\nc,1\n", 'id,name\n3,z\n4,p\n"4",q\n']
    for number, text in enumerate(files):
        warehouse.s3.put(warehouse.bucket, f"in/{number}.csv.gz", gzip.compress(text.encode()))
    source = S3File(f"s3://{warehouse.bucket}/in/*.csv.gz")
    with caplog.at_level(logging.INFO):
        result = merge(source, which)
    assert names(warehouse) == [(1, kept[0]), (2, "same"), (3, kept[1]), (4, kept[2])]
    assert (result.rows, result.duplicates) == (4, 5)
    assert (result.inserted, result.updated, result.unchanged) == (2, 1, 1)
    assert f"5 records have a key of which the {which} one counts" in caplog.text
    assert "the rows pass through the worker: duplicates= asks for their order" in caplog.text
    assert result.plan == "rows staged in S3, COPY into a temporary table, merge into public.t"
    assert warehouse.keys("staging/") == []
    again = merge(source, which)
    assert (again.loaded_before is not None, again.duplicates) == (True, 5)


def test_they_are_an_error_where_nothing_is_said(merge: Merge, warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match="not unique in the input: 1 keys stand more than once"):
        merge(MemoryFiles(b"id,name\n1,a\n1,b\n"), "error")
    assert names(warehouse) == []


def test_parquet_and_lines_of_json_count_in_their_order(merge: Merge, warehouse: Warehouse) -> None:
    import io

    pa = pyarrow()
    out = io.BytesIO()
    pa.parquet.write_table(pa.table({"id": [1, 2, 1, 1], "name": ["a", "b", None, ""]}), out)
    assert merge(S3File(warehouse.put("in/a.parquet", out.getvalue()))).duplicates == 2
    assert names(warehouse) == [(1, ""), (2, "b")]
    lines = '{"name": "x", "id": 2}\n{"id": 2, "name": null}\n'
    assert merge(S3File(warehouse.put("in/a.jsonl", lines))).updated == 1
    assert names(warehouse) == [(1, ""), (2, None)]


def test_files_without_a_header_count_too(merge: Merge, warehouse: Warehouse) -> None:
    warehouse.put("in/1.csv", "1;a;1\r\n1;'b;\r\n';2\r\n")
    warehouse.put("in/2.csv", "1;c;3")
    source = S3File(f"s3://{warehouse.bucket}/in/*.csv", header=False, delimiter=";", quote="'")
    assert merge(source).duplicates == 2
    assert names(warehouse) == [(1, "c")]
    named = S3File(f"s3://{warehouse.bucket}/in/*.csv", columns=["n", "name", "id"], delimiter=";", quote="'")
    assert merge(named, "first").duplicates == 0
    assert names(warehouse) == [(1, "a"), (2, "b;\r\n"), (3, "c")]


def test_a_column_of_the_number_s_own_name_is_kept(place: dict[str, Any], warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE t (a int, b varchar(5), c int, tradewind_ordinal int)")
    body = b"a,b,c,TRADEWIND_ordinal\n1,x,1,9\n1,y,2,8\n1,x,3,7\n2,x,4,6\n"
    copy(MemoryFiles(body), RedshiftTable("t", **place), mode="merge", key=("a", "b"), duplicates="last")
    assert warehouse.query("SELECT * FROM t ORDER BY a, b") == [(1, "x", 3, 7), (1, "y", 2, 8), (2, "x", 4, 6)]


def test_an_ordered_query_keeps_its_order_on_the_way(place: dict[str, Any], merge: Merge, warehouse: Warehouse) -> None:
    warehouse.query("CREATE TABLE s AS SELECT 1 AS id, n::varchar AS name, n FROM generate_series(1, 50) AS n")
    query = RedshiftQuery("SELECT id, name FROM s ORDER BY n", **place)
    assert drain(query).split()[1:] == [f"1,{number}".encode() for number in range(1, 51)]
    assert merge(query).duplicates == 49
    assert names(warehouse) == [(1, "50")]
    assert all("PARALLEL OFF" in text for text in warehouse.server.statements(r"^\s*unload\b"))


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("select a from t order /* x */\n by 1 limit 3", True),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
        ("SELECT * FROM (SELECT a FROM t ORDER BY a) AS q", False),
        ('SELECT \'order by\' AS "order", "by" FROM t -- ORDER BY a', False),
        ("SELECT ')' FROM t ORDER BY 1", True),
    ],
)
def test_a_query_that_orders_its_rows_is_known(sql: str, answer: bool) -> None:
    assert ordered(sql) is answer


def test_each_record_gets_the_next_number() -> None:
    number = numberer(CsvDialect(), 7)
    assert number(b'a,"x\n""\n",b\r\n\n"",\n') == b'8,a,"x\n""\n",b\r\n9,\n10,"",\n'
    assert number(b'b"c\n"d\ne') == b'11,b"c\n"d\n12,e'
    assert number(b'"open\n') == b'13,"open\n'
    assert numberer(CsvDialect(delimiter=";", quote="'"), 0)(b"'a;\n'\n\"\n") == b"1;'a;\n'\n2;\"\n"


def test_numbers_follow_the_records_whatever_is_in_them(
    place: dict[str, Any], merge: Merge, warehouse: Warehouse
) -> None:
    seed = random.randrange(1 << 32)
    generator = random.Random(seed)
    texts = ["plain", '"a\nb"', '"x"",\r\n"', "", '""', "\u00e4\u20ac"]
    records = [(generator.randrange(40), generator.choice(texts), number) for number in range(4000)]
    cuts = [0, 1000, 1001, 4000]
    files = [
        "id,name,n\n" + "".join(f"{id},{text},{n}\n" for id, text, n in records[start:end])
        for start, end in itertools.pairwise(cuts)
    ]
    merge(MemoryFiles(*(text.encode() for text in files)))
    last = {id: n for id, _, n in records}
    assert warehouse.query("SELECT id, n FROM t ORDER BY id") == sorted(last.items()), seed
