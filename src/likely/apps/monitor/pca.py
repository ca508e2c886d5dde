"""Does it lie where normal rows lie? Principal components, whole and cut.

With the eigenvectors v_i and eigenvalues l_i of the normal rows' covariance, two numbers tell two kinds of fault apart:

    whole(x) = sum_i (v_i'(x - m))^2 / (l_i + ridge)     "pca": a step in a direction in which normal rows hardly vary
    cut(x)   = sum_{i > q} (v_i'(x - m))^2               "reconstruction": what q components cannot rebuild

(Jolliffe 1972; Shyu et al. 2003; on windows of a series the first of them leads the TSB-AD benchmark: Liu and
Paparrizos 2024.) q is the number of components that hold SHARE of the variance. The ridge keeps directions of pure
rounding noise from dominating.

Letters: N rows to learn from, B rows, F numbers a row, Q components.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from likely.apps.monitor.part import Part

SHARE = 0.5
RIDGE = 1e-2  # of the mean eigenvalue


def axes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (N, F) -> mean (F,), eigenvalues (F,) largest first, eigenvectors as columns (F, F), float64."""
    x = x.double()
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / max(1, len(x) - 1))
    return mean, values.flip(0).clamp_(min=0), vectors.flip(1)


class Principal(Part):
    """Mahalanobis' distance along all components."""

    name: ClassVar[str] = "pca"
    wants: ClassVar[tuple[str, ...]] = ("mean", "root")

    def fit(self, x: Tensor, rng: np.random.Generator) -> Self:
        mean, values, vectors = axes(x)
        root = vectors / (values + RIDGE * values.mean() + 1e-9).sqrt()
        self.arrays = {"mean": mean.float(), "root": root.float().contiguous()}
        return self

    def score(self, x: Tensor) -> Tensor:
        return ((x - self.arrays["mean"]) @ self.arrays["root"]).square_().sum(1).add_(1e-9).log_()

    def blame(self, x: Tensor) -> Tensor:
        """(x - m)_j (P (x - m))_j: it adds up to the distance."""
        off, root = x - self.arrays["mean"], self.arrays["root"]
        return (off * (off @ root @ root.T)).clamp_(min=0)


class Residual(Part):
    """What the leading components cannot rebuild."""

    name: ClassVar[str] = "reconstruction"
    wants: ClassVar[tuple[str, ...]] = ("mean", "axes")

    def fit(self, x: Tensor, rng: np.random.Generator) -> Self:
        mean, values, vectors = axes(x)
        held = values.cumsum(0) / values.sum().clamp(min=1e-12)
        q = min(int((held < SHARE).sum()) + 1, max(1, x.shape[1] - 1))
        self.arrays = {"mean": mean.float(), "axes": vectors[:, :q].float().contiguous()}
        return self

    def score(self, x: Tensor) -> Tensor:
        return self._off(x).square_().sum(1).add_(1e-9).log_()

    def blame(self, x: Tensor) -> Tensor:
        return self._off(x).square_()

    def _off(self, x: Tensor) -> Tensor:
        off, kept = x - self.arrays["mean"], self.arrays["axes"]
        return off - off @ kept @ kept.T
