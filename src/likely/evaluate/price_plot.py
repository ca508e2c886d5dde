"""The pictures of an alignment as inline SVG: reward against sqrt(KL), and numbers of the run step by step.

Colours are CSS classes of the page; no text comes from data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WIDE, NARROW = (760.0, 380.0), (340.0, 300.0)  # width and height
LEFT, RIGHT, TOP, FOOT = 62.0, 18.0, 16.0, 46.0
DOTS = 300  # of the run, drawn
SMOOTH = 0.06  # of the run that a running mean looks at


def distance(entry: Mapping[str, Any]) -> float | None:
    """Nats an item from the start: as measured, or the most there can be; None where nothing is known."""
    return entry["kl"] if "kl" in entry else entry.get("bound")


def reward(entry: Mapping[str, Any], narrow: bool = False) -> str:
    """The run from its start to its end, below the frontier; nothing where no distance is known. `narrow`: in the
    proportions of a phone, so that its words can be read there."""
    wide, tall = NARROW if narrow else WIDE
    kind = "narrow" if narrow else "roomy"
    apart = distance(entry)
    if apart is None:
        return ""
    rows = [row for row in entry.get("rows", ()) if "reward" in row and "kl" in row]
    run = [(math.sqrt(max(row["kl"], 0.0)), float(row["reward"])) for row in rows]
    best = [(float(x), float(y)) for x, y in entry.get("frontier", ())]
    start, end = (0.0, entry["before"]), (math.sqrt(max(apart, 0.0)), entry["after"])
    line = [start, *_smooth(run)] if run else []
    far = 1.12 * max([end[0], *(x for x, _ in line), *(x for x, _ in run[-len(run) // 2 :]), 0.1])
    near = [(x, y) for x, y in best if x <= far] + [(x, y) for x, y in best if x > far][:1]
    ys = [start[1], end[1], *(y for _, y in near), *(y for x, y in run if x <= far)]
    low, high = min(ys), max(ys)
    pad = 0.07 * (high - low) or 1.0
    low, high = low - pad, high + pad

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x, y = point
        return (
            LEFT + (wide - LEFT - RIGHT) * x / far,
            TOP + (tall - TOP - FOOT) * (1 - (y - low) / (high - low)),
        )

    parts = []
    for y in ticks(low, high):
        place = at((0.0, y))[1]
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{wide - RIGHT:g}" y1="{place:.1f}" y2="{place:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8:g}" y="{place + 4:.1f}" text-anchor="end">{sign(y)}</text>')
    for x in ticks(0.0, far, 4 if narrow else 5):
        parts.append(f'<text x="{at((x, low))[0]:.1f}" y="{tall - FOOT + 18:g}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<line class="base" x1="{LEFT:g}" x2="{wide - RIGHT:g}" y1="{tall - FOOT:g}" y2="{tall - FOOT:g}"/>')
    parts.append(f'<text class="name" x="{(LEFT + wide - RIGHT) / 2:g}" y="{tall - 6:g}" text-anchor="middle">'
                 "square root of KL to the start (nats an item)</text>")  # fmt: skip
    middle = (TOP + tall - FOOT) / 2
    parts.append(
        f'<text class="name" text-anchor="middle" transform="translate(13 {middle:g}) rotate(-90)">reward</text>'
    )
    size = f'width="{wide - LEFT:g}" height="{tall - TOP - FOOT + 9:g}"'
    box = f'<clipPath id="{kind}"><rect x="{LEFT:g}" y="{TOP - 8:g}" {size}/></clipPath>'
    inside = []
    if len(near) > 1:
        inside.append(f'<path class="best" d="{_path([at(p) for p in near])}"/>')
    keep: list[int] = (
        np.unique(np.linspace(0, len(run) - 1, min(len(run), DOTS)).round().astype(int)).tolist() if run else []
    )
    for k in keep:
        x, y = at(run[k])
        inside.append(
            f'<circle class="step" cx="{x:.1f}" cy="{y:.1f}" r="3" opacity="{0.15 + 0.5 * k / len(run):.2f}"/>'
        )
    if len(line) > 1:
        inside.append(f'<path class="run" d="{_path([at(p) for p in line])}"/>')
    ends = [f'<circle class="{which}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
            for which, (x, y) in (("start", at(start)), ("end", at(end)))]  # fmt: skip
    return (
        f'<svg class="reward {kind}" viewBox="0 0 {wide:g} {tall:g}" role="img" aria-label="reward against the square '
        f'root of KL">{box}{"".join(parts)}<g clip-path="url(#{kind})">{"".join(inside)}</g>{"".join(ends)}</svg>'
    )


def sign(x: float) -> str:
    """A round number with a minus sign, not a hyphen."""
    return f"{x:g}".replace("-", "\N{MINUS SIGN}")


def curve(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """One number over the steps: its values in grey, its running mean as a line."""
    points = [(float(row.get("step", k)), float(row[name])) for k, row in enumerate(rows) if name in row]
    low, high = min(y for _, y in points), max(y for _, y in points)
    if high - low < 1e-9 + 0.02 * abs(high):
        low, high = low - 0.05 * abs(low) - 1e-3, high + 0.05 * abs(high) + 1e-3
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return 190 * (point[0] - first) / (last - first), 6 + 70 * (1 - (point[1] - low) / (high - low))

    mean = _running([y for _, y in points])
    smooth = [(x, y) for (x, _), y in zip(points, mean, strict=True)]
    parts = [
        '<line class="base" x1="0" x2="190" y1="80.5" y2="80.5"/>',
        f'<path class="line faint" d="{_path([at(p) for p in points])}"/>',
        f'<path class="made" d="{_path([at(p) for p in smooth])}"/>',
        f'<text x="0" y="93">{first:g}</text><text x="190" y="93" text-anchor="end">{last:g}</text>',
    ]
    return f'<svg class="chart" viewBox="0 0 190 96" role="img" aria-label="{name}">{"".join(parts)}</svg>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two."""
    step = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(step))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k >= step)
    return [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The way that points in order take."""
    xs, ys = (_running([p[k] for p in points]) for k in (0, 1))
    return list(zip(xs, ys, strict=True))


def _running(values: Sequence[float]) -> list[float]:
    half = max(1, round(SMOOTH * len(values) / 2))
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(len(values))
    low, high = np.maximum(0, ends - half), np.minimum(len(values), ends + half + 1)
    return list(((total[high] - total[low]) / (high - low)).tolist())


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
