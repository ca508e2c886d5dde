"""The `vae` family: a latent vector for each item, and a network that says what it looks like.

    p(x) = integral p(x | z) p(z) dz,    z (Z) from p(z),    x from p(x | z), whose output a decoder computes from z

An encoder gives q(z | x) = N(mu(x), sigma(x)^2), and both are learned by the lower bound (Kingma and Welling 2014,
arXiv:1312.6114)

    log p(x) >= E_q log p(x | z) - beta KL(q(z | x) || N(0, I)),    z = mu + sigma eps,

KL in closed form. Early on KL weighs less (warm-up; Sonderby et al. 2016, arXiv:1602.02282), and `free` nats a latent
variable cost nothing (Kingma et al. 2016, arXiv:1606.04934). beta other than 1 is that of Higgins et al. 2017. With
K > 1 particles the bound is the tighter one of Burda, Grosse and Salakhutdinov 2016 (arXiv:1509.00519),

    log p(x) >= E log (1/K) sum_k w_k,    w_k = p(x, z_k) / q(z_k | x),    z_k from q(z | x),

whose gradient for the encoder is the doubly reparameterised one of Tucker et al. 2019 (arXiv:1810.04152, eq. 8):
sum_k (w_k / sum w)^2 d log w_k / d z_k: without it more particles drown the encoder in noise (Rainforth et al. 2018).

When gradients have done their work, p(z) is replaced by a law fitted to the latents of the data (prior.py): sampling
and `log_prob` both use it. `log_prob` is the bound above with many particles, drawn with fixed seeds: the noise of
an item is picked by the item's own bytes, so that its score depends neither on its place in a batch nor on what stands
beside it.

Conditional: p(x | c) = integral p(x | z, c) p(z) dz, with c given to encoder and decoder (Sohn et al. 2015).

Letters: B items, * the event shape, N its elements, Z latent variables, K particles, Q width of a condition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from likely.core import Batch, Family, Grammar, Known, Reals, Space, Training
from likely.errors import OptionError, Unsupported
from likely.families.vae.prior import PRIORS, Normal, Prior, prior
from likely.nn.condition import Condition, required
from likely.nn.likelihood import KINDS, Likelihood, likelihood
from likely.nn.networks import decoder, encoder, flat
from likely.nn.portion import only, portions, rows, take

BLOCKS = 64  # sets of noise that items share out among themselves
FITTED = 50_000  # latents that a prior is fitted to, at most
FEW = 5_000  # of them after a short training
DRAWS = 3  # of them an item, where there are few items
PARTICLES = 8  # that each of them is chosen from
PRICE = 10.0  # nats a latent variable, more than any comes to cost
NARROW = -7.0  # log sigma at least: q(z | x) must stay a density


@dataclass(frozen=True)
class VaeConfig:
    """`latent` variables (0: chosen by the size of an item); `width` and `depth` of both networks (0: likewise).

    `likelihood`: "auto", "bernoulli", "gaussian" or "logistic"; `binarise` grey pixels anew at each step. `beta` weighs
    KL, which reaches its weight after `warmup` steps, `free` nats of it a latent variable free. `particles` of the
    bound that is learned, `samples` of the bound that is `log_prob`. `prior`: "normal", "mixture" of up to
    `components`, or "flow". `output` of sampling: "draw" from p(x | z), its "mean", or "auto": means of images, draws
    of all else. `embedding`: the width a condition is given.
    """

    latent: int = 0
    width: int = 0
    depth: int = 0
    likelihood: str = "auto"
    binarise: bool = False
    beta: float = 1.0
    free: float = 0.0
    warmup: int = 500
    particles: int = 1
    samples: int = 64
    prior: str = "mixture"
    components: int = 64
    output: str = "auto"
    embedding: int = 64

    def __post_init__(self) -> None:
        for name, least in (
            ("latent", 0), ("width", 0), ("depth", 0), ("beta", 0.0), ("free", 0.0), ("warmup", 0),
            ("particles", 1), ("samples", 1), ("components", 1), ("embedding", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if not least <= value < math.inf:
                raise OptionError(f"{name}={value} was given; it must be at least {least}.")
        for name, kinds in (("likelihood", KINDS), ("prior", PRIORS), ("output", ("auto", "draw", "mean"))):
            if getattr(self, name) not in kinds:
                raise OptionError(f"{name}={getattr(self, name)!r} was given; it is one of {', '.join(kinds)}.")


class Vae(Family[Reals]):
    """Variational autoencoder."""

    accepts: ClassVar[type] = Reals
    Config: ClassVar[type] = VaeConfig
    exact = False
    seen: Tensor

    def __init__(self, space: Reals, given: Space | None = None, config: VaeConfig | None = None) -> None:
        super().__init__(space, given, config)
        config = cast(VaeConfig, self.config)
        n = math.prod(space.shape)
        self.size = config.latent or min(max(round(1.5 * math.sqrt(n)), 2), 64)
        width = config.width or (256 if flat(space.shape) else 128)
        depth = config.depth or (3 if flat(space.shape) else 2)
        q = config.embedding if given is not None else 0
        self.condition = Condition(given, q) if given is not None else None
        self.encoder = encoder(space.shape, 2 * self.size, width, depth, condition=q)
        self.decoder = decoder(self.size + q, space.shape, width, depth)
        self.likelihood: Likelihood = likelihood(space, config.likelihood, config.binarise)
        self.prior = prior(config.prior, self.size, config.components, q)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # steps of training, for the warm-up
        means = config.output == "mean" or (config.output == "auto" and len(space.shape) >= 3)
        self.means = means

    def plan(self) -> Training:
        """More steps for larger items; single items count for little in a batch of hundreds."""
        if flat(self.space.shape):
            return Training(batch=128, steps=4000, rate=2e-3)
        return Training(batch=128, steps=4000, rate=1e-3)

    # --------------------------------------------------------------------------------------- the network

    def posterior(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """mu and log sigma (B, Z) of q(z | x)."""
        out: Tensor = self.encoder(x, c) if c is not None else self.encoder(x)
        mu, log_sigma = out.float().chunk(2, 1)
        return mu, log_sigma.clamp_min(NARROW)

    def decode(self, z: Tensor, c: Tensor | None) -> Tensor:
        """The likelihood's output (B, *, event) of z (B, *, Z) and conditions c (B, Q)."""
        if c is not None:
            c = c.view(len(c), *[1] * (z.ndim - 2), -1).expand(*z.shape[:-1], -1)
            z = torch.cat([z, c], -1)
        out: Tensor = self.decoder(z.reshape(-1, z.shape[-1])).float().view(*z.shape[:-1], *self.space.shape)
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
        """The negative bound, nats an item; in evaluation with the same noise at every call.

        Evaluated during warm-up it is raised by a flat price for what KL does not weigh yet, so that it falls as the
        weight grows: without, models of the first steps, which have no use for z, would seem the best of the run.
        """
        config: VaeConfig = self.config
        rng = None if self.training else torch.Generator(batch.x.device).manual_seed(0)
        x, c = self.likelihood.look(batch.x, rng), self.context(batch.given)
        mu, log_sigma = self.posterior(x, c)
        warmth = min(1.0, (int(self.seen) + 1) / max(config.warmup, 1)) if self.training or int(self.seen) else 1.0
        weight, free = config.beta * warmth, 0.0
        if self.training:
            free = config.free
            self.seen += 1
        price = 0.0 if self.training else (1 - warmth) * PRICE * self.size
        eps = torch.randn(len(x), config.particles, self.size, generator=rng, device=x.device)
        if config.particles > 1:
            return price - self._importance(x, c, mu, log_sigma, eps, weight, batch.mask)
        z = mu + torch.exp(log_sigma) * eps[:, 0]
        kl = 0.5 * (mu.square() + torch.exp(2 * log_sigma) - 1) - log_sigma
        cost = kl.mean(0).clamp_min(free).sum() if free else kl.sum(1).mean()
        return price + weight * cost - self._fit(x, self.decode(z, c), batch.mask).mean()

    def _importance(
        self,
        x: Tensor,
        c: Tensor | None,
        mu: Tensor,
        log_sigma: Tensor,
        eps: Tensor,
        weight: float,
        mask: Tensor | None,
    ) -> Tensor:
        """A scalar whose value is the importance-weighted bound and whose gradients are the doubly reparameterised."""
        z = mu[:, None] + torch.exp(log_sigma)[:, None] * eps
        # q's own parameters are held fixed: the gradient reaches the encoder through z alone.
        score = ((z - mu.detach()[:, None]) * torch.exp(-log_sigma.detach())[:, None]).square()
        logq = -(0.5 * score + log_sigma.detach()[:, None]).sum(2)
        logp = -0.5 * z.square().sum(2)  # the constants of both cancel
        x, mask = x[:, None], mask[:, None] if mask is not None else None
        log_w = self._fit(x, self.decode(z, c), mask) + weight * (logp - logq)
        share = torch.softmax(log_w.detach(), 1)
        if z.requires_grad:
            z.register_hook(lambda gradient: share[:, :, None] * gradient)  # type: ignore[no-untyped-call]
        value = torch.logsumexp(log_w.detach(), 1) - math.log(log_w.shape[1])
        descent = (share * log_w).sum(1)
        return (value + descent - descent.detach()).mean()

    def _fit(self, x: Tensor, out: Tensor, mask: Tensor | None) -> Tensor:
        """log p(x | z) (B, ...) of outputs (B, ..., event), over real elements only."""
        if mask is None:
            return self.likelihood.total(x, out)
        return only(mask, self.likelihood.log_prob(x, out)).flatten(out.ndim - len(self.space.shape)).sum(-1)

    @torch.no_grad()
    def finish(self, batch: Batch, *, rng: torch.Generator) -> None:
        """Fit the prior to latents of the data, drawn from their true posteriors as well as particles can tell.

        A round of expectation maximisation of the likelihood, and the first is almost all: more calls do a little more.
        A short training has a short end: at most a sixteenth as many items as it saw, but 5,000.
        """
        if isinstance(self.prior, Normal):
            return
        most = min(FITTED, max(FEW, int(self.seen) * self.plan().batch // 16))
        chosen = torch.randperm(len(batch.x), generator=rng)[:most].to(batch.x.device)
        draws = max(1, min(DRAWS, most // len(chosen)))
        k, found, known, law = PARTICLES, [], [], cast(Prior, self.prior)
        for part in torch.split(chosen, max(1, self._rows() // (k * draws))):
            some = take(batch, part)
            x, c = self.likelihood.look(some.x, None if some.x.is_cuda else rng), self.context(some.given)
            mu, log_sigma = self.posterior(x, c)
            eps = torch.randn(len(part), draws * k, self.size, generator=rng).to(x.device)
            z = mu[:, None] + torch.exp(log_sigma)[:, None] * eps
            mask = some.mask[:, None] if some.mask is not None else None
            log_w = self._fit(x[:, None], self.decode(z, c), mask) + law.log_prob(z, c) + 0.5 * eps.square().sum(2)
            # One of every k particles, in proportion to its weight: the largest of log w + Gumbel noise.
            noise = -torch.log(-torch.log(torch.rand(log_w.shape, generator=rng).clamp_(1e-9, 1 - 1e-7))).to(x.device)
            place = (log_w + noise).view(len(part), draws, k).argmax(2, keepdim=True)
            z = z.view(len(part), draws, k, -1)
            found.append(z.gather(2, place[..., None].expand(-1, -1, 1, z.shape[-1])).squeeze(2))
            if c is not None:
                known.append(c)
        law.fit(torch.cat(found), rng=rng, c=torch.cat(known) if known else None)

    # ---------------------------------------------------------------------------------------- likelihood

    def log_prob(self, batch: Batch) -> Tensor:
        """The importance-weighted bound with `samples` particles: (B,) nats, at most log p(x) in expectation.

        Of grey items that are learned as binary it is the bound of one binary draw of each.
        """
        return self._bound(batch, parts=False)

    def log_probs(self, batch: Batch) -> Tensor:
        """(B, N) nats that sum to `log_prob`: each element has its own mean log p(x_j | z) under the normalised weights
        of the particles, and all share alike in what is left, the price of the latent code."""
        return self._bound(batch, parts=True)

    @torch.no_grad()
    def _bound(self, batch: Batch, parts: bool) -> Tensor:
        k = self.config.samples
        found = []
        noise = torch.randn(BLOCKS, k, self.size, generator=torch.Generator().manual_seed(0)).to(batch.x.device)
        logq = -0.5 * noise.square().sum(2) - 0.5 * self.size * math.log(2 * math.pi)
        law, dims = cast(Prior, self.prior), len(self.space.shape)
        for at, some in enumerate(portions(batch, self._rows() // k)):
            rng = torch.Generator().manual_seed(at) if not self.likelihood.exact else None
            x, c, block = self.likelihood.look(some.x, rng), self.context(some.given), _digest(some.x) % BLOCKS
            mu, log_sigma = self.posterior(x, c)
            z = torch.addcmul(mu[:, None], torch.exp(log_sigma)[:, None], noise[block])
            out, x = self.decode(z, c), x[:, None]
            mask = some.mask[:, None] if some.mask is not None else None
            log_w = law.log_prob(z, c) - logq[block] + log_sigma.sum(1, keepdim=True)
            if not parts:
                log_w += self._fit(x, out, mask)
                found.append(torch.logsumexp(log_w, 1) - math.log(k))
                continue
            each = only(mask, self.likelihood.log_prob(x, out)).flatten(out.ndim - dims)
            log_w += each.sum(2)
            bound = torch.logsumexp(log_w, 1) - math.log(k)
            each = torch.einsum("bk,bkn->bn", torch.softmax(log_w, 1), each)
            found.append(each + (bound - each.sum(1))[:, None] / each.shape[1])
        empty = batch.x.new_zeros(0, math.prod(self.space.shape)) if parts else batch.x.new_zeros(0)
        return torch.cat(found) if found else empty

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
            raise Unsupported("vae cannot hold decided elements: 'masked' and 'trees' complete rows of cells.")
        if not temperature > 0:
            raise OptionError(f"temperature={temperature} was given; it is above 0, 1 as learned.")
        c, home = self.context(given, n), self.seen.device
        z = cast(Prior, self.prior).sample(n, rng, temperature, c).to(home)
        made = [torch.empty(0, *self.space.shape)]
        for part in torch.split(torch.arange(n), self._rows()):
            out = self.decode(z[part], c[part] if c is not None else None)
            made.append(self.likelihood.mean(out) if self.means else self.likelihood.draw(out, rng, temperature))
        return torch.cat([x.to(home) for x in made])

    # ------------------------------------------------------------------------------------------- latents

    @torch.no_grad()
    def embed(self, batch: Batch) -> Tensor:
        """The mean of q(z | x): (B, Z)."""
        found = [self.posterior(part.x, self.context(part.given))[0] for part in portions(batch, self._rows())]
        return torch.cat(found) if found else batch.x.new_zeros(0, self.size)

    @torch.no_grad()
    def restore_from(self, z: Tensor, given: Batch | None = None) -> Tensor:
        """The mean items (B, *) of latents z (B, Z), under the condition `given` where there is one."""
        c = self.context(given, len(z))
        parts = [
            self.likelihood.mean(self.decode(z[part], c[part] if c is not None else None))
            for part in torch.split(torch.arange(len(z)), self._rows())
        ]
        return torch.cat(parts) if parts else z.new_zeros(0, *self.space.shape)

    def _rows(self) -> int:
        return rows(self.space.shape, self.seen.device)


def _digest(x: Tensor) -> Tensor:
    """A whole number (B,) from the bytes of each item: alike wherever and beside whatever it stands."""
    bits = x.detach().float().contiguous().flatten(1).view(torch.int32).long()
    odd = torch.arange(bits.shape[1], device=x.device) * 2654435761 + 40503
    return ((bits ^ (bits >> 15)) * (odd | 1)).sum(1).bitwise_right_shift(17).bitwise_and((1 << 40) - 1)
