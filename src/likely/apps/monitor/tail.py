"""From a score to how rarely normal data reach it, when some of the data are not normal.

Any score becomes nats, n(s) = -log P(S >= s | normal), so that different detectors can be added up and a threshold can
be said in false alarms. Up to the quantile LOW the empirical share is used. Above it the excess is taken for
exponential,

    P(S >= s) = (1 - LOW) exp(-(s - a) / b),     a = quantile LOW, c = quantile HIGH,

with b fitted to scores censored at c: how many lie beyond c counts, how far they lie does not,

    b = (sum over a < s <= c of (s - a) + #{s > c} (c - a)) / #{a < s <= c}

(the maximum-likelihood mean of a censored exponential: Epstein and Sobel 1953, doi:10.1080/01621459.1953.10483488). So
contamination of up to 1 - HIGH of the rows cannot stretch the ruler, and a detector that sees those rows far outside
its normal range says so with many nats, which is what lets it outvote detectors that see nothing.

Letters: N scores to learn from, B scores, Q quantiles.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KNOTS = 101


class Tail:
    """A monotone map from scores to nats."""

    def __init__(self, low: float = 0.5, high: float = 0.8) -> None:
        self.low, self.high = low, high
        self.arrays: dict[str, Tensor] = {}

    def fit(self, scores: Tensor | NDArray[np.floating]) -> Self:
        """Learn from scores (N,) of rows that are mostly normal."""
        s = np.sort(np.asarray(scores, np.float64))
        a, c = np.quantile(s, [self.low, self.high])
        middle, beyond = s[(s > a) & (s <= c)], int((s > c).sum())
        b = ((middle - a).sum() + beyond * (c - a)) / max(1, len(middle))
        # Scores that are all alike (one level) give no spread: the next best is the deviation of all of them.
        b = b if b > 1e-9 * max(1.0, abs(a)) else float(s.std()) or 1.0
        shares = np.linspace(0, self.low, KNOTS)
        self.arrays = {
            "knots": torch.from_numpy(np.maximum.accumulate(np.quantile(s, shares))),
            "ruler": torch.tensor([a, b], dtype=torch.float64),
        }
        return self

    def __call__(self, scores: Tensor) -> Tensor:
        """Scores (B,) -> nats (B,), float64: 0 for the most normal, log 2 at the median, without a limit above."""
        s, knots = scores.double().numpy(), self.arrays["knots"].numpy()
        a, b = self.arrays["ruler"].tolist()
        share = np.interp(s, knots, np.linspace(0, self.low, len(knots)))
        nats = np.where(s > a, (s - a) / b - math.log1p(-self.low), -np.log1p(-share))
        return torch.from_numpy(nats)
