"""The `cyclegan` family: translation between two sets of which no two items are known to belong together.

Let A and B be sets (photographs and paintings, one machine's sensors and another's). F: A -> B and G: B -> A are
learned together, each against a critic of the set it arrives in, and held to what was there by

    cycle       |G(F(a)) - a| + |F(G(b)) - b|       there and back again is where it began
    identity    |F(b) - b| + |G(a) - a|             what is there already stays as it is (equal shapes only)

with mean absolute differences in units of each set's spread (Zhu et al. 2017, arXiv:1703.10593). Critics judge patches
and descend least squares (Mao et al. 2017, arXiv:1611.04076) with gradient penalties at real and made items, which is
what keeps the game from circling (Mescheder et al. 2018, arXiv:1801.04406).

It is p(b | a) as a family: the batch's items are those of B, its condition those of A, and *which stands beside which
means nothing*: A is shuffled anew in each step. `unpaired` makes such a batch of two sets of any sizes. The translation
is a function: one a, one b. For bounds and one-hot parts see landing.py.

Letters: a, b items of A and B; n, m how many; B items of a batch; * the event shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from likely.core import Batch, Family, Grammar, Known, Objective, Reals, Space, Training
from likely.errors import ConditionError, DataError, Mismatch, OptionError, Unsupported
from likely.families.gan.family import frozen
from likely.families.gan.objectives import slope, squares_critic, squares_generator
from likely.nn.landing import land
from likely.nn.translator import Patches, Translator

CHUNK = 1024  # items at a time without gradients
EDGE = 0.97  # bounded items are taken this near to their bounds, beyond which the way back through tanh is too steep


@dataclass(frozen=True)
class CycleGanConfig:
    """`width` and `depth` of translators and critics; weights beside 1 for the critics' opinion: `cycle`, `identity`,
    and `gamma` of the critics' sharpness D |grad|^2 (see the family gan)."""

    width: int = 32
    depth: int = 2
    cycle: float = 1.0
    identity: float = 0.0
    gamma: float = 0.002

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise OptionError(f"width={self.width} and depth={self.depth} must be at least 1.")
        for name in ("cycle", "identity", "gamma"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)} was given; it is a weight of 0 or more.")


def unpaired(a: Tensor, b: Tensor, *, seed: int = 0) -> Batch:
    """Items of A (n, *) and of B (m, *) as one batch of max(n, m): both shuffled, the smaller set repeated."""
    if len(a) == 0 or len(b) == 0:
        raise DataError(f"Set A has {len(a)} items and set B {len(b)}: give at least one of each.")
    rng = torch.Generator().manual_seed(seed)
    size = max(len(a), len(b))

    def rows(n: int) -> Tensor:
        return torch.cat([torch.randperm(n, generator=rng) for _ in range(-(-size // n))])[:size]

    return Batch(b[rows(len(b))], Batch(a[rows(len(a))]))


class CycleGan(Family[Reals]):
    """Two translators and two critics."""

    accepts: ClassVar[type] = Reals
    Config: ClassVar[type] = CycleGanConfig
    regimen: ClassVar[Training] = Training(
        batch=16, steps=4000, rate=2e-3, decay=0.0, betas=(0.5, 0.99), clip=0.0, ema=0.998
    )
    ready: Tensor

    def __init__(self, space: Reals, given: Space | None = None, config: CycleGanConfig | None = None) -> None:
        super().__init__(space, given, config)
        if given is None:
            raise Mismatch("cyclegan translates one set into another: give the set to start from by given=...")
        if not isinstance(given, Reals) or space.ragged or given.ragged:
            raise Unsupported("cyclegan translates between arrays of real numbers of one length each.")
        self.start: Reals = given
        W, depth = self.config.width, self.config.depth
        self.alike = given.shape == space.shape
        self.translators = nn.ModuleDict(
            {
                "forth": Translator(given.shape, space.shape, W, depth),
                "back": Translator(space.shape, given.shape, W, depth),
            }
        )
        self.critics = nn.ModuleDict({"forth": Patches(space.shape, W, depth), "back": Patches(given.shape, W, depth)})
        self.register_buffer("ready", torch.tensor(False))
        for name, part in (("a", given), ("b", space)):
            self.register_buffer(f"{name}_mean", torch.zeros(part.shape))
            self.register_buffer(f"{name}_spread", torch.tensor(1.0))

    # ------------------------------------------------------------------------------------------ learning

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """Find centre and spread of both sets. The critics' first loss in training does so where nobody did before."""
        for name, x in (("a", self.condition(batch)), ("b", batch.x)):
            self.get_buffer(f"{name}_mean").copy_(x.double().mean(0))
            self.get_buffer(f"{name}_spread").copy_(x.double().var(0, correction=0).mean().clamp(min=1e-4).sqrt())
        self.ready.fill_(True)

    def objectives(self) -> list[Objective]:
        """Critics of both sets, then translators of both directions."""
        return [
            Objective("critics", self.critics, self.critics_loss),
            Objective("translators", self.translators, self.translators_loss),
        ]

    def critics_loss(self, batch: Batch) -> Tensor:
        """Least squares and gradient penalties of both critics."""
        if self.training and not bool(self.ready):
            self.prepare(batch)
        a, b = self.shuffled(batch), batch.x
        with torch.no_grad():
            made_b, made_a = self.forth(a), self.back(b)
        total = b.new_zeros(())
        for name, side, real, made in (("forth", "b", b, made_b), ("back", "a", a, made_a)):
            both = self.view(torch.cat([real, made]), side).requires_grad_(self.config.gamma > 0)
            scores = self.critics[name](both)
            total = total + squares_critic(*scores.chunk(2))
            if self.config.gamma > 0:
                sharpness = math.prod(real.shape[1:]) * slope(scores.mean(1), both).mean()
                total = total + self.config.gamma * sharpness
        return total

    def translators_loss(self, batch: Batch) -> Tensor:
        """The critics' opinion, cycle and identity losses of both translators."""
        a, b = self.shuffled(batch), batch.x
        made_b, made_a = self.forth(a), self.back(b)
        with frozen(self.critics):
            scores = self.critics["forth"](self.view(made_b, "b")), self.critics["back"](self.view(made_a, "a"))
        loss: Tensor = squares_generator(scores[0], scores[0]) + squares_generator(scores[1], scores[1])
        loss = loss + self.config.cycle * (
            self.apart(self.back(made_b), a, "a") + self.apart(self.forth(made_a), b, "b")
        )
        if self.alike and self.config.identity > 0:
            same = self.apart(self.forth(b), b, "b") + self.apart(self.back(a), a, "a")
            loss = loss + self.config.identity * same
        return loss

    def shuffled(self, batch: Batch) -> Tensor:
        """Items of A (B, *) in another order, by torch's global generator: they belong to no items of B."""
        a = self.condition(batch)
        return a[torch.randperm(len(a), device=a.device)]

    def condition(self, batch: Batch) -> Tensor:
        """The items of A that a batch holds."""
        if batch.given is None:
            raise ConditionError("cyclegan learns from two sets: Batch(items of B, given=Batch(items of A)).")
        return batch.given.x

    def view(self, x: Tensor, side: str) -> Tensor:
        """Items of side "a" or "b", of variance 1 an element."""
        return (x - self.get_buffer(f"{side}_mean")) / self.get_buffer(f"{side}_spread")

    def apart(self, x: Tensor, y: Tensor, side: str) -> Tensor:
        """Mean absolute difference in spreads of a side."""
        return (x - y).abs().mean() / self.get_buffer(f"{side}_spread")

    # --------------------------------------------------------------------------------------- translation

    def forth(self, a: Tensor) -> Tensor:
        """A -> B, differentiable."""
        return self.through(a, "forth", "a", "b", self.start, self.space)

    def back(self, b: Tensor) -> Tensor:
        """B -> A, differentiable."""
        return self.through(b, "back", "b", "a", self.space, self.start)

    def through(self, x: Tensor, name: str, side: str, other: str, source: Reals, target: Reals) -> Tensor:
        """One direction: what the translator says, added to the item where shapes are equal."""
        change: Tensor = self.translators[name](self.view(x, side))
        if self.alike:
            u = x
            if source.bounds is not None and target.bounds is not None:
                low, high = source.bounds
                u = torch.atanh((2 * x - low - high).div(high - low).clamp(-EDGE, EDGE))
            return land(u + change, target)
        if target.bounds is None:
            change = self.get_buffer(f"{other}_mean") + self.get_buffer(f"{other}_spread") * change
        return land(change, target)

    @torch.no_grad()
    def translate(self, x: Tensor, back: bool = False) -> Tensor:
        """Items (n, *) of A as items of B; with `back`, of B as items of A."""
        source, target = (self.space, self.start) if back else (self.start, self.space)
        if tuple(x.shape[1:]) != source.shape:
            raise ConditionError(f"Items of shape {tuple(x.shape[1:])} were given; this side has {source.shape}.")
        go = self.back if back else self.forth
        parts = [torch.zeros(0, *target.shape)] + [go(part) for part in torch.split(x, CHUNK)]
        return torch.cat(parts)

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
        """The n items of A that are given, as items of B (n, *). There is one translation: `rng` and `temperature` have
        no say in it."""
        if known is not None:
            raise Unsupported("cyclegan does not complete items: it translates those of given=...")
        if given is None:
            raise ConditionError("cyclegan translates items: say which by given=...")
        if len(given.x) not in (1, n):
            raise ConditionError(f"{len(given.x)} items were given to translate into {n}: one comes out for each.")
        return self.translate(given.x).expand(n, *self.space.shape).clone()
