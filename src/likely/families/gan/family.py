"""The `gan` family: a generator makes items from noise, and a critic tells it how they differ from real ones.

With z ~ N(0, I) and y = G(z, c), critic D and generator G descend opposite losses of D(x, c) and D(y, c): the
`objective` of the config (objectives.py). The default compares each made item with a real one and penalises the
critic's gradients at both (Huang et al. 2024, arXiv:2501.05441); made items are those of the generator's running
average (Yazici et al. 2019, arXiv:1806.04498), which `likely.train` keeps.

*The penalty's weight chooses itself.* gamma does not carry over from one data set to the next, because a gradient has
the unit 1 / distance. So the critic sees items with variance 1 an element, where two are sqrt(2 D) apart, and

    sharpness   S = D E |grad D|^2

has no unit: about the squared change of score from one item to another, if it were steady. Nearly blind critics have
S << 1, those that learn the items by heart S >> 10. gamma starts at D / B and after each step of the critic rises by a
hundredth where S is above a band, falls where it is below, within a factor of 100. A `gamma` above 0 in the config is
held instead, in the same unit of items with variance 1.

There is no likelihood and no way from items to noise.

Letters: B items, * the event shape, D elements, Z noise, Q size of a condition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from likely.core import Batch, Family, Grammar, Known, Objective, Reals, Space, Training
from likely.errors import OptionError, Unsupported
from likely.families.gan.augment import augment
from likely.families.gan.objectives import GAMES, between, slope
from likely.nn.adversary import Judge, Maker
from likely.nn.cells import check_temperature
from likely.nn.condition import Condition, required
from likely.nn.landing import land
from likely.nn.networks import flat

BAND = (1.0, 4.0)  # of the sharpness
PACE = 1.01  # by which gamma moves in a step
REACH = 100.0  # how far gamma may go from where it started, as a factor
BETWEEN = 10.0  # weight of the penalty between real and made items: that of Gulrajani et al.
SMALL = 5000  # images from which on a critic needs no augmentation
SIDE = 16  # pixels a side below which there is nothing to move or cut out
CHUNK = 4096  # items at a time without gradients
AUGMENT = ("auto", "on", "off")


@dataclass(frozen=True)
class GanConfig:
    """`width` and `depth` of both networks, `latent` size of the noise, `objective` (relativistic, non-saturating,
    wasserstein, hinge), `gamma` weight of the gradient penalty, 0 = chosen while learning, `augment` of what the critic
    sees: auto (images of 16 x 16 and more, fewer than 5,000 of them), on or off."""

    width: int = 128
    depth: int = 2
    latent: int = 32
    objective: str = "relativistic"
    gamma: float = 0.0
    augment: str = "auto"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "latent"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}={getattr(self, name)} was given; it must be at least 1.")
        if self.objective not in GAMES:
            raise OptionError(f"objective={self.objective!r} was given; it is one of {', '.join(GAMES)}.")
        if not 0 <= self.gamma < math.inf:
            raise OptionError(f"gamma={self.gamma} was given; it is 0 (chosen while learning) or more.")
        if self.augment not in AUGMENT:
            raise OptionError(f"augment={self.augment!r} was given; it is one of {', '.join(AUGMENT)}.")


class Gan(Family[Reals]):
    """Generator and critic."""

    accepts: ClassVar[type] = Reals
    Config: ClassVar[type] = GanConfig
    regimen: ClassVar[Training] = Training(
        batch=128, steps=6000, rate=4e-3, decay=0.0, betas=(0.0, 0.99), clip=0.0, ema=0.998
    )
    ready: Tensor
    augmented: Tensor
    gamma: Tensor
    mean: Tensor
    spread: Tensor
    offset: Tensor
    factor: Tensor

    def __init__(self, space: Reals, given: Space | None = None, config: GanConfig | None = None) -> None:
        super().__init__(space, given, config)
        if space.ragged:
            raise Unsupported("gan makes arrays of one length only: cut or pad the items to one length.")
        shape, W, depth = space.shape, self.config.width, self.config.depth
        Q = W if given is not None else 0
        self.game = GAMES[self.config.objective]
        self.size = math.prod(shape)
        self.generator = nn.ModuleDict({"network": Maker(self.config.latent, shape, W, depth, Q)})
        self.critic = nn.ModuleDict({"network": Judge(shape, W, depth, Q)})
        if given is not None:
            self.generator["condition"] = Condition(given, Q)
            self.critic["condition"] = Condition(given, Q)
        if self.game.hold == "spectral":
            for module in list(self.critic["network"].modules()):
                if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                    nn.utils.parametrizations.spectral_norm(module)
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("augmented", torch.tensor(self.config.augment == "on"))
        self.register_buffer("gamma", torch.tensor(self.first()))
        # The critic sees (x - mean) / spread; the generator's outputs u land as offset + factor u.
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("spread", torch.tensor(1.0))
        self.register_buffer("offset", torch.zeros(shape))
        self.register_buffer("factor", torch.tensor(1.0))

    # ------------------------------------------------------------------------------------------ learning

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """Find centre and spread of items x (B, *), from which the generator starts. The critic's first loss in
        training does so where nobody did before."""
        mean = batch.x.mean(0, dtype=torch.float64)
        variance = (batch.x - mean.to(batch.x)).square().mean(dtype=torch.float64)
        self.mean.copy_(mean)
        self.spread.copy_(variance.clamp(min=1e-6).sqrt())
        offset = mean
        if self.space.bounds is not None:
            low, high = self.space.bounds
            offset = torch.atanh(((2 * mean - low - high) / (high - low)).clamp(-0.95, 0.95))
            self.factor.copy_((2 * self.spread / (high - low)).clamp(max=1.0))
        else:
            self.factor.copy_(self.spread)
        offset = offset.clone()
        for start, stop in self.space.onehot:
            offset[..., start:stop] = (mean[..., start:stop] + 1e-3).log()
        self.offset.copy_(offset)
        if self.config.augment == "auto":
            sides = self.space.shape[1:] if len(self.space.shape) == 3 else (0,)
            self.augmented.fill_(min(sides) >= SIDE and len(batch.x) < SMALL)
        self.ready.fill_(True)

    def plan(self) -> Training:
        """Perceptrons bear a high rate; convolutions (a guess from the papers, where it is lower still) a lower one."""
        regimen = type(self).regimen
        return regimen if flat(self.space.shape) else replace(regimen, batch=64, rate=1e-3)

    def first(self) -> float:
        """gamma to begin with."""
        return float(self.config.gamma) or self.size / self.plan().batch

    def objectives(self) -> list[Objective]:
        """The critic's and, as often as the objective wants, the generator's."""
        return [
            Objective("critic", self.critic, self.critic_loss),
            Objective("generator", self.generator, self.generator_loss, every=self.game.every),
        ]

    def critic_loss(self, batch: Batch) -> Tensor:
        """What the critic descends. Draws from torch's global generator."""
        if self.training and not bool(self.ready):
            self.prepare(batch)
        x, B = batch.x, len(batch.x)
        with torch.no_grad():
            y = self.make(self.noise(x), batch.given)
        both = torch.cat([self.view(x), self.view(y)]).requires_grad_(self.game.hold == "both")
        c = self.judged(batch.given, B)
        twice = torch.cat([c, c]) if c is not None else None
        score = self.critic["network"](both, twice)
        real, made = score.chunk(2)
        loss: Tensor = self.game.critic(real, made)
        if self.game.hold == "both":
            slopes = slope(score, both)
            loss = loss + self.gamma.clone() * slopes.mean()  # gamma / 2 for each of the two halves
            if self.training and not self.config.gamma:
                self.adapt(self.size * slopes.detach().mean())
        elif self.game.hold == "between":
            real, made = both.detach().chunk(2)
            loss = loss + BETWEEN * between(lambda u: self.critic["network"](u, c), real, made).mean()
        return loss

    def generator_loss(self, batch: Batch) -> Tensor:
        """What the generator descends. Draws from torch's global generator."""
        y = self.view(self.make(self.noise(batch.x), batch.given))
        with frozen(self.critic):
            c = self.judged(batch.given, len(y))
            with torch.no_grad():
                real = self.critic["network"](self.view(batch.x), c)
            return self.game.generator(real, self.critic["network"](y, c))

    @torch.no_grad()
    def adapt(self, sharpness: Tensor) -> None:
        """Move gamma towards the band."""
        pace = torch.where(sharpness > BAND[1], PACE, torch.where(sharpness < BAND[0], 1 / PACE, 1.0))
        self.gamma.mul_(pace).clamp_(self.first() / REACH, self.first() * REACH)

    def view(self, x: Tensor) -> Tensor:
        """What the critic sees of items x (B, *)."""
        if bool(self.augmented) and len(self.space.shape) == 3:
            x = augment(x, *(self.space.bounds or (-1.0, 1.0)))
        return (x - self.mean) / self.spread

    def judged(self, given: Batch | None, n: int) -> Tensor | None:
        """The critic's own view of the condition of n items: (n, Q)."""
        given = required(given, self.given, n)
        c: Tensor | None = self.critic["condition"](given) if given is not None else None
        return c

    def noise(self, like: Tensor) -> Tensor:
        """Noise for as many items, by torch's global generator: (B, Z)."""
        return torch.randn(len(like), self.config.latent, device=like.device)

    # ------------------------------------------------------------------------------------------- drawing

    def make(self, z: Tensor, given: Batch | None, rng: torch.Generator | None = None, hard: bool = False) -> Tensor:
        """Items (B, *) from noise z (B, Z); with `hard`, one-hot slices hold one category each."""
        given = required(given, self.given, len(z))
        c = self.generator["condition"](given) if given is not None else None
        u = self.offset + self.factor * self.generator["network"](z, c)
        return land(u, self.space, rng=rng, hard=hard)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        given: Batch | None = None,
        known: Known | None = None,
        *,
        rng: torch.Generator,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
    ) -> Tensor:
        """Draw (n, *) items; `temperature` scales the noise: below 1 more typical and more alike."""
        if known is not None:
            raise Unsupported(
                "gan does not complete items: learn what you want to give as a condition (given=...). "
                "Families that complete: trees, masked (over cells)."
            )
        check_temperature(temperature)
        given = required(given, self.given, n)
        parts = [torch.zeros(0, *self.space.shape)]
        for start in range(0, n, CHUNK):
            size = min(CHUNK, n - start)
            z = torch.randn(size, self.config.latent, generator=rng).to(self.mean) * temperature
            part = given
            if given is not None:
                rows = slice(start, start + size)
                part = Batch(given.x[rows], None, given.mask[rows] if given.mask is not None else None)
            parts.append(self.make(z, part, rng, hard=True))
        return torch.cat(parts)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within: gradients flow through a module, but none is computed for its parameters."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
