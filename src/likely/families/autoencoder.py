"""The `autoencoder` family: through a bottleneck and back; what does not come back was not expected.

    z = e(x) (Z),   out = d(z),   loss(x) = -log p(x | out) + penalty |z|^2 / 2

p(x | out) is the law that fits the space (nn/likelihood.py) with a learned scale, so that elements are weighed by how
well they can be known, and no weight is to be tuned. With `noise` > 0 the encoder sees x + noise * eps and still must
give x back (denoising; Vincent et al. 2010, JMLR 11, 3371): then it learns what items look like instead of copying
them.

log p(x | e(x)) is no likelihood of x: z was made from x itself, and nothing is paid for it. So there is no `log_prob`
here but `errors`, a score for each element: how many nats it lies below the best that could be said of it,

    Gaussian  ((x - out) / s)^2 / 2       one-hot, binary  -log p(x | out)

about 1/2 on average for a number that comes back as well as usual. `vae` has a likelihood.

To draw new items, a mixture of normal laws is fitted to the latents of the data after training (nn/mixture.py) and
decoded: a regularised autoencoder in the sense of Ghosh et al. 2020 (arXiv:1903.12436).

Letters: B items, * the event shape, N its elements, Z latent variables, Q width of a condition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from likely.core import Batch, Family, Grammar, Known, Reals, Space, Training
from likely.errors import OptionError, Unsupported
from likely.nn.condition import Condition, required
from likely.nn.likelihood import KINDS, Likelihood, likelihood
from likely.nn.mixture import Mixture
from likely.nn.networks import decoder, encoder, flat
from likely.nn.portion import only, portions, rows, take

FITTED = 50_000  # latents that the mixture is fitted to, at most


@dataclass(frozen=True)
class AutoencoderConfig:
    """`latent` variables (0: chosen by the size of an item); `width` and `depth` of both networks (0: likewise).

    `noise`: standard deviation of what is added to the items that the encoder sees while learning; `penalty`: weight of
    |z|^2 / 2. `likelihood`: "auto", "bernoulli", "gaussian" or "logistic". `components` of the mixture at most.
    `output` of sampling: "draw" with noise, "mean" without, "auto": means of images, draws of all else. `embedding`:
    the width a condition is given.
    """

    latent: int = 0
    width: int = 0
    depth: int = 0
    noise: float = 0.1
    penalty: float = 0.01
    likelihood: str = "auto"
    components: int = 64
    output: str = "auto"
    embedding: int = 64

    def __post_init__(self) -> None:
        least = {"latent": 0, "width": 0, "depth": 0, "noise": 0, "penalty": 0, "components": 1, "embedding": 1}
        for name, bound in least.items():
            if not bound <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)} was given; it must be at least {bound}.")
        for name, kinds in (("likelihood", KINDS), ("output", ("auto", "draw", "mean"))):
            if getattr(self, name) not in kinds:
                raise OptionError(f"{name}={getattr(self, name)!r} was given; it is one of {', '.join(kinds)}.")


class Autoencoder(Family[Reals]):
    """Deterministic and denoising autoencoder."""

    accepts: ClassVar[type] = Reals
    Config: ClassVar[type] = AutoencoderConfig

    def __init__(self, space: Reals, given: Space | None = None, config: AutoencoderConfig | None = None) -> None:
        super().__init__(space, given, config)
        config = cast(AutoencoderConfig, self.config)
        n = math.prod(space.shape)
        # Fewer than half of the elements up to 9, or there is no bottleneck; then as many as `vae` has.
        self.size = config.latent or min(max(round(1.5 * math.sqrt(n)), 1), max(n // 2, 1), 64)
        width = config.width or (256 if flat(space.shape) else 128)
        depth = config.depth or 2
        q = config.embedding if given is not None else 0
        self.condition = Condition(given, q) if given is not None else None
        self.encoder = encoder(space.shape, self.size, width, depth, condition=q)
        self.decoder = decoder(self.size + q, space.shape, width, depth)
        self.likelihood: Likelihood = likelihood(space, config.likelihood)
        self.prior = Mixture(self.size, config.components)
        self.means = config.output == "mean" or (config.output == "auto" and len(space.shape) >= 3)

    def plan(self) -> Training:
        """Convolutions want smaller steps."""
        return Training(batch=128, steps=4000, rate=2e-3 if flat(self.space.shape) else 1e-3)

    # --------------------------------------------------------------------------------------- the network

    def encode(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Items (B, *) and conditions (B, Q) -> z (B, Z)."""
        z: Tensor = self.encoder(x, c) if c is not None else self.encoder(x)
        return z.float()

    def decode(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Latents (B, Z) and conditions (B, Q) -> the likelihood's output (B, *)."""
        out: Tensor = self.decoder(torch.cat([z, c], 1) if c is not None else z).float()
        return out

    def context(self, given: Batch | None, n: int | None = None) -> Tensor | None:
        """What is given, as vectors (B, Q). Raises ConditionError where it is missing."""
        given = required(given, self.given, n)
        if given is None or self.condition is None:
            return None
        c: Tensor = self.condition(given).float()
        return c

    # ------------------------------------------------------------------------------------------ learning

    def prepare(self, batch: Batch) -> None:
        """Start the decoder at the mean item and the scales at the spread of the data."""
        self.decoder.aim(self.likelihood.start(batch.x))

    def loss(self, batch: Batch) -> Tensor:
        """Nats an item of x given its reconstruction, and the penalty; noise is added while training only."""
        config: AutoencoderConfig = self.config
        x, c = batch.x, self.context(batch.given)
        seen = x + config.noise * torch.randn_like(x) if self.training and config.noise else x
        z = self.encode(seen, c)
        logp = only(batch.mask, self.likelihood.log_prob(x, self.decode(z, c)))
        return (0.5 * config.penalty * z.square().sum() - logp.sum()) / len(x)

    @torch.no_grad()
    def finish(self, batch: Batch, *, rng: torch.Generator) -> None:
        """Fit the mixture to the latents of the data."""
        chosen = torch.randperm(len(batch.x), generator=rng)[:FITTED].to(batch.x.device)
        self.prior.fit(self.embed(take(batch, chosen))[:, None], rng=rng)

    # ------------------------------------------------------------------------------------------- scoring

    @torch.no_grad()
    def errors(self, batch: Batch) -> Tensor:
        """(B, N) nats that each element lies below the best that could be said of it: a score, no density."""
        found = []
        for some in portions(batch, rows(self.space.shape, batch.x.device)):
            c = self.context(some.given)
            score = self.likelihood.excess(some.x, self.decode(self.encode(some.x, c), c))
            found.append(only(some.mask, score).flatten(1))
        return torch.cat(found) if found else batch.x.new_zeros(0, math.prod(self.space.shape))

    # ------------------------------------------------------------------------------------------- drawing

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
        """Draw (n, *). `temperature` scales the spread of the latents within a component, and of noise."""
        if known is not None:
            raise Unsupported("autoencoder cannot hold decided elements: 'masked' and 'trees' complete rows of cells.")
        if not temperature > 0:
            raise OptionError(f"temperature={temperature} was given; it is above 0, 1 as learned.")
        c, z = self.context(given, n), self.prior.sample(n, rng, temperature)
        made = [z.new_empty(0, *self.space.shape)]
        for part in torch.split(torch.arange(n), rows(self.space.shape, z.device)):
            out = self.decode(z[part], c[part] if c is not None else None)
            made.append(self.likelihood.mean(out) if self.means else self.likelihood.draw(out, rng, temperature))
        return torch.cat(made)

    # ------------------------------------------------------------------------------------------- latents

    @torch.no_grad()
    def embed(self, batch: Batch) -> Tensor:
        """(B, Z)."""
        parts = portions(batch, rows(self.space.shape, batch.x.device))
        found = [self.encode(part.x, self.context(part.given)) for part in parts]
        return torch.cat(found) if found else batch.x.new_zeros(0, self.size)

    @torch.no_grad()
    def restore_from(self, z: Tensor, given: Batch | None = None) -> Tensor:
        """The items (B, *) that latents z (B, Z) stand for, under the condition `given` where there is one."""
        c, made = self.context(given, len(z)), [z.new_empty(0, *self.space.shape)]
        for part in torch.split(torch.arange(len(z)), rows(self.space.shape, z.device)):
            made.append(self.likelihood.mean(self.decode(z[part], c[part] if c is not None else None)))
        return torch.cat(made)
