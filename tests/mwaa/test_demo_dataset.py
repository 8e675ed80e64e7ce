"""The data that the demo ships: whole, and the same bytes each time."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io

import pytest

from tradewind.mwaa.demo import dataset, pack


@pytest.fixture(scope="module")
def months() -> list[dataset.DataFile]:
    return list(dataset.months())


@pytest.mark.parametrize("table", dataset.ROWS)
def test_table_is_that_of_the_package(table: str) -> None:
    digest, rows = hashlib.sha256(), -1
    with dataset.open_table(table) as file:
        for line in file:
            digest.update(line)
            rows += 1

    assert digest.hexdigest() == pack.SHA256[table]
    assert rows == dataset.ROWS[table]


def test_months_hold_each_flight_once(months: list[dataset.DataFile]) -> None:
    """Put together again, the twelve files are the table: as many rows, the same sums, no key twice."""
    with dataset.open_table("flights") as file:
        whole = list(csv.DictReader(io.TextIOWrapper(file)))
    cut = []
    for number, month in enumerate(months, 1):
        rows = list(csv.DictReader(io.StringIO(gzip.decompress(month.body).decode())))
        assert {row["month"] for row in rows} == {str(number)}
        assert len(rows) == month.rows
        cut += rows

    assert [month.name for month in months] == [f"flights-2013-{number:02}.csv.gz" for number in range(1, 13)]
    assert sum(month.rows for month in months) == len(cut) == len(whole) == 336_776
    assert sum(int(row["distance"]) for row in cut) == sum(int(row["distance"]) for row in whole)
    assert len({(row["carrier"], row["flight"], row["time_hour"]) for row in cut}) == len(whole)
    # The lines of a month stay in their order: sorting the whole by month alone gives the same.
    assert cut == sorted(whole, key=lambda row: int(row["month"]))


def test_same_bytes_each_time(months: list[dataset.DataFile]) -> None:
    """Equal bytes have equal ETags: a file that arrives again is known."""
    again = {file.name: file.body for file in dataset.months()}

    assert again == {month.name: month.body for month in months}
    assert dataset.small_table("weather") == dataset.small_table("weather")


def test_small_tables_are_whole() -> None:
    for table in dataset.SMALL:
        file = dataset.small_table(table)
        with dataset.open_table(table) as source:
            assert gzip.decompress(file.body) == source.read()
        assert file.rows == dataset.ROWS[table]


def test_months_need_no_csv_reader() -> None:
    """Cutting by lines is right because no field holds a quote."""
    with dataset.open_table("flights") as source:
        text = source.read()

    assert b'"' not in text
    assert b"\r" not in text
