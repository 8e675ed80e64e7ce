"""The charts of the report."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from flights_report.facts import Bins, Day, Facts, Share
from flights_report.svg import Drawing, Scale, top
from flights_report.words import FEW, best_and_worst, date, hour, month, percent, short

RAMP = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Where the colours of the heat maps change: shares of late flights; colour ``q0`` is below the first."""


def shade(share: float) -> str:
    """Return the class of a heat map's cell."""
    return f"q{sum(share >= edge for edge in RAMP)}"


def counted(name: str, group: Share) -> str:
    """Write what is shown where the pointer rests."""
    return f"{name}: {percent(group.share)} of {group.flights:,} flights late or cancelled"


def calendar(days: Sequence[Day]) -> str:
    """Draw the year: a column for each week, a row for each day of it."""
    cell, left, head = 20.0, 38.0, 24.0
    first = days[0].day
    monday = first - dt.timedelta(first.weekday())
    weeks = (days[-1].day - monday).days // 7 + 1
    drawing = Drawing(left + weeks * cell, head + 7 * cell + 40, "Share of late flights on each day of the year")
    for row, name in ((0, "Mon"), (2, "Wed"), (4, "Fri"), (6, "Sun")):
        drawing.text(0, head + row * cell + 13, name, "tick")
    for day in days:
        x, y = left + (day.day - monday).days // 7 * cell, head + day.day.weekday() * cell
        tip = f"{day.day:%a} {counted(date(day.day), day)}, {day.cancelled} cancelled"
        drawing.rect(x, y, cell - 3, cell - 3, shade(day.share), tip, round=2)
        if day.day.day == 1:
            drawing.text(x, 12, f"{day.day:%b}", "tick")
    _number_worst(drawing, days, left, head, cell, monday)
    _legend(drawing, drawing.width - 3, head + 7 * cell + 28)
    return drawing.render()


def worst_days(days: Sequence[Day], count: int = 5) -> list[Day]:
    """Return the worst days, the worst first."""
    return sorted(days, key=lambda day: (-day.share, day.day))[:count]


def _number_worst(
    drawing: Drawing, days: Sequence[Day], left: float, head: float, cell: float, monday: dt.date
) -> None:
    for place, day in enumerate(worst_days(days), 1):
        x = left + (day.day - monday).days // 7 * cell + (cell - 3) / 2
        drawing.text(x, head + day.day.weekday() * cell + 13, str(place), "rank", "middle")


def _legend(drawing: Drawing, right: float, y: float) -> None:
    """Explain the colours, right-aligned."""
    width = 42.0
    left = right - width * (len(RAMP) + 1)
    drawing.text(left - 10, y + 9, "late or cancelled", "tick", "end")
    for step in range(len(RAMP) + 1):
        drawing.rect(left + step * width, y, width - 2, 10, f"q{step}", round=2)
    for step, edge in enumerate(RAMP, 1):
        drawing.text(left + step * width - 1, y - 5, percent(edge), "tick", "middle")


def months(facts: Facts) -> str:
    """Draw a column for each month."""
    drawing = Drawing(520, 300, "Share of late flights by month")
    across = Scale(0, len(facts.months), 0, drawing.width)
    up = Scale(0, top([group.share for group in facts.months]), 262, 24)
    best, worst = best_and_worst(facts.months)
    for place, group in enumerate(facts.months):
        x, width = across(place) + 5, across(1) - across(0) - 10
        name = "hot" if group.label == worst.label else "bar"
        y = up(group.share)
        drawing.rect(x, y, width, up(0) - y, name, counted(month(group.label), group), round=2)
        marked = group.label in (best.label, worst.label)
        drawing.text(x + width / 2, y - 7, percent(group.share), "value strong" if marked else "value", "middle")
        drawing.text(x + width / 2, 282, month(group.label)[:3], "tick strong" if marked else "tick", "middle")
    drawing.line(0, up(0), drawing.width, up(0), "axis")
    return drawing.render()


def hours(facts: Facts) -> str:
    """Draw the day: a line for all airports, a thin one for each."""
    drawing = Drawing(520, 300, "Share of late flights by hour of the scheduled departure")
    shown = [group for group in facts.hours if group.flights >= FEW] or facts.hours
    labels = {group.label for group in shown}
    first, last = int(shown[0].label), int(shown[-1].label)
    across = Scale(first, max(last, first + 1), 36, 470)
    lines = {
        name: [g for g in groups if g.label in labels and g.flights >= FEW // 10]
        for name, groups in facts.airports.items()
    }
    up = Scale(0, top([g.share for groups in (*lines.values(), shown) for g in groups]), 262, 24)
    _share_axis(drawing, up, 36, 470)
    for groups in lines.values():
        drawing.path([(across(int(g.label)), up(g.share)) for g in groups], "thin")
    drawing.path([(across(int(g.label)), up(g.share)) for g in shown], "line")
    for group in shown:
        tip = counted(hour(group.label), group)
        drawing.circle(across(int(group.label)), up(group.share), 3.5, "dot", tip)
    for at in range(first + (-first) % 3, last + 1, 3):
        drawing.text(across(at), 282, hour(str(at)), "tick", "middle")
    _line_ends(drawing, lines, shown, across, up)
    return drawing.render()


def _line_ends(
    drawing: Drawing, lines: dict[str, list[Share]], shown: Sequence[Share], across: Scale, up: Scale
) -> None:
    """Label each line at its end, the labels kept apart."""
    ends = [
        (up(groups[-1].share), across(int(groups[-1].label)), name, "tick") for name, groups in lines.items() if groups
    ]
    ends.append((up(shown[-1].share), across(int(shown[-1].label)), "all", "value strong"))
    lowest = float("-inf")
    for y, x, name, style in sorted(ends):
        lowest = max(y + 4, lowest + 14)
        drawing.text(x + 9, lowest, name, style)


def _share_axis(drawing: Drawing, up: Scale, left: float, right: float) -> None:
    """Draw a line for every ten percent."""
    for tenth in range(round(up.high * 10) + 1):
        y = up(tenth / 10)
        drawing.line(left, y, right, y, "axis" if tenth == 0 else "grid")
        drawing.text(left - 8, y + 4, percent(tenth / 10), "tick", "end")


def weather(facts: Facts, bins: Bins, high: float) -> str:
    """Draw a column for each range of a measure of the weather.

    :param high: the end of the axis, the same for all measures so that they compare
    """
    drawing = Drawing(340, 250, f"Share of late flights by {bins.name.lower()}")
    groups = facts.weather[bins.column]
    across, up = Scale(0, max(len(groups), 1), 0, drawing.width), Scale(0, high, 200, 26)
    mean = up(facts.all.share)
    for place, group in enumerate(groups):
        x, width = across(place) + 4, across(1) - across(0) - 8
        y = up(group.share)
        tip = counted(f"{bins.name} {group.label} {bins.unit}", group)
        drawing.rect(x, y, width, up(0) - y, "hot" if group.share > 1.5 * facts.all.share else "bar", tip, round=2)
        drawing.text(x + width / 2, 218, group.label, "tick", "middle")
    drawing.line(0, up(0), drawing.width, up(0), "axis")
    drawing.line(0, mean, drawing.width, mean, "mean")
    for place, group in enumerate(groups):
        drawing.text(across(place + 0.5), up(group.share) - 7, percent(group.share), "value", "middle")
    drawing.text(drawing.width / 2, 242, bins.unit, "unit", "middle")
    return drawing.render()


def carriers(facts: Facts) -> str:
    """Draw a dot for each airline, the best on top; a ring where there were few flights."""
    groups = sorted(facts.carriers, key=lambda group: (group.share, group.label))
    row, left, right = 26.0, 132.0, 440.0
    drawing = Drawing(520, 30 + row * len(groups), "Share of late flights by airline")
    across = Scale(0, top([group.share for group in groups]), left, right)
    for tenth in range(round(across.high * 10) + 1):
        x = across(tenth / 10)
        drawing.line(x, 22, x, drawing.height, "grid")
        drawing.text(x, 12, percent(tenth / 10), "tick", "middle")
    drawing.text(drawing.width, 12, "flights", "tick", "end")
    for place, group in enumerate(groups):
        y, x = 22 + row * (place + 0.5), across(group.share)
        few = group.flights < 2 * FEW
        drawing.text(0, y + 4, short(group.label), "name")
        drawing.line(left, y, x, y, "stem")
        drawing.circle(x, y, 5, "ring" if few else "dot", counted(group.label, group))
        drawing.text(x + 11, y + 4, percent(group.share), "value")
        drawing.text(drawing.width, y + 4, f"{group.flights:,}", "tick", "end")
    return drawing.render()


def grid(facts: Facts) -> str:
    """Draw a row for each month, a cell for each hour."""
    found = [int(group.label) for group in facts.hours if group.flights >= FEW] or [0]
    first, last = min(found), max(found)
    left, head = 40.0, 30.0
    wide, high = (520 - left) / (last - first + 1), 32.0
    drawing = Drawing(520, head + 12 * high + 36, "Share of late flights by month and hour")
    for at in range(first + (-first) % 3, last + 1, 3):
        drawing.text(left + (at - first + 0.5) * wide, 14, hour(str(at)), "tick", "middle")
    for number in range(1, 13):
        drawing.text(0, head + (number - 0.5) * high + 3, month(str(number))[:3], "tick")
    for group in facts.grid:
        of, at = (int(part) for part in group.label.split("-"))
        if not first <= at <= last:
            continue
        tip = counted(f"{month(str(of))}, {hour(str(at))}", group)
        x, y = left + (at - first) * wide, head + (of - 1) * high
        drawing.rect(x, y, wide - 2, high - 2, shade(group.share), tip, round=2)
    _legend(drawing, 518, drawing.height - 12)
    return drawing.render()
