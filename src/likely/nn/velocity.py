"""Networks of time: (B, *shape), a moment and a condition -> (B, *shape). The vector field of a flow.

    vectors, images of up to 256 numbers    a perceptron of residual blocks; time and condition shift the middle of each
    the others                              convolutions down to the coarsest level and up again, with a bridge at each
                                            level (a U-Net: Ronneberger et al. 2015, arXiv:1505.04597)

Other families take images of up to 1,024 numbers as vectors; a flow has to see the noise of each pixel to the end,
which
no narrow perceptron can. (28 x 28 clothes, 15 minutes of a perceptron: Frechet distance 26 and noisy pictures; 90
seconds
of convolutions: 6.5.)

A moment is an angle a in [0, pi / 2], seen through sin and cos of its multiples. The last layer starts at zero: a new
network says "stand still", and what it learns is a correction of what its owner knows already.

Letters: B items, * the event shape, W width, Q size of a condition, K multiples of the angle, C channels of a level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.nn.convolution import CONVOLUTIONS, levels
from likely.nn.networks import flat

K = 8
FEW = 256  # numbers of an image that are taken as a vector


def plain(shape: Sequence[int]) -> bool:
    """Whether items of this shape are taken as vectors."""
    return flat(shape, FEW)


def velocity(shape: Sequence[int], width: int, depth: int, condition: int = 0) -> nn.Module:
    """A network (B, *shape), (B,) angles [, (B, condition)] -> (B, *shape)."""
    if plain(shape):
        return FlatVelocity(math.prod(shape), width, depth, condition)
    return GridVelocity(shape, width, depth, condition)


def waves(a: Tensor) -> Tensor:
    """sin and cos of the multiples of angles (B,): (B, 2 K)."""
    turns = 2 * a[:, None] * torch.arange(1, K + 1, device=a.device)
    return torch.cat([turns.sin(), turns.cos()], 1)


class Moment(nn.Module):
    """Angles (B,) and a condition (B, Q) -> (B, W)."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.time = nn.Linear(2 * K, width)
        self.condition = nn.Linear(condition, width, bias=False) if condition else None
        self.mix = nn.Linear(width, width)

    def forward(self, a: Tensor, c: Tensor | None) -> Tensor:
        h: Tensor = self.time(waves(a))
        if self.condition is not None and c is not None:
            h = h + self.condition(c)
        y: Tensor = self.mix(F.silu(h))
        return F.silu(y)


class FlatVelocity(nn.Module):
    """h_0 = W_0 x + m;  h_k = h_(k-1) + silu(W_k norm(h_(k-1)) + V_k m);  y = W h_depth, with norm(h) = h / rms(h)."""

    def __init__(self, size: int, width: int, depth: int, condition: int) -> None:
        super().__init__()
        self.time = nn.Linear(2 * K, width)
        self.condition = nn.Linear(condition, width, bias=False) if condition else None
        self.enter = nn.Linear(size, width, bias=False)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.leave = nn.Linear(width, size)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, a: Tensor, c: Tensor | None = None) -> Tensor:
        h: Tensor = self.enter(x.flatten(1)) + self.time(waves(a))
        if self.condition is not None and c is not None:
            h = h + self.condition(c)
        h = F.silu(h)
        for layer in self.layers:
            h = h + F.silu(layer(h))
        y: Tensor = self.leave(h)
        return y.view_as(x)


class Stage(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + V m))): (B, C, *S) -> (B, C, *S)."""

    def __init__(self, channels: int, width: int, dims: int) -> None:
        super().__init__()
        groups, convolution = math.gcd(channels, 8), CONVOLUTIONS[dims - 1]
        self.first, self.second = nn.GroupNorm(groups, channels), nn.GroupNorm(groups, channels)
        self.enter, self.leave = (convolution(channels, channels, 3, padding=1) for _ in range(2))
        self.shift = nn.Linear(width, channels)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, m: Tensor) -> Tensor:
        h = self.enter(F.silu(self.first(x)))
        h = h + self.shift(m).view(*h.shape[:2], *[1] * (h.ndim - 2))
        branch: Tensor = self.leave(F.silu(self.second(h)))
        return x + branch


class GridVelocity(nn.Module):
    """A U-Net over 1 to 3 axes. A shape of 2 is a window (T, C) with time first; otherwise channels come first."""

    def __init__(self, shape: Sequence[int], width: int, depth: int, condition: int) -> None:
        super().__init__()
        self.window = len(shape) == 2
        channels, sides = (shape[1], shape[:1]) if self.window else (shape[0], shape[1:])
        dims = len(sides)
        convolution = CONVOLUTIONS[dims - 1]
        self.sizes, widths = levels(sides, width)
        self.moment = Moment(width, condition)
        self.enter = convolution(channels, widths[0], 3, padding=1)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(convolution(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.up = nn.ModuleList(convolution(b, a, 3, padding=1) for a, b in pairs)
        depth = max(depth, 1)
        self.before = nn.ModuleList(nn.ModuleList(Stage(c, width, dims) for _ in range(depth)) for c in widths)
        self.after = nn.ModuleList(nn.ModuleList(Stage(c, width, dims) for _ in range(depth)) for c in widths[:-1])
        self.norm = nn.GroupNorm(math.gcd(widths[0], 8), widths[0])
        self.leave = convolution(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        if self.leave.bias is not None:
            nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, a: Tensor, c: Tensor | None = None) -> Tensor:
        m = self.moment(a, c)
        h: Tensor = self.enter(x.transpose(1, 2) if self.window else x)
        bridges = []
        for k, stages in enumerate(self.before):
            if k:
                h = self.down[k - 1](h)
            for stage in cast(nn.ModuleList, stages):
                h = stage(h, m)
            bridges.append(h)
        for k in reversed(range(len(self.up))):
            h = bridges[k] + self.up[k](F.interpolate(h, size=self.sizes[k], mode="nearest"))
            for stage in cast(nn.ModuleList, self.after[k]):
                h = stage(h, m)
        y: Tensor = self.leave(F.silu(self.norm(h)))
        return y.transpose(1, 2) if self.window else y
