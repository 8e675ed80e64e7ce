"""A set of Parquet files: each of bounded size and whole, all together exactly the records."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fix_formats import part_of
from tests.services import pyarrow
from tradewind.operators.ends import Part
from tradewind.operators.formats.parquet import Parquet, parting
from tradewind.operators.formats.pieces import Bounds
from tradewind.operators.types import ColumnType

pytestmark = pytest.mark.anywhere

TYPES = (ColumnType("bigint"), ColumnType("text"))


def records(sizes: list[int], seed: int = 1) -> Part:
    """Make records whose texts have these sizes and cannot be compressed much."""
    some = random.Random(seed)
    lines = (f"{number},{some.randbytes(size).hex()}\n" for number, size in enumerate(sizes))
    return part_of("".join(lines).encode(), ("id", "text"), TYPES)


def files(
    *parts: Part, codec: str | None = "zstd", max_bytes: int | None = None, max_rows: int | None = None
) -> list[tuple[bytes, int]]:
    """Write a set, and return the bytes and the rows of each file."""
    bounds = Bounds(max_bytes, max_rows)
    found: dict[int, tuple[bytes, int]] = {}
    pieces = Parquet(codec=codec).pieces(iter(parts), bounds, "memory/part-{n}.parquet", renamed=False)
    for piece in pieces:
        data, rows = found.get(piece.file, (b"", 0))
        found[piece.file] = data + piece.data, rows + piece.rows
    assert list(found) == list(range(len(found)))
    assert pieces.columns == ("id", "text")
    return list(found.values())


def tables(found: list[tuple[bytes, int]]) -> Iterator[Any]:
    for data, rows in found:
        table = pyarrow().parquet.read_table(io.BytesIO(data))
        assert table.num_rows == rows
        yield table


def ids(found: list[tuple[bytes, int]]) -> list[int]:
    return [number for table in tables(found) for number in table["id"].to_pylist()]


def groups(data: bytes) -> list[int]:
    metadata = pyarrow().parquet.read_metadata(io.BytesIO(data))
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make row groups of 20 kB of CSV, in blocks of 8 kB."""
    monkeypatch.setattr(parting, "ROW_GROUP", 20_000)
    monkeypatch.setattr("tradewind.operators.formats.parquet.writing.BLOCK", 8_000)


@pytest.mark.usefixtures("small")
def test_parts_have_so_many_rows_and_full_row_groups() -> None:
    found = files(records([50] * 1000), records([50] * 500), max_rows=400)
    assert [rows for _, rows in found] == [400, 400, 400, 300]
    assert ids(found) == [*range(1000), *range(500)]
    assert all(min(groups(data)[:-1]) > 190 for data, _ in found)
    assert [rows for _, rows in files(records([50] * 800), max_rows=400)] == [400, 400]
    assert [rows for _, rows in files(records([5] * 7), max_rows=1)] == [1] * 7


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("codec", ["zstd", None])
def test_parts_are_filled_to_their_bytes(codec: str | None) -> None:
    sizes = [50] * 6000
    for most in (4_000, 30_000, 200_000):
        found = files(records(sizes), codec=codec, max_bytes=most)
        assert ids(found) == list(range(len(sizes)))
        lengths = [len(data) for data, _ in found]
        assert max(lengths) <= most
        assert min(lengths[:-1]) > most * 0.4
    assert max(map(len, map(groups, (data for data, _ in found)))) > 5


@pytest.mark.usefixtures("small")
@settings(deadline=None, max_examples=20)
@given(
    sizes=st.lists(st.one_of(st.integers(0, 60), st.sampled_from([3_000, 15_000])), max_size=60),
    most=st.integers(600, 40_000),
    rows=st.one_of(st.none(), st.integers(1, 100)),
    seed=st.integers(),
)
def test_no_part_is_larger_than_its_bounds(sizes: list[int], most: int, rows: int | None, seed: int) -> None:
    found = files(records(sizes, seed), max_bytes=most, max_rows=rows)
    assert ids(found) == list(range(len(sizes)))
    assert all(len(data) <= most or count <= 1 for data, count in found)
    assert all(count <= (rows or len(sizes)) for _, count in found)
    assert files(records(sizes, seed), max_bytes=most, max_rows=rows) == found


def test_no_rows_are_a_file_with_columns() -> None:
    [(data, rows)] = files(records([]), max_rows=5)
    assert rows == 0
    table = pyarrow().parquet.read_table(io.BytesIO(data))
    assert (table.num_rows, table.column_names) == (0, ["id", "text"])
    assert [str(kind) for kind in table.schema.types] == ["int64", "string"]
