"""How far is it to the nearest normal rows? Bags of references instead of all of them.

The distance to the k-th nearest of N rows is a classical and still hard to beat measure of strangeness (Ramaswamy et
al. 2000, doi:10.1145/342009.335437). It costs N distances a row. The nearest of a random *bag* of N/k rows lies about
as far as the k-th nearest of all of them, and the mean over a few bags is as steady (Sugiyama and Borgwardt 2013,
"Rapid distance-based outlier detection via sampling"; Aggarwal and Sathe 2015, doi:10.1145/2830544.2830549):

    score(x) = mean over bags b of log min_r in b |x - r|

A bag is too small to hold more than a few members of a small cluster of anomalies, so such a cluster does not vouch for
itself. All bags together have at most REFERENCES rows, so a score costs a thousand distances however many rows there
were: one matrix product and one minimum.

Letters: N rows to learn from, B rows, F numbers a row, M bags, P rows a bag.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from likely.apps.monitor.part import CHUNK, Part

REFERENCES = 1024
NEAR = 20  # the k that a bag stands for
SMALLEST, LARGEST = 8, 256  # rows a bag
TINY = 1e-3  # a distance below this, in deviations a number, is none: copies of a row must not be infinitely normal


class Neighbours(Part):
    """Distance to the nearest of each bag of normal rows."""

    name: ClassVar[str] = "neighbours"
    wants: ClassVar[tuple[str, ...]] = ("references", "bags")

    def fit(self, x: Tensor, rng: np.random.Generator) -> Self:
        N = len(x)
        size = min(N, max(SMALLEST, min(LARGEST, round(N / NEAR))))
        count = max(1, REFERENCES // size)
        rows = np.concatenate([rng.permutation(N)[:size] for _ in range(count)])
        self.arrays = {"references": x[rows].contiguous(), "bags": torch.tensor(count)}
        self._rows = torch.from_numpy(rows)
        return self

    def score(self, x: Tensor) -> Tensor:
        return self._log(self._squares(x).view(len(x), int(self.arrays["bags"]), -1).amin(2))

    def own(self, x: Tensor) -> Tensor:
        out = []
        for i in range(0, len(x), CHUNK):
            squares = self._squares(x[i : i + CHUNK])
            itself = self._rows[None] == torch.arange(i, i + len(squares))[:, None]
            squares[itself] = torch.inf
            near = squares.view(len(squares), int(self.arrays["bags"]), -1).amin(2)
            out.append(self._log(near))
        return torch.cat(out)

    def blame(self, x: Tensor) -> Tensor:
        """The squared difference to the nearest reference of all, number by number."""
        nearest = self.arrays["references"][self._squares(x).argmin(1)]
        return (x - nearest) ** 2

    def _squares(self, x: Tensor) -> Tensor:
        """Squared distances (B, M * P)."""
        r = self.arrays["references"]
        return torch.addmm((r * r).sum(1), x, r.T, alpha=-2.0).add_((x * x).sum(1, keepdim=True))

    def _log(self, near: Tensor) -> Tensor:
        F = self.arrays["references"].shape[1]
        return near.clamp_(min=TINY**2 * F).log_().mean(1) / 2
