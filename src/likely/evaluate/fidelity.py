"""Is it true? Column shapes, pair trends, missing values, by the definitions of SDMetrics.

    shape of a numeric column x     1 - sup_t |F_real(t) - F_made(t)|                  (KSComplement)
    shape of a category             1 - sum_v |p_real(v) - p_made(v)| / 2              (TVComplement)
    trend of two numeric columns    1 - |r_real - r_made| / 2, r Pearson's correlation (CorrelationSimilarity)
    trend of any other pair         1 - sum_uv |p_real(u, v) - p_made(u, v)| / 2       (ContingencySimilarity)

all in [0, 1], 1 = alike. Shapes look at the values that are there; in a contingency table a missing cell is a level of
its own, and a number is cut into ten bins of equal width over the real column's range. (SDMetrics' own *report* cuts
each of the two tables over its own range, which hides a shift: we take the definition of its metric class.)
A correlation of a constant column is undefined: such a pair has no score. Dates count as numbers, booleans as
categories. The overall `quality` is the mean of mean shape and mean trend. Sources: docs.sdv.dev/sdmetrics; SDMetrics
0.32 (MIT). That version by default averages only *related* pairs, |r| > .5 or Cramer's V > .3 in the real rows;
`Trends` gives both averages, because a table has many unrelated pairs that any sampler gets right.

Shape letters: N rows, D columns, P pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from likely.evaluate.columns import Floats, Rows

BINS = 10  # of a number in a contingency table
RELATED_NUMBERS = 0.5  # |Pearson's r| above which two numbers count as related
RELATED_LEVELS = 0.3  # Cramer's V above which two discrete columns do
DIGITS = 14  # values closer than float noise are equal
DENSE = 2**20  # cells of a contingency table counted as an array; larger ones by sorting


def shape(real: Floats, made: Floats, discrete: bool) -> float:
    """Two columns (N,), (M,) -> similarity in [0, 1]; NaN where one of them holds nothing."""
    real, made = real[~np.isnan(real)], made[~np.isnan(made)]
    if not len(real) or not len(made):
        return math.nan
    if discrete:
        levels = int(max(real.max(), made.max())) + 1
        p = np.bincount(real.astype(np.int64), minlength=levels) / len(real)
        q = np.bincount(made.astype(np.int64), minlength=levels) / len(made)
        return float(1 - np.abs(p - q).sum() / 2)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers near 1e300 cannot be rounded: they stay as they are
        real, made = (np.sort(np.where(np.abs(x) < 1e9, np.round(x, DIGITS), x)) for x in (real, made))
    steps = np.concatenate([real, made])
    below_real = np.searchsorted(real, steps, side="right") / len(real)
    below_made = np.searchsorted(made, steps, side="right") / len(made)
    return float(1 - np.abs(below_real - below_made).max())


def shapes(real: Rows, made: Rows) -> Floats:
    """(D,) similarity of each column."""
    return np.array([shape(real.x[:, j], made.x[:, j], c.discrete) for j, c in enumerate(real.columns)])


def missing(real: Rows, made: Rows) -> Floats:
    """(D,) 1 - |difference of the shares of missing cells|, as MissingValueSimilarity; NaN where neither has any."""
    p, q = np.isnan(real.x).mean(axis=0), np.isnan(made.x).mean(axis=0)
    return np.where((p > 0) | (q > 0), 1 - np.abs(p - q), math.nan)


@dataclass(frozen=True)
class Trends:
    """Of `pairs` (P, 2) of columns: `score` (P,) in [0, 1] or NaN, and in the real rows `strength` (P,), |r| or V."""

    pairs: NDArray[np.int64]
    score: Floats
    strength: Floats
    related: NDArray[np.bool_]

    @property
    def mean(self) -> float:
        """Over all pairs that have a score; NaN where none has."""
        return average(self.score)

    @property
    def mean_related(self) -> float:
        """Over the pairs that are related in the real rows; NaN where none is."""
        return average(self.score[self.related])


def trends(real: Rows, made: Rows) -> Trends:
    """All pairs of columns. Linear in rows; about 60 us a pair of 10,000 rows."""
    discrete = real.discrete
    pairs = np.array(list(combinations(range(len(discrete)), 2)), np.int64).reshape(-1, 2)
    r_real, r_made = _correlations(real.x), _correlations(made.x)
    codes = [_codes(real.x[:, j], made.x[:, j], bool(discrete[j])) for j in range(len(discrete))]
    score, strength = np.full(len(pairs), math.nan), np.full(len(pairs), math.nan)
    related = np.zeros(len(pairs), bool)
    for k, (i, j) in enumerate(pairs):
        if not discrete[i] and not discrete[j]:
            score[k] = 1 - abs(r_real[i, j] - r_made[i, j]) / 2
            strength[k] = abs(r_real[i, j])
            related[k] = strength[k] > RELATED_NUMBERS
        else:
            (a, c, rows), (b, d, columns) = codes[i], codes[j]
            score[k], strength[k] = _contingency(a * columns + b, c * columns + d, rows, columns)
            related[k] = strength[k] > RELATED_LEVELS
    return Trends(pairs, score, strength, related & ~np.isnan(score))


def average(values: Floats) -> float:
    """The mean of the values that are there; NaN where none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else math.nan


def quality(shape_mean: float, trend_mean: float) -> float:
    """SDMetrics' overall score: the mean of the two; of one column, its shape."""
    return average(np.array([shape_mean, trend_mean]))


def _codes(real: Floats, made: Floats, discrete: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Two columns -> their levels or bins (N,), (M,) and how many there are; missing is the last one."""
    there = real[~np.isnan(real)]
    if discrete:
        size = int(np.nanmax(np.concatenate([real, made, [0.0]]))) + 1
        return *(np.where(np.isnan(x), size, x).astype(np.int64) for x in (real, made)), size + 1  # type: ignore[return-value]
    inner = np.histogram_bin_edges(there, BINS)[1:-1] if len(there) else np.empty(0)
    size = len(inner) + 1
    return *(
        np.where(np.isnan(x), size, np.searchsorted(inner, x, side="right")).astype(np.int64) for x in (real, made)
    ), size + 1  # type: ignore[return-value]


def _contingency(real: NDArray[np.int64], made: NDArray[np.int64], rows: int, columns: int) -> tuple[float, float]:
    """Joint codes (N,), (M,) in [0, rows x columns) -> (similarity, Cramer's V of the real rows)."""
    if rows * columns <= DENSE:
        cells = np.arange(rows * columns)
        p, q = np.bincount(real, minlength=rows * columns), np.bincount(made, minlength=rows * columns)
    else:
        cells, place = np.unique(np.concatenate([real, made]), return_inverse=True)
        p = np.bincount(place[: len(real)], minlength=len(cells))
        q = np.bincount(place[len(real) :], minlength=len(cells))
    similarity = float(1 - np.abs(p / len(real) - q / len(made)).sum() / 2)
    down = np.bincount(cells // columns, weights=p, minlength=rows)
    across = np.bincount(cells % columns, weights=p, minlength=columns)
    least = min(np.count_nonzero(down), np.count_nonzero(across)) - 1
    if least < 1:
        return similarity, math.nan
    met = p > 0  # chi^2 / n = sum p_uv^2 / (p_u p_v) - 1: empty cells add nothing
    chi = float((p[met] ** 2 / (down[cells[met] // columns] * across[cells[met] % columns])).sum()) - 1
    return similarity, math.sqrt(max(chi, 0.0) / least)


def _correlations(x: Floats) -> Floats:
    """(N, D) with holes -> (D, D) Pearson's r over the rows where both are there; NaN where one is constant there."""
    there = ~np.isnan(x)
    mask = there.astype(np.float64)
    count = np.maximum(mask.sum(axis=0), 1)
    z = np.where(there, x, 0.0)
    z /= np.maximum(np.abs(z).max(axis=0, initial=0), np.finfo(float).tiny)  # numbers near 1e300 have squares too
    z = np.where(there, z - z.sum(axis=0) / count, 0.0)
    spread = np.sqrt((z**2).sum(axis=0) / count)
    z /= np.where(spread > 0, spread, 1.0)  # sums of squares stay near N: no cancellation
    n = np.maximum(mask.T @ mask, 1)
    sx, sxx = z.T @ mask, (z**2).T @ mask
    covariance = z.T @ z - sx * sx.T / n
    variance = sxx - sx**2 / n
    scale = variance * variance.T
    with np.errstate(invalid="ignore", divide="ignore"):
        r = covariance / np.sqrt(scale)
    varies = variance > 1e-9 * n
    return np.where(varies & varies.T, np.clip(r, -1.0, 1.0), math.nan)
