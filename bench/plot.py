#!/usr/bin/env python3
"""Draws doc/downtime-*.svg from the raw numbers in bench/results: how long a disk is away, by its size."""

import json
from html import escape
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).resolve().parent / "results"
PAGES = RESULTS.parents[1] / "doc"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 60, 190, 40, 45
COLOURS = ("#0b6e4f", "#c8553d")


def tick(most: float) -> float:
    """Return the distance of the lines: a round number, of which a few make the most."""
    power = 10.0 ** (len(str(int(most))) - 1)
    return next(step * power for step in (0.2, 0.5, 1, 2) if step * power * 6 >= most)


def svg(title: str, lines: dict[str, list[tuple[float, float]]]) -> str:
    """Return a picture with one line for each name, through points of (GiB, seconds)."""
    widest = max(x for points in lines.values() for x, _ in points)
    most = max(y for points in lines.values() for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (WIDTH - LEFT - RIGHT) / widest, (HEIGHT - TOP - BOTTOM) / most
        return LEFT + x * across, HEIGHT - BOTTOM - y * up

    def text(x: float, y: float, words: str, where: str = "start", colour: str = "#222") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{where}" fill="{colour}">{escape(words)}</text>'

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 22, title),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "size of the disk, GiB", "middle"),
    ]
    step = tick(most)
    for number in range(int(most / step) + 1):
        left, height = place(0, number * step)
        drawn.append(f'<path d="M{left} {height:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        drawn.append(text(left - 6, height + 4, f"{number * step:g} s", "end"))
    sizes = sorted({x for points in lines.values() for x, _ in points})
    drawn += [text(place(x, 0)[0], HEIGHT - BOTTOM + 16, f"{x:g}", "middle") for x in sizes]
    for colour, (name, points) in zip(COLOURS, lines.items(), strict=True):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in points:
            at, height = place(x, y)
            drawn.append(f'<circle cx="{at:.1f}" cy="{height:.1f}" r="3.5" fill="{colour}"/>')
        at, height = place(*points[-1])
        drawn.append(text(at + 10, height + 4, f"{name}: {points[-1][1]:.1f} s", colour=colour))
    return "\n".join([*drawn, "</svg>", ""])


def main() -> None:
    """Draw all."""
    for path in sorted(RESULTS.glob("downtime-*.json")):
        raw = json.loads(path.read_text(encoding="utf-8"))
        sides = list(next(iter(raw["GiB"].values())))
        lines = {
            side: [(float(size), median(run["seconds"] for run in runs[side])) for size, runs in raw["GiB"].items()]
            for side in sides
        }
        title = f"How long the disk is away when its VM goes to another node (ZFS {raw['zfs']}, emulated)"
        (PAGES / path.with_suffix(".svg").name).write_text(svg(title, lines), encoding="utf-8")


if __name__ == "__main__":
    main()
