"""Pictures of what a monitor saw, as inline SVG: the score beside its threshold, every sensor with its alarms, every
part.

All texts pass `escape`; colours are CSS classes of the page. A series of any length becomes WIDTH columns of its least
and greatest value, so the size of a picture does not depend on the data's.

Letters: N readings, B windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, LEFT = 840, 148
LEAST, MOST = 1e-6, 1e3  # false alarms at the top and the bottom of the score's picture
USUAL = 2.0  # nats of a part that are nothing to look at: one window in seven

Floats = NDArray[np.float64]


class Axis:
    """Moments -> places on the page."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.span = low, max(high - low, 1e-9)

    def __call__(self, moment: float) -> float:
        return LEFT + WIDTH * min(1.0, max(0.0, (moment - self.low) / self.span))


def score(axis: Axis, when: Floats, rate: Floats, alarm: NDArray[np.bool_], budget: float, unit: str) -> str:
    """False alarms that a score like this would cost, upside down: the higher, the rarer."""
    high = 190
    top, bottom = math.log10(min(LEAST, budget / 1e3)), math.log10(max(MOST, budget * 10))

    def y(value: float) -> float:
        share = (math.log10(max(value, 10**top)) - top) / (bottom - top)
        return 8 + (high - 16) * min(1.0, share)

    parts = []
    for power in range(math.ceil(top), math.floor(bottom) + 1, 3):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{_n(y(10**power))}" y2="{_n(y(10**power))}"/>'
        )
        parts.append(_text(LEFT - 8, y(10.0**power) + 4, _power(power), "end"))
    heights = np.array([y(float(value)) for value in rate])
    parts.append(f'<path class="line" d="{_path(axis, when, heights)}"/>')
    parts.append(f'<line class="edge" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{_n(y(budget))}" y2="{_n(y(budget))}"/>')
    parts.append(_text(LEFT + WIDTH - 4, y(budget) - 5, f"alarm: {budget:g} per {unit}", "end", "edge"))
    seen: set[tuple[int, int]] = set()
    for k in np.flatnonzero(alarm):
        spot = round(axis(float(when[k]))), round(float(heights[k]))
        if spot not in seen:
            seen.add(spot)
            parts.append(f'<circle class="alarm" cx="{spot[0]}" cy="{spot[1]}" r="2.6"/>')
    return _svg(high, parts, "false alarms that a score like this costs")


def sensor(axis: Axis, name: str, when: Floats, value: Floats, spans: Sequence[tuple[float, float, bool]]) -> str:
    """One sensor; spans (from, to, is it to blame?) of the alarms behind it."""
    high = 64
    finite = value[np.isfinite(value)]
    low, top = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    parts = [
        f'<rect class="{"blame" if mine else "other"}" x="{_n(axis(a))}" y="2" height="{high - 4}" '
        f'width="{_n(max(1.5, axis(b) - axis(a)))}"/>'
        for a, b, mine in spans
    ]
    scaled = 6 + (high - 12) * (1 - (value - low) / max(top - low, 1e-12))
    parts.append(f'<path class="line" d="{_path(axis, when, scaled)}"/>')
    parts.append(_text(0, 26, name if len(name) <= 19 else name[:18] + "…", "start", "name", name))
    parts += [_text(LEFT - 8, 13, f"{top:.4g}", "end"), _text(LEFT - 8, high - 4, f"{low:.4g}", "end")]
    return _svg(high, parts, name)


def strips(axis: Axis, when: Floats, parts: dict[str, Floats]) -> str:
    """Every part's nats as a strip, darker = stranger."""
    each, columns = 17, 215
    cells = []
    place = np.array([min(columns - 1, int((axis(float(w)) - LEFT) / WIDTH * columns)) for w in when])
    for row, (name, nats) in enumerate(parts.items()):
        cells.append(_text(LEFT - 8, row * each + 12, name, "end"))
        most = np.full(columns, np.nan)
        np.fmax.at(most, place, nats)
        for k in np.flatnonzero(np.isfinite(most)):
            shade = min(1.0, max(0.0, math.log1p(float(most[k]) - USUAL) / math.log1p(40))) if most[k] > USUAL else 0.0
            if shade > 0.05:
                x, width = LEFT + k * WIDTH / columns, WIDTH / columns + 0.3
                cells.append(
                    f'<rect class="heat" x="{_n(x)}" y="{row * each + 1}" width="{_n(width)}" '
                    f'height="{each - 3}" fill-opacity="{_n(shade, 2)}"/>'
                )
    return _svg(each * len(parts) + 4, cells, "what each part sees")


def ticks(axis: Axis, moments: Sequence[tuple[float, str]]) -> str:
    """A line of moments in words."""
    last = len(moments) - 1
    anchors = {0: "start", last: "end"}
    parts = [_text(axis(moment), 12, words, anchors.get(k, "middle")) for k, (moment, words) in enumerate(moments)]
    return _svg(18, parts, "time")


def _path(axis: Axis, when: Floats, height: Floats) -> str:
    """A line through N points, or up and down through WIDTH columns of them; broken where values are missing."""
    x = np.array([axis(float(w)) for w in when])
    if len(x) > 2 * WIDTH:
        column = (x - LEFT).astype(int)
        edges = np.flatnonzero(np.diff(column, prepend=-1))
        low, top = np.fmin.reduceat(height, edges), np.fmax.reduceat(height, edges)
        x, height = np.repeat(x[edges], 2), np.stack([low, top], 1).ravel()
    text, pen = [], "M"
    for a, b in zip(x, height, strict=True):
        if not math.isfinite(b):
            pen = "M"
            continue
        text.append(f"{pen}{_n(a)} {_n(b)}")
        pen = "L"
    return "".join(text)


def _power(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"1e{power}"


def _text(x: float, y: float, words: str, anchor: str, kind: str = "", title: str = "") -> str:
    inside = f"<title>{escape(title)}</title>" if title else ""
    mark = f' class="{kind}"' if kind else ""
    return f'<text{mark} x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(words)}{inside}</text>'


def _n(x: float, digits: int = 1) -> str:
    return f"{x:.{digits}f}".rstrip("0").rstrip(".")


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    box = f"0 0 {LEFT + WIDTH + 6} {_n(height)}"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
