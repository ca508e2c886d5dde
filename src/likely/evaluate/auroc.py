"""How well a score tells two groups apart: the area under the ROC curve, with its standard error.

    AUROC = P(score of a positive > score of a negative) + P(equal) / 2

so that .5 is blind guessing and 1 is certainty. The standard error is DeLong's: the spread of each row's own share of
won comparisons (DeLong, DeLong & Clarke-Pearson 1988, "Comparing the areas under two or more correlated ROC curves",
doi:10.2307/2531595; computed by mid-ranks as in Sun & Xu 2014, doi:10.1109/LSP.2014.2337313).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959964  # two-sided 95 % of a normal law


class Area(NamedTuple):
    """An AUROC and its standard error (0 where either group has one row)."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval, within [0, 1]."""
        return max(0.0, self.value - Z95 * self.error), min(1.0, self.value + Z95 * self.error)


def midranks(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) ranks 1..N, equal values sharing their mean rank."""
    _, group, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: NDArray[np.float64] = (last - (count - 1) / 2)[group]
    return ranks


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> Area:
    """Scores of two groups -> AUROC. Raises ValueError where a group is empty."""
    m, n = len(positive), len(negative)
    if m == 0 or n == 0:
        raise ValueError("both groups need at least one row")
    ranks = midranks(np.concatenate([positive, negative]))
    won = (ranks[:m] - midranks(positive)) / n  # share of negatives that each positive beats
    lost = 1 - (ranks[m:] - midranks(negative)) / m  # share of positives that beat each negative
    variance = (won.var(ddof=1) / m if m > 1 else 0.0) + (lost.var(ddof=1) / n if n > 1 else 0.0)
    return Area(float(won.mean()), math.sqrt(variance))


def macro_auroc(scores: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Scores (N, K) of K classes, truth (N,) in [0, K) -> mean one-against-the-rest AUROC of the classes met.

    NaN where fewer than two classes are met. With K = 2 it is the plain AUROC.
    """
    met = [k for k in range(scores.shape[1]) if 0 < int((truth == k).sum()) < len(truth)]
    areas = [auroc(scores[truth == k, k], scores[truth != k, k]).value for k in met]
    return float(np.mean(areas)) if areas else math.nan
