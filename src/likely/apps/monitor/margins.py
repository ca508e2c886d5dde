"""Is any single number strange by itself? One histogram a number, as if they had nothing to do with each other.

    score(x) = sum_j -log p_j(x_j)

The idea of HBOS (Goldstein and Dengel 2012) and of tail probabilities (Li et al. 2022, ECOD, arXiv:2201.00382). It is
blind to broken relations and sharp on rare values, which distances drown in noise when there are many numbers. Counts
are smoothed by their neighbours' and by half a row a bin; beyond the edges a number is as rare as a quarter row.

Letters: N rows to learn from, B rows, F numbers a row, K bins.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from likely.apps.monitor.part import Part

FEWEST, MOST = 5, 50  # bins


class Margins(Part):
    """The surprise of each number alone, nats, added up."""

    name: ClassVar[str] = "margins"
    wants: ClassVar[tuple[str, ...]] = ("low", "width", "surprise")

    def fit(self, x: Tensor, rng: np.random.Generator) -> Self:
        N, F = x.shape
        bins = max(FEWEST, min(MOST, int(math.sqrt(N))))
        low, high = x.amin(0), x.amax(0)
        width = ((high - low) / bins).clamp_(min=1e-6)
        code = ((x - low) / width).long().clamp_(0, bins - 1)
        count = torch.zeros(F, bins).scatter_add_(1, code.T, torch.ones(F, N))
        padded = torch.cat([count[:, :1], count, count[:, -1:]], 1)
        smooth = 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:] + 0.5
        inside = -(smooth / smooth.sum(1, keepdim=True)).log()
        beyond = torch.full((F, 1), math.log(4 * N))
        self.arrays = {"low": low, "width": width, "surprise": torch.cat([beyond, inside, beyond], 1)}
        return self

    def score(self, x: Tensor) -> Tensor:
        return self._each(x).sum(1)

    def blame(self, x: Tensor) -> Tensor:
        """The surprise of each number above its least."""
        return (self._each(x) - self.arrays["surprise"].amin(1)).clamp_(min=0)

    def _each(self, x: Tensor) -> Tensor:
        table = self.arrays["surprise"]
        F, K = table.shape
        # One below the first bin and one above the last stand for everything beyond.
        code = ((x - self.arrays["low"]) / self.arrays["width"]).add_(1).clamp_(0, K - 1).floor_().long()
        code.masked_fill_((x - self.arrays["low"]) == self.arrays["width"] * (K - 2), K - 2)
        return table.view(-1)[code.add_(torch.arange(F) * K)]
