"""Priors of a VAE's latents: what sampling draws from, and what the bound on log p(x) is taken with.

    normal    N(0, I), the prior that training uses
    mixture   normal laws fitted to the latents of the data after training             (nn/mixture.py)
    flow      an affine-coupling flow fitted to them                                   (nn/coupling.py)

The latents of the data, the aggregate posterior (1/n) sum_i q(z | x_i), do not fill N(0, I) evenly: holes between the
classes decode to nothing in particular. With the decoder fixed, the p(z) of greatest likelihood is the mean over the
data of the true posteriors (Tomczak and Welling 2018, arXiv:1705.07120; fitted afterwards as in Ghosh et al. 2020,
arXiv:1903.12436). Any p(z) gives a valid bound on its own model's log p(x).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from likely.errors import OptionError
from likely.nn.coupling import Coupling
from likely.nn.mixture import Mixture

PRIORS = ("normal", "mixture", "flow")


class Prior(Protocol):
    """A law of latents (*, Z) that can be fitted to those of n items, S each: (n, S, Z)."""

    def log_prob(self, z: Tensor) -> Tensor: ...
    def sample(self, n: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor: ...
    def fit(self, z: Tensor, *, rng: torch.Generator) -> None: ...


class Normal(nn.Module):
    """N(0, I)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of z (*, Z): (*), nats."""
        return -0.5 * z.square().sum(-1) - 0.5 * self.size * math.log(2 * math.pi)

    def sample(self, n: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """(n, Z) draws."""
        return temperature * torch.randn(n, self.size, generator=rng)

    def fit(self, z: Tensor, *, rng: torch.Generator) -> None:
        """Nothing to fit."""


def prior(kind: str, size: int, components: int) -> Normal | Mixture | Coupling:
    """The prior of that name for latents of `size` variables. Raises OptionError for another name."""
    if kind == "normal":
        return Normal(size)
    if kind == "mixture":
        return Mixture(size, components)
    if kind == "flow":
        return Coupling(size)
    raise OptionError(f"prior={kind!r} was given; it is one of {', '.join(PRIORS)}.")
