"""What a decoder's output says of an item: log p(x_j | out_j), element by element, for every kind of real numbers.

    Bernoulli   elements at the two ends of their bounds; out is a logit
                log p = t out - softplus(out),   t = (x - low) / (high - low)
    Gaussian    out is the mean, its scale s is learned: one an element of a vector, a channel of a window or an image
                log p = -((x - out) / s)^2 / 2 - log s - log(2 pi) / 2
    Logistic    elements on evenly spaced levels, h half the distance between two; the mass of the level's own interval
                log p = log(sigma((x + h - out) / s) - sigma((x - h - out) / s)), the two end levels taking the tails
    one-hot     slices of the last axis that hold one category each: log-softmax of the slice; Gaussian for the others

A learned scale (Rybkin et al. 2021, arXiv:2006.13202) takes the place of a weight that would have to be tuned; the
discretised logistic is that of Salimans et al. 2017 (arXiv:1701.05517, eq. 2) with one component. From
sigma(b) - sigma(a) = sigma(b) sigma(-a) (1 - exp(a - b)) its logarithm needs no difference of near numbers. Densities
are bounded: no scale falls below that of rounding, where levels are known, or a thousandth.

Letters: B items, * the event shape, N elements of it, C channels. Outputs may have one more leading axis than items:
everything broadcasts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.core import Reals
from likely.errors import OptionError

KINDS = ("auto", "bernoulli", "gaussian", "logistic")
FINEST = 1e-3  # the smallest scale of numbers of about unit size
PACE = 4.0  # the log of a scale moves so much faster than other weights: Adam's steps are alike, and it has far to go


def likelihood(space: Reals, kind: str = "auto", binarise: bool = False) -> Likelihood:
    """The likelihood of a space: that of its bounds, levels and one-hot slices, or the `kind` asked for.

    `binarise` learns grey elements as the probability of one of two ends (dynamic binarisation). Raises OptionError
    where the kind does not fit the space.
    """
    if kind not in KINDS:
        raise OptionError(f"likelihood={kind!r} was given; it is one of {', '.join(KINDS)}.")
    if kind == "auto":
        binary, levels = binarise or space.levels == 2, space.levels > 2 and space.bounds is not None
        kind = "bernoulli" if binary else "logistic" if levels and not space.onehot else "gaussian"
    if binarise and kind != "bernoulli":
        raise OptionError(f"binarise=True makes elements binary, which likelihood={kind!r} is not for: leave it out.")
    if kind == "gaussian":
        return OneHot(space) if space.onehot else Gaussian(space)
    if space.onehot:
        raise OptionError(f"likelihood={kind!r} does not fit data with categories: leave it out.")
    if space.bounds is None:
        raise OptionError(f"likelihood={kind!r} needs elements within bounds; these have none: 'gaussian' fits them.")
    if kind == "logistic":
        if space.levels < 2:
            raise OptionError("likelihood='logistic' is for elements on levels, as bytes are: 'gaussian' fits these.")
        return Logistic(space)
    if space.levels != 2 and not binarise:
        raise OptionError(
            "likelihood='bernoulli' is for elements of two values; these have more: binarise=True draws them anew as "
            "0 or 1 at each step, 'gaussian' takes them as they are."
        )
    return Bernoulli(space, binarise)


class Likelihood(nn.Module, ABC):
    """The law of items given a decoder's output. Subclasses say log_prob, start, mean and draw."""

    exact = True  # log_prob is of x itself, not of something drawn from it

    def __init__(self, space: Reals) -> None:
        super().__init__()
        self.space = space

    def look(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """What is learned of items x (B, *): x itself, or a draw from it."""
        return x

    @abstractmethod
    def start(self, x: Tensor) -> Tensor:
        """Look at items x (B, *); the output (*) that fits them best if it may not depend on the item."""

    @abstractmethod
    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        """(B, *) nats of each element."""

    def total(self, x: Tensor, out: Tensor) -> Tensor:
        """The sum of log_prob over the event: (B,)."""
        return self.log_prob(x, out).flatten(out.ndim - len(self.space.shape)).sum(-1)

    def excess(self, x: Tensor, out: Tensor) -> Tensor:
        """(B, *) nats that each element lies below the best that could be said of it: a score, never negative."""
        return -self.log_prob(x, out)

    @abstractmethod
    def mean(self, out: Tensor) -> Tensor:
        """The item (B, *) an output stands for, on the levels of the space."""

    @abstractmethod
    def draw(self, out: Tensor, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Items (B, *) drawn from the law; `temperature` scales the noise."""

    def settle(self, x: Tensor) -> Tensor:
        """Numbers (B, *) moved to where elements of the space can be: into the bounds, onto the nearest level."""
        if self.space.bounds is None:
            return x
        low, high = self.space.bounds
        x = x.clamp(low, high)
        if self.space.levels < 2:
            return x
        step = (high - low) / (self.space.levels - 1)
        return low + ((x - low) / step).round() * step


class Bernoulli(Likelihood):
    """Elements at one of two ends. With `binarise` grey ones are drawn anew, high with the share they stand at."""

    def __init__(self, space: Reals, binarise: bool = False) -> None:
        super().__init__(space)
        assert space.bounds is not None
        self.low, self.high = space.bounds
        self.binarise = binarise
        self.exact = not binarise

    def look(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        if not self.binarise:
            return x
        bar = torch.rand(x.shape, generator=rng, device=x.device if rng is None else rng.device).to(x.device)
        bar = bar.mul_(self.high - self.low).add_(self.low)
        return torch.where(bar < x, x.new_tensor(self.high), x.new_tensor(self.low))

    def start(self, x: Tensor) -> Tensor:
        share = ((x - self.low) / (self.high - self.low)).mean(0)
        return torch.logit(share, eps=0.5 / (len(x) + 1))

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        t = (x - self.low) / (self.high - self.low)
        return t * out - F.softplus(out)

    def total(self, x: Tensor, out: Tensor) -> Tensor:
        # The sum of t out - softplus(out) without t: half the memory to walk through, and this is most of the work.
        flat, x = out.flatten(out.ndim - len(self.space.shape)), x.flatten(x.ndim - len(self.space.shape))
        along = (flat @ x.mT).squeeze(-1) if x.shape[-2] == 1 < flat.ndim - 1 else (x * flat).sum(-1)
        return (along - self.low * flat.sum(-1)) / (self.high - self.low) - F.softplus(flat).sum(-1)

    def mean(self, out: Tensor) -> Tensor:
        return self.settle(self.low + torch.sigmoid(out) * (self.high - self.low))

    def draw(self, out: Tensor, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        chance = torch.sigmoid(out / max(temperature, 1e-6))
        high = torch.rand(out.shape, generator=rng).to(out.device) < chance
        return self.low + high.to(out.dtype) * (self.high - self.low)


class Scaled(Likelihood):
    """A law with a location, the output, and a learned scale for each element of a vector, else for each channel."""

    def __init__(self, space: Reals) -> None:
        super().__init__(space)
        dims = len(space.shape)
        # Channels come last in vectors and windows, first in images and voxels.
        shape = (space.shape[-1],) if dims <= 2 else (space.shape[0], *[1] * (dims - 1))
        self.finest = FINEST
        if space.bounds is not None and space.levels > 1:
            self.finest = (space.bounds[1] - space.bounds[0]) / (space.levels - 1) / math.sqrt(12)
        self.pace = nn.Parameter(torch.zeros(shape))

    def log_scale(self) -> Tensor:
        """log s, with the shape of its parameter; bends softly at the finest scale."""
        least = math.log(self.finest)
        return least + F.softplus(self.pace * PACE - least)

    def start(self, x: Tensor) -> Tensor:
        mean = x.mean(0)
        rest = (x - mean).square().mean(0)
        rest = rest.flatten(1).mean(1).view_as(self.pace) if rest.ndim > 2 else rest.view(-1, len(self.pace)).mean(0)
        log = rest.sqrt().clamp_min(2 * self.finest).log()
        above = (log - math.log(self.finest)).clamp_min(1e-3)
        with torch.no_grad():
            self.pace.copy_((math.log(self.finest) + above + torch.log(-torch.expm1(-above))) / PACE)
        return mean

    def mean(self, out: Tensor) -> Tensor:
        return self.settle(out)


class Gaussian(Scaled):
    """A normal law around the output."""

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        log = self.log_scale()
        return -0.5 * ((x - out) * torch.exp(-log)).square() - log - 0.5 * math.log(2 * math.pi)

    def excess(self, x: Tensor, out: Tensor) -> Tensor:
        return 0.5 * ((x - out) * torch.exp(-self.log_scale())).square()

    def draw(self, out: Tensor, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        noise = torch.randn(out.shape, generator=rng).to(out.device)
        return self.settle(out + temperature * torch.exp(self.log_scale()) * noise)


class Logistic(Scaled):
    """The mass of a logistic law in the interval of each level."""

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        low, high = self.space.bounds or (-1.0, 1.0)
        half = 0.5 * (high - low) / (self.space.levels - 1)
        log = self.log_scale()
        rate = torch.exp(-log)
        centre = (x - out) * rate
        above, below = F.logsigmoid(centre + half * rate), F.logsigmoid(half * rate - centre)
        within = torch.log(-torch.expm1(-2 * half * rate))
        inner = torch.where(x < low + half, above, above + below + within)
        return torch.where(x > high - half, below, inner)

    def excess(self, x: Tensor, out: Tensor) -> Tensor:
        # An end level is likeliest under outputs beyond it, so that the difference can fall below 0 there.
        return (self.log_prob(x, x) - self.log_prob(x, out)).clamp_min(0.0)

    def draw(self, out: Tensor, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        chance = torch.rand(out.shape, generator=rng).clamp_(1e-6, 1 - 1e-6).to(out.device)
        return self.settle(out + temperature * torch.exp(self.log_scale()) * torch.logit(chance))


class OneHot(Gaussian):
    """Categorical in the one-hot slices of the last axis, Gaussian elsewhere."""

    def __init__(self, space: Reals) -> None:
        super().__init__(space)
        self.slices = sorted(space.onehot)
        self.rest = [j for j in range(space.shape[-1]) if not any(a <= j < b for a, b in self.slices)]
        self.register_buffer("numbers", torch.tensor(self.rest, dtype=torch.int64), persistent=False)

    def _laws(self, out: Tensor) -> list[Tensor]:
        return [torch.log_softmax(out[..., a:b], -1) for a, b in self.slices]

    def start(self, x: Tensor) -> Tensor:
        y = super().start(x)
        for a, b in self.slices:
            share = (x[..., a:b].sum(0) + 0.5) / (len(x) + 0.5 * (b - a))
            y[..., a:b] = share.log()
        return y

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        return self._join(super().log_prob(x, out), [law * x[..., a:b] for law, (a, b) in self._pairs(out)])

    def excess(self, x: Tensor, out: Tensor) -> Tensor:
        return self._join(super().excess(x, out), [-law * x[..., a:b] for law, (a, b) in self._pairs(out)])

    def mean(self, out: Tensor) -> Tensor:
        parts = [F.one_hot(law.argmax(-1), b - a).to(out.dtype) for law, (a, b) in self._pairs(out)]
        return self._join(super().mean(out), parts)

    def draw(self, out: Tensor, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        x, parts = super().draw(out, rng, temperature), []
        for law, (a, b) in self._pairs(out):
            # The largest of log p / T + Gumbel noise is a draw from the tempered law.
            noise = -torch.log(-torch.log(torch.rand(law.shape, generator=rng).clamp_(1e-9, 1 - 1e-7))).to(out.device)
            parts.append(F.one_hot((law / max(temperature, 1e-6) + noise).argmax(-1), b - a).to(out.dtype))
        return self._join(x, parts)

    def _pairs(self, out: Tensor) -> list[tuple[Tensor, tuple[int, int]]]:
        return list(zip(self._laws(out), self.slices, strict=True))

    def _join(self, numbers: Tensor, parts: list[Tensor]) -> Tensor:
        """Gaussian elements with the one-hot slices replaced."""
        pieces, at = [], 0
        for part, (a, b) in zip(parts, self.slices, strict=True):
            pieces += [numbers[..., at:a], part]
            at = b
        return torch.cat([*pieces, numbers[..., at:]], -1)
