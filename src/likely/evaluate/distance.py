"""How far two rows of mixed columns are from each other, and who is nearest, in little memory.

A row becomes a vector so that plain Euclidean distance means something in every column:

    number    its quantile u in [0, 1] among the real rows; missing: u = 1/2 and a second entry sqrt(3/4)
    category  a one-hot vector times sqrt(1/2); missing is a level of its own

Two categories that differ are then 1 apart (squared), two numbers at most 1, a number and a missing one .75 to 1: the
squared distance is close to a count of disagreeing columns, in the spirit of Gower (1971, doi:10.2307/2528823).
Quantiles, not standard deviations: capital gains and laboratory values have tails that would swamp all else. Levels
beyond the 100 most frequent share one code.

Nearest neighbours are exact: |a - b|^2 = |a|^2 + |b|^2 - 2 a.b by float32 matrix products, in blocks of rows.

Shape letters: N, M rows, D columns, F features.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from likely.evaluate.columns import Column, Floats, Rows

Features = NDArray[np.float32]
LEVELS = 100
BLOCK = 2**23  # entries of one block of distances: 32 MB of float32
EQUAL = 1e-5  # squared distances below this are 0: rounding of float32 sums over many features


class Metric:
    """Learned from real rows: which quantile a number is, which levels a category has."""

    def __init__(self, real: Rows) -> None:
        self.columns = real.columns
        self.sorted = [np.sort(real.x[~np.isnan(real.x[:, j]), j]) for j in range(len(real.columns))]

    def features(self, rows: Rows) -> Features:
        """(N, F) float32, without the columns that never differ."""
        return np.concatenate(
            [self._column(column, rows.x[:, j], self.sorted[j]) for j, column in enumerate(self.columns)], axis=1
        )

    @staticmethod
    def _column(column: Column, x: Floats, known: Floats) -> Features:
        gone = np.isnan(x)
        if column.discrete:
            size = min(len(column.levels), LEVELS) + 1
            code = np.where(gone, size - 1, np.minimum(x, size - 2)).astype(np.int64)
            hot = np.zeros((len(x), size), np.float32)
            hot[np.arange(len(x)), code] = math.sqrt(0.5)
            return hot
        # the middle of the ranks that equal values share, so that a spike sits at one place
        rank = np.searchsorted(known, x, side="left") + np.searchsorted(known, x, side="right")
        u = np.where(gone, 0.5, rank / max(2 * len(known), 1))
        return np.stack([u, np.where(gone, math.sqrt(0.75), 0.0)], axis=1).astype(np.float32)


def nearest(a: Features, b: Features) -> tuple[Floats, Floats]:
    """Rows (N, F) and (M, F) -> the distance of each a to its nearest b (N,), and of each b to its nearest a (M,)."""
    to_b, to_a = np.empty(len(a)), np.full(len(b), np.inf)
    half_b = (b**2).sum(axis=1) / 2
    step = max(1, BLOCK // max(len(b), 1))
    for start in range(0, len(a), step):
        block = a[start : start + step]
        near = block @ b.T
        np.subtract(half_b, near, out=near)  # |b|^2 / 2 - a.b; |a|^2 / 2 is constant along a row
        half_a = (block**2).sum(axis=1) / 2
        to_b[start : start + step] = near.min(axis=1) + half_a
        near += half_a[:, None]
        np.minimum(to_a, near.min(axis=0), out=to_a)
    return _root(to_b), _root(to_a)


def reach(a: Features, k: int) -> Floats:
    """(N,) distance of each row to its k-th nearest *other* row; needs N > k."""
    half = (a**2).sum(axis=1) / 2
    out = np.empty(len(a))
    step = max(1, BLOCK // len(a))
    for start in range(0, len(a), step):
        block = a[start : start + step]
        near = half - block @ a.T
        rows = np.arange(len(block))
        near[rows, start + rows] = np.inf  # not oneself
        out[start : start + step] = np.partition(near, k - 1, axis=1)[:, k - 1] + half[start : start + step]
    return _root(out)


def within(centres: Features, radius: Floats, others: Features) -> NDArray[np.int64]:
    """(N,) how many of `others` (M, F) lie within `radius` (N,) of each centre (N, F), the rim included."""
    half = (others**2).sum(axis=1) / 2
    limit = (radius**2 + EQUAL) / 2 - (centres.astype(np.float64) ** 2).sum(axis=1) / 2
    out = np.empty(len(centres), np.int64)
    step = max(1, BLOCK // max(len(others), 1))
    for start in range(0, len(centres), step):
        near = half - centres[start : start + step] @ others.T
        out[start : start + step] = (near <= limit[start : start + step, None].astype(np.float32)).sum(axis=1)
    return out


def inside(centres: Features, radius: Floats, others: Features) -> NDArray[np.bool_]:
    """(M,) whether each of `others` (M, F) lies within `radius` (N,) of some centre (N, F), the rim included."""
    half = (others**2).sum(axis=1) / 2
    limit = (radius**2 + EQUAL) / 2 - (centres.astype(np.float64) ** 2).sum(axis=1) / 2
    out = np.zeros(len(others), np.bool_)
    step = max(1, BLOCK // max(len(others), 1))
    for start in range(0, len(centres), step):
        near = half - centres[start : start + step] @ others.T
        out |= (near <= limit[start : start + step, None].astype(np.float32)).any(axis=0)
    return out


def _root(half_squares: Floats) -> Floats:
    squares = 2 * np.asarray(half_squares, np.float64)
    return np.sqrt(np.where(squares < EQUAL, 0.0, squares))
