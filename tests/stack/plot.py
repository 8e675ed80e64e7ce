"""The workers over time, drawn."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tradewind.local.stack.scaling import needed


@dataclass(frozen=True)
class Sample:
    """One look at the stack.

    :param at: seconds
    :param tasks: running and queued
    :param workers: containers that run
    :param ready: those of them that are well
    """

    at: float
    tasks: int
    workers: int
    ready: int


def draw(samples: list[Sample], slots: int, most: int) -> str:
    """Return the workers over time beside the rule, as an SVG picture."""
    width, height, left, top, base = 720, 380, 60, 50, 330
    last, highest = samples[-1].at, most + 1

    def x(at: float) -> float:
        return round(left + at / last * (width - left - 30), 1)

    def y(workers: float) -> float:
        return round(base - workers / highest * (base - top), 1)

    def steps(values: list[tuple[float, int]]) -> str:
        path = [f"M{x(values[0][0])} {y(values[0][1])}"]
        for (_, before), (at, now) in itertools.pairwise(values):
            if before != now:
                path.append(f"H{x(at)}V{y(now)}")
        return "".join([*path, f"H{x(values[-1][0])}"])

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="22">Workers over time: 100 tasks, {slots} to a worker, 1 to {most} workers</text>',
    ]
    for tick in range(0, highest + 1, 2):
        lines.append(f'<path d="M{left} {y(tick)}H{width - 30}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 8}" y="{y(tick) + 4}" text-anchor="end">{tick}</text>')
    for second in range(0, int(last) + 1, 30):
        lines.append(f'<text x="{x(second)}" y="{base + 20}" text-anchor="middle">{second} s</text>')
    for name, colour, dash, values in (
        ("the rule", "#888", "6 4", [(each.at, needed(each.tasks, slots, 1, most)) for each in samples]),
        ("containers", "#b2512f", "none", [(each.at, each.workers) for each in samples]),
        ("of them well", "#1b6f64", "none", [(each.at, each.ready) for each in samples]),
    ):
        path = steps(values)
        lines.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        at = left + 20 + 130 * ("the rule", "containers", "of them well").index(name)
        lines.append(f'<path d="M{at} 38H{at + 24}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        lines.append(f'<text x="{at + 30}" y="42">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])
