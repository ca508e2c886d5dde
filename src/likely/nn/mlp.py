"""Multilayer perceptrons for arrays without neighbours: vectors, and images so small that a matrix is the faster lens.

    h_1 = silu(W_1 x + V c),   h_k = h_(k-1) + silu(W_k h_(k-1)),   y = W h_depth

The condition c enters as a shift of the first layer. Layers after the first are residual (He et al. 2015,
arXiv:1512.03385), so that `depth` can grow without the first steps growing slower.

Letters: B items, * the event shape, N elements of it, W width, Q size of a condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """(B, *shape) [+ (B, condition)] -> (B, *out), `depth` hidden layers of `width`; depth 0 is one linear map."""

    def __init__(self, shape: Sequence[int], out: Sequence[int], width: int, depth: int, condition: int = 0) -> None:
        super().__init__()
        self.out = tuple(out)
        sizes = [math.prod(shape)] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], math.prod(out))
        self.shift = nn.Linear(condition, sizes[1] if depth else math.prod(out), bias=False) if condition else None

    def aim(self, y: Tensor) -> None:
        """Start from y (*out), whatever the input."""
        with torch.no_grad():
            self.head.bias.copy_(y.flatten())

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h = x.flatten(1)
        for k, layer in enumerate([*self.layers, self.head]):
            y: Tensor = layer(h)
            if k == 0 and self.shift is not None:
                y = y + self.shift(c)
            if k < len(self.layers):
                h = h + F.silu(y) if k else F.silu(y)
        return y.view(len(x), *self.out)
