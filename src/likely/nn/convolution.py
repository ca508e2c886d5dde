"""Convolutions for arrays whose elements have neighbours: windows (T, C), images (C, H, W), voxels (C, X, Y, Z).

The encoder halves the spatial size, level by level, until no side is longer than 4, doubling its channels up to
`width`; the decoder goes the same way back by nearest-neighbour enlargement and convolution, which leaves no chequered
pattern as transposed convolutions do (Odena et al. 2016, doi:10.23915/distill.00003). Sides that are odd are rounded up
on the way down and met exactly on the way up, so any size will do. Residual blocks with GroupNorm (Wu and He 2018,
arXiv:1803.08494), which does not care how large a batch is, follow each level.

One class serves 1, 2 and 3 dimensions: they differ by the name of a convolution alone. A window has time first, so it
is transposed on its way in and out.

Letters: B items, * the event shape, C channels of a level, S spatial sides, W width, Q size of a condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTIONS: tuple[type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
COARSEST = 4  # the longest side at the last level
NARROWEST = 16  # channels of the first level at least, if width allows


def levels(sides: Sequence[int], width: int) -> tuple[list[tuple[int, ...]], list[int]]:
    """The spatial sides and the channels of each level, finest first."""
    sizes = [tuple(sides)]
    while max(sizes[-1]) > COARSEST:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    last = len(sizes) - 1
    return sizes, [max(width >> (last - k), min(NARROWEST, width)) for k in range(len(sizes))]


class Block(nn.Module):
    """x + conv(silu(norm(x))): (B, C, *S) -> (B, C, *S)."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(channels, 8), channels)
        self.convolution = CONVOLUTIONS[dims - 1](channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.convolution(F.silu(self.norm(x)))
        return x + branch


class Encoder(nn.Module):
    """(B, *shape) [+ (B, condition)] -> (B, out). A shape of 2 is a window (T, C), of 3 and 4 channels come first."""

    def __init__(self, shape: Sequence[int], out: int, width: int, depth: int, condition: int = 0) -> None:
        super().__init__()
        self.window = len(shape) == 2
        channels, sides = (shape[1], shape[:1]) if self.window else (shape[0], shape[1:])
        dims = len(sides)
        sizes, self.channels = levels(sides, width)
        self.enter = CONVOLUTIONS[dims - 1](channels, self.channels[0], 3, padding=1)
        steps = pairwise(self.channels)
        self.down = nn.ModuleList(CONVOLUTIONS[dims - 1](a, b, 3, stride=2, padding=1) for a, b in steps)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(c, dims) for _ in range(max(depth - 1, 0)))) for c in self.channels
        )
        self.shift = nn.Linear(condition, sum(self.channels), bias=False) if condition else None
        self.norm = nn.GroupNorm(math.gcd(self.channels[-1], 8), self.channels[-1])
        self.head = nn.Linear(self.channels[-1] * math.prod(sizes[-1]), out)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h: Tensor = self.enter(x.transpose(1, 2) if self.window else x)
        shifts = self.shift(c).split(self.channels, 1) if self.shift is not None else None
        for k, block in enumerate(self.blocks):
            if k:
                h = self.down[k - 1](F.silu(h))
            if shifts is not None:
                h = h + shifts[k].view(*shifts[k].shape, *[1] * (h.ndim - 2))
            h = block(h)
        y: Tensor = self.head(F.silu(self.norm(h)).flatten(1))
        return y


class Decoder(nn.Module):
    """(B, inp) -> (B, *shape)."""

    def __init__(self, inp: int, shape: Sequence[int], width: int, depth: int) -> None:
        super().__init__()
        self.window = len(shape) == 2
        channels, sides = (shape[1], shape[:1]) if self.window else (shape[0], shape[1:])
        dims = len(sides)
        self.sizes, widths = levels(sides, width)
        self.coarse = (widths[-1], *self.sizes[-1])
        self.enter = nn.Linear(inp, math.prod(self.coarse))
        steps = pairwise(reversed(widths))
        self.up = nn.ModuleList(CONVOLUTIONS[dims - 1](a, b, 3, padding=1) for a, b in steps)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(c, dims) for _ in range(max(depth - 1, 0)))) for c in reversed(widths)
        )
        self.norm = nn.GroupNorm(math.gcd(widths[0], 8), widths[0])
        self.head = CONVOLUTIONS[dims - 1](widths[0], channels, 3, padding=1)

    def aim(self, y: Tensor) -> None:
        """Start from the means of y (*shape) over time or place, whatever the input."""
        with torch.no_grad():
            if self.head.bias is not None:
                self.head.bias.copy_(y.mean(0) if self.window else y.flatten(1).mean(1))

    def forward(self, z: Tensor) -> Tensor:
        h: Tensor = self.enter(z).view(len(z), *self.coarse)
        for k, block in enumerate(self.blocks):
            if k:
                h = self.up[k - 1](F.interpolate(F.silu(h), size=self.sizes[-1 - k], mode="nearest"))
            h = block(h)
        y: Tensor = self.head(F.silu(self.norm(h)))
        return y.transpose(1, 2) if self.window else y
