"""A plot of windows as SVG, written by hand: a row of small pictures for each channel, a column for each window.

Every text is escaped. Colours work on light and dark grounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from likely.core import Rendering

CHANNELS, WINDOWS = 6, 4  # shown at most
WIDE, TALL, LEFT, GAP = 200, 70, 110, 10
POINTS = 400  # of a line
STYLE = (
    "text{font:11px sans-serif;fill:#555}.line{fill:none;stroke:#2b6cb0;stroke-width:1.4;stroke-linejoin:round}"
    ".box{fill:#8881;stroke:#8886}@media(prefers-color-scheme:dark){text{fill:#bbb}.line{stroke:#7fb3ee}}"
)


def plot(values: NDArray[np.float64], names: Sequence[str], heads: Sequence[str]) -> Rendering:
    """Values (n, T, C) with the name of each channel and a head for each window."""
    n, moments, channels = min(len(values), WINDOWS), values.shape[1], min(values.shape[2], CHANNELS)
    width, height = LEFT + n * (WIDE + GAP) + GAP, 24 + channels * (TALL + GAP) + 20
    parts = [f'<text x="{LEFT + k * (WIDE + GAP)}" y="16">{escape(heads[k][:32])}</text>' for k in range(n)]
    for c in range(channels):
        top = 24 + c * (TALL + GAP)
        shown = values[:n, :, c]
        known = shown[np.isfinite(shown)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        name = names[c] if len(names[c]) <= 16 else names[c][:15] + "…"
        parts += [
            f'<text x="{LEFT - 6}" y="{top + TALL / 2 + 4:.0f}" text-anchor="end">{escape(name)}'
            f"<title>{escape(names[c])}</title></text>",
            f'<text x="{LEFT - 6}" y="{top + 9}" text-anchor="end">{high:.4g}</text>',
            f'<text x="{LEFT - 6}" y="{top + TALL}" text-anchor="end">{low:.4g}</text>',
        ]
        for k in range(n):
            left = LEFT + k * (WIDE + GAP)
            parts.append(f'<rect class="box" x="{left}" y="{top}" width="{WIDE}" height="{TALL}"/>')
            parts += [f'<path class="line" d="{d}"/>' for d in _lines(shown[k], low, high, left, top)]
    foot = f"{moments} moments"
    if values.shape[2] > channels or len(values) > n:
        foot += f", {channels} of {values.shape[2]} channels, {n} of {len(values):,} windows"
    parts.append(f'<text x="{LEFT}" y="{height - 8}">{foot}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    svg = f'{head} role="img" aria-label="windows of time"><style>{STYLE}</style>{"".join(parts)}</svg>'
    return Rendering("image/svg+xml", svg.encode())


def _lines(values: NDArray[np.float64], low: float, high: float, left: float, top: float) -> list[str]:
    """Paths through the values (T,), broken where one is missing."""
    at = np.unique(np.linspace(0, len(values) - 1, min(len(values), POINTS)).round().astype(int))
    span = high - low or 1.0
    pieces: list[list[str]] = [[]]
    for place in at.tolist():
        if not np.isfinite(values[place]):
            pieces.append([])
            continue
        x = left + WIDE * (place / max(len(values) - 1, 1))
        y = top + 4 + (TALL - 8) * (1 - (values[place] - low) / span)
        pieces[-1].append(f"{x:.1f} {y:.1f}")
    return ["M" + "L".join(piece) + ("h1" if len(piece) == 1 else "") for piece in pieces if piece]
