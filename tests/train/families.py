"""Small families whose right answer is known in closed form; the tests of training learn them."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from likely.core import Batch, Family, Objective, Reals, Space, Training


@dataclass(frozen=True)
class Nothing:
    """No settings."""


class Gaussian(Family[Reals]):
    """x ~ N(mu, (L^T L)^-1), L lower triangular: -log p(x) = |L (x - mu)|^2 / 2 - log det L + d/2 log 2 pi."""

    accepts: ClassVar[type] = Reals
    Config: ClassVar[type] = Nothing
    regimen: ClassVar[Training] = Training(batch=64, steps=300, rate=0.03, decay=0.0, ema=0.98)

    def __init__(self, space: Reals, given: Space | None = None, config: Any = None) -> None:
        super().__init__(space, given, config)
        (d,) = space.shape
        self.root = nn.Parameter(torch.eye(d))
        self.mean = nn.Parameter(torch.zeros(d))

    def each(self, x: Tensor) -> Tensor:
        """-log p(x): (B,) nats."""
        root = torch.tril(self.root)
        constant = 0.5 * x.shape[1] * math.log(2 * math.pi) - torch.log(root.diagonal().abs()).sum()
        return 0.5 * ((x - self.mean) @ root.T).square().sum(1) + constant

    def loss(self, batch: Batch) -> Tensor:
        return self.each(batch.x).mean()

    def sample(self, n: int, *args: Any, rng: torch.Generator, **options: Any) -> Tensor:
        noise = torch.randn(n, len(self.mean), generator=rng)
        return self.mean + torch.linalg.solve(torch.tril(self.root), noise.T).T


class Noisy(Gaussian):
    """A Gaussian with a hidden layer and dropout: its loss draws from torch's global generator."""

    def __init__(self, space: Reals, given: Space | None = None, config: Any = None) -> None:
        super().__init__(space, given, config)
        (d,) = space.shape
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(d, 8), nn.ReLU(), nn.Linear(8, d)) for _ in range(2)])
        self.drop = nn.Dropout(0.2)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def loss(self, batch: Batch) -> Tensor:
        if self.training:
            self.seen += len(batch.x)
        x = batch.x + 0.01 * torch.randn_like(batch.x)
        for block in self.blocks:
            x = x + 0.1 * block(self.drop(x))
        return self.each(x).mean() + 0.1 * (x - batch.x).square().mean()


class Stacked(Gaussian):
    """A Gaussian of residuals after two blocks, with a tied weight; nothing random in its loss."""

    def __init__(self, space: Reals, given: Space | None = None, config: Any = None) -> None:
        super().__init__(space, given, config)
        (d,) = space.shape
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(d, 8), nn.Tanh(), nn.Linear(8, d)) for _ in range(2)])
        self.read, self.write = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.write.weight = self.read.weight

    def loss(self, batch: Batch) -> Tensor:
        h = self.read(batch.given.x if batch.given is not None else batch.x)
        for block in self.blocks:
            h = h + block(h)
        h = self.write(h)
        return self.each(batch.x).mean() + 0.1 * (h - batch.x).square().mean()


class Faulty(Gaussian):
    """A Gaussian that misbehaves: each fault maps a call of `loss` in training (from 1) to what happens there."""

    def __init__(self, space: Reals, faults: dict[int, str] | None = None) -> None:
        super().__init__(space)
        self.faults, self.calls = faults or {}, 0

    def loss(self, batch: Batch) -> Tensor:
        loss = super().loss(batch)
        if not self.__dict__["training"]:
            return loss
        self.calls += 1
        fault = self.faults.get(self.calls, self.faults.get(0, ""))
        if fault == "nan":
            return loss * math.nan
        if fault == "ruin":  # the weights themselves are spoilt, as after an update that overflowed
            with torch.no_grad():
                self.mean.fill_(math.nan)
        if fault in ("SIGINT", "SIGTERM"):
            signal.raise_signal(getattr(signal, fault))
        if fault == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "twice":
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return loss


class Game(Family[Reals]):
    """A GAN of one parameter a side: G shifts noise, D is linear in x. Its equilibrium is the mean of the data."""

    accepts: ClassVar[type] = Reals
    Config: ClassVar[type] = Nothing
    regimen: ClassVar[Training] = Training(batch=64, steps=400, rate=0.05, decay=0.0, ema=0.99)

    def __init__(self, space: Reals, given: Space | None = None, config: Any = None) -> None:
        super().__init__(space, given, config)
        (d,) = space.shape
        self.maker, self.judge = nn.ParameterDict({"shift": torch.zeros(d)}), nn.Linear(d, 1, bias=False)

    def made(self, n: int) -> Tensor:
        shift = self.maker["shift"]
        return torch.randn(n, *self.space.shape, device=shift.device) + shift

    def judging(self, batch: Batch) -> Tensor:
        gap = self.judge(batch.x).mean() - self.judge(self.made(len(batch.x)).detach()).mean()
        return -gap + 4 * self.judge.weight.square().sum()  # w = gap / 8: weak enough not to spin

    def making(self, batch: Batch) -> Tensor:
        return -self.judge(self.made(len(batch.x))).mean()

    def objectives(self) -> list[Objective]:
        return [Objective("judge", self.judge, self.judging), Objective("maker", self.maker, self.making)]

    def sample(self, n: int, *args: Any, rng: torch.Generator, **options: Any) -> Tensor:
        return torch.randn(n, *self.space.shape, generator=rng) + self.maker["shift"]


ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [1.0, 1.0, 0.3]])  # covariance = ROOT ROOT^T
ENTROPY = 1.5 * (1 + math.log(2 * math.pi)) + float(torch.log(ROOT.diagonal()).sum())  # nats


def normal(n: int, seed: int = 0) -> Batch:
    """n items of N(1, ROOT ROOT^T), and the same with noise as their condition."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=rng) @ ROOT.T + 1
    return Batch(x, Batch(x + torch.randn(n, 3, generator=rng), mask=torch.ones(n, 3, dtype=torch.bool)))


def fresh(cls: type[Family[Any]], *args: Any) -> Any:
    """A family with its first weights drawn from seed 0."""
    torch.manual_seed(0)
    return cls(Reals((3,)), *args)


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether all tensors of two models are equal to the bit."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
