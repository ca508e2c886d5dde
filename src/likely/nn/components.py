"""Coordinates in which Gaussian data stand still on their way from noise.

Items x have mean mu and covariance V diag(s^2) V'. With y = V'(x - mu), each component of the line (1 - t) z + t y from
noise z ~ N(0, I) to items has the spread r = sqrt((t s)^2 + (1 - t)^2) at the moment t; divided by it,

    w = sin(a) y / s + cos(a) z,      a = atan2(t s, 1 - t)  from 0 to pi / 2:

unit variance at all times, and an angle for a clock, each component its own.

Where arrays have neighbours that convolutions will look for, V = I, with one mean and spread a channel.

Letters: B items, * the event shape, D elements, N steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from likely.nn.networks import TINY
from likely.nn.velocity import plain

CHUNK = 4096  # items at a time
FINEST = 1e-4  # least variance of a component, as a share of the mean one: what is constant may stay almost so


class Components(nn.Module):
    """Mean, spreads and directions of items of a shape. Before `look`: zero, one and the axes."""

    mean: Tensor
    spread: Tensor
    basis: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        D = math.prod(shape)
        self.turned = plain(shape) and D <= TINY
        self.register_buffer("mean", torch.zeros(D))
        self.register_buffer("spread", torch.ones(D))
        self.register_buffer("basis", torch.eye(D) if self.turned else torch.zeros(0, 0))

    @torch.no_grad()
    def look(self, x: Tensor) -> None:
        """Find mean, spreads and directions of items x (B, *)."""
        parts = torch.split(x, CHUNK)  # in float64, though not all at once
        if self.turned:
            mean = sum((part.flatten(1).double().sum(0) for part in parts), torch.zeros(())) / len(x)
            squares = torch.zeros(len(mean), len(mean), dtype=mean.dtype, device=x.device)
            for part in parts:
                y = part.flatten(1).double() - mean
                squares += y.T @ y
            variance, basis = torch.linalg.eigh(squares / len(x))
            variance, basis = variance.flip(0), basis.flip(1)  # the widest first
            self.basis.copy_(basis)
        else:
            channel = len(self.shape) if len(self.shape) == 2 else 1  # of a window the last axis, of others the first
            axes = [axis for axis in range(x.ndim) if axis != channel]
            middle = x.mean(axes, keepdim=True, dtype=torch.float64)
            squared = sum(((part - middle).square().sum(axes, keepdim=True) for part in parts), torch.zeros(()))
            variance = squared * (middle.numel() / x.numel())
            mean, variance = (part.expand(1, *self.shape).flatten() for part in (middle, variance))
        self.mean.copy_(mean)
        self.spread.copy_(variance.clamp(min=max(FINEST * float(variance.mean()), 1e-6)).sqrt())

    def turn(self, y: Tensor) -> Tensor:
        """Rotate (..., D) from elements to components."""
        return y @ self.basis if self.turned else y

    def unturn(self, y: Tensor) -> Tensor:
        """Rotate (..., D) from components to elements."""
        return y @ self.basis.T if self.turned else y

    def inward(self, x: Tensor) -> Tensor:
        """Items (B, *) -> components of unit variance (B, D)."""
        return self.turn(x.flatten(1) - self.mean) / self.spread

    def outward(self, w: Tensor) -> Tensor:
        """Components of unit variance (B, D) -> items (B, *)."""
        return (self.unturn(w * self.spread) + self.mean).view(-1, *self.shape)

    def volume(self) -> Tensor:
        """Each element's share (D,) of the log-determinant of `outward`: the diagonal of V diag(log s) V'."""
        return self.basis.square() @ self.spread.log() if self.turned else self.spread.log()

    def angle(self, t: Tensor) -> Tensor:
        """The angle of every component at moments t (...): (..., D)."""
        return torch.atan2(t[..., None] * self.spread, 1 - t[..., None])

    def clock(self, t: Tensor) -> Tensor:
        """One angle for all, that of a typical component, at moments t (...): (...)."""
        return torch.atan2(t * self.typical(), 1 - t)

    def grid(self, steps: int) -> Tensor:
        """Moments 0 .. 1 (steps + 1,), evenly spaced by the clock."""
        a = torch.linspace(0, math.pi / 2, steps + 1, device=self.spread.device)
        t = a.sin() / (a.sin() + self.typical() * a.cos())
        t[-1] = 1.0
        return t

    def typical(self) -> Tensor:
        """The spread that variance is likely to come from: sqrt(sum s^4 / sum s^2), ()."""
        variance = self.spread.square()
        return (variance.square().sum() / variance.sum()).sqrt()
