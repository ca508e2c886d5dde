"""Windows and the curves of a series as inline SVG; colours are CSS classes of the page.

Shape letters: N windows, T moments, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from likely.evaluate.card import Curve
from likely.evaluate.columns import Floats

CHANNELS = 3  # drawn in one small plot; more cannot be told apart
POINTS = 120  # of one line
CELL, ACROSS = (104.0, 52.0), 4


def windows(x: Floats, low: Floats, high: Floats, real: bool, label: str) -> str:
    """Windows (N, T, C) in a grid, each channel between low (C,) and high (C,), cut off beyond."""
    wide, high_cell = CELL
    parts = []
    for i, window in enumerate(x):
        left, top = (i % ACROSS) * (wide + 8), (i // ACROSS) * (high_cell + 8)
        parts.append(f'<rect class="frame" x="{left:g}" y="{top:g}" width="{wide:g}" height="{high_cell:g}"/>')
        for j in range(min(x.shape[2], CHANNELS)):
            span = high[j] - low[j] or 1.0
            y = np.clip((window[:, j] - low[j]) / span, -0.08, 1.08)
            keep = np.unique(np.linspace(0, len(y) - 1, min(len(y), POINTS)).round().astype(int))
            places: Floats = left + 2 + (wide - 4) * keep.astype(np.float64) / max(len(y) - 1, 1)
            line = _line(places, top + 6 + (high_cell - 12) * (1 - y[keep]))
            parts.append(f'<path class="line {"r" if real else "m"}{j}" d="{line}"/>')
    rows = -(-len(x) // ACROSS)
    return _svg(ACROSS * (wide + 8) - 8, rows * (high_cell + 8) - 8, parts, label)


def curve(one: Curve) -> str:
    """Real in grey, made as a line, over lags or frequencies."""
    values = [*one.real, *one.made]
    low = min(0.0, *values) if one.measure == "autocorrelation" else 0.0
    high = max([*values, low + 1e-9, *([1.0] if one.measure == "autocorrelation" else [])])  # noise is not blown up
    span = high - low

    def at(shares: Sequence[float]) -> str:
        heights = (np.asarray(shares, np.float64) - low) / span
        return _line(np.linspace(0.0, 190.0, len(shares)), 78 - 74 * heights)

    zero = 78 + 74 * low / span
    first, last = f"{one.x[0]:g}", f"{one.x[-1]:g}"
    parts = [
        f'<line class="base" x1="0" y1="{zero:.1f}" x2="190" y2="{zero:.1f}"/>',
        f'<path class="line wide" d="{at(one.real)}"/>',
        f'<path class="made" d="{at(one.made)}"/>',
        f'<text x="0" y="93">{first}</text><text x="190" y="93" text-anchor="end">{last}</text>',
        f'<text x="95" y="93" text-anchor="middle">{AXES[one.measure]}</text>',
    ]
    return _svg(190, 96, parts, f"{one.measure} of {one.name}")


AXES = {"autocorrelation": "moments later", "spectrum": "cycles a window"}


def _line(x: Floats, y: Floats) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def _svg(width: float, height: float, parts: Sequence[str], label: str) -> str:
    box = f"0 0 {width:g} {height:g}"
    return f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
