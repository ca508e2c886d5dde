"""Networks from arrays of one shape to arrays of another, and critics that judge them piece by piece.

Between equal shapes a translator gives *changes*: y = x + f(x) with f = 0 at the start, so that what two sets have in
common need not be learned. Nothing is normalised by the statistics of single items: where an item is constant, these
have variance zero, and instance normalisation (Ulyanov et al. 2016, arXiv:1607.08022) divides by it. Residual branches
start at zero instead.

A critic of windows and images gives one score a patch, so that it judges how things are drawn, not what is drawn
(Isola et al. 2017, arXiv:1611.07004). A critic of vectors gives one.

Letters: B items, * the event shape, W width, C channels, P patches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from likely.nn.adversary import LEAK, Branch, Perceptron
from likely.nn.convolution import CONVOLUTIONS


class Translator(nn.Module):
    """(B, *source) -> (B, *target), to be added to the source where both shapes are equal."""

    def __init__(self, source: Sequence[int], target: Sequence[int], width: int, depth: int) -> None:
        super().__init__()
        self.target = tuple(target)
        self.grid = tuple(source) == self.target and len(source) > 1
        self.window = len(source) == 2
        if self.grid:
            channels = source[1] if self.window else source[0]
            dims = max(len(source) - 1, 1)
            half = max(width // 2, 1)
            convolution = CONVOLUTIONS[dims - 1]
            self.enter = convolution(channels, half, 5, padding=2)
            self.down = convolution(half, width, 3, stride=2, padding=1)
            self.blocks = nn.Sequential(*(Branch(width, dims) for _ in range(depth)))
            self.up = convolution(width, half, 3, padding=1)
            self.leave: nn.Module = convolution(half, channels, 5, padding=2)
        else:
            self.blocks = nn.Sequential(nn.Flatten(), Perceptron(math.prod(source), width, depth))
            self.leave = nn.Linear(width, math.prod(target))
        if tuple(source) == self.target:
            for parameter in self.leave.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        if not self.grid:
            y: Tensor = self.leave(self.blocks(x))
            return y.view(len(x), *self.target)
        fine = F.leaky_relu(self.enter(x.transpose(1, 2) if self.window else x), LEAK)
        coarse = self.blocks(self.down(fine))
        h = fine + F.interpolate(self.up(F.leaky_relu(coarse, LEAK)), size=fine.shape[2:], mode="nearest")
        y = self.leave(F.leaky_relu(h, LEAK))
        return y.transpose(1, 2) if self.window else y


class Patches(nn.Module):
    """(B, *shape) -> scores (B, P): one for each eighth of a side, roughly, each seeing a quarter of it or 16."""

    def __init__(self, shape: Sequence[int], width: int, depth: int) -> None:
        super().__init__()
        self.window = len(shape) == 2
        if len(shape) < 2:
            self.network = nn.Sequential(Perceptron(math.prod(shape), width, depth), nn.Linear(width, 1))
            return
        channels = shape[1] if self.window else shape[0]
        dims = len(shape) - 1
        convolution, half = CONVOLUTIONS[dims - 1], max(width // 2, 1)
        self.network = nn.Sequential(
            convolution(channels, half, 4, stride=2, padding=1),
            nn.LeakyReLU(LEAK),
            convolution(half, width, 4, stride=2, padding=1),
            nn.LeakyReLU(LEAK),
            *(Branch(width, dims) for _ in range(depth - 1)),
            convolution(width, width, 3, padding=1),
            nn.LeakyReLU(LEAK),
            convolution(width, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x.transpose(1, 2) if self.window else x)
        return y.flatten(1)
