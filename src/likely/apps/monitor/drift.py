"""Has normal itself moved? The population stability index and the shift of each number, against what was learned.

    PSI   = sum_k (p_k - q_k) log(p_k / q_k)        over ten bins that held a tenth each of the readings learned from
    shift = |mean - median learned| / spread learned

(PSI is the symmetrised Kullback-Leibler divergence: Jeffreys 1946, doi:10.1098/rspa.1946.0056.) Below .1 nothing
moved, above .25 the monitor should be fitted again: the usual rule of thumb of credit scoring. Any short stretch of a
slow series differs from the whole, though, so that rule alone would always ring. A number has moved once its PSI is
above .25, or its shift above .5, *and* half as large again as that of the strangest fifth of the readings learned
from. PSI alone cannot tell far from very far, since all bins but the outermost are empty in both; the shift can.

An alarm says that something is wrong now; drift says that what is normal has changed. A stream keeps ten counts and a
mean for each number, which fade with a memory of as long as such a fifth, so that its size never grows.

Letters: N readings, F numbers a reading, K = 10 bins.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.apps.monitor.scale import Scale

BINS = 10
STRETCHES = 5
SHORTEST, LONGEST = 200, 20_000  # readings that a stream remembers
MOVED, SHIFTED = 0.25, 0.5
MARGIN = 1.5
WANTS = ("edges", "shares", "limits", "memory", "middle", "spread")


class Drift:
    """What was learned of F numbers, and fading counts of what came since."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        # edges (F, 9), shares (F, 10), limits (2, F) of PSI and shift, memory (), middle (F,), spread (F,)
        self.tensors = tensors
        self.edges, self.shares = tensors["edges"].numpy(), tensors["shares"].numpy()
        self.limits, self.memory = tensors["limits"].numpy(), int(tensors["memory"])
        self.counts = np.zeros_like(self.shares)
        self.total = np.zeros(len(self.edges))
        self.seen = 0

    @classmethod
    def fit(cls, x: NDArray[np.float64]) -> Self:
        """Learn from finite readings x (N, F), in order, and see how far a fifth of them strays from the whole."""
        edges = np.quantile(x, np.linspace(0.1, 0.9, BINS - 1), axis=0).T.copy()
        rule = np.repeat([[MOVED], [SHIFTED]], len(edges), 1)
        tensors = {
            "edges": torch.from_numpy(edges),
            "shares": torch.from_numpy(_count(x, edges) / len(x)),
            "limits": torch.from_numpy(rule),
            "memory": torch.tensor(min(LONGEST, max(SHORTEST, len(x) // STRETCHES))),
            **Scale().fit(x).arrays,
        }
        plain = cls(tensors)
        stray = np.max([plain.of(part) for part in np.array_split(x, STRETCHES)], axis=0)
        return cls(tensors | {"limits": torch.from_numpy(np.maximum(rule, MARGIN * stray))})

    def update(self, x: NDArray[np.float64]) -> None:
        """Take note of readings x (N, F)."""
        fade = (1 - 1 / self.memory) ** len(x)
        self.counts = self.counts * fade + _count(x, self.edges)
        self.total = self.total * fade + x.sum(0)
        self.seen += len(x)

    def index(self) -> NDArray[np.float64]:
        """PSI and shift of each number (2, F) over what was remembered; 0 before anything came."""
        if self.seen == 0:
            return np.zeros((2, len(self.edges)))
        weight = self.counts.sum(1, keepdims=True)
        # Half a reading in each bin: an empty bin must not be infinitely far from a full one. What chance alone gives,
        # (K - 1) / n for n readings, is taken off.
        p = (self.counts + 0.5) / (weight + 0.5 * BINS)
        q = np.maximum(self.shares, 0.5 / (weight + 0.5 * BINS))
        psi = np.maximum(((p - q) * np.log(p / q)).sum(1) - (BINS - 1) / weight[:, 0], 0.0)
        shift = np.abs(self.total / weight[:, 0] - self.tensors["middle"].numpy()) / self.tensors["spread"].numpy()
        return np.stack([psi, shift])

    def of(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """PSI and shift (2, F) of readings x (N, F) alone, without fading."""
        once = Drift(self.tensors)
        once.counts, once.total, once.seen = _count(x, self.edges), x.sum(0), len(x)
        return once.index()

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Which numbers have moved (F,); none before as much has come as is remembered."""
        if self.seen < self.memory:
            return np.zeros(len(self.edges), bool)
        return self.beyond(self.index())

    def beyond(self, index: NDArray[np.float64]) -> NDArray[np.bool_]:
        """PSI and shift (2, F) -> which numbers have moved (F,)."""
        return np.asarray((index > self.limits).any(0), np.bool_)


def _count(x: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Readings (N, F) in each bin: (F, 10)."""
    F = len(edges)
    found = np.zeros(F * BINS)
    for i in range(0, len(x), 10_000):  # (10,000, F, 9) comparisons at a time
        code = (x[i : i + 10_000, :, None] > edges[None]).sum(2) + BINS * np.arange(F)
        found += np.bincount(code.ravel(), minlength=F * BINS)
    return found.reshape(F, BINS)
