"""The facts of the report, counted in the warehouse.

``late`` is a flight that left :data:`LATE_MINUTES` minutes or more behind schedule, or was cancelled: one that did
not leave on time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LATE_MINUTES = 15
"""From when on a departure counts as late, as the Bureau of Transportation Statistics counts."""

Query = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a statement, returns its rows: ``PostgresHook.get_records`` is one."""

_LATE = f"count(*) filter (where dep_delay is null or dep_delay >= {LATE_MINUTES})"

TOTALS = f"""
select count(*), {_LATE}, count(*) - count(dep_delay), coalesce(avg(dep_delay), 0), count(distinct dest)
from staging.flights
"""  # noqa: S608
DAYS = """
select day, sum(flights), sum(delayed + cancelled), sum(cancelled), avg(precip), avg(wind_speed), min(visib)
from reports.daily_delays group by day order by day
"""
HOURS = f"""
select month, hour, origin, count(*), {_LATE}
from staging.flights group by 1, 2, 3 order by 1, 2, 3
"""  # noqa: S608
CARRIERS = f"""
select coalesce(name, carrier), count(*), {_LATE}
from staging.flights left join staging.airlines using (carrier) group by 1 order by 1
"""  # noqa: S608
WEATHER = f"""
with hourly as (
    select origin, time_hour, count(*) as flights, {_LATE} as late from staging.flights group by 1, 2
)
select width_bucket({{column}}, array[{{edges}}]), sum(flights), sum(late)
from hourly join staging.weather using (origin, time_hour)
where {{column}} is not null group by 1 order by 1
"""  # noqa: S608


@dataclass(frozen=True)
class Share:
    """A group of flights, and how many of them were late.

    :param label: what the group has in common
    :param flights: how many were scheduled
    :param late: how many left late or never
    """

    label: str
    flights: int
    late: int

    @property
    def share(self) -> float:
        """The part that was late, 0 to 1."""
        return self.late / self.flights if self.flights else 0.0


@dataclass(frozen=True)
class Day(Share):
    """A day, with its weather.

    :param day: the date
    :param cancelled: flights that never left
    :param precip: inches of rain, or of melted snow, mean of the airports
    :param wind: miles an hour, mean of the day
    :param visib: miles, the lowest of the day
    """

    day: dt.date
    cancelled: int
    precip: float | None
    wind: float | None
    visib: float | None


@dataclass(frozen=True)
class Bins:
    """A measure of the weather, cut into ranges.

    :param column: its column in ``staging.weather``
    :param name: its name
    :param unit: its unit
    :param edges: the lower edge of each range
    :param labels: the name of each range
    """

    column: str
    name: str
    unit: str
    edges: tuple[float, ...]
    labels: tuple[str, ...]

    @property
    def sql(self) -> str:
        """The query that counts them."""
        return WEATHER.format(column=self.column, edges=", ".join(f"{edge:g}" for edge in self.edges))


BINS = (
    Bins("precip", "Rain", "inches an hour", (0, 0.001, 0.05, 0.1, 0.2), ("dry", "< .05", "< .1", "< .2", ".2 +")),
    Bins(
        "wind_speed", "Wind", "miles an hour", (0, 5, 10, 15, 20, 25), ("< 5", "< 10", "< 15", "< 20", "< 25", "25 +")
    ),
    Bins("visib", "Visibility", "miles", (0, 0.5, 1, 3, 5, 10), ("< ½", "< 1", "< 3", "< 5", "< 10", "10")),
)


@dataclass(frozen=True)
class Facts:
    """All that the report shows.

    :param all: every flight
    :param cancelled: flights that never left
    :param delay: minutes, mean of the flights that left
    :param destinations: how many airports they went to
    :param days: each day, in order
    :param months: each month, labelled 1 to 12
    :param hours: each hour of the schedule, labelled 0 to 23
    :param airports: the hours of each airport
    :param grid: flights by month and hour, labelled ``month-hour``
    :param carriers: each airline, by name
    :param weather: the groups of each of :data:`BINS`
    """

    all: Share
    cancelled: int
    delay: float
    destinations: int
    days: list[Day]
    months: list[Share]
    hours: list[Share]
    airports: dict[str, list[Share]]
    grid: list[Share]
    carriers: list[Share]
    weather: dict[str, list[Share]]


def gather(query: Query) -> Facts:
    """Ask the warehouse.

    :param query: runs a statement, returns its rows
    :raises ValueError: when there is no flight to report on
    """
    flights, late, cancelled, delay, destinations = query(TOTALS)[0]
    if not flights:
        raise ValueError("staging.flights is empty: load the months before the report is drawn")
    cells = [(*row[:3], int(row[3]), int(row[4])) for row in query(HOURS)]
    return Facts(
        all=Share("all", int(flights), int(late)),
        cancelled=int(cancelled),
        delay=float(delay),
        destinations=int(destinations),
        days=[_day(row) for row in query(DAYS)],
        months=_group(cells, lambda cell: f"{cell[0]}"),
        hours=_group(cells, lambda cell: f"{cell[1]}"),
        airports={
            airport: _group([cell for cell in cells if cell[2] == airport], lambda cell: f"{cell[1]}")
            for airport in sorted({cell[2] for cell in cells})
        },
        grid=_group(cells, lambda cell: f"{cell[0]}-{cell[1]}"),
        carriers=[Share(name, int(count), int(late)) for name, count, late in query(CARRIERS)],
        weather={bins.column: _bins(bins, query(bins.sql)) for bins in BINS},
    )


Cell = tuple[Any, Any, Any, int, int]


def _group(cells: Sequence[Cell], key: Callable[[Cell], str]) -> list[Share]:
    """Add up month, hour and airport to what a chart shows, in the order of the calendar."""
    sums: dict[str, tuple[int, int]] = {}
    for cell in sorted(cells, key=lambda cell: (cell[0], cell[1])):
        flights, late = sums.get(key(cell), (0, 0))
        sums[key(cell)] = (flights + cell[3], late + cell[4])
    shares = [Share(label, flights, late) for label, (flights, late) in sums.items()]
    return sorted(shares, key=lambda share: [int(part) for part in share.label.split("-")])


def _bins(bins: Bins, rows: Sequence[Sequence[Any]]) -> list[Share]:
    return [Share(bins.labels[int(number) - 1], int(flights), int(late)) for number, flights, late in rows]


def _day(row: Sequence[Any]) -> Day:
    day, flights, late, cancelled, *weather = row
    precip, wind, visib = (None if value is None else float(value) for value in weather)
    return Day(day.isoformat(), int(flights), int(late), day, int(cancelled), precip, wind, visib)
