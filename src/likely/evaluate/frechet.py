"""How far two clouds of features are apart: Frechet distance and kernel distance (KID).

Take a function that turns items into vectors. If made items are like real ones, so are the clouds of their vectors. Two
ways to say how far a cloud is from another:

    Frechet   of two normal laws with the clouds' means and covariances,
              |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))                 (Heusel et al. 2017, arXiv:1706.08500, eq. 6)
    kernel    the squared maximum mean discrepancy with k(x, y) = (x.y / F + 1)^3, without bias: its mean is 0 where
              both clouds have one law, so that it may come out below 0  (Binkowski et al. 2018, arXiv:1801.01401)

The Frechet distance is biased: even two halves of one set are apart, the more so the fewer rows there are, and its unit
is that of the features. A number says nothing without the rows, the features and the floor it was measured with.
In the features of the Inception network it is called FID, and only there.

tr (S S')^(1/2) is the sum of the singular values of S^(1/2) S'^(1/2), whose roots come from a symmetric
eigen-decomposition. Nothing has to be inverted, nothing turns complex, and no square root is taken of rounding errors,
so covariances may lack rank. With more features than rows, both clouds are first turned into the space they span.

Shape letters: N, M rows, F features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likely.evaluate.columns import Floats

SUBSETS, SUBSET = 50, 500  # of the kernel distance: the cost is that of 50 x 3 products of 500 x 500


def frechet(real: NDArray[np.floating], made: NDArray[np.floating]) -> float:
    """Features (N, F) and (M, F) -> the distance, squared as is the custom. Raises ValueError for fewer than 2 rows."""
    x, y = (np.asarray(one, np.float64) for one in (real, made))
    for one, what in ((x, "real"), (y, "made")):
        if len(one) < 2:
            raise ValueError(f"it needs 2 {what} rows at least, there are {len(one)}")
    n = len(x)
    if x.shape[1] > n + len(y):
        both = np.concatenate([x, y])
        both = both @ np.linalg.qr(both.T)[0]
        x, y = both[:n], both[n:]
    apart = x.mean(axis=0) - y.mean(axis=0)
    s, t = (np.atleast_2d(np.cov(one, rowvar=False)) for one in (x, y))
    overlap = np.linalg.svd(_root(s) @ _root(t), compute_uv=False).sum()
    return max(0.0, float(apart @ apart + np.trace(s) + np.trace(t) - 2 * overlap))


def _root(covariance: Floats) -> Floats:
    """The symmetric square root (F, F) of a covariance; what rounding left below 0 counts as 0."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


class Kernel(NamedTuple):
    """The squared kernel distance and its standard error."""

    value: float
    error: float


def kernel(
    real: NDArray[np.floating],
    made: NDArray[np.floating],
    rng: np.random.Generator,
    subsets: int = SUBSETS,
    size: int | None = None,
) -> Kernel:
    """Features (N, F) and (M, F) -> the mean over random subsets of `size` rows each (500, or half of the rows where
    they are fewer than 1,000). Raises ValueError for under 2 rows.

    The error is the spread over subsets, shrunk by the root of size / rows: subsets share rows, so dividing by their
    number would promise too much.
    """
    n = min(len(real), len(made))
    if n < 2:
        raise ValueError(f"it needs 2 rows of each kind at least, there are {n}")
    size = min(SUBSET, max(2, n // 2)) if size is None else min(size, n)
    if size == n and len(real) == len(made):
        subsets = 1  # there is one subset only
    x, y = (np.asarray(one, np.float64) for one in (real, made))
    found = np.array([
        _discrepancy(x[rng.permutation(len(x))[:size]], y[rng.permutation(len(y))[:size]]) for _ in range(subsets)
    ])  # fmt: skip
    error = float(found.std(ddof=1)) * math.sqrt(size / n) if subsets > 1 else 0.0
    return Kernel(float(found.mean()), error)


def _discrepancy(x: Floats, y: Floats) -> float:
    """Squared MMD of (N, F) and (N, F), without bias: no row is compared with itself."""
    n, features = x.shape
    xx, yy, xy = ((a @ b.T / features + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    own = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (n * (n - 1))
    return float(own - 2 * xy.mean())
