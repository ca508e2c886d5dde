"""Generators and critics for adversarial learning: without normalisation over items, and with slopes that are cheap.

A critic's gradient by its input is part of its loss, so that it is differentiated twice; with leaky ReLU the second
derivative of the activations is nothing. Residual branches of convolutions start at zero (Zhang et al. 2019,
arXiv:1901.09321), which takes the place of normalisation. The shape decides as in networks.py: vectors and images up to
1,024 numbers are given to perceptrons, the rest to convolutions over 1 to 3 axes.

A condition c enters the generator beside its noise, and the critic as a projection <V c, h> of the features h that it
scores (Miyato and Koyama 2018, arXiv:1802.05637).

Letters: B items, * the event shape, Z noise, Q size of a condition, W width, C channels of a level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.nn.convolution import CONVOLUTIONS, levels
from likely.nn.networks import flat

LEAK = 0.2


class Perceptron(nn.Module):
    """(B, inp) -> (B, width): depth layers, residual after the first."""

    def __init__(self, inp: int, width: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([inp] + [width] * max(depth, 1)))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, LEAK)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for k, layer in enumerate(self.layers):
            y = F.leaky_relu(layer(h), LEAK)
            h = (h + y) * math.sqrt(0.5) if k else y
        return h


class Branch(nn.Module):
    """x + conv(lrelu(conv(lrelu(x)))): (B, C, *S) -> (B, C, *S)."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.enter, self.leave = (CONVOLUTIONS[dims - 1](channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.leave(F.leaky_relu(self.enter(F.leaky_relu(x, LEAK)), LEAK))
        return x + branch


class Down(nn.Module):
    """(B, *shape) -> (B, W): convolutions down to the coarsest level."""

    def __init__(self, shape: Sequence[int], width: int, depth: int) -> None:
        super().__init__()
        self.window = len(shape) == 2
        channels, sides = (shape[1], shape[:1]) if self.window else (shape[0], shape[1:])
        dims, (sizes, widths) = len(sides), levels(sides, width)
        self.enter = CONVOLUTIONS[dims - 1](channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(CONVOLUTIONS[dims - 1](a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(nn.Sequential(*(Branch(c, dims) for _ in range(depth - 1))) for c in widths)
        self.leave = nn.Linear(widths[-1] * math.prod(sizes[-1]), width)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.enter(x.transpose(1, 2) if self.window else x)
        for k, block in enumerate(self.blocks):
            if k:
                h = self.down[k - 1](F.leaky_relu(h, LEAK))
            h = block(h)
        return F.leaky_relu(self.leave(F.leaky_relu(h, LEAK).flatten(1)), LEAK)


class Up(nn.Module):
    """(B, inp) -> (B, *shape): from the coarsest level up, by nearest-neighbour enlargement and convolution."""

    def __init__(self, inp: int, shape: Sequence[int], width: int, depth: int) -> None:
        super().__init__()
        self.window = len(shape) == 2
        channels, sides = (shape[1], shape[:1]) if self.window else (shape[0], shape[1:])
        dims, (self.sizes, widths) = len(sides), levels(sides, width)
        self.coarse = (widths[-1], *self.sizes[-1])
        self.enter = nn.Linear(inp, math.prod(self.coarse))
        self.up = nn.ModuleList(CONVOLUTIONS[dims - 1](b, a, 3, padding=1) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(nn.Sequential(*(Branch(c, dims) for _ in range(depth - 1))) for c in widths)
        self.leave = CONVOLUTIONS[dims - 1](widths[0], channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h: Tensor = self.enter(z).view(len(z), *self.coarse)
        for k in reversed(range(len(self.blocks))):
            h = self.blocks[k](h)
            if k:
                h = self.up[k - 1](F.interpolate(F.leaky_relu(h, LEAK), size=self.sizes[k - 1], mode="nearest"))
        y: Tensor = self.leave(F.leaky_relu(h, LEAK))
        return y.transpose(1, 2) if self.window else y


class Maker(nn.Module):
    """Noise (B, Z) and a condition (B, Q) -> numbers (B, *shape), which still have to land in the space."""

    def __init__(self, latent: int, shape: Sequence[int], width: int, depth: int, condition: int = 0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        inp = latent + condition
        if flat(shape):
            last = nn.Linear(width, math.prod(shape))
            nn.init.xavier_normal_(last.weight)
            nn.init.zeros_(last.bias)
            self.network: nn.Module = nn.Sequential(Perceptron(inp, width, depth), last)
        else:
            self.network = Up(inp, shape, width, depth)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        y: Tensor = self.network(z if c is None else torch.cat([z, c], 1))
        return y.view(len(z), *self.shape)


class Judge(nn.Module):
    """Items (B, *shape) and a condition (B, Q) -> scores (B,)."""

    def __init__(self, shape: Sequence[int], width: int, depth: int, condition: int = 0) -> None:
        super().__init__()
        self.features = (
            nn.Sequential(nn.Flatten(), Perceptron(math.prod(shape), width, depth))
            if flat(shape)
            else Down(shape, width, depth)
        )
        self.head = nn.Linear(width, 1)
        self.project = nn.Linear(condition, width, bias=False) if condition else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h: Tensor = self.features(x)
        score: Tensor = self.head(h).squeeze(1)
        if self.project is not None and c is not None:
            score = score + (self.project(c) * h).mean(1)
        return score
