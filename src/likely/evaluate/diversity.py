"""Is it varied? Coverage and density, distinct rows, levels kept.

Around each real row lies a ball that reaches to its k-th nearest real neighbour. With r_i that radius,

    coverage   share of real balls that hold at least one made row      in [0, 1], 1 = all of the data is met
    density    mean number of balls a made row falls in, divided by k   about 1; below = where no real rows are

(Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", arXiv:2002.09797, eqs. 3 and 4;
k = 5.) Distances are those of `distance.py`. A sampler that repeats its favourite rows loses coverage; one that
makes rows unlike any real one loses density. Rare levels are the first that a weak model forgets, hence `levels_kept`.

Shape letters: N real rows, M made rows, F features, D columns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from likely.evaluate.columns import Rows
from likely.evaluate.distance import Features, reach, within

NEIGHBOURS = 5
LEAST_COUNT = 10  # rows of a level in the real table from which it must be met


class Spread(NamedTuple):
    """Coverage in [0, 1] and density, about 1."""

    coverage: float
    density: float


def spread(real: Features, made: Features, k: int = NEIGHBOURS) -> Spread:
    """Real (N, F) and made (M, F) rows, best N = M. Raises ValueError for fewer than k + 1 real rows."""
    if len(real) <= k:
        raise ValueError(f"it needs more than {k} real rows, there are {len(real)}")
    counts = within(real, reach(real, k), made)
    return Spread(float((counts > 0).mean()), float(counts.sum() / (k * len(made))))


def distinct(rows: Rows) -> float:
    """Share of rows that differ from all rows before them."""
    return len(np.unique(keys(rows))) / len(rows)


def levels_kept(real: Rows, made: Rows, least: int = LEAST_COUNT) -> float:
    """Share of the category levels with at least `least` real rows that the made rows hold; NaN where there is none."""
    kept = total = 0
    for j in np.flatnonzero(real.discrete):
        x = real.x[:, j]
        common = np.flatnonzero(np.bincount(x[~np.isnan(x)].astype(np.int64)) >= least)
        kept += int(np.isin(common, made.x[:, j]).sum())
        total += len(common)
    return kept / total if total else math.nan


def keys(rows: Rows, columns: np.ndarray | None = None) -> np.ndarray:
    """(N,) uint64: equal for rows that are equal in all (or the given) columns, missing cells included.

    A 64-bit hash: among 20,000 rows two different ones share a key with probability about 1e-11.
    """
    x = rows.x if columns is None else rows.x[:, columns]
    bits = np.ascontiguousarray(np.where(np.isnan(x), np.nan, x) + 0.0).view(np.uint64)  # one NaN, no -0.0
    key = np.zeros(len(x), np.uint64)
    for j in range(bits.shape[1]):
        key ^= bits[:, j]  # the finaliser of MurmurHash3 (Appleby, public domain): every bit moves every bit
        key ^= key >> np.uint64(33)
        key *= np.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> np.uint64(33)
        key *= np.uint64(0xC4CEB9FE1A85EC53)
        key ^= key >> np.uint64(33)
        key += np.uint64(0x9E3779B97F4A7C15)
    return key
