"""Just enough SVG for a chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape


def number(value: float) -> str:
    """Write a coordinate, short.

    :raises ValueError: when it is no finite number
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is no coordinate")
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


class Drawing:
    """An SVG picture under construction; colours and fonts come from the page's style sheet, by class.

    :param width: units of its coordinates, pixels at full size
    :param height: the same
    :param title: what it shows, for those who cannot see it
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width = width
        self.height = height
        self.title = title
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, name: str, tip: str = "", round: float = 0) -> None:
        """Draw a rectangle.

        :param name: its class
        :param tip: shown where the pointer rests
        :param round: radius of its corners
        """
        self._add("rect", name, tip, x=x, y=y, width=width, height=height, rx=round)

    def circle(self, x: float, y: float, radius: float, name: str, tip: str = "") -> None:
        """Draw a disc."""
        self._add("circle", name, tip, cx=x, cy=y, r=radius)

    def line(self, x1: float, y1: float, x2: float, y2: float, name: str) -> None:
        """Draw a straight line."""
        self._add("line", name, "", x1=x1, y1=y1, x2=x2, y2=y2)

    def path(self, points: Iterable[tuple[float, float]], name: str, close: bool = False) -> None:
        """Join points by straight lines.

        :param close: back to the first point
        """
        joined = "L".join(f"{number(x)} {number(y)}" for x, y in points)
        self._parts.append(f'<path class="{name}" d="M{joined}{"Z" if close else ""}"/>')

    def text(self, x: float, y: float, text: str, name: str = "", anchor: str = "start") -> None:
        """Write a line of text.

        :param y: where its baseline is
        :param anchor: which end ``x`` is: start, middle or end
        """
        marks = f' text-anchor="{anchor}"' if anchor != "start" else ""
        marks += f' class="{name}"' if name else ""
        self._parts.append(f'<text x="{number(x)}" y="{number(y)}"{marks}>{escape(text)}</text>')

    def render(self) -> str:
        """Return the element."""
        size = f"{number(self.width)} {number(self.height)}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img">'
            f"<title>{escape(self.title)}</title>{''.join(self._parts)}</svg>"
        )

    def _add(self, tag: str, name: str, tip: str, **numbers: float) -> None:
        marks = "".join(f' {key}="{number(value)}"' for key, value in numbers.items() if key != "rx" or value)
        inside = f"><title>{escape(tip)}</title></{tag}>" if tip else "/>"
        self._parts.append(f'<{tag} class="{name}"{marks}{inside}')


class Scale:
    """Maps values to coordinates.

    :param low: the value at ``start``
    :param high: the value at ``end``
    """

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def top(values: Iterable[float], step: float = 0.1) -> float:
    """Return the end of an axis that holds all values: the next step above the greatest."""
    return max(step, math.ceil(max(values, default=0) / step - 1e-9) * step)
