"""Draw the peak of memory over the size of the data: ``uv run --group bench python -m tests.bench.memory``.

Each size of the flights is unloaded from PostgreSQL into S3 and loaded again, by Tradewind and by the official
operators where that takes minutes and not hours; the picture is written to ``docs/pictures/memory.svg``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.bench.__main__ import TIMES, Bench
from tests.bench.servers import open_servers

PICTURE = Path(__file__).parents[2] / "docs/pictures/memory.svg"
SIZES = ["30MB", "300MB", "1GB", "3GB"]
OFFICIAL = {"30MB", "300MB"}
WIDTH, HEIGHT, LEFT, TOP = 640, 360, 70, 40
COLOURS = {"ours": "#1b6f64", "official": "#b2512f"}
LABELS = {"ours": "Tradewind CopyOperator", "official": "official SqlToS3Operator"}

Points = dict[str, list[tuple[float, float]]]
"""Megabytes of memory over megabytes of data, for each contender."""


def measure(sizes: list[str], folder: Path) -> Points:
    """Unload each size with each contender.

    :param sizes: names in ``TIMES``
    :param folder: where data and servers go
    """
    points: Points = {name: [] for name in COLOURS}
    for size in sizes:
        with open_servers(folder / size, "disk") as servers:
            bench = Bench(servers, folder, TIMES[size], sorted(os.sched_getaffinity(0)), "csv")
            bench.prepare("unload")
            for name, found in points.items():
                if name == "ours" or size in OFFICIAL:
                    row = bench.run(name, "unload")
                    above = row.measured.peak - row.measured.base
                    found.append((bench.bytes / 1e6, above / 1e6))
                    print(f"{size} {name}: {above / 1e6:.0f} MB above idle", file=sys.stderr, flush=True)
            bench.clean()
    return points


def draw(points: Points) -> str:
    """Return the picture as SVG, both axes logarithmic."""
    from math import log10

    every = [point for found in points.values() for point in found]
    widest, highest = (max(point[axis] for point in every) * 1.5 for axis in (0, 1))

    def place(data: float, memory: float) -> tuple[float, float]:
        along = LEFT + (WIDTH - LEFT - 30) * (log10(data) - 1) / (log10(widest) - 1)
        up = HEIGHT - 50 - (HEIGHT - TOP - 50) * (log10(memory) - 1) / (log10(max(highest, 1000)) - 1)
        return round(along, 1), round(up, 1)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22">Peak memory over idle (MB), PostgreSQL into S3 CSV</text>',
    ]
    for tick in (10, 100, 1000, 10_000):
        if tick <= highest or tick <= 1000:
            y = place(10, tick)[1]
            lines.append(f'<path d="M{LEFT} {y}H{WIDTH - 30}" stroke="#ddd"/>')
            lines.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:,}</text>')
        if tick <= widest:
            x, y = place(tick, 10)
            lines.append(f'<text x="{x}" y="{y + 20}" text-anchor="middle">{tick:,} MB of data</text>')
    for name, found in ((name, found) for name, found in points.items() if found):
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in found))
        lines.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2.5"/>')
        for data, memory in found:
            x, y = place(data, memory)
            lines.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{COLOURS[name]}"/>')
            lines.append(f'<text x="{x}" y="{y - 9}" text-anchor="middle">{memory:,.0f}</text>')
        x, y = place(*found[-1])
        # Beside the last point where there is room, else above it.
        at, anchor = (f'x="{x + 12}" y="{y + 5}"', "start") if x < WIDTH * 0.7 else (f'x="{x}" y="{y - 26}"', "end")
        lines.append(f'<text {at} text-anchor="{anchor}" fill="{COLOURS[name]}">{LABELS[name]}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Measure, and draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--size", nargs="+", choices=TIMES, default=SIZES, help=f"default: {' '.join(SIZES)}")
    parser.add_argument("--picture", type=Path, default=PICTURE, help=f"default: {PICTURE.name} in docs/pictures")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tradewind-memory-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o711)  # PostgreSQL may run as another user
        os.environ["TMPDIR"] = made
        asked.picture.write_text(draw(measure(asked.size, folder)))


if __name__ == "__main__":
    main()
