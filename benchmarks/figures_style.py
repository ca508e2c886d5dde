"""How the figures of the family pages look: as wide as a page, one typeface, few colours, ink on white."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

INK, SOFT, LINE, REAL, MADE, LOOK, BAD = "#1f2328", "#656d76", "#d5d2cc", "#a3a9b2", "#2458a6", "#c07a12", "#b42f25"
PAPER = LinearSegmentedColormap.from_list("paper", ["#ffffff", INK])
HEAT = LinearSegmentedColormap.from_list("heat", ["#f4f2ee", BAD])
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left",
    "axes.labelsize": 8.5, "axes.edgecolor": SOFT, "axes.labelcolor": SOFT, "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "axes.titlecolor": INK,
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False, "legend.fontsize": 8,
}  # fmt: skip


def draw(height: float) -> Figure:
    """A figure as wide as a page, so many inches high."""
    return Figure(figsize=(7.0, height), layout="constrained")


def sheet(ax: Axes, rows: Sequence[Tensor], names: Sequence[str] = (), values: Sequence[str] = ()) -> None:
    """Rows of images (n, 1, 8, 8), ink on white, apart by a pixel or two; names on the left, values on the right."""
    page = np.full((len(rows) * 10 - 2, len(rows[0]) * 9 - 1), -1.0)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            page[i * 10 : i * 10 + 8, j * 9 : j * 9 + 8] = image[0]
    ax.imshow(page, cmap=PAPER, vmin=-1, vmax=1, interpolation="nearest")
    bare(ax)
    for words, x, align in ((names, -1.5, "right"), (values, page.shape[1] + 0.5, "left")):
        for i, word in enumerate(words):
            ax.text(x, i * 10 + 3.5, word, ha=align, va="center", fontsize=8.5)


def bare(ax: Axes) -> None:
    """No axes: there is nothing to read off."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """A PNG of 1,400 pixels across in a palette: sharp at twice the width of a page, and small."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=200)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
