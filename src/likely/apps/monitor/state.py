"""How far is each sensor from where it usually stands, and from how it usually moves? All deviations, squared and
added up.

    score(x) = sum_j z_j^2

of robustly scaled numbers z. It takes no account of what goes with what, and just therefore does not divide by
directions in which normal data hardly vary: where wear pushes many sensors a little along the directions in which they
vary anyway, Mahalanobis' distance is blind and this is not (C-MAPSS, healthy against worn: .918 and .978).

Letters: N rows to learn from, B rows, F numbers a row.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from likely.apps.monitor.part import Part


class State(Part):
    """The sum of squared deviations."""

    name: ClassVar[str] = "state"
    wants: ClassVar[tuple[str, ...]] = ("centre",)

    def fit(self, x: Tensor, rng: np.random.Generator) -> Self:
        self.arrays = {"centre": torch.zeros(x.shape[1])}  # the scale has centred x already
        return self

    def score(self, x: Tensor) -> Tensor:
        return self.blame(x).sum(1)

    def blame(self, x: Tensor) -> Tensor:
        return (x - self.arrays["centre"]).square()
