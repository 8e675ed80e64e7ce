"""The sentences of the report: what the facts say, in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from flights_report.facts import Facts, Share

MONTHS = tuple(dt.date(2000, month, 1).strftime("%B") for month in range(1, 13))
TIMES = ("", "", "twice", "three times", "four times", "five times", "six times", "seven times", "eight times")
FEW = 500
"""A group of fewer flights is shown, but no sentence is built on it."""


def percent(share: float) -> str:
    """Write a share, 0 to 1, as a person reads it."""
    return f"{100 * share:.0f}%"


def month(label: str) -> str:
    """Name a month.

    :param label: 1 to 12
    """
    return MONTHS[int(label) - 1]


def hour(label: str) -> str:
    """Name an hour of the day: 5 am, noon, 9 pm."""
    at = int(label)
    if at % 12 == 0:
        return "noon" if at == 12 else "midnight"
    return f"{at % 12} {'am' if at < 12 else 'pm'}"


def date(day: dt.date) -> str:
    """Write a date without its year."""
    return f"{MONTHS[day.month - 1]} {day.day}"


def best_and_worst(groups: Sequence[Share]) -> tuple[Share, Share]:
    """Return the groups with the smallest and the greatest share of late flights, small groups left out."""
    large = [group for group in groups if group.flights >= FEW] or list(groups)
    ranked = sorted(large, key=lambda group: (group.share, group.label))
    return ranked[0], ranked[-1]


def headline(facts: Facts) -> str:
    """State the main finding: how much the hour of departure matters."""
    best, worst = best_and_worst(facts.hours)
    times = worst.share / best.share if best.share else 0.0
    if times < 1.5:
        return f"Whatever the hour, about {percent(facts.all.share)} of the flights were late"
    whole = int(times)
    much = TIMES[whole] if 2 <= whole < len(TIMES) else f"{times:.1f} times"
    almost = "more than " if times - whole > 0.05 and 2 <= whole < len(TIMES) else ""
    when = "Leave early" if int(best.label) < int(worst.label) else "Leave late"
    return (
        f"{when}: a flight at {hour(worst.label)} was {almost}{much} as likely to be late as one at {hour(best.label)}"
    )


def deck(facts: Facts) -> str:
    """Say in two sentences what the page is about."""
    return (
        f"{facts.all.flights:,} flights were to leave New York’s three airports in 2013, "
        f"for {facts.destinations} others. "
        f"{percent(facts.all.share)} of them left 15 minutes or more behind schedule, or never. "
        f"{_halves(facts)}"
    )


def _halves(facts: Facts) -> str:
    """Compare the flights before noon with those after."""
    before = _sum([group for group in facts.hours if int(group.label) < 12])
    after = _sum([group for group in facts.hours if int(group.label) >= 12])
    return f"Before noon it was {percent(before.share)}, from noon on {percent(after.share)}."


def _sum(groups: Sequence[Share]) -> Share:
    return Share("", sum(group.flights for group in groups), sum(group.late for group in groups))


def about_days(facts: Facts) -> str:
    """Name the worst day."""
    worst = max(facts.days, key=lambda day: day.share)
    return f"{date(worst.day)} was the worst day: {percent(worst.share)} of its flights were late or cancelled"


def about_months(facts: Facts) -> str:
    """Compare the months."""
    best, worst = best_and_worst(facts.months)
    if best.label == worst.label:
        return f"All flights were in {month(best.label)}"
    return f"{month(worst.label)} was the worst month, {month(best.label)} the best"


def about_hours(facts: Facts) -> str:
    """Compare the hours."""
    best, worst = best_and_worst(facts.hours)
    return f"From {percent(best.share)} at {hour(best.label)} to {percent(worst.share)} at {hour(worst.label)}"


def about_grid(facts: Facts) -> str:
    """Name the worst hour of the worst month."""
    worst = best_and_worst(facts.grid)[1]
    of, at = worst.label.split("-")
    return f"{month(of)} at {hour(at)} was the hour to avoid: {percent(worst.share)} late"


def about_carriers(facts: Facts) -> str:
    """Compare the airlines that had many flights."""
    large = [carrier for carrier in facts.carriers if carrier.flights >= 10 * FEW]
    best, worst = best_and_worst(large or facts.carriers)
    return f"{short(worst.label)} was late most often, {short(best.label)} least"


def about_weather(facts: Facts) -> str:
    """Say how much rain matters."""
    groups = [group for group in facts.weather["precip"] if group.flights >= FEW]
    if len(groups) < 2:
        return "The weather of the hour, and how many flights were late in it"
    dry, poured = percent(groups[0].share), percent(groups[-1].share)
    return f"When it poured, {poured} of the flights were late; when it was dry, {dry}"


def short(name: str) -> str:
    """Shorten an airline's name: no Inc., and no Airlines where enough is left."""
    for ending in (" Inc.", " Co.", " Corporation"):
        name = name.removesuffix(ending)
    for ending in (" Airlines", " Air Lines", " Airways"):
        name = name if len(name.removesuffix(ending)) < 3 else name.removesuffix(ending)
    return name
