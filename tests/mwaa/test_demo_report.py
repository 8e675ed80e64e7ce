"""The report: well-formed, every number from the data, whatever the data."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from flights_report import charts, words
from flights_report.facts import Facts, Share, gather
from flights_report.page import draw
from flights_report.svg import Drawing, Scale, number, top
from tests.fix_postgres import Database
from tradewind.mwaa.demo import dataset

SQL = Path(str(files("tradewind.mwaa.demo"))) / "dags" / "sql"
SVG = "{http://www.w3.org/2000/svg}"
NUMERIC = ("x", "y", "x1", "x2", "y1", "y2", "width", "height", "cx", "cy", "r", "rx")


def script(name: str) -> str:
    return (SQL / name).read_text().replace("{{ params.late_minutes }}", "15")


def pictures(page: str) -> list[ET.Element]:
    """Parse each picture of a page as XML."""
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def tips(page: str) -> list[str]:
    return [title.text or "" for picture in pictures(page) for title in picture.iter(f"{SVG}title")]


@pytest.fixture
def tables(database: Database) -> Database:
    """A warehouse with empty tables."""
    database.query(script("tables.sql"))
    return database


@pytest.fixture
def flights(tables: Database) -> Callable[..., None]:
    """Puts flights into the warehouse and builds the daily table."""

    def put(*rows: tuple[int, int, int, int | None]) -> None:
        for place, (month, day, hour, delay) in enumerate(rows):
            tables.query(
                "insert into staging.flights values (2013, %s, %s, 1, 1, %s, 1, 1, 1, 'XX', %s, 'N1', 'JFK', 'LAX', 1,"
                " 1, %s, 0, make_timestamptz(2013, %s, %s, %s, 0, 0, 'America/New_York'))",
                (month, day, delay, place, hour, month, day, hour),
            )
        tables.query(script("daily_delays.sql"))

    return put


@pytest.fixture
def year(tables: Database) -> Database:
    """A warehouse with the whole data set."""
    import psycopg2

    connection = psycopg2.connect(
        host=tables.host, port=tables.port, user=tables.user, password=tables.password, dbname=tables.name
    )
    with connection, connection.cursor() as cursor:
        for table in dataset.ROWS:
            with dataset.open_table(table) as file:
                cursor.copy_expert(f"copy staging.{table} from stdin (format csv, header, null 'NA')", file)
    connection.close()
    tables.query(script("daily_delays.sql"))
    return tables


def late(row: dict[str, str]) -> bool:
    return row["dep_delay"] == "NA" or int(row["dep_delay"]) >= 15


def counted() -> dict[str, Counter[Any]]:
    """Count the data set without a database."""
    found: dict[str, Counter[Any]] = {name: Counter() for name in ("all", "month", "hour", "carrier", "day")}
    with dataset.open_table("flights") as file:
        for row in csv.DictReader(io.TextIOWrapper(file)):
            day = (int(row["month"]), int(row["day"]))
            keys = {"all": "", "month": row["month"], "hour": row["hour"], "carrier": row["carrier"], "day": day}
            for name, key in keys.items():
                found[name][key, "flights"] += 1
                found[name][key, "late"] += late(row)
            found["all"]["", "cancelled"] += row["dep_delay"] == "NA"
    return found


def as_counter(shares: list[Share]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for share in shares:
        found[share.label, "flights"] += share.flights
        found[share.label, "late"] += share.late
    return found


def test_report_of_the_year(year: Database) -> None:
    """The picture of the real data: each number counted a second time, from the files."""
    facts = gather(year.query)
    expected = counted()

    assert (facts.all.flights, facts.all.late) == (expected["all"]["", "flights"], expected["all"]["", "late"])
    assert facts.cancelled == expected["all"]["", "cancelled"] == 8_255
    assert as_counter(facts.months) == expected["month"]
    assert as_counter(facts.hours) == expected["hour"]
    assert sorted(share.flights for share in facts.carriers) == sorted(
        count for (_, what), count in expected["carrier"].items() if what == "flights"
    )
    assert {(day.day.month, day.day.day): (day.flights, day.late) for day in facts.days} == {
        day: (expected["day"][day, "flights"], expected["day"][day, "late"]) for day, _ in expected["day"]
    }
    for groups in facts.weather.values():
        assert 0.98 * facts.all.flights < sum(group.flights for group in groups) <= facts.all.flights
    _check_page(draw(facts), facts)


def _check_page(page: str, facts: Facts) -> None:
    assert words.headline(facts) == (
        "Leave early: a flight at 9 pm was more than five times as likely to be late as one at 5 am"
    )
    assert f"<h1>{words.headline(facts)}</h1>" in page
    for text in ("336,776", "8,255", "March 8 was the worst day", "July was the worst month"):
        assert text in page
    shown = tips(page)
    assert len(pictures(page)) == 8
    assert sum(bool(re.search(r", \d+ cancelled$", tip)) for tip in shown) == len(facts.days) == 365
    for group in facts.months:
        assert charts.counted(words.month(group.label), group) in shown
    for group in facts.carriers:
        assert charts.counted(group.label, group) in shown


def test_page_needs_nothing_else(flights: Callable[..., None], tables: Database) -> None:
    flights((1, 1, 5, 0))
    page = draw(gather(tables.query))

    assert not re.findall(r"(?:src|href)=|url\(|@import|<script", page)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(1, 1, 5, 0)], id="one flight, on time"),
        pytest.param([(6, 30, 23, None)], id="one flight, cancelled"),
        pytest.param([(2, 28, 0, 15), (12, 31, 12, None)], id="two days far apart, no weather"),
        pytest.param([(3, 1, hour, None) for hour in range(24)], id="every flight cancelled"),
    ],
)
def test_report_of_little_data(
    rows: list[tuple[int, int, int, int | None]], flights: Callable[..., None], tables: Database
) -> None:
    """Whatever is in the warehouse, the pictures are well-formed and hold numbers alone."""
    flights(*rows)
    page = draw(gather(tables.query))

    for picture in pictures(page):
        for element in picture.iter():
            for name in NUMERIC:
                value = float(element.get(name, "0"))
                assert value == value
                assert abs(value) < 10_000
            assert not re.search(r"nan|inf", element.get("d", ""))
    assert not re.search(r"\b(nan|inf|None)\b", page)


def test_no_flights_is_an_error(tables: Database) -> None:
    with pytest.raises(ValueError, match=r"staging\.flights is empty"):
        gather(tables.query)


def test_headline_follows_the_data() -> None:
    """Where the hour does not matter, the headline does not claim it."""

    def facts(early: int, evening: int) -> Facts:
        hours = [Share("6", 1000, early), Share("20", 1000, evening)]
        return Facts(Share("all", 2000, early + evening), 0, 0.0, 1, [], [], hours, {}, [], [], {})

    assert words.headline(facts(100, 301)) == (
        "Leave early: a flight at 8 pm was three times as likely to be late as one at 6 am"
    )
    assert words.headline(facts(240, 100)) == (
        "Leave late: a flight at 6 am was more than twice as likely to be late as one at 8 pm"
    )
    assert words.headline(facts(100, 120)) == "Whatever the hour, about 11% of the flights were late"
    assert words.headline(facts(10, 900)) == (
        "Leave early: a flight at 8 pm was 90.0 times as likely to be late as one at 6 am"
    )


def test_text_is_escaped() -> None:
    drawing = Drawing(10, 10, "a < b & c")
    drawing.text(0, 0, "<script>")
    drawing.rect(0, 0, 1, 1, "bar", "5 < 6")

    parsed = ET.fromstring(drawing.render())

    assert [element.text for element in parsed.iter() if element.text] == ["a < b & c", "<script>", "5 < 6"]


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (-0.01, "0"), (12.0, "12"), (0.25, "0.2"), (-3.14, "-3.1")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_no_coordinate_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="nan is no coordinate"):
        number(float("nan"))


def test_scale_and_axis() -> None:
    assert Scale(0, 10, 100, 0)(2.5) == 75
    assert top([0.31, 0.42]) == pytest.approx(0.5)
    assert top([0.5]) == pytest.approx(0.5)
    assert top([]) == pytest.approx(0.1)
