"""How likely is it? A mixture of Gaussians: the likelihood that is cheap enough for every row of a stream.

    -log p(x) = -log sum_k w_k N(x; m_k, C_k)

fitted by EM (Dempster, Laird and Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x). Each covariance has RIDGE added
to its diagonal: numbers come scaled to about unit spread, and without it a column that repeats one value makes
everything else infinitely unlikely. Few components (10) on purpose: a mixture that is free to spend one on a small
cluster of anomalies would call them normal. Wide rows (windows) are looked at along their leading principal components
only.

Letters: N rows to learn from, B rows, F numbers a row, K components.
"""

from __future__ import annotations

import math
import warnings
from typing import ClassVar, Self

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from likely.apps.monitor.part import Part
from likely.apps.monitor.pca import axes

COMPONENTS = 10
ROWS = 25  # rows behind a component, at least
RIDGE = 0.05
MOST = 10_000  # rows that EM looks at
ROUNDS = 50
WIDEST = 64  # numbers a row that are modelled as they are; of wider rows, the WIDEST leading components


class Mixture(Part):
    """-log p(x) under a mixture of Gaussians, nats."""

    name: ClassVar[str] = "likelihood"
    wants: ClassVar[tuple[str, ...]] = ("means", "roots", "weights", "axes")

    def fit(self, x: Tensor, rng: np.random.Generator) -> Self:
        rows = x if len(x) <= MOST else x[torch.from_numpy(rng.permutation(len(x))[:MOST])]
        narrow = x.shape[1] <= WIDEST
        basis = torch.eye(x.shape[1]) if narrow else axes(rows)[2][:, :WIDEST].float().contiguous()
        rows = rows if narrow else rows @ basis
        model = GaussianMixture(
            max(1, min(COMPONENTS, len(rows) // ROWS)),
            reg_covar=RIDGE,
            max_iter=ROUNDS,
            tol=1e-3,
            random_state=int(rng.integers(2**31)),
        )
        with warnings.catch_warnings():
            # Fewer distinct rows than components, or no convergence in ROUNDS: the mixture is then merely a rougher
            # one.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows.double().numpy())
        roots = torch.from_numpy(model.precisions_cholesky_)  # (K, F, F): |root' (x - m)|^2 is Mahalanobis' distance
        constant = torch.log(torch.from_numpy(model.weights_)) + roots.diagonal(dim1=1, dim2=2).log().sum(1)
        self.arrays = {
            "means": torch.from_numpy(model.means_).float(),
            "roots": roots.float().contiguous(),
            "weights": (constant - rows.shape[1] / 2 * math.log(2 * math.pi)).float(),
            "axes": basis,
        }
        return self

    def score(self, x: Tensor) -> Tensor:
        return -torch.logsumexp(self.arrays["weights"] - self._whitened(x).square_().sum(2) / 2, 1)

    def blame(self, x: Tensor) -> Tensor:
        """(x - m)_j (P (x - m))_j of the likeliest component: it adds up to Mahalanobis' distance."""
        white = self._whitened(x)
        basis = self.arrays["axes"]
        best = (self.arrays["weights"] - white.square().sum(2) / 2).argmax(1)
        off = x - self.arrays["means"][best] @ basis.T
        steer = torch.einsum("bf,bgf->bg", white[torch.arange(len(x)), best], self.arrays["roots"][best]) @ basis.T
        return (off * steer).clamp_(min=0)

    def _whitened(self, x: Tensor) -> Tensor:
        """root_k' (x - m_k): (B, K, F)."""
        roots, means = self.arrays["roots"], self.arrays["means"]
        K, F = means.shape
        shift = torch.einsum("kf,kfg->kg", means, roots)
        basis = self.arrays["axes"]
        x = x if len(basis) == F else x @ basis
        return (x @ roots.permute(1, 0, 2).reshape(F, K * F)).view(-1, K, F) - shift
