"""Has normal itself moved? The population stability index of each number, against what was learned.

    PSI = sum_k (p_k - q_k) log(p_k / q_k)

over ten bins that held a tenth each of the readings learned from (the symmetrised Kullback-Leibler divergence: Jeffreys 1946,
doi:10.1098/rspa.1946.0056). Below .1 nothing moved, above .25 the monitor should be fitted again: the usual rule of thumb
of credit scoring. An alarm says that something is wrong now; drift says that what is normal has changed.

A stream keeps ten counts a number, fading with a memory of MEMORY readings, so that its size never grows.

Letters: N readings, F numbers a reading, K = 10 bins.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

BINS = 10
MEMORY = 2000  # readings that a stream remembers
MOVED = 0.25


class Drift:
    """Bins of F numbers, their learned shares, and fading counts of what came since."""

    def __init__(self, edges: NDArray[np.float64], shares: NDArray[np.float64]) -> None:
        self.edges, self.shares = edges, shares  # (F, 9), (F, 10)
        self.counts = np.zeros_like(shares)
        self.seen = 0

    @classmethod
    def fit(cls, x: NDArray[np.float64]) -> Self:
        """Learn deciles of finite readings x (N, F)."""
        edges = np.quantile(x, np.linspace(0.1, 0.9, BINS - 1), axis=0).T.copy()
        made = cls(edges, np.full((x.shape[1], BINS), 1 / BINS))
        made.shares = made._count(x) / len(x)
        return made

    def update(self, x: NDArray[np.float64]) -> None:
        """Take note of readings x (N, F)."""
        fade = 1 - 1 / MEMORY
        self.counts = self.counts * fade ** len(x) + self._count(x)
        self.seen += len(x)

    def index(self) -> NDArray[np.float64]:
        """PSI of each number (F,) over what was remembered; 0 before anything came."""
        total = self.counts.sum(1, keepdims=True)
        if self.seen == 0:
            return np.zeros(len(self.edges))
        # Half a reading in each bin: an empty bin must not be infinitely far from a full one. What chance alone gives,
        # (K - 1) / n for n readings, is taken off.
        p = (self.counts + 0.5) / (total + 0.5 * BINS)
        q = np.maximum(self.shares, 0.5 / (total + 0.5 * BINS))
        psi: NDArray[np.float64] = ((p - q) * np.log(p / q)).sum(1) - (BINS - 1) / total[:, 0]
        return np.maximum(psi, 0.0)

    def of(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """PSI of each number (F,) of readings x (N, F) alone, without fading."""
        once = Drift(self.edges, self.shares)
        once.counts, once.seen = once._count(x), len(x)
        return once.index()

    def _count(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        F = len(self.edges)
        code = (x[:, :, None] > self.edges[None]).sum(2) + BINS * np.arange(F)
        return np.bincount(code.ravel(), minlength=F * BINS).reshape(F, BINS).astype(np.float64)
