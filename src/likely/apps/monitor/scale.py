"""Robust scaling: the middle of each number becomes 0 and its normal spread about 1, whatever a few wild values do.

    x' = (x - median) / max(IQR / 1.35, (q95 - q05) / 3.29)

Both spreads equal the deviation of a Gaussian. The larger of the two is taken: a number that sits at one value most of
the time has no IQR, and one with two levels has a large one. Then x' is squashed beyond LIMIT deviations, s(x') =
sign(x') (LIMIT + log(1 + |x'| - LIMIT)), so that one broken sensor cannot hide all others behind its infinite
distance.

Letters: N rows, F numbers a row.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LIMIT = 50.0


class Scale:
    """Middle and spread of F numbers, learned from normal rows."""

    def __init__(self) -> None:
        self.arrays: dict[str, Tensor] = {}

    def fit(self, x: NDArray[np.float64] | Tensor) -> Self:
        """Learn from finite rows x (N, F)."""
        values = np.asarray(x, np.float64)
        q05, q25, middle, q75, q95 = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
        spread = np.maximum((q75 - q25) / 1.349, (q95 - q05) / 3.290)
        # Nearly always one value: the deviation is all there is; and a constant, off by its own size, is 1 off.
        size = np.maximum(np.abs(middle), 1e-9)
        spread = np.where(spread > 1e-9 * size, spread, values.std(0))
        spread = np.where(spread > 1e-9 * size, spread, np.maximum(np.abs(middle), 1.0))
        self.arrays = {"middle": torch.from_numpy(middle), "spread": torch.from_numpy(spread)}
        return self

    def __call__(self, x: NDArray[np.float64] | Tensor) -> Tensor:
        """Rows (N, F) -> (N, F) float32."""
        values = torch.as_tensor(x, dtype=torch.float64)
        y = ((values - self.arrays["middle"]) / self.arrays["spread"]).float()
        size = y.abs()
        return torch.where(size > LIMIT, y.sign() * (LIMIT + torch.log1p((size - LIMIT).clamp_(min=0))), y)
